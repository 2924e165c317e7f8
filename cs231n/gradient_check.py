"""Numerical gradients by central differences, to hold an analytic gradient against."""

import numpy as np


def rel_error(x, y):
    """Largest relative error between two arrays: max |x - y| / max(1e-8, |x| + |y|)."""
    x, y = np.asarray(x), np.asarray(y)
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)))


def eval_numerical_gradient(f, x, verbose=True, h=1e-5):
    """Gradient of a function with one number as its value: (f(x + h) - f(x - h)) / 2h, per entry.

    - f: function of x that returns a float
    - x: float array of any shape; perturbed in place while f runs, and restored
    - verbose: print each entry's index and derivative
    - h: the step

    Returns an array of x's shape. Raises ValueError when x is not a float array, or when its
    precision does not hold the step.
    """
    _require_float(x)
    grad = np.zeros_like(x)
    for ix in np.ndindex(x.shape):
        above, below = _values_around(f, x, ix, h)
        grad[ix] = (above - below) / (2 * h)
        if verbose:
            print(ix, grad[ix])
    return grad


def eval_numerical_gradient_array(f, x, df, h=1e-5):
    """Gradient of sum(f(x) * df) with respect to x, for a function whose value is an array.

    - f: function of x that returns an array
    - x: float array of any shape; perturbed in place while f runs, and restored
    - df: upstream gradient, of the shape of f(x)
    - h: the step

    Returns an array of x's shape. Raises ValueError when x is not a float array, or when its
    precision does not hold the step.
    """
    _require_float(x)
    grad = np.zeros_like(x)
    for ix in np.ndindex(x.shape):
        above, below = _values_around(f, x, ix, h)
        grad[ix] = np.sum((above - below) * df) / (2 * h)
    return grad


def grad_check_sparse(f, x, analytic_grad, num_checks=10, h=1e-5):
    """Compare analytic_grad with central differences of f at num_checks random entries of x.

    Prints a line for each entry and returns the largest relative error among them. Raises
    ValueError when x is not a float array, or when its precision does not hold the step.
    """
    _require_float(x)
    rng = np.random.default_rng()
    worst = 0.0
    for _ in range(num_checks):
        ix = tuple(int(rng.integers(size)) for size in x.shape)
        above, below = _values_around(f, x, ix, h)
        numerical = float((above - below) / (2 * h))
        analytic = float(analytic_grad[ix])
        error = float(rel_error(numerical, analytic))
        worst = max(worst, error)
        print(f"numerical: {numerical:f} analytic: {analytic:f}, relative error: {error:e}")
    return worst


def _require_float(x):
    if not isinstance(x, np.ndarray) or not np.issubdtype(x.dtype, np.floating):
        raise ValueError("x must be a NumPy array of floats: steps of h would be lost otherwise")


def _values_around(f, x, ix, h):
    """f with x[ix] moved up by h, and with it moved down; x is restored even when f raises.

    Raises ValueError when rounding changes the step by more than a tenth.
    """
    old = x[ix]
    try:
        x[ix] = old + h
        if abs(float(x[ix]) - float(old) - h) > 0.1 * h:
            raise ValueError(
                f"a step of {h:g} is lost beside {old:g} in {x.dtype}: use x.astype(np.float64)"
            )
        above = np.array(f(x))  # a copy: f may return a view of x
        x[ix] = old - h
        below = np.array(f(x))
    finally:
        x[ix] = old
    return above, below
