"""Convolution as one matrix product with whole receptive fields.

For images of few channels, and for windows that overlap by less than half. The fields are columns
of a matrix for each image, and the product is the output as it stands in memory. A kernel of 1x1 is
a case of this too: its columns are the images.
"""

import math

import numpy as np

from .fast_blocks import copy_rows, scratch
from .im2col import meeting


def forward(blocks, x, w, b, conv_param, out):
    """Fill out[block] for each block."""
    _, F, H_out, W_out = out.shape
    kernel = w.reshape(F, -1)
    for block in blocks:
        cols = _columns(x[block], w.shape[2:], (H_out, W_out), conv_param)
        y = out[block].reshape(len(cols), F, H_out * W_out)
        np.matmul(kernel, cols, out=y)
        y += b[:, None]


def backward(blocks, dout, x, w, conv_param, dx):
    """Fill dx[block] for each block, unless dx is None; returns the blocks' dw and db."""
    _, F, H_out, W_out = dout.shape
    kernel = w.reshape(F, -1)
    dw = np.zeros(kernel.T.shape, dtype=np.result_type(dout, x))
    db = np.zeros(F, dtype=dout.dtype)
    for block in blocks:
        y = dout[block].reshape(-1, F, H_out * W_out)
        db += y.sum(axis=(0, 2))
        cols = _columns(x[block], w.shape[2:], (H_out, W_out), conv_param)
        dw += _summed_products(cols, y)
        shape = cols.shape
        del cols  # those of dx take their place
        if dx is not None:
            dcols = scratch("cols", shape, np.result_type(dout, w))
            np.matmul(kernel.T, y, out=dcols)
            _add_up(dcols, w.shape[2:], (H_out, W_out), conv_param, dx[block])
    return dw.T.reshape(w.shape), db


def _summed_products(cols, y):
    """The sum over images of cols (n, K, L) times y (n, F, L) transposed: (K, F)."""
    (n, K, L), F = cols.shape, y.shape[1]
    if F > L:  # a product for each image would take more memory than its columns
        return np.tensordot(cols, y, axes=((0, 2), (0, 2)))
    products = scratch("products", (n, K, F), np.result_type(cols, y))
    return np.matmul(cols, y.transpose(0, 2, 1), out=products).sum(axis=0)


def _columns(x, field, positions, conv_param):
    """Receptive fields of x (n, C, H, W): (n, C * HH * WW, H' * W')."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    n, C, H, W = x.shape
    if field == (1, 1) and positions == (H, W) and not pad:
        return x.reshape(n, C, H * W)
    cols = scratch("cols", (n, C, *field, *positions), x.dtype)
    if pad:
        cols[...] = 0
    for i, (down, of_x) in enumerate(_meeting(field[0], positions[0], H, stride, pad)):
        for j, (right, across) in enumerate(_meeting(field[1], positions[1], W, stride, pad)):
            copy_rows(cols[:, :, i, j, down, right], x[:, :, of_x, across])
    return cols.reshape(n, C * math.prod(field), math.prod(positions))


def _add_up(dcols, field, positions, conv_param, dx):
    """Fill dx (n, C, H, W) from gradients of the columns: the transpose of _columns."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    n, C, H, W = dx.shape
    fields = dcols.reshape(n, C, *field, *positions)
    dx[...] = 0
    for i, (down, of_x) in enumerate(_meeting(field[0], positions[0], H, stride, pad)):
        for j, (right, across) in enumerate(_meeting(field[1], positions[1], W, stride, pad)):
            dx[:, :, of_x, across] += fields[:, :, i, j, down, right]


def _meeting(field, positions, size, stride, pad):
    """For each offset into a field: the positions where it is in the image, and where there."""
    for offset in range(-pad, field - pad):
        phase, of_x, of_out = meeting(offset, stride, size, positions)
        yield of_out, slice(of_x.start * stride + phase, of_x.stop * stride + phase, stride)
