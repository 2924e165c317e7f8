"""Batch norm of images without the rows, with gradients of shape (1, C, 1, 1)."""

import numpy as np

AXES = (0, 2, 3)


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    gamma, beta = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)
    momentum, C = bn_param.get("momentum", 0.9), x.shape[1]
    if bn_param["mode"] == "test":
        mean, var = (bn_param[k].reshape(1, -1, 1, 1) for k in ("running_mean", "running_var"))
    else:
        mean, var = x.mean(axis=AXES, keepdims=True), x.var(axis=AXES, keepdims=True)
        for key, now in (("running_mean", mean), ("running_var", var)):
            old = bn_param.get(key, np.zeros(C, dtype=x.dtype))
            bn_param[key] = momentum * old + (1 - momentum) * now.ravel()
    std = np.sqrt(var + bn_param.get("eps", 1e-5))
    hat = (x - mean) / std
    return gamma * hat + beta, (hat, std, gamma)


def spatial_batchnorm_backward(dout, cache):
    hat, std, gamma = cache
    M = dout.size // dout.shape[1]
    dbeta = dout.sum(axis=AXES, keepdims=True)
    dgamma = (dout * hat).sum(axis=AXES, keepdims=True)
    return gamma / std * (dout - dbeta / M - hat * dgamma / M), dgamma, dbeta
