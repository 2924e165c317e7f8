"""Work on a batch in blocks that fit into a core's cache, shared out among threads.

NumPy lets other threads run while it copies or multiplies arrays.
"""

import functools
import itertools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from threadpoolctl import ThreadpoolController

BLOCK_BYTES = 3 << 19
KEPT_BYTES = 4 * BLOCK_BYTES
_kept = threading.local()
_turn = threading.Lock()  # BLAS's threads are put back by whoever took them


def in_blocks(work, N, bytes_per_image):
    """Results of work(blocks) from each thread; blocks are slices that share out N images."""
    cores = _cores()
    if N * bytes_per_image <= BLOCK_BYTES:  # done sooner than another thread wakes up
        return [work([slice(0, N)])]
    rounds = -(-N * bytes_per_image // (cores * BLOCK_BYTES))
    count = min(N, cores * rounds)  # the same number of blocks for each thread
    edges = [N * i // count for i in range(count + 1)]
    blocks = iter([slice(*pair) for pair in itertools.pairwise(edges)])
    if min(cores, count) == 1:
        return [work(blocks)]
    # The threads take the next block each from the same iterator. One BLAS thread in each of
    # ours: BLAS's own would fight over the cores with them.
    with _turn, _blas().limit(limits=1, user_api="blas"):
        working = [_threads(cores).submit(work, blocks) for _ in range(min(cores, count))]
        return [thread.result() for thread in working]


def scratch(name, shape, dtype):
    """An array whose values are left from its last use, by this thread and under this name.

    Memory that is new to a process is filled with zeros by the system first, page by page, which
    takes longer than a block's copies and products together. What is too large to be kept is new.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > KEPT_BYTES:
        return np.empty(shape, dtype)
    buffer = getattr(_kept, name, None)
    if buffer is None or len(buffer) < size:
        buffer = np.empty(size, np.uint8)
        setattr(_kept, name, buffer)
    return buffer[:size].view(dtype).reshape(shape)


def copy_rows(target, source):
    """target[...] = source. Rows that are contiguous in both go as one item, which is faster."""
    if target.strides[-1] == source.strides[-1] == source.itemsize:
        row = np.dtype((np.void, source.shape[-1] * source.itemsize))
        target, source = target.view(row), source.view(row)
    np.copyto(target, source)


def _cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _threads(count):
    """Threads that wait for work, each on a core of its own.

    To start new ones takes longer than a small layer. And where they may run on any core, Linux
    often wakes two of them on the same one, and only parts them tens of milliseconds later.
    """
    cores = iter(sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else ())

    def settle():
        for core in itertools.islice(cores, 1):
            with suppress(OSError):  # not allowed: then any core
                os.sched_setaffinity(0, {core})

    return ThreadPoolExecutor(count, initializer=settle)


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_threads.cache_clear)


@functools.cache
def _blas():
    return ThreadpoolController()
