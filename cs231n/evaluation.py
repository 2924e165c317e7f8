"""What a network says about images, and how often it is right."""

from contextlib import nullcontext

import torch

from cs231n.hardware import autocast, keep_freed_memory, pick_precision, pick_winograd
from cs231n.images import normalize, to_tensor
from cs231n.winograd import Winograd


def predict_scores(model, images, batch_size=500, flip=False, precision=None):
    """Return the scores (N, K), float32, of uint8 images (N, H, W, 3).

    With `flip` they are the mean of the scores of each image and of its mirror image. Unless a
    `precision` is given, it is that which the device was measured to be fast in. So is the way of
    its larger convolutions.
    """
    device = next(model.parameters()).device
    keep_freed_memory()
    model.eval()
    if len(images) > batch_size:
        model = folded(model, images)
    precision = precision or pick_precision(device)
    by_tiles = pick_winograd(device, precision, backward=False)
    scores = []
    with torch.no_grad(), autocast(device, precision), Winograd() if by_tiles else nullcontext():
        for batch in to_tensor(images).split(batch_size):
            x = normalize(batch.to(device))
            out = model(x).float()
            if flip:
                out = (out + model(x.flip(3)).float()) / 2
            scores.append(out.cpu())
    return torch.cat(scores).numpy()


def folded(model, images):
    """Return a network that answers as `model` does in eval mode, with fewer passes over memory.

    With running averages a batch norm is a scale and a shift of each channel, and those can be
    part of the weights and the bias of the convolution before it (Jacob et al., 1712.05877,
    section 3.2). Which that is, is read off the model's code. Where it cannot be, or scores of the
    first of `images`, uint8 (N, H, W, 3), differ by a thousandth, as where one convolution stands
    before two norms, or the model's own do, `model` itself is returned.
    """
    device = next(model.parameters()).device
    x = normalize(to_tensor(images[:8]).to(device))
    try:
        from torch.fx.experimental.optimization import fuse  # may be gone in another torch

        with torch.no_grad():
            fast = fuse(model.eval())
            wanted = model(x)
            alike = torch.equal(model(x), wanted)  # chance would be part of the copy
            alike = alike and (fast(x) - wanted).norm() <= 0.001 * wanted.norm()
    except Exception:  # of code that decides by its input, which cannot be read without running it
        return model
    return fast if alike else model


def accuracy(model, images, labels, batch_size=500, flip=False, precision=None):
    """Return the share of uint8 images (N, H, W, 3) whose highest score is at their label."""
    scores = predict_scores(model, images, batch_size, flip, precision)
    return float((scores.argmax(1) == labels).mean())
