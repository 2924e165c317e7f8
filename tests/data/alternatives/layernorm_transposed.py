"""Layer norm on the transposed rows, as batch norm would do it."""

import numpy as np


def layernorm_forward(x, gamma, beta, ln_param):
    columns = x.T
    mean, var = np.mean(columns, axis=0), np.var(columns, axis=0)
    std = (var + ln_param.get("eps", 1e-5)) ** 0.5
    hat = ((columns - mean) / std).T
    return hat * gamma + beta, [hat, gamma, columns, mean, std]


def layernorm_backward(dout, cache):
    hat, gamma, columns, mean, std = cache
    D = columns.shape[0]
    dhat = (dout * gamma).T
    dvar = np.sum(dhat * (columns - mean), axis=0) * -0.5 / std**3
    dmean = np.sum(-dhat / std, axis=0) + dvar * np.mean(-2 * (columns - mean), axis=0)
    dx = dhat / std + dvar * 2 * (columns - mean) / D + dmean / D
    return dx.T, np.sum(dout * hat, axis=0), np.sum(dout, axis=0)
