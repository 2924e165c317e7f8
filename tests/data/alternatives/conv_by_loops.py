"""Convolution a number at a time."""

import numpy as np


def conv_forward_naive(x, w, b, conv_param):
    S, P = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    out = np.zeros((N, F, 1 + (H + 2 * P - HH) // S, 1 + (W + 2 * P - WW) // S), dtype=x.dtype)
    padded = np.pad(x, [(0, 0), (0, 0), (P, P), (P, P)], mode="constant")
    for n, f, i, j in np.ndindex(*out.shape):
        seen = padded[n, :, i * S : i * S + HH, j * S : j * S + WW]
        out[n, f, i, j] = (seen * w[f]).sum() + b[f]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, b, conv_param = cache
    S, P = conv_param["stride"], conv_param["pad"]
    H, W = x.shape[2:]
    HH, WW = w.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), (P, P), (P, P)], mode="constant")
    dpadded, dw, db = np.zeros_like(padded), np.zeros_like(w), np.zeros_like(b)
    for n, f, i, j in np.ndindex(*dout.shape):
        place = (n, slice(None), slice(i * S, i * S + HH), slice(j * S, j * S + WW))
        dw[f] += dout[n, f, i, j] * padded[place]
        dpadded[place] += dout[n, f, i, j] * w[f]
        db[f] += dout[n, f, i, j]
    return dpadded[:, :, P : P + H, P : P + W], dw, db
