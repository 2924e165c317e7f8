"""Convolution and pooling beside torch.

`cs231n/fast_layers.py` and `torch.nn.functional` take turns on the same float32 arrays and on two
cores. The backward of a convolution gives dx, dw and db; pooling is 2x2, forward and backward
together. A ratio is the geometric mean over the shapes. (The short form counts processor time on
one core, so that other work on the machine matters little.)
"""

import time

import numpy as np
import torch
import torch.nn.functional as F

from cs231n import fast_layers
from tests.bench import Figure
from tests.bench.timing import Others, ratio_of_means, seconds, use_cores

# (images, channels, height = width, filters, kernel, stride); half of the kernel is the padding
CONVOLUTIONS = [
    (50, 3, 32, 32, 7, 1),
    (64, 3, 32, 64, 3, 1),
    (64, 16, 32, 32, 5, 2),
    (64, 32, 32, 32, 3, 1),
    (64, 32, 16, 64, 7, 2),
    (64, 64, 32, 128, 1, 2),
    (64, 64, 16, 64, 5, 1),
    (64, 64, 16, 128, 3, 2),
    (64, 128, 16, 64, 1, 1),
    (64, 128, 8, 128, 7, 1),
    (64, 128, 16, 128, 3, 1),
    (64, 256, 8, 256, 3, 1),
]
POOLINGS = [(50, 32, 32), (64, 64, 32), (64, 64, 16), (64, 128, 16), (64, 256, 8)]
POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


def figures(short):
    """Three ratios; of a few shapes when short."""
    use_cores(1 if short else 2)
    clock = time.process_time if short else time.perf_counter
    rounds, every = (3, 3) if short else (7, 1)
    convolutions, poolings = CONVOLUTIONS[::every], POOLINGS[::every]
    others = Others()
    pairs = [[_convolution(clock, *shape) for shape in convolutions] for _ in range(rounds)]
    pools = [[_pooling(clock, *shape) for shape in poolings] for _ in range(rounds)]
    busy = others.text()
    measured = (
        ("convolution forward", [[pair[0] for pair in row] for row in pairs], 1.5),
        ("convolution backward", [[pair[1] for pair in row] for row in pairs], 1.5),
        ("2x2 pooling, both ways", pools, 0.9),
    )
    out = []
    for name, ratios, target in measured:
        text = f"{len(ratios[0])} shapes, {rounds} rounds{busy}"
        value, spread = ratio_of_means(ratios)
        out.append(Figure(name, value, "times torch", target, spread, text))
    return out


def _convolution(clock, N, C, size, filters, kernel, stride):
    """((ours, torch) seconds of forward, (ours, torch) seconds of backward)."""
    rng = np.random.default_rng(0)
    param = {"stride": stride, "pad": kernel // 2}
    x = rng.standard_normal((N, C, size, size), dtype=np.float32)
    w = rng.standard_normal((filters, C, kernel, kernel), dtype=np.float32)
    b = rng.standard_normal(filters, dtype=np.float32)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (x, w, b)]

    def forward_torch():
        return F.conv2d(*tensors, stride=stride, padding=kernel // 2)

    out, cache = fast_layers.conv_forward_fast(x, w, b, param)
    out_torch = forward_torch()
    dout = rng.standard_normal(out.shape, dtype=np.float32)
    dout_torch = torch.from_numpy(dout)
    return (
        _in_turn(clock, lambda: fast_layers.conv_forward_fast(x, w, b, param), forward_torch),
        _in_turn(
            clock,
            lambda: fast_layers.conv_backward_fast(dout, cache),
            lambda: torch.autograd.grad(out_torch, tensors, dout_torch, retain_graph=True),
        ),
    )


def _pooling(clock, N, C, size):
    """(ours, torch) seconds of forward and backward."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, C, size, size), dtype=np.float32)
    dout = rng.standard_normal((N, C, size // 2, size // 2), dtype=np.float32)
    tensor, dout_torch = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dout)

    def ours():
        _, cache = fast_layers.max_pool_forward_fast(x, POOL)
        fast_layers.max_pool_backward_fast(dout, cache)

    def theirs():
        torch.autograd.grad(F.max_pool2d(tensor, 2), tensor, dout_torch)

    return _in_turn(clock, ours, theirs)


def _in_turn(clock, ours, theirs):
    return seconds(ours, clock), seconds(theirs, clock)
