"""What this machine is good at: which device, which precision, which memory."""

import ctypes
import functools
import math
import sys
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from cs231n.distributed import size
from cs231n.winograd import CHANNELS, Winograd

# Channels in a block of oneDNN's; less are few.
BLOCK = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8


def pick_device():
    """Return the fastest device that is there: CUDA, then Apple's, then the CPU.

    Several processes do not use Apple's, because gloo, by which they speak, does not know it.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() and size() == 1 else "cpu")


def pick_layout(model, device):
    """Return channels-last, or the usual layout where that is not to be trusted.

    On a processor, oneDNN writes past its memory in the backward pass of a 1x1 convolution with a
    stride and few channels (its issue 6035): a wrong gradient, or the end of the process. On
    Apple's devices the gradient of batch norm was wrong (pytorch, issue 175189).
    """
    if device.type == "mps":
        return torch.contiguous_format
    few = any(
        isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1)
        and m.in_channels // m.groups < BLOCK
        for m in model.modules()
    )  # fmt: skip
    return torch.contiguous_format if few and device.type == "cpu" else torch.channels_last


@functools.cache
@torch.inference_mode(False)  # whatever is on where it is asked, a backward is measured
@torch.enable_grad()
def pick_precision(device):
    """Return bfloat16 if a convolution and its backward run faster in it by 1.2, else float32.

    The answer is measured, in less than a second, because a processor that accepts
    bfloat16 may only emulate it.
    """
    N = 8 if device.type == "cpu" else 512  # a card must be at work for longer than it is told what
    x = torch.ones(N, 64, 32, 32, device=device).to(memory_format=torch.channels_last)
    w = torch.ones(64, 64, 3, 3, device=device, requires_grad=True)

    def convolve(dtype):
        with autocast(device, dtype):
            F.conv2d(x, w, padding=1).sum().backward()
        w.grad[0, 0, 0, 0].item()  # waits for a GPU, which works on by itself

    try:
        seconds = time_in_turn(convolve, (torch.float32, torch.bfloat16))
    except RuntimeError:  # the device does not know bfloat16
        return torch.float32
    faster = 1.2 * seconds[torch.bfloat16] < seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32


@functools.cache
@torch.inference_mode(False)
@torch.enable_grad()
def pick_winograd(device, precision, backward=True):
    """Return whether a convolution of 256 channels, with its backward or without, is faster by
    `cs231n.winograd`, measured."""
    if device.type != "cpu":
        return False
    x = torch.ones(32, CHANNELS, 8, 8, requires_grad=backward)
    w = torch.ones(CHANNELS, CHANNELS, 3, 3, requires_grad=backward)

    def convolve(winograd):
        with autocast(device, precision), Winograd() if winograd else nullcontext():
            out = F.conv2d(x.to(memory_format=torch.channels_last), w, padding=1)
        if backward:
            out.sum().backward()

    seconds = time_in_turn(convolve, (False, True))
    return 1.05 * seconds[True] < seconds[False]


def time_in_turn(work, ways, rounds=8):
    """Return a dict of the shortest seconds that `work(way)` took for each of `ways`.

    In turn, so that other work on the machine slows all of them; on one thread, because on a busy
    machine several would measure how long they wait for each other.
    """
    best = dict.fromkeys(ways, math.inf)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(rounds):
            for way in ways:
                start = time.perf_counter()
                work(way)
                best[way] = min(best[way], time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return best


def autocast(device, dtype):
    """Return a context where convolutions and matrix products run in `dtype`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


@functools.cache
def keep_freed_memory():
    """Ask glibc to keep freed blocks, since every step needs them again: 1.2 times as fast."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
