"""One table of tolerances, and one comparison, for every check."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from grading.checks.case import OneOf
from grading.outcome import Finding
from grading.sealed.wire import Opaque

# Largest error allowed relative to the size of the answer, by dtype; values and gradients apart.
TOLERANCE = {
    ("float64", "value"): 1e-8,
    ("float64", "gradient"): 1e-7,
    ("float32", "value"): 1e-4,
    ("float32", "gradient"): 1e-3,
}
CHART_SIDE = 16  # the longest side of a chart of where an array is wrong
FLOOR = 1e-3  # answers smaller than this are compared by absolute error
UNIT_AXES_COUNT = ("out", "dx", "next_w", "scores")  # elsewhere (1, D) serves for (D,)


def compare(
    label: str, got: Any, want: Any, *, dtype: str, gradient: bool, case: str, edge: bool
) -> tuple[Finding, str]:
    """The finding on one answer, and a remark ('' where there is nothing to remark)."""
    place = {"label": label, "case": case, "edge": edge}
    results = [
        _compare(got, np.asarray(answer, dtype=np.float64), dtype, gradient, place)
        for answer in right_answers(want)
    ]
    best = min(results, key=lambda f: (not f.passed, f.error is None, f.error or 0.0))
    name = list(want.answers)[results.index(best)] if isinstance(want, OneOf) else ""
    told_apart = best.passed and not all(result.passed for result in results)
    return best, name if told_apart else ""


def right_answers(want: Any) -> list[Any]:
    """All the answers that are right."""
    return list(want.answers.values()) if isinstance(want, OneOf) else [want]


def relative_error(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got - want| / (|want| + rms(want)), entry by entry; NaN and inf become inf."""
    scale = max(math.sqrt((want**2).sum() / want.size) if want.size else 0.0, FLOOR)
    with np.errstate(all="ignore"):
        error = np.abs(got - want) / (np.abs(want) + scale)
    return np.where(np.isfinite(error), error, np.inf)


def chart(error: np.ndarray, tolerance: float) -> tuple[str, ...]:
    """The largest error at each place of the last two axes, a character a place; see `Finding`.

    Empty where every place is wrong, or where there are too few or too many to look at.
    """
    if error.ndim < 2 or max(error.shape[-2:]) > CHART_SIDE or min(error.shape[-2:]) < 2:
        return ()
    worst = error.reshape(-1, *error.shape[-2:]).max(axis=0)
    wrong = ~(worst <= tolerance)
    if wrong.all():
        return ()
    with np.errstate(all="ignore"):
        steps = np.nan_to_num(np.log10(worst / tolerance), nan=9, posinf=9, neginf=1)
    levels = np.clip(np.ceil(steps), 1, 9).astype(int)
    return tuple(
        "".join(str(n) if bad else "." for n, bad in zip(*row, strict=True))
        for row in zip(levels, wrong, strict=True)
    )


def _compare(
    got: Any, want: np.ndarray, dtype: str, gradient: bool, place: dict[str, Any]
) -> Finding:
    label = place["label"]
    tolerance = TOLERANCE[dtype, "gradient" if gradient else "value"]
    problem = wrong_kind(got, want.shape, dtype)
    if problem:
        return Finding(**place, passed=False, message=f"{label} {problem}")
    array = np.asarray(got)
    shape = tuple(array.shape)
    if shape != want.shape:
        unit_axes_differ = _squeezed(shape) == _squeezed(want.shape)
        if not unit_axes_differ or label in UNIT_AXES_COUNT:
            return Finding(
                **place,
                passed=False,
                shape=shape,
                message=f"{label} has shape {shape}; it must have shape {want.shape}, {dtype}",
            )
        array = array.reshape(want.shape)
    error = relative_error(array.astype(np.float64), want)
    worst = float(error.max()) if error.size else 0.0
    where = np.unravel_index(int(error.argmax()), error.shape) if error.size else ()
    found = {
        **place,
        "error": worst,
        "tolerance": tolerance,
        "where": tuple(int(i) for i in where),
        "shape": shape,
    }
    if not worst <= tolerance:
        coarse = TOLERANCE["float32", "gradient" if gradient else "value"]
        if array.dtype == np.float32 and dtype == "float64" and worst <= coarse:
            return Finding(**found, passed=False, message=_other_dtype(label, array, dtype))
        message, found["chart"] = _what_is_wrong(label, array, want, error, tolerance, dtype)
        return Finding(**found, passed=False, message=message)
    if want.ndim and array.dtype != dtype:
        return Finding(**found, passed=False, message=_other_dtype(label, array, dtype))
    return Finding(**found, passed=True)


def _other_dtype(label: str, array: np.ndarray, dtype: str) -> str:
    came = f"{label} has the right numbers, in {array.dtype}"
    return f"{came}; {dtype} goes in, so {dtype} must come out"


def _what_is_wrong(
    label: str,
    array: np.ndarray,
    want: np.ndarray,
    error: np.ndarray,
    tolerance: float,
    dtype: str,
) -> tuple[str, tuple[str, ...]]:
    """What to say of an array that is not right, and the chart of it."""
    if not np.all(np.isfinite(array)):
        bad = int(np.sum(~np.isfinite(array)))
        return (
            f"{label} holds NaN or infinity ({bad} of {array.size}); it must be finite {dtype}",
            (),
        )
    if not want.ndim and float(want).is_integer():
        return f"{label} is {array.item()}; it must be {int(want)}", ()
    if array.ndim and array.dtype.kind in "biu":
        return f"{label} is {array.dtype}, whole numbers alone; it must be {dtype}", ()
    wrong = float(np.mean(error > tolerance))
    share = "every entry" if wrong == 1 else f"{wrong:.0%} of the entries"
    if 0 < wrong < 0.005:
        share = "a few entries"
    message = f"{share} of {label} {'is' if wrong == 1 else 'are'} wrong"
    if error.size == 1:
        message = f"{label} is wrong"
    return message, chart(error, tolerance)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def kind_wanted(shape: tuple[int, ...], dtype: str) -> str:
    return f"must be an array of {dtype} of shape {shape}" if shape else "must be a number"


def wrong_kind(got: Any, shape: tuple[int, ...], dtype: str) -> str:
    """What is wrong with an answer that is no numeric array (or number) at all, or ''."""
    wanted = kind_wanted(shape, dtype)
    if got is None:
        return f"is None; it {wanted} (is a return missing?)"
    if isinstance(got, Opaque):
        return f"is of a kind that cannot be compared ({got.description}); it {wanted}"
    if isinstance(got, (str, dict)):
        return f"is a {type(got).__name__}; it {wanted}"
    if isinstance(got, (list, tuple)):
        return f"is a {type(got).__name__} of {len(got)}; it {wanted}"
    kind = np.asarray(got).dtype.kind
    if kind not in "biuf" and not np.ndim(got):
        inside = got.item() if isinstance(got, np.ndarray) else got
        named = "a complex number" if kind == "c" else f"of type {type(inside).__name__}"
        return f"is {named}; it {wanted}"
    if kind not in "biuf":
        of = {"c": "complex numbers", "O": "objects"}.get(kind, "something that is no number")
        return f"is an array of {of}; it {wanted}"
    return ""
