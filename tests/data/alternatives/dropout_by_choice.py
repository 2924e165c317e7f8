"""Dropout with a boolean mask, scaled where it is used; the seed is NumPy's own."""

import numpy as np


def dropout_forward(x, dropout_param):
    p, mode = dropout_param["p"], dropout_param["mode"]
    if dropout_param.get("seed") is not None:
        np.random.seed(dropout_param["seed"])
    if mode == "test":
        return x, (dropout_param, None)
    mask = np.random.uniform(size=x.shape) < p
    return np.where(mask, x / p, 0).astype(x.dtype), (dropout_param, mask)


def dropout_backward(dout, cache):
    dropout_param, mask = cache
    if dropout_param["mode"] == "test":
        return dout
    return (dout * mask / dropout_param["p"]).astype(dout.dtype)
