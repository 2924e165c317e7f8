"""Convolution and max pooling in NumPy without a loop over images or pixels.

Every function takes and returns what its naive namesake in layers.py does. The `_fast` ones cut
the batch into blocks that fit into a core's cache and share them among threads (fast_blocks.py).
"""

import numpy as np

from . import fast_columns, fast_rows
from .fast_blocks import copy_rows, in_blocks
from .im2col import col2im_indices, im2col_indices, output_size, receptive_fields


def conv_forward_fast(x, w, b, conv_param):
    """Convolution: x (N, C, H, W), w (F, C, HH, WW), b (F,) give out (N, F, H', W') and a cache.

    With conv_param["needs_dx"] False the backward leaves dx out: None, not a gradient. The first
    layer of a network can do without.
    Raises ValueError when shapes do not fit together, or the kernel into the padded images.
    """
    N, F, H_out, W_out = _convolved_shape(x, w, conv_param)
    _check_shape("b", b, (F,))
    _, C, HH, WW = w.shape
    out = np.empty((N, F, H_out, W_out), dtype=np.result_type(x, w))
    way = _way(w, conv_param)
    unrolled = C * WW if way is fast_rows else C * HH * WW
    bytes_per_image = max(unrolled * H_out * W_out, x[:1].size) * out.itemsize
    in_blocks(lambda blocks: way.forward(blocks, x, w, b, conv_param, out), N, bytes_per_image)
    return out, (x, w, conv_param)


def conv_backward_fast(dout, cache):
    """Gradients dx, dw, db of conv_forward_fast; dout (N, F, H', W').

    Raises ValueError when dout has another shape.
    """
    x, w, conv_param = cache
    _check_shape("dout", dout, _convolved_shape(x, w, conv_param))
    N, F, H_out, W_out = dout.shape
    _, C, HH, WW = w.shape
    needs_dx = conv_param.get("needs_dx", True)
    dx = np.empty(x.shape, dtype=np.result_type(dout, w)) if needs_dx else None
    way = _way(w, conv_param)
    unrolled = F * WW if way is fast_rows else C * HH * WW
    bytes_per_image = max(unrolled * H_out * W_out, x[:1].size) * dout.itemsize
    parts = in_blocks(
        lambda blocks: way.backward(blocks, dout, x, w, conv_param, dx), N, bytes_per_image
    )
    dw, db = (sum(part) for part in zip(*parts, strict=True))
    return dx, dw, db


def _way(w, conv_param):
    """The module that is faster, or that takes less memory: for many filters, or where windows
    overlap by less than half, so that columns are not much more than the image."""
    F, C, HH, WW = w.shape
    apart = 2 * conv_param["stride"] > max(HH, WW)
    return fast_columns if C < 16 or apart or F > C * HH else fast_rows


def conv_forward_im2col(x, w, b, conv_param):
    """conv_forward_fast by one matrix of columns (see im2col.py)."""
    N, F, H_out, W_out = _convolved_shape(x, w, conv_param)
    _check_shape("b", b, (F,))
    cols = im2col_indices(x, *w.shape[2:], conv_param["pad"], conv_param["stride"])
    out = w.reshape(F, -1) @ cols + b[:, None]  # cols (C * HH * WW, H' * W' * N)
    out = out.reshape(F, H_out, W_out, N)
    return np.ascontiguousarray(out.transpose(3, 0, 1, 2)), (x, w, b, conv_param, cols)


def conv_backward_im2col(dout, cache):
    """Gradients dx, dw, db of conv_forward_im2col; dout (N, F, H', W')."""
    x, w, _, conv_param, cols = cache
    _check_shape("dout", dout, _convolved_shape(x, w, conv_param))
    F, _, HH, WW = w.shape
    rows = dout.transpose(1, 2, 3, 0).reshape(F, -1)  # (F, H' * W' * N)
    dw = (rows @ cols.T).reshape(w.shape)
    dcols = w.reshape(F, -1).T @ rows
    dx = col2im_indices(dcols, x.shape, HH, WW, conv_param["pad"], conv_param["stride"])
    return dx, dw, dout.sum(axis=(0, 2, 3))


def conv_forward_strides(x, w, b, conv_param):
    """conv_forward_fast by one tensor product of sliding windows, which are views of x."""
    _, F, _, _ = _convolved_shape(x, w, conv_param)
    _check_shape("b", b, (F,))
    windows = receptive_fields(x, w.shape[2:], conv_param["stride"], conv_param["pad"])
    out = np.tensordot(windows, w, axes=((1, 4, 5), (1, 2, 3))) + b  # (N, H', W', F)
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2)), (x, w, conv_param)


def conv_backward_strides(dout, cache):
    """Gradients dx, dw, db of conv_forward_strides; dout (N, F, H', W')."""
    x, w, conv_param = cache
    _check_shape("dout", dout, _convolved_shape(x, w, conv_param))
    stride, pad = conv_param["stride"], conv_param["pad"]
    windows = receptive_fields(x, w.shape[2:], stride, pad)
    dw = np.tensordot(dout, windows, axes=((0, 2, 3), (0, 2, 3)))
    dcols = np.tensordot(w, dout, axes=(0, 1))  # (C, HH, WW, N, H', W')
    dcols = dcols.transpose(0, 1, 2, 4, 5, 3).reshape(w[0].size, -1)
    dx = col2im_indices(dcols, x.shape, *w.shape[2:], pad, stride)
    return dx, dw, dout.sum(axis=(0, 2, 3))


def max_pool_forward_fast(x, pool_param):
    """Max pooling: x (N, C, H, W) gives out (N, C, H', W') and a cache; windows may overlap.

    First the maxima along the rows, then of these along the columns.
    Raises ValueError when x has not four axes or the window does not fit into the images.
    """
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    _check_shape("x", x, ("N", "C", "H", "W"))
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

    in_blocks(forward, N, 2 * x.nbytes // max(N, 1))
    return out, (x.shape, pool_param, best_row, best_column)


def max_pool_backward_fast(dout, cache):
    """Gradient dx of max_pool_forward_fast: the first maximum of each window takes dout.

    Raises ValueError when dout has not the shape (N, C, H', W') of the output.
    """
    shape, pool_param, best_row, best_column = cache
    _check_shape("dout", dout, best_row.shape)
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    dx = np.empty(shape, dtype=dout.dtype)

    def backward(blocks):
        for block in blocks:
            dacross = np.empty(best_column[block].shape, dtype=dout.dtype)
            _give_back(dout[block], best_row[block], dacross, 2, HH, stride)
            _give_back(dacross, best_column[block], dx[block], 3, WW, stride)

    in_blocks(backward, shape[0], 2 * dx.nbytes // max(shape[0], 1))
    return dx


def _shifts(x, axis, window, stride):
    """Views of x: for each offset into a window, the entries there of all windows along axis."""
    positions = 1 + (x.shape[axis] - window) // stride
    before = (slice(None),) * axis
    return [x[(*before, slice(i, i + stride * positions, stride))] for i in range(window)]


def _first_maxima(candidates, out, winner):
    """Write the entrywise maxima into out, and which candidate is the first to reach them."""
    copy_rows(out, candidates[0])
    winner[...] = 0
    candidate = np.empty(out.shape, dtype=out.dtype)  # contiguous: much faster to compare
    for i, strided in enumerate(candidates[1:], start=1):
        copy_rows(candidate, strided)
        better = candidate > out
        np.maximum(winner, better * winner.dtype.type(i), out=winner)
        np.maximum(out, candidate, out=out)


def _give_back(dout, winner, dx, axis, window, stride):
    """Fill dx with dout where each winner stood, the transpose of taking the maxima along axis."""
    tiles = stride == window and dx.shape[axis] == window * dout.shape[axis]
    if not tiles:
        dx[...] = 0
    rest = dout
    for i, share in enumerate(_shifts(dx, axis, window, stride)):
        if i < window - 1:
            won = dout * (winner == i)
            rest = rest - won  # exact: won is dout or 0
        else:
            won = rest
        if tiles:
            copy_rows(share, won)
        else:
            share += won


def max_pool_forward_reshape(x, pool_param):
    """Max pooling for square windows that tile x (N, C, H, W) without gap or overlap.

    Raises ValueError when they do not.
    """
    _check_shape("x", x, ("N", "C", "H", "W"))
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
    _check_shape("dout", dout, best.shape)
    N, C, H_out, W_out = dout.shape
    size = shape[2] // H_out
    windows = np.zeros((*dout.shape, size * size), dtype=dout.dtype)
    np.put_along_axis(windows, best[..., None], dout[..., None], axis=4)
    tiled = windows.reshape(N, C, H_out, W_out, size, size)
    return tiled.transpose(0, 1, 2, 4, 3, 5).reshape(shape)


def max_pool_forward_im2col(x, pool_param):
    """max_pool_forward_fast by one matrix of columns (see im2col.py)."""
    HH, WW, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    _check_shape("x", x, ("N", "C", "H", "W"))
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
    H_out, W_out = output_size(H, HH, 0, stride), output_size(W, WW, 0, stride)
    _check_shape("dout", dout, (N, C, H_out, W_out))
    dcols = np.zeros((HH * WW, len(best)), dtype=dout.dtype)
    dcols[best, np.arange(len(best))] = dout.transpose(2, 3, 0, 1).ravel()
    return col2im_indices(dcols, (N * C, 1, H, W), HH, WW, 0, stride).reshape(N, C, H, W)


def _convolved_shape(x, w, conv_param):
    """Shape (N, F, H', W') of the output; raises ValueError when the arguments do not fit."""
    _check_shape("x", x, ("N", "C", "H", "W"))
    N, C, H, W = x.shape
    _check_shape("w", w, ("F", C, "HH", "WW"))
    F, _, HH, WW = w.shape
    pad, stride = conv_param["pad"], conv_param["stride"]
    return N, F, output_size(H, HH, pad, stride), output_size(W, WW, pad, stride)


def _check_shape(name, array, expected):
    """Raise ValueError, naming the argument, unless it has that shape; a letter is any size."""
    shape = np.shape(array)
    fits = len(shape) == len(expected) and all(
        isinstance(wanted, str) or wanted == size
        for wanted, size in zip(expected, shape, strict=True)
    )
    if not fits:
        wanted = str(tuple(expected)).replace("'", "")
        raise ValueError(f"{name}: expected shape {wanted}, got {shape}")
