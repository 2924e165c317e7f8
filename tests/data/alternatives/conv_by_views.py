"""Convolution and pooling by views of all windows; gradients by one einsum and by add.at."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _windows(x, height, width, stride):
    view = sliding_window_view(x, (height, width), axis=(2, 3))
    return view[:, :, ::stride, ::stride]


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    seen = _windows(padded, *w.shape[2:], stride)
    out = np.einsum("ncijkl,fckl->nfij", seen, w) + b.reshape(1, -1, 1, 1)
    return out, (x.shape, padded, w, stride, pad)


def conv_backward_naive(dout, cache):
    shape, padded, w, stride, pad = cache
    seen = _windows(padded, *w.shape[2:], stride)
    dw = np.einsum("nfij,ncijkl->fckl", dout, seen)
    dseen = np.einsum("nfij,fckl->ncijkl", dout, w)
    dpadded = np.zeros_like(padded)
    for k, l in np.ndindex(*w.shape[2:]):
        rows = slice(k, k + stride * dout.shape[2], stride)
        columns = slice(l, l + stride * dout.shape[3], stride)
        dpadded[:, :, rows, columns] += dseen[..., k, l]
    dx = dpadded[:, :, pad : pad + shape[2], pad : pad + shape[3]]
    return dx, dw, np.einsum("nfij->f", dout)


def max_pool_forward_naive(x, pool_param):
    height, width = pool_param["pool_height"], pool_param["pool_width"]
    seen = _windows(x, height, width, pool_param["stride"])
    flat = seen.reshape(*seen.shape[:4], -1)
    return flat.max(axis=-1), (x.shape, flat.argmax(axis=-1), pool_param)


def max_pool_backward_naive(dout, cache):
    shape, best, pool_param = cache
    stride, width = pool_param["stride"], pool_param["pool_width"]
    dx = np.zeros(shape, dtype=dout.dtype)
    n, c, i, j = np.indices(dout.shape)
    np.add.at(dx, (n, c, i * stride + best // width, j * stride + best % width), dout)
    return dx
