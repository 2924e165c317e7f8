"""What is plain to see of a wrong array beside the right one, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

NEAR = 1e-6


def in_words(got: Any, want: Any) -> str:
    """How `got` comes from the right array by one simple change, or ''."""
    try:
        got, want = np.float64(got), np.float64(want)
    except (TypeError, ValueError):
        return ""
    if not got.size or not want.size or not np.isfinite(want).all():
        return ""
    if got.shape != want.shape:
        return _other_shape(got, want)
    if not np.isfinite(got).all() or np.allclose(want, 0) or _near(got, want):
        return ""
    if not got.any() and got.size > 1:
        return "is 0 everywhere"
    factor = float((got * want).sum() / (want**2).sum())
    if _near(got, factor * want) and abs(factor - 1) > NEAR:
        return _factor(factor, want)
    if _near(got, -np.abs(want)) or _near(got, np.abs(want)):
        return "has the right magnitudes, but the signs are lost"
    if got.ndim == 2 and got.shape[0] == got.shape[1] and _near(got, want.T):
        return "is the right answer transposed"
    return _slice(got, want)


def _near(got: np.ndarray, want: np.ndarray) -> bool:
    scale = float(np.sqrt(np.mean(want**2))) or 1.0
    return bool(np.all(np.abs(got - want) <= NEAR * (np.abs(want) + scale)))


def _other_shape(got: np.ndarray, want: np.ndarray) -> str:
    if got.size != want.size:
        return ""
    if got.shape == want.T.shape and _near(got, want.T):
        return "is the right answer transposed"
    if _near(got.ravel(), want.ravel()):
        return "holds the right numbers in the wrong shape"
    if _near(np.sort(got.ravel()), np.sort(want.ravel())):
        return "holds the right numbers in the wrong shape and order"
    return ""


def _factor(factor: float, want: np.ndarray) -> str:
    if abs(factor + 1) < NEAR:
        return "has the wrong sign, and is right but for that"
    for value, how in ((2.0, "twice"), (0.5, "half")):
        if abs(factor / value - 1) < NEAR:
            return f"is {how} the right answer"
    if want.size < 3:
        return ""  # two numbers always differ by some factor
    for axis, length in enumerate(want.shape):
        for value, how in ((length, "times"), (1 / length, "divided by")):
            if length > 2 and abs(abs(factor) / value - 1) < NEAR:
                sign = " and with the wrong sign" if factor < 0 else ""
                return f"is the right answer {how} the length of its axis {axis}{sign}"
    return "is the right answer but for a constant factor"


def _slice(got: np.ndarray, want: np.ndarray) -> str:
    scale = float(np.sqrt(np.mean(want**2)))
    wrong = np.abs(got - want) > NEAR * (np.abs(want) + scale)
    for axis in range(wrong.ndim):
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        at = np.flatnonzero(wrong.any(axis=others))
        if len(at) == 1 and wrong.shape[axis] > 2:
            place = {0: "first", wrong.shape[axis] - 1: "last"}.get(int(at[0]))
            if place:
                return f"is right but for the {place} entry along axis {axis}"
    if wrong.ndim == 4 and min(wrong.shape[2:]) > 2 and not wrong[:, :, 1:-1, 1:-1].any():
        return "is right inside each image and wrong along its border"
    return ""
