"""Softmax loss by the logs of all probabilities, of which one-hot rows pick one."""

import numpy as np


def softmax_loss(x, y):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    hot = np.eye(x.shape[1], dtype=x.dtype)[y]
    return -(hot * np.log(p)).sum() / len(x), (p - hot) / len(x)
