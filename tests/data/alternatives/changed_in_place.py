"""Right answers from functions that write into their arguments."""

import numpy as np


def relu_backward(dout, cache):
    dout[cache <= 0] = 0
    return dout


def softmax_loss(x, y):
    x -= x.max(axis=1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    with np.errstate(divide="ignore"):
        loss = -np.log(x[rows, y]).mean()
    x[rows, y] -= 1
    x /= len(y)
    return loss, x


def sgd_momentum(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("momentum", 0.9)
    v = config.get("velocity", np.zeros_like(w))
    v *= config["momentum"]
    dw *= w.dtype.type(config["learning_rate"])
    v -= dw
    w += v
    config["velocity"] = v
    return w, config
