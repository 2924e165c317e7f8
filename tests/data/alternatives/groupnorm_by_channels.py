"""Group norm that takes gamma as (C,) alone, and gives its gradient so."""

import numpy as np


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    N, C, H, W = x.shape
    if gamma.shape != (C,):
        raise ValueError("gamma has one axis")
    groups = x.reshape(N, G, C // G, H, W)
    mean = groups.mean(axis=(2, 3, 4), keepdims=True)
    var = groups.var(axis=(2, 3, 4), keepdims=True)
    inverse = 1 / np.sqrt(var + gn_param.get("eps", 1e-5))
    hat = ((groups - mean) * inverse).reshape(x.shape)
    out = hat * gamma[:, None, None] + beta[:, None, None]
    return out, (hat, inverse, gamma, G)


def spatial_groupnorm_backward(dout, cache):
    hat, inverse, gamma, G = cache
    N, C, H, W = dout.shape
    dhat = (dout * gamma[:, None, None]).reshape(N, G, C // G, H, W)
    hats = hat.reshape(dhat.shape)
    axes, M = (2, 3, 4), C // G * H * W
    dx = inverse / M * (
        M * dhat
        - dhat.sum(axis=axes, keepdims=True)
        - hats * (dhat * hats).sum(axis=axes, keepdims=True)
    )
    return dx.reshape(dout.shape), np.einsum("nchw,nchw->c", dout, hat), dout.sum(axis=(0, 2, 3))
