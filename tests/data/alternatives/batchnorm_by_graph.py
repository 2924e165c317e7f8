"""Batch norm as a graph of small steps; gradients and running statistics have shape (1, D)."""

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    D = x.shape[1]
    running_mean = bn_param.get("running_mean", np.zeros((1, D), dtype=x.dtype)).reshape(1, D)
    running_var = bn_param.get("running_var", np.zeros((1, D), dtype=x.dtype)).reshape(1, D)
    if bn_param["mode"] == "train":
        mu = np.mean(x, axis=0, keepdims=True)
        xmu = x - mu
        var = np.mean(xmu**2, axis=0, keepdims=True)
        running_mean = momentum * running_mean + (1 - momentum) * mu
        running_var = momentum * running_var + (1 - momentum) * var
    else:
        mu, var = running_mean, running_var
        xmu = x - mu
    bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    cache = dict(xhat=xhat, gamma=gamma, xmu=xmu, ivar=ivar, sqrtvar=sqrtvar, var=var, eps=eps)
    return xhat * gamma + beta, cache


def batchnorm_backward(dout, cache):
    N = dout.shape[0]
    dbeta = np.sum(dout, axis=0, keepdims=True)
    dgamma = np.sum(dout * cache["xhat"], axis=0, keepdims=True)
    dxhat = dout * cache["gamma"]
    divar = np.sum(dxhat * cache["xmu"], axis=0)
    dxmu1 = dxhat * cache["ivar"]
    dsqrtvar = -1.0 / cache["sqrtvar"] ** 2 * divar
    dvar = 0.5 / np.sqrt(cache["var"] + cache["eps"]) * dsqrtvar
    dsq = np.ones_like(dout) / N * dvar
    dxmu2 = 2 * cache["xmu"] * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -np.sum(dx1, axis=0)
    return dx1 + np.ones_like(dout) / N * dmu, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    N, xhat = dout.shape[0], cache["xhat"]
    inner = dout - dout.mean(axis=0) - xhat * np.einsum("nd,nd->d", dout, xhat) / N
    return cache["gamma"] * cache["ivar"] * inner, (dout * xhat).sum(axis=0), dout.sum(axis=0)
