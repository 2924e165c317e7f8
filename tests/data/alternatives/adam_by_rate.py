"""Adam in the order at the end of Section 2 of the paper: the correction is in the rate."""

import numpy as np


def adam(w, dw, config=None):
    defaults = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "t": 0}
    config = {**defaults, "m": np.zeros_like(w), "v": np.zeros_like(w), **(config or {})}
    t, b1, b2 = config["t"] + 1, config["beta1"], config["beta2"]
    m, v = b1 * config["m"] + (1 - b1) * dw, b2 * config["v"] + (1 - b2) * dw**2
    rate = config["learning_rate"] * (1 - b2**t) ** 0.5 / (1 - b1**t)
    config.update(t=t, m=m, v=v)
    return w - rate * m / (np.sqrt(v) + config["epsilon"]), config
