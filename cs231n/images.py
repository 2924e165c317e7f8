"""CIFAR-10's images on their way to a network: loaded, varied and normalised.

They travel as uint8, (N, 32, 32, 3) in NumPy as `load_CIFAR10` gives them. `normalize` is the
one place where they become what a network sees, in training, in prediction and in grading.
"""

import functools
import itertools

import numpy as np
import torch
import torch.nn.functional as F

from cs231n.data_utils import cifar10_folder, load_CIFAR10

MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's training pixels, for red, green, blue
STD = (0.2470, 0.2435, 0.2616)
# Of a progressive run, such a share of the steps has images with such a share of the side.
GROWTH = ((0.3, 0.5), (0.3, 0.75), (0.4, 1.0))


def load_images(num_training=49000, num_validation=1000):
    """Load CIFAR-10 as integers: X_train, y_train, X_val, y_val, X_test, y_test in a dict.

    X is uint8 (N, 32, 32, 3), y an integer array (N,). The validation images are those that
    follow the first `num_training`, as in `get_CIFAR10_data`; there may be none.
    """
    X, y, X_test, y_test = load_CIFAR10(cifar10_folder())
    end = num_training + num_validation
    if not 0 < num_training <= end <= len(X):
        raise ValueError(f"num_training + num_validation must be at most {len(X)}, but is {end}")
    return {
        "X_train": X[:num_training], "y_train": y[:num_training],
        "X_val": X[num_training:end], "y_val": y[num_training:end],
        "X_test": X_test, "y_test": y_test,
    }  # fmt: skip


def to_tensor(images):
    """View uint8 images (N, H, W, 3) as a tensor (N, 3, H, W)."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 (N, H, W, 3), but are {images.dtype} {tuple(images.shape)}"
        )
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def normalize(images, layout=torch.channels_last):
    """Map a uint8 tensor (N, 3, H, W) to float32: (images / 255 - MEAN) / STD in each channel.

    layout: the order of its numbers in memory, a `torch.memory_format`.
    """
    mean, std = _mean_and_std(images.device)
    images = images.to(torch.float32, memory_format=layout)
    return (images / 255 - mean) / std


@functools.cache
def _mean_and_std(device):
    """MEAN and STD on a device: once, for to send them there makes a graphics card wait."""
    return [torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD)]


def augment(images, padding=4, mirrored=None):
    """Shift each image by up to `padding` pixels, and mirror half of them, or those `mirrored`.

    The whole batch at once, so no worker processes are needed: nothing can hang, and memory
    stays flat. Shape and dtype are kept; pixels from outside are black.
    """
    N, _, H, W = images.shape
    windows = F.pad(images, (padding,) * 4).unfold(2, H, 1).unfold(3, W, 1)  # a view, no copy
    top, left = torch.randint(2 * padding + 1, (2, N), device=images.device)
    images = windows[torch.arange(N, device=images.device), :, top, left]  # (N, 3, H, W)
    if mirrored is None:
        mirrored = torch.rand(N, device=images.device) < 0.5
    return torch.where(mirrored.view(N, 1, 1, 1), images.flip(3), images)


def mirrored_in(epoch, N, seed):
    """Return which of N images are mirrored in an epoch: half of them, in the next the others.

    So each two epochs have every image both ways, which chance alone has not (Jordan, 2404.00498,
    section 3.6).
    """
    drawn = torch.rand(N, generator=torch.Generator().manual_seed(seed)) < 0.5
    return drawn ^ (epoch % 2 == 1)


def side_at(done, side):
    """Return the side of a progressive run's images, of `side` at its end, after a share `done`."""
    ends = itertools.accumulate(share for share, _ in GROWTH)
    begun = sum(done >= end for end in ends)
    return round(side * GROWTH[min(begun, len(GROWTH) - 1)][1])


def shrink(x, side, layout=torch.channels_last):
    """Make images (N, 3, H, W), floating point, smaller: (N, 3, side, side), blurred as it needs.

    A network learns from small ones first what it can learn from them, in a part of the time
    (Howard in DAWNBench, 2018: progressive resizing).
    """
    if x.shape[-1] == side:
        return x
    x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
    return x.contiguous(memory_format=layout)


def shuffled(N, seed, epoch):
    """Return the numbers 0 to N - 1 in an order of their own for each seed and epoch."""
    return torch.randperm(N, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))
