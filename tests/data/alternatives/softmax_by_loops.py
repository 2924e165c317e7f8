"""Softmax an example at a time."""

import numpy as np


def softmax_loss(x, y):
    loss, dx = 0.0, np.zeros_like(x)
    for i, scores in enumerate(x):
        scores = scores - scores.max()
        total = np.sum(np.exp(scores))
        loss += np.log(total) - scores[y[i]]
        for k in range(len(scores)):
            dx[i, k] = np.exp(scores[k]) / total - (k == y[i])
    return loss / len(x), dx / len(x)
