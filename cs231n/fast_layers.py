"""Convolution and max pooling in NumPy without a loop over images or pixels.

Every function takes and returns what its naive namesake in layers.py does.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .im2col import col2im_indices, im2col_indices, output_size


def conv_forward_fast(x, w, b, conv_param):
    """Convolution: x (N, C, H, W), w (F, C, HH, WW), b (F,) give out (N, F, H', W') and a cache."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    windows = _windows(_padded(x, pad), w.shape[2:], stride)
    out = np.tensordot(windows, w, axes=((1, 4, 5), (1, 2, 3))) + b  # (N, H', W', F)
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2)), (x, w, b, conv_param)


def conv_backward_fast(dout, cache):
    """Gradients dx, dw, db of conv_forward_fast; dout (N, F, H', W')."""
    x, w, _, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    windows = _windows(_padded(x, pad), w.shape[2:], stride)
    dw = np.tensordot(dout, windows, axes=((0, 2, 3), (0, 2, 3)))
    dcols = np.tensordot(w, dout, axes=(0, 1))  # (C, HH, WW, N, H', W')
    dcols = dcols.transpose(0, 1, 2, 4, 5, 3).reshape(w[0].size, -1)
    dx = col2im_indices(dcols, x.shape, *w.shape[2:], pad, stride)
    return dx, dw, dout.sum(axis=(0, 2, 3))


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


conv_forward_strides = conv_forward_fast
conv_backward_strides = conv_backward_fast


def max_pool_forward_fast(x, pool_param):
    """Max pooling: x (N, C, H, W) gives out (N, C, H', W') and a cache; windows may overlap."""
    shape = pool_param["pool_height"], pool_param["pool_width"]
    windows = _windows(x, shape, pool_param["stride"])
    return windows.max(axis=(4, 5)), (x, pool_param)


def max_pool_backward_fast(dout, cache):
    """Gradient dx of max_pool_forward_fast: the first maximum of each window takes dout."""
    x, pool_param = cache
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    out = _windows(x, (HH, WW), stride).max(axis=(4, 5))
    H_out, W_out = out.shape[2:]
    dx = np.zeros(x.shape, dtype=dout.dtype)
    waiting = np.ones(out.shape, dtype=bool)
    for i in range(HH):
        for j in range(WW):
            at = np.s_[:, :, i : i + stride * H_out : stride, j : j + stride * W_out : stride]
            first = (x[at] == out) & waiting
            dx[at] += np.where(first, dout, 0)
            waiting &= ~first
    return dx


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
    windows = x.reshape(N, C, H // size, size, W // size, size)
    return windows.max(axis=(3, 5)), (x, pool_param)


max_pool_backward_reshape = max_pool_backward_fast


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


def _padded(x, pad):
    return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))


def _windows(x, shape, stride):
    """View (N, C, H', W', HH, WW) of x (N, C, H, W)."""
    return sliding_window_view(x, shape, axis=(2, 3))[:, :, ::stride, ::stride]
