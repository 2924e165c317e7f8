"""Dropout with a mask that is float32 whatever x is: 1 / p is rounded in it."""

import numpy as np


def dropout_forward(x, dropout_param):
    p, mode = dropout_param["p"], dropout_param["mode"]
    if mode == "test":
        return x, None
    rng = np.random.RandomState(dropout_param.get("seed"))
    mask = ((rng.rand(*x.shape) < p) / p).astype(np.float32)
    return x * mask, mask


def dropout_backward(dout, mask):
    return dout if mask is None else dout * mask
