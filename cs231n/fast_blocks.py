"""Work on a batch in blocks that fit into a core's cache, shared out among threads.

NumPy lets other threads run while it copies or multiplies arrays.
"""

import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import ThreadpoolController

BLOCK_BYTES = 3 << 19


def in_blocks(work, N, bytes_per_image):
    """Results of work(blocks) from each thread; blocks are slices that share out N images."""
    if N * bytes_per_image <= BLOCK_BYTES:  # done sooner than another thread wakes up
        return [work([slice(0, N)])]
    cores = _cores()
    rounds = -(-N * bytes_per_image // (cores * BLOCK_BYTES))
    count = min(N, cores * rounds)  # the same number of blocks for each thread
    edges = [N * i // count for i in range(count + 1)]
    blocks = iter([slice(*pair) for pair in itertools.pairwise(edges)])
    others = min(cores, count) - 1
    if others == 0:
        return [work(blocks)]
    # The threads take the next block each from the same iterator. One BLAS thread in each of
    # ours: BLAS's own would fight over the cores with them.
    with _blas().limit(limits=1, user_api="blas"):
        working = [_threads(others).submit(work, blocks) for _ in range(others)]
        return [work(blocks), *(thread.result() for thread in working)]


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
    """Threads that wait for work: to start new ones takes longer than a small layer."""
    return ThreadPoolExecutor(count)


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_threads.cache_clear)


@functools.cache
def _blas():
    return ThreadpoolController()
