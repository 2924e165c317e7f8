"""Affine layer and ReLU, a number at a time; db keeps a unit axis."""

import numpy as np


def affine_forward(x, w, b):
    out = np.zeros((x.shape[0], w.shape[1]), dtype=x.dtype)
    for n in range(x.shape[0]):
        row = x[n].ravel()
        for m in range(w.shape[1]):
            out[n, m] = np.sum(row * w[:, m]) + b[m]
    return out, (x, w, b)


def affine_backward(dout, cache):
    x, w, b = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n in range(x.shape[0]):
        for m in range(w.shape[1]):
            dx[n] += (dout[n, m] * w[:, m]).reshape(x[n].shape)
            dw[:, m] += dout[n, m] * x[n].ravel()
    return dx, dw, np.sum(dout, axis=0, keepdims=True)


def relu_forward(x):
    out = x.copy()
    out[out < 0] = 0
    return out, out


def relu_backward(dout, cache):
    return dout * (cache > 0)
