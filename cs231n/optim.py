"""Update rules: `rule(w, dw, config=None)` returns `(next_w, config)`.

w is a parameter of any shape, dw the gradient of the loss for it, and config a dictionary with
the rule's hyperparameters and its state, which the caller hands back at the next step. Entries
that are missing get their defaults; a default stands after the semicolon. A rule leaves w, dw and
the arrays in config as they are: it puts new arrays into config. float32 parameters stay float32.

Every rule raises ValueError when the shape of dw, or of an array in config, is not that of w.
"""

import numpy as np


def sgd(w, dw, config=None):
    """Stochastic gradient descent: w - learning_rate * dw.

    Robbins, Monro, "A Stochastic Approximation Method" (1951), Section 1.

    Config:
        learning_rate: step size; 1e-2.
    """
    config = _prepare(w, dw, config, learning_rate=1e-2)
    return w - config["learning_rate"] * dw, config


def sgd_momentum(w, dw, config=None):
    """Classical momentum: v = momentum * v - learning_rate * dw, then w + v.

    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
    learning" (2013), Section 2.

    Config:
        learning_rate: step size; 1e-2.
        momentum: share of the velocity that is kept; 0.9.
        velocity: the shape of w; zeros.
    """
    config = _prepare(w, dw, config, learning_rate=1e-2, momentum=0.9, velocity=np.zeros_like(w))
    raise NotImplementedError(
        "sgd_momentum: not written yet. "
        "Write it in cs231n/optim.py; "
        "notebooks/FullyConnectedNets.ipynb explains it."
    )


def nesterov(w, dw, config=None):
    """Nesterov momentum: the gradient is the one at the point that the velocity leads to.

    With w kept at that point, w = x + momentum * v for the parameters x of the paper:
    v_prev = v,  v = momentum * v - learning_rate * dw,
    then w - momentum * v_prev + (1 + momentum) * v.
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
    learning" (2013), Section 2.

    Config:
        learning_rate: step size; 1e-2.
        momentum: share of the velocity that is kept; 0.9.
        velocity: the shape of w; zeros.
    """
    config = _prepare(w, dw, config, learning_rate=1e-2, momentum=0.9, velocity=np.zeros_like(w))
    raise NotImplementedError(
        "nesterov: not written yet. "
        "Write it in cs231n/optim.py; "
        "notebooks/FullyConnectedNets.ipynb explains it."
    )


def adagrad(w, dw, config=None):
    """AdaGrad: s = s + dw^2, then w - learning_rate * dw / (sqrt(s) + epsilon).

    Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization" (2011), Section 1.1, in its diagonal form.

    Config:
        learning_rate: step size; 1e-2.
        epsilon: added to the root, against division by 0; 1e-8.
        cache: s, the shape of w; zeros.
    """
    config = _prepare(w, dw, config, learning_rate=1e-2, epsilon=1e-8, cache=np.zeros_like(w))
    raise NotImplementedError(
        "adagrad: not written yet. "
        "Write it in cs231n/optim.py; "
        "notebooks/FullyConnectedNets.ipynb explains it."
    )


def rmsprop(w, dw, config=None):
    """RMSProp: s = decay_rate * s + (1 - decay_rate) * dw^2, then as AdaGrad with that s.

    w - learning_rate * dw / (sqrt(s) + epsilon).
    Tieleman, Hinton, "Lecture 6.5 - RMSProp", COURSERA: Neural Networks for Machine Learning
    (2012).

    Config:
        learning_rate: step size; 1e-2.
        decay_rate: share of the mean square that is kept; 0.99.
        epsilon: added to the root, against division by 0; 1e-8.
        cache: s, the shape of w; zeros.
    """
    config = _prepare(
        w, dw, config, learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8, cache=np.zeros_like(w)
    )
    raise NotImplementedError(
        "rmsprop: not written yet. "
        "Write it in cs231n/optim.py; "
        "notebooks/FullyConnectedNets.ipynb explains it."
    )


def adam(w, dw, config=None):
    """Adam: momentum over RMSProp, both corrected for their start at 0.

    t = t + 1,  m = beta1 * m + (1 - beta1) * dw,  v = beta2 * v + (1 - beta2) * dw^2,
    m_hat = m / (1 - beta1^t),  v_hat = v / (1 - beta2^t),
    then w - learning_rate * m_hat / (sqrt(v_hat) + epsilon).
    Kingma, Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2, Algorithm 1.

    Config:
        learning_rate: step size; 1e-3.
        beta1: share of the mean gradient that is kept; 0.9.
        beta2: share of the mean square that is kept; 0.999.
        epsilon: added to the root, against division by 0; 1e-8.
        m, v: the shape of w; zeros.
        t: number of steps taken, counted up before it is used; 0.
    """
    config = _prepare(
        w,
        dw,
        config,
        learning_rate=1e-3,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        m=np.zeros_like(w),
        v=np.zeros_like(w),
        t=0,
    )
    raise NotImplementedError(
        "adam: not written yet. "
        "Write it in cs231n/optim.py; "
        "notebooks/FullyConnectedNets.ipynb explains it."
    )


def _prepare(w, dw, config, **defaults):
    """Return config with the defaults filled in; raise ValueError for a shape unlike w's."""
    if np.shape(dw) != np.shape(w):
        raise ValueError(f"dw: expected shape {np.shape(w)}, that of w, got {np.shape(dw)}")
    config = {} if config is None else config
    for key, default in defaults.items():
        value = config.setdefault(key, default)
        if isinstance(default, np.ndarray):
            if np.shape(value) != np.shape(w):
                raise ValueError(
                    f"config[{key!r}]: expected shape {np.shape(w)}, that of w, "
                    f"got {np.shape(value)}"
                )
        elif isinstance(value, np.generic):
            # A NumPy float64, as from np.logspace, would turn a float32 w into float64.
            config[key] = value.item()
    return config
