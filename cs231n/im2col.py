"""Convolution as one matrix product: receptive fields as columns, and back."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def output_size(size, field, padding, stride):
    """Positions that a field takes along one axis: 1 + (size + 2 * padding - field) // stride.

    Raises ValueError when the field does not fit.
    """
    if field < 1 or stride < 1 or padding < 0:
        raise ValueError(
            "window and stride must be at least 1 and pad at least 0, but are "
            f"{field}, {stride} and {padding}"
        )
    if field > size + 2 * padding:
        raise ValueError(f"a window of {field} does not fit in {size} with padding {padding}")
    return 1 + (size + 2 * padding - field) // stride


def meeting(offset, stride, H, H_out):
    """Where row r of out meets row r * stride + offset of x, of H_out rows and H rows.

    Returns the phase and a slice, which stand for the rows phase + stride * i of x with i in the
    slice, and the slice of the rows of out.
    """
    shift, phase = divmod(offset, stride)
    start = max(0, -shift)
    stop = max(start, min(H_out, len(range(phase, H, stride)) - shift))
    return phase, slice(start + shift, stop + shift), slice(start, stop)


def receptive_fields(x, field, stride, pad):
    """View (N, C, H', W', HH, WW) of x (N, C, H, W) after padding with zeros; field is (HH, WW)."""
    if pad:
        N, C, H, W = x.shape
        padded = np.zeros((N, C, H + 2 * pad, W + 2 * pad), dtype=x.dtype)
        padded[:, :, pad : pad + H, pad : pad + W] = x
        x = padded
    return sliding_window_view(x, field, axis=(2, 3))[:, :, ::stride, ::stride]


def get_im2col_indices(x_shape, field_height, field_width, padding=1, stride=1):
    """Indices (k, i, j) into the padded images: x_padded[:, k, i, j] holds the receptive fields.

    - x_shape: (N, C, H, W)

    Returns k (C * field_height * field_width, 1) and i, j
    (C * field_height * field_width, out_height * out_width).
    """
    _, C, H, W = x_shape
    out_height = output_size(H, field_height, padding, stride)
    out_width = output_size(W, field_width, padding, stride)
    k, i, j = np.indices((C, field_height, field_width)).reshape(3, -1, 1)
    top, left = stride * np.indices((out_height, out_width)).reshape(2, 1, -1)
    return k, i + top, j + left


def im2col_indices(x, field_height, field_width, padding=1, stride=1):
    """Columns of receptive fields of x (N, C, H, W).

    Returns (C * field_height * field_width, out_height * out_width * N); the image's index
    changes fastest along the columns.
    """
    k, i, j = get_im2col_indices(x.shape, field_height, field_width, padding, stride)
    x_padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    cols = x_padded[:, k, i, j]  # (N, C * field_height * field_width, out_height * out_width)
    return cols.transpose(1, 2, 0).reshape(k.shape[0], -1)


def col2im_indices(cols, x_shape, field_height=3, field_width=3, padding=1, stride=1):
    """Add columns in the layout of im2col_indices back into images of x_shape (N, C, H, W).

    Where fields overlap their entries are summed, so this is the transpose of im2col_indices.
    """
    N, C, H, W = x_shape
    out_height = output_size(H, field_height, padding, stride)
    out_width = output_size(W, field_width, padding, stride)
    fields = cols.reshape(C, field_height, field_width, out_height, out_width, N)
    x_padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), dtype=cols.dtype)
    for i in range(field_height):
        for j in range(field_width):
            rows = slice(i, i + stride * out_height, stride)
            columns = slice(j, j + stride * out_width, stride)
            x_padded[:, :, rows, columns] += fields[:, i, j].transpose(3, 0, 1, 2)
    return x_padded[:, :, padding : padding + H, padding : padding + W]
