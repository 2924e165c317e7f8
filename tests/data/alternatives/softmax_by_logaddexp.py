"""Softmax loss by logaddexp, which rounds scores of 10,000 in their twelfth digit."""

import numpy as np


def softmax_loss(x, y):
    rows = np.arange(len(x))
    log_p = x - np.logaddexp.reduce(x, axis=1)[:, None]
    dx = np.exp(log_p)
    dx[rows, y] -= 1
    return -log_p[rows, y].mean(), dx / len(x)
