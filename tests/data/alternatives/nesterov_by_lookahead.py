"""Nesterov's momentum in the form of the look-ahead: w + mu v - rate dw."""

import numpy as np


def nesterov(w, dw, config=None):
    config = {} if config is None else config
    rate, mu = float(config.get("learning_rate", 1e-2)), float(config.get("momentum", 0.9))
    v = mu * config.get("velocity", np.zeros_like(w)) - rate * dw
    config["velocity"] = v
    config.setdefault("momentum", mu)
    config.setdefault("learning_rate", rate)
    return w + mu * v - rate * dw, config
