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


def accuracy(model, images, labels, batch_size=500, flip=False, precision=None):
    """Return the share of uint8 images (N, H, W, 3) whose highest score is at their label."""
    scores = predict_scores(model, images, batch_size, flip, precision)
    return float((scores.argmax(1) == labels).mean())
