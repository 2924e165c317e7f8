"""Convolution as one matrix product with whole receptive fields, for images of few channels.

The fields are columns of a matrix for each image, and the product is the output as it stands in
memory. A kernel of 1x1 is a case of this too: its columns are the images.
"""

import numpy as np

from .fast_blocks import copy_rows, scratch
from .im2col import receptive_fields


def forward(blocks, x, w, b, conv_param, out):
    """Fill out[block] for each block."""
    _, F, H_out, W_out = out.shape
    kernel = w.reshape(F, -1)
    for block in blocks:
        cols = _columns(x[block], w.shape[2:], conv_param)
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
        images = zip(_columns(x[block], w.shape[2:], conv_param), y, strict=True)
        dw += sum(cols @ y_of_image.T for cols, y_of_image in images)
        if dx is not None:  # its columns take the place of those of x
            shape = len(y), kernel.shape[1], H_out * W_out
            dcols = scratch("cols", shape, np.result_type(dout, w))
            np.matmul(kernel.T, y, out=dcols)
            _add_up(dcols, w.shape[2:], dout.shape[2:], conv_param, dx[block])
    return dw.T.reshape(w.shape), db


def _columns(x, field, conv_param):
    """Receptive fields of x (n, C, H, W): (n, C * HH * WW, H' * W')."""
    fields = receptive_fields(x, field, conv_param["stride"], conv_param["pad"])
    fields = fields.transpose(0, 1, 4, 5, 2, 3)  # (n, C, HH, WW, H', W')
    if field != (1, 1):
        cols = scratch("cols", fields.shape, x.dtype)
        copy_rows(cols, fields)
        fields = cols
    n, C, HH, WW, H_out, W_out = fields.shape
    return fields.reshape(n, C * HH * WW, H_out * W_out)


def _add_up(dcols, field, positions, conv_param, dx):
    """Fill dx (n, C, H, W) from gradients of the columns: the transpose of _columns."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    n, C, H, W = dx.shape
    (HH, WW), (H_out, W_out) = field, positions
    fields = dcols.reshape(n, C, HH, WW, H_out, W_out)
    padded = np.zeros((n, C, H + 2 * pad, W + 2 * pad), dtype=dx.dtype)
    for i in range(HH):
        for j in range(WW):
            down = slice(i, i + stride * H_out, stride)
            right = slice(j, j + stride * W_out, stride)
            padded[:, :, down, right] += fields[:, :, i, j]
    dx[...] = padded[:, :, pad : pad + H, pad : pad + W]
