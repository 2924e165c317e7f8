"""Convolution and max pooling in NumPy without a loop over images or pixels.

Every function takes and returns what its naive namesake in layers.py does. The `_fast` ones cut
the batch into blocks that fit into a core's cache and share them among threads: NumPy lets other
threads run while it copies or multiplies matrices.

Within a block the axes are (channel, row, image, column), written (C, H, n, W) below. Then the
images of a block make one matrix product, and any range of rows is a slice of the matrix.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import ThreadpoolController

from .im2col import col2im_indices, im2col_indices, output_size

BLOCK_BYTES = 1 << 20
FEW_CHANNELS = 16


def conv_forward_fast(x, w, b, conv_param):
    """Convolution: x (N, C, H, W), w (F, C, HH, WW), b (F,) give out (N, F, H', W') and a cache.

    Raises ValueError when the kernel does not fit into the padded images.
    """
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    H_out, W_out = output_size(H, HH, pad, stride), output_size(W, WW, pad, stride)
    out = np.empty((N, F, H_out, W_out), dtype=np.result_type(x, w))
    by_columns = _takes_columns(w)
    forward = _forward_by_columns if by_columns else _forward_by_rows
    width = C * HH * WW if by_columns else C * WW
    _in_blocks(
        lambda blocks: forward(blocks, x, w, b, conv_param, out),
        N,
        width * H_out * W_out * out.itemsize,
    )
    return out, (x, w, conv_param)


def conv_backward_fast(dout, cache):
    """Gradients dx, dw, db of conv_forward_fast; dout (N, F, H', W')."""
    x, w, conv_param = cache
    F, C, HH, WW = w.shape
    by_columns = _takes_columns(w)
    backward = _backward_by_columns if by_columns else _backward_by_rows
    width = C * HH * WW if by_columns else F * WW
    dx = np.empty(x.shape, dtype=np.result_type(dout, w))
    parts = _in_blocks(
        lambda blocks: backward(blocks, dout, x, w, conv_param, dx),
        len(x),
        width * dout.shape[2] * dout.shape[3] * dx.itemsize,
    )
    dw, db = (sum(part) for part in zip(*parts, strict=True))
    return dx, dw, db


def _takes_columns(w):
    """Whether receptive fields are small enough to be copied as a whole."""
    _, C, HH, WW = w.shape
    return C < FEW_CHANNELS or HH == WW == 1


def _forward_by_columns(blocks, x, w, b, conv_param, out):
    """Fill out[block] for each block by a product of w with all receptive fields."""
    _, F, H_out, W_out = out.shape
    kernel = w.reshape(F, -1)
    for block in blocks:
        cols = _columns(x[block], w.shape[2:], conv_param)
        y = out[block].reshape(-1, F, H_out * W_out)
        np.matmul(kernel, cols, out=y)
        y += b[:, None]


def _backward_by_columns(blocks, dout, x, w, conv_param, dx):
    """Fill dx[block] for each block; returns the blocks' dw and db."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    F, C, HH, WW = w.shape
    _, _, H, W = x.shape
    _, _, H_out, W_out = dout.shape
    kernel = w.reshape(F, -1)
    dw = np.zeros(kernel.T.shape, dtype=dx.dtype)
    db = np.zeros(F, dtype=dx.dtype)
    for block in blocks:
        y = dout[block].reshape(-1, F, H_out * W_out)
        db += y.sum(axis=(0, 2))
        cols = _columns(x[block], (HH, WW), conv_param)
        for image, of_image in zip(cols, y, strict=True):
            dw += image @ of_image.T
        fields = (kernel.T @ y).reshape(-1, C, HH, WW, H_out, W_out)
        padded = np.zeros((len(y), C, H + 2 * pad, W + 2 * pad), dtype=dx.dtype)
        for i in range(HH):
            for j in range(WW):
                down = slice(i, i + stride * H_out, stride)
                right = slice(j, j + stride * W_out, stride)
                padded[:, :, down, right] += fields[:, :, i, j]
        dx[block] = padded[:, :, pad : pad + H, pad : pad + W]
    return dw.T.reshape(w.shape), db


def _columns(x, field, conv_param):
    """Receptive fields of x (n, C, H, W): (n, C * HH * WW, H' * W')."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    n, C, H, W = x.shape
    padded = np.zeros((n, C, H + 2 * pad, W + 2 * pad), dtype=x.dtype)
    padded[:, :, pad : pad + H, pad : pad + W] = x
    windows = sliding_window_view(padded, field, axis=(2, 3))[:, :, ::stride, ::stride]
    _, _, H_out, W_out, HH, WW = windows.shape
    return windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, C * HH * WW, H_out * W_out)


def _forward_by_rows(blocks, x, w, b, conv_param, out):
    """Fill out[block] for each block, by a product for each row of the kernel."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    F, C, HH, WW = w.shape
    _, _, H_out, W_out = out.shape
    kernels = w.transpose(2, 3, 1, 0).reshape(HH, WW * C, F)
    for block in blocks:
        rows = _rows(x[block], stride, -pad, (W_out - 1) * stride + WW)
        cols = _row_windows(rows, WW, stride)  # (stride, ., n * W', WW * C)
        y = np.empty((H_out, cols.shape[2], F), dtype=out.dtype)
        y[...] = b
        for i, kernel in enumerate(kernels):
            phase, there, here = _matching_rows(i - pad, stride, H_out, x.shape[2])
            y[here] += (cols[phase, there].reshape(-1, WW * C) @ kernel).reshape(y[here].shape)
        out[block] = y.reshape(H_out, -1, W_out, F).transpose(1, 3, 0, 2)


def _backward_by_rows(blocks, dout, x, w, conv_param, dx):
    """Fill dx[block] for each block; returns the blocks' dw and db."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    F, C, HH, WW = w.shape
    _, _, H, W = x.shape
    _, _, H_out, W_out = dout.shape
    # Groups of `stride` pixels of x, from the first to the last that holds one, and the kernel
    # cut into groups too
    first, last = pad // stride, (pad + W - 1) // stride
    groups, across = last - first + 1, -(-WW // stride)
    kernels = np.zeros((HH, across * stride, C, F), dtype=w.dtype)
    kernels[:, :WW] = w.transpose(2, 3, 1, 0)
    kernels = kernels.reshape(HH, across, stride * C, F)[:, ::-1].transpose(0, 1, 3, 2)
    kernels = kernels.reshape(HH, across * F, stride * C)
    dw = np.zeros(kernels.shape, dtype=dx.dtype)
    db = np.zeros(F, dtype=dx.dtype)
    for block in blocks:
        y = _rows(dout[block], 1, first - across + 1, groups + across - 1)
        cols = _row_windows(y, across, 1)[0]  # (H', n * groups, across * F)
        db += dout[block].sum(axis=(0, 2, 3))
        rows = _rows(x[block], stride, first * stride - pad, groups * stride)
        drows = np.zeros_like(rows, dtype=dx.dtype)
        flat, dflat = (a.reshape(*a.shape[:2], -1, stride * C) for a in (rows, drows))
        for i, kernel in enumerate(kernels):
            phase, there, here = _matching_rows(i - pad, stride, H_out, H)
            y_cols = cols[here].reshape(-1, across * F)
            dflat[phase, there] += (y_cols @ kernel).reshape(dflat[phase, there].shape)
            dw[i] += y_cols.T @ flat[phase, there].reshape(-1, stride * C)
        left = pad - first * stride
        for phase in range(stride):
            part = drows[phase, : len(range(phase, H, stride)), :, left : left + W]
            dx[block, :, phase::stride] = part.transpose(1, 3, 0, 2)
    dw = dw.reshape(HH, across, F, stride, C)[:, ::-1].transpose(2, 4, 0, 1, 3)
    return dw.reshape(F, C, HH, across * stride)[..., :WW], db


def _rows(x, stride, first, width):
    """x (n, C, H, W) as rows (stride, ., n, width, C), the columns from `first`, zeros outside.

    Row h stands at [h % stride, h // stride].
    """
    n, C, H, W = x.shape
    rows = np.zeros((stride, -(-H // stride), n, width, C), dtype=x.dtype)
    left, right = max(first, 0), min(first + width, W)
    if H * W % 256 == 0:
        # With a power of 2 between the channels, a cache can hold few of them at a time.
        staged = np.empty((n, C, H * W + 16), dtype=x.dtype)
        staged[:, :, : H * W] = x.reshape(n, C, H * W)
        x = staged[:, :, : H * W].reshape(n, C, H, W)
    for phase in range(stride):
        part = x[:, :, phase::stride, left:right].transpose(2, 0, 3, 1)
        rows[phase, : len(part), :, left - first : right - first] = part
    return rows


def _row_windows(rows, width, stride):
    """Windows of `width` columns of rows (s, h, n, W, C): (s, h, n * W', width * C)."""
    s, h, n, W, C = rows.shape
    windows = sliding_window_view(rows, width, axis=3)[:, :, :, ::stride]
    return windows.transpose(0, 1, 2, 3, 5, 4).reshape(s, h, -1, width * C)


def _matching_rows(offset, stride, H_out, H):
    """Which rows of x (phase, slice) meet which rows of out (slice): row r meets r * stride + offset."""
    shift, phase = divmod(offset, stride)
    count = len(range(phase, H, stride))
    first = max(0, -shift)
    last = max(first, min(H_out, count - shift))
    return phase, slice(first + shift, last + shift), slice(first, last)


def _in_blocks(work, N, bytes_per_image):
    """Results of work(blocks) from each thread; blocks are slices that share out N images."""
    if N * bytes_per_image <= BLOCK_BYTES:  # done sooner than another thread wakes up
        return [work([slice(0, N)])]
    cores = _cores()
    size = max(1, min(BLOCK_BYTES // bytes_per_image, -(-N // cores)))
    blocks = iter([slice(start, start + size) for start in range(0, N, size)])
    others = min(cores, -(-N // size)) - 1
    if others == 0:
        return [work(blocks)]
    # The threads take the next block each from the same iterator. One BLAS thread in each of
    # ours: BLAS's own would fight over the cores with them.
    with _blas().limit(limits=1, user_api="blas"):
        working = [_threads(others).submit(work, blocks) for _ in range(others)]
        return [work(blocks), *(thread.result() for thread in working)]


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


def conv_forward_im2col(x, w, b, conv_param):
    """conv_forward_fast by one matrix of columns (see im2col.py)."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    cols = im2col_indices(x, HH, WW, pad, stride)  # (C * HH * WW, H' * W' * N)
    out = w.reshape(F, -1) @ cols + b[:, None]
    out = out.reshape(F, output_size(H, HH, pad, stride), output_size(W, WW, pad, stride), N)
    return np.ascontiguousarray(out.transpose(3, 0, 1, 2)), (x, w, b, conv_param, cols)


def conv_backward_im2col(dout, cache):
    """Gradients dx, dw, db of conv_forward_im2col; dout (N, F, H', W')."""
    x, w, _, conv_param, cols = cache
    F, _, HH, WW = w.shape
    rows = dout.transpose(1, 2, 3, 0).reshape(F, -1)  # (F, H' * W' * N)
    dw = (rows @ cols.T).reshape(w.shape)
    dcols = w.reshape(F, -1).T @ rows
    dx = col2im_indices(dcols, x.shape, HH, WW, conv_param["pad"], conv_param["stride"])
    return dx, dw, dout.sum(axis=(0, 2, 3))


def conv_forward_strides(x, w, b, conv_param):
    """conv_forward_fast by one tensor product of sliding windows, which are views of x."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    windows = _windows(x, w.shape[2:], stride, pad)
    out = np.tensordot(windows, w, axes=((1, 4, 5), (1, 2, 3))) + b  # (N, H', W', F)
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2)), (x, w, conv_param)


def conv_backward_strides(dout, cache):
    """Gradients dx, dw, db of conv_forward_strides; dout (N, F, H', W')."""
    x, w, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    windows = _windows(x, w.shape[2:], stride, pad)
    dw = np.tensordot(dout, windows, axes=((0, 2, 3), (0, 2, 3)))
    dcols = np.tensordot(w, dout, axes=(0, 1))  # (C, HH, WW, N, H', W')
    dcols = dcols.transpose(0, 1, 2, 4, 5, 3).reshape(w[0].size, -1)
    dx = col2im_indices(dcols, x.shape, *w.shape[2:], pad, stride)
    return dx, dw, dout.sum(axis=(0, 2, 3))


def _windows(x, field, stride, pad):
    """View (N, C, H', W', HH, WW) of x (N, C, H, W) after padding."""
    for size, window in zip(x.shape[2:], field, strict=True):
        output_size(size, window, pad, stride)  # raises when it does not fit
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return sliding_window_view(padded, field, axis=(2, 3))[:, :, ::stride, ::stride]


def max_pool_forward_fast(x, pool_param):
    """Max pooling: x (N, C, H, W) gives out (N, C, H', W') and a cache; windows may overlap.

    First the maxima along the rows, then of these along the columns.
    Raises ValueError when the window does not fit into the images.
    """
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    N, C, H, W = x.shape
    H_out, W_out = output_size(H, HH, 0, stride), output_size(W, WW, 0, stride)
    out = np.empty((N, C, H_out, W_out), dtype=x.dtype)
    best_column = np.empty((N, C, H, W_out), dtype=np.min_scalar_type(WW))
    best_row = np.empty(out.shape, dtype=np.min_scalar_type(HH))

    def forward(blocks):
        for block in blocks:
            across = np.empty((len(x[block]), C, H, W_out), dtype=x.dtype)
            _first_maxima(_shifts(x[block], 3, WW, stride), across, best_column[block])
            _first_maxima(_shifts(across, 2, HH, stride), out[block], best_row[block])

    _in_blocks(forward, N, 2 * x.nbytes // max(N, 1))
    return out, (x.shape, pool_param, best_row, best_column)


def max_pool_backward_fast(dout, cache):
    """Gradient dx of max_pool_forward_fast: the first maximum of each window takes dout."""
    shape, pool_param, best_row, best_column = cache
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    dx = np.empty(shape, dtype=dout.dtype)

    def backward(blocks):
        for block in blocks:
            dacross = np.empty(best_column[block].shape, dtype=dout.dtype)
            _give_back(dout[block], best_row[block], dacross, 2, HH, stride)
            _give_back(dacross, best_column[block], dx[block], 3, WW, stride)

    _in_blocks(backward, shape[0], 2 * dx.nbytes // max(shape[0], 1))
    return dx


def _shifts(x, axis, window, stride):
    """Views of x: for each offset into a window, the entries there of all windows along axis."""
    positions = 1 + (x.shape[axis] - window) // stride
    before = (slice(None),) * axis
    return [x[(*before, slice(i, i + stride * positions, stride))] for i in range(window)]


def _first_maxima(candidates, out, winner):
    """Write the entrywise maxima into out, and which candidate is the first to reach them."""
    np.copyto(out, candidates[0])
    winner[...] = 0
    for i, candidate in enumerate(candidates[1:], start=1):
        better = candidate > out
        np.maximum(winner, better * winner.dtype.type(i), out=winner)
        np.maximum(out, candidate, out=out)


def _give_back(dout, winner, dx, axis, window, stride):
    """Fill dx with dout where each winner stood, the transpose of taking the maxima along axis."""
    tiles = stride == window and dx.shape[axis] == window * dout.shape[axis]
    if not tiles:
        dx[...] = 0
    for i, share in enumerate(_shifts(dx, axis, window, stride)):
        if tiles:
            np.multiply(dout, winner == i, out=share)
        else:
            share += dout * (winner == i)


def max_pool_forward_reshape(x, pool_param):
    """Max pooling for square windows that tile x (N, C, H, W) without gap or overlap.

    Raises ValueError when they do not.
    """
    size = pool_param["pool_height"]
    tiles = size == pool_param["pool_width"] == pool_param["stride"]
    N, C, H, W = x.shape
    if not tiles or H % size or W % size:
        raise ValueError(
            "max_pool_forward_reshape needs pool_height = pool_width = stride, a divisor of the "
            f"images' height and width; got {pool_param} for {H} x {W}"
        )
    tiled = x.reshape(N, C, H // size, size, W // size, size)
    windows = tiled.transpose(0, 1, 2, 4, 3, 5).reshape(N, C, H // size, W // size, -1)
    return windows.max(axis=4), (x.shape, windows.argmax(axis=4))


def max_pool_backward_reshape(dout, cache):
    """Gradient dx of max_pool_forward_reshape: the first maximum of each window takes dout."""
    shape, best = cache
    N, C, H_out, W_out = dout.shape
    size = shape[2] // H_out
    windows = np.zeros((*dout.shape, size * size), dtype=dout.dtype)
    np.put_along_axis(windows, best[..., None], dout[..., None], axis=4)
    tiled = windows.reshape(N, C, H_out, W_out, size, size)
    return tiled.transpose(0, 1, 2, 4, 3, 5).reshape(shape)


def max_pool_forward_im2col(x, pool_param):
    """max_pool_forward_fast by one matrix of columns (see im2col.py)."""
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    N, C, H, W = x.shape
    planes = x.reshape(N * C, 1, H, W)
    cols = im2col_indices(planes, HH, WW, 0, stride)  # (HH * WW, H' * W' * N * C)
    best = cols.argmax(axis=0)
    out = cols[best, np.arange(len(best))]
    out = out.reshape(output_size(H, HH, 0, stride), output_size(W, WW, 0, stride), N, C)
    return np.ascontiguousarray(out.transpose(2, 3, 0, 1)), (x.shape, pool_param, best)


def max_pool_backward_im2col(dout, cache):
    """Gradient dx of max_pool_forward_im2col."""
    (N, C, H, W), pool_param, best = cache
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    dcols = np.zeros((HH * WW, len(best)), dtype=dout.dtype)
    dcols[best, np.arange(len(best))] = dout.transpose(2, 3, 0, 1).ravel()
    return col2im_indices(dcols, (N * C, 1, H, W), HH, WW, 0, stride).reshape(N, C, H, W)
