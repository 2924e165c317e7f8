"""What this machine is good at: which device, which precision, which memory."""

import ctypes
import functools
import math
import sys
import time

import torch
import torch.nn.functional as F


def pick_device():
    """Return the fastest device that is there: CUDA, then Apple's, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@functools.cache
def pick_precision(device):
    """Return bfloat16 if a convolution and its backward run faster in it by 1.2, else float32.

    The answer is measured, in less than a second, because a processor that accepts
    bfloat16 may only emulate it. One thread does it: on a busy machine several would measure
    how long they wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _faster_precision(device)
    finally:
        torch.set_num_threads(threads)


def _faster_precision(device):
    x = torch.ones(8, 64, 32, 32, device=device).to(memory_format=torch.channels_last)
    w = torch.ones(64, 64, 3, 3, device=device, requires_grad=True)
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(8):
        for dtype in best:  # in turn, so that other work on the machine slows both
            start = time.perf_counter()
            try:
                with autocast(device, dtype):
                    out = F.conv2d(x, w, padding=1)
                out.sum().backward()
            except RuntimeError:  # the device does not know bfloat16
                return torch.float32
            w.grad[0, 0, 0, 0].item()  # waits for a GPU, which works on by itself
            best[dtype] = min(best[dtype], time.perf_counter() - start)
    return min(best, key=lambda dtype: best[dtype] * (1.2 if dtype == torch.bfloat16 else 1))


def autocast(device, dtype):
    """Return a context where convolutions and matrix products run in `dtype`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


@functools.cache
def keep_freed_memory():
    """Ask glibc to keep freed blocks, since every step needs them again: 1.2 times as fast."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
