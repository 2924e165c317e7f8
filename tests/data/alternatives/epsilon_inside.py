"""Update rules with epsilon inside the root."""

import numpy as np


def _filled(w, config, **defaults):
    config = {} if config is None else config
    for key, value in defaults.items():
        config.setdefault(key, np.zeros_like(w) if value is None else value)
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in config.items()}


def rmsprop(w, dw, config=None):
    config = _filled(
        w, config, learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8, cache=None
    )
    decay = config["decay_rate"]
    config["cache"] = decay * config["cache"] + (1 - decay) * dw * dw
    return w - config["learning_rate"] * dw / np.sqrt(config["cache"] + config["epsilon"]), config


def adagrad(w, dw, config=None):
    config = _filled(w, config, learning_rate=1e-2, epsilon=1e-8, cache=None)
    config["cache"] = config["cache"] + np.square(dw)
    return w - config["learning_rate"] * dw / np.sqrt(config["cache"] + config["epsilon"]), config


def adam(w, dw, config=None):
    config = _filled(
        w, config, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, m=None, v=None, t=0
    )
    config["t"] += 1
    config["m"] = config["beta1"] * config["m"] + (1 - config["beta1"]) * dw
    config["v"] = config["beta2"] * config["v"] + (1 - config["beta2"]) * dw**2
    m = config["m"] / (1 - config["beta1"] ** config["t"])
    v = config["v"] / (1 - config["beta2"] ** config["t"])
    return w - config["learning_rate"] * m / np.sqrt(v + config["epsilon"]), config
