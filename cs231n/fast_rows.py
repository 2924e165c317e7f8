"""Convolution as one matrix product for each row of the kernel, for images of many channels.

Channels come last here, so that a window's part in one row of an image, all its columns and
channels, is contiguous: only the kernel's width is unrolled. The images of a block stand side by
side, in the order (row, image, column, channel). Then any range of rows is a matrix without a
copy, and a row of the kernel is multiplied with just those rows that it meets, none of them
padding.

With a stride, rows are sorted by their remainder, the `phase`: a row of the kernel meets one.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .fast_blocks import copy_rows, scratch
from .im2col import meeting


def forward(blocks, x, w, b, conv_param, out):
    """Fill out[block] for each block."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    F, C, HH, WW = w.shape
    _, _, H_out, W_out = out.shape
    kernels = w.transpose(2, 3, 1, 0).reshape(HH, WW * C, F)
    for block in blocks:
        rows = _rows("x", x[block], stride, -pad, (W_out - 1) * stride + WW)
        cols = _windows(rows, WW, stride)  # (stride, ., n * W', WW * C)
        y = scratch("y", (H_out, cols.shape[2], F), out.dtype)
        y[...] = b
        for i, kernel in enumerate(kernels):
            phase, of_x, of_y = meeting(i - pad, stride, x.shape[2], H_out)
            y[of_y] += _product(cols[phase, of_x], kernel)
        out[block] = y.reshape(H_out, -1, W_out, F).transpose(1, 3, 0, 2)


def backward(blocks, dout, x, w, conv_param, dx):
    """Fill dx[block] for each block, unless dx is None; returns the blocks' dw and db.

    A row of dx is a convolution too: of rows of dout, whose columns then serve dw as well. `stride`
    neighbouring pixels of x meet the same columns, so they are taken as one group of stride * C
    channels; and the kernel's width, filled up with zeros, is as many groups.
    """
    stride, pad = conv_param["stride"], conv_param["pad"]
    F, C, HH, WW = w.shape
    _, _, H, W = x.shape
    _, _, H_out, _ = dout.shape
    first, last = pad // stride, (pad + W - 1) // stride  # groups of the padded x that hold x
    groups, across = last - first + 1, -(-WW // stride)
    kernels = _grouped(w, across, stride)
    dw = np.zeros(kernels.shape, dtype=np.result_type(dout, x))
    db = np.zeros(F, dtype=dout.dtype)
    for block in blocks:
        db += dout[block].sum(axis=(0, 2, 3))
        y = _rows("dout", dout[block], 1, first - across + 1, groups + across - 1)
        cols = _windows(y, across, 1)[0]  # (H', n * groups, across * F)
        rows = _rows("x", x[block], stride, first * stride - pad, groups * stride)
        rows = rows.reshape(*rows.shape[:2], -1, stride * C)  # (stride, ., n * groups, stride * C)
        drows = scratch("dx", rows.shape, np.result_type(dout, w))
        drows[...] = 0
        for i, kernel in enumerate(kernels):
            phase, of_x, of_y = meeting(i - pad, stride, H, H_out)
            y_cols = cols[of_y].reshape(-1, across * F)
            dw[i] += y_cols.T @ rows[phase, of_x].reshape(-1, stride * C)
            if dx is not None:
                drows[phase, of_x] += _product(cols[of_y], kernel)
        if dx is not None:
            drows = drows.reshape(*drows.shape[:2], len(x[block]), groups * stride, C)
            left = pad - first * stride
            for phase in range(stride):
                part = drows[phase, : len(range(phase, H, stride)), :, left : left + W]
                dx[block, :, phase::stride] = part.transpose(1, 3, 0, 2)
    return _ungrouped(dw, w.shape, stride), db


def _rows(name, x, stride, first, width):
    """x (n, C, H, W) as rows (stride, ., n, width, C), row h at [h % stride, h // stride].

    The columns are `width` many from the number `first`; those that x does not have are 0.
    """
    n, C, H, W = x.shape
    if H * W % 256 == 0:
        # With a power of 2 between the channels, a cache can hold few of them at a time.
        apart = scratch("spare", (n, C, H * W + 16), x.dtype)[:, :, : H * W].reshape(x.shape)
        apart[...] = x
        x = apart
    rows = scratch(name, (stride, -(-H // stride), n, width, C), x.dtype)
    rows[...] = 0
    left = max(first, 0)
    right = max(left, min(first + width, W))
    for phase in range(stride):
        part = x[:, :, phase::stride, left:right].transpose(2, 0, 3, 1)
        rows[phase, : len(part), :, left - first : right - first] = part
    return rows


def _windows(rows, width, stride):
    """Windows of `width` columns of rows (s, h, n, W, C): (s, h, n * W', width * C)."""
    s, h, n, W, C = rows.shape
    rows = rows.reshape(s, h, n, W * C)
    windows = sliding_window_view(rows, width * C, axis=3)[:, :, :, :: stride * C]
    cols = scratch("cols", windows.shape, rows.dtype)
    copy_rows(cols, windows)
    return cols.reshape(s, h, -1, width * C)


def _product(rows, kernel):
    """rows (h, m, K) times kernel (K, F): (h, m, F), by one call of BLAS and not one for each h."""
    (h, m, K), F = rows.shape, kernel.shape[1]
    out = scratch("spare", (h * m, F), np.result_type(rows, kernel))
    return np.matmul(rows.reshape(h * m, K), kernel, out=out).reshape(h, m, F)


def _grouped(w, across, stride):
    """w (F, C, HH, WW) as matrices (HH, across * F, stride * C), the last group first."""
    F, C, HH, WW = w.shape
    groups = np.zeros((HH, across * stride, C, F), dtype=w.dtype)
    groups[:, :WW] = w.transpose(2, 3, 1, 0)
    groups = groups.reshape(HH, across, stride * C, F)[:, ::-1]
    return groups.transpose(0, 1, 3, 2).reshape(HH, across * F, stride * C)


def _ungrouped(dw, shape, stride):
    """The transpose of _grouped, for w of this shape."""
    F, C, HH, WW = shape
    groups = dw.reshape(HH, -1, F, stride, C)[:, ::-1]
    return groups.transpose(2, 4, 0, 1, 3).reshape(F, C, HH, -1)[..., :WW]
