"""Mistakes of dropout. Masks are random, so most are recognised by what they do to x."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from grading.checks.case import Case
from grading.checks.dropout import mask_problem
from grading.misconceptions.bank import Recogniser, known


def dropout(
    mask: Callable[..., np.ndarray] | None = None,
    back: Callable[..., np.ndarray] | None = None,
    test: Callable[..., np.ndarray] | None = None,
) -> dict[str, Callable[..., Any]]:
    """The functions of dropout by `mask(rng, shape, p)` and `back(dout, mask)`; else right."""
    mask, back = mask or right_mask, back or (lambda dout, mask: dout * mask)

    def forward(x: np.ndarray, param: dict[str, Any]) -> Any:
        if param["mode"] == "test":
            return (test(x, param["p"]) if test else x.copy()).astype(x.dtype), np.ones(x.shape)
        scale = mask(np.random.RandomState(param.get("seed")), x.shape, param["p"])
        return (x * scale).astype(x.dtype), scale

    def backward(dout: np.ndarray, cache: np.ndarray) -> np.ndarray:
        return back(dout, cache).astype(dout.dtype)

    return {"layers:dropout_forward": forward, "layers:dropout_backward": backward}


def right_mask(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    return (rng.random_sample(shape) < p) / p


def _swapped(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    return (rng.random_sample(shape) >= p) / (1 - p)


def _swapped_unscaled(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    return (rng.random_sample(shape) >= p) / p


def _unscaled(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    return 1.0 * (rng.random_sample(shape) < p)


def _twice(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    return (rng.random_sample(shape) < p) * p


def _one_seed(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    return right_mask(np.random.RandomState(0), shape, p)


def _seed_ignored(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    return right_mask(np.random.RandomState(), shape, p)


def _one_row(rng: np.random.RandomState, shape: tuple[int, ...], p: float) -> np.ndarray:
    row = right_mask(rng, shape[1:], p)
    while row.size > 1 and (row.all() or not row.any()):  # once in thousands: no mask to be seen
        row = right_mask(rng, shape[1:], p)
    return np.broadcast_to(row, shape)


def _drawn(case: Case, answers: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]] | None:
    """x and the parameters of a case that asks for one forward, if its answer can be read."""
    x, param = case.calls[0].args
    out = answers.get("out")
    readable = isinstance(out, np.ndarray) and out.shape == x.shape and out.dtype.kind == "f"
    return (x, param) if readable else None


def _kept(share: bool, scale: Callable[[float], float]) -> Recogniser:
    """Recognise a mask that keeps p (or, without `share`, 1 - p) and multiplies by scale(p)."""

    def seen(case: Case, answers: Mapping[str, Any]) -> bool:
        found = _drawn(case, answers)
        if found is None or found[1]["mode"] != "train":
            return False
        x, p = found[0], found[1]["p"]
        mask = np.float64(answers["out"]) / np.float64(x)
        kept, wanted = mask[mask != 0], p if share else 1 - p
        slack = 5 * np.sqrt(p * (1 - p) / x.size)
        if not kept.size or abs(kept.size / x.size - wanted) > slack or not mask_problem(
            answers["out"], x, p
        ):
            return False
        return bool(np.allclose(kept, scale(p), rtol=1e-5))

    return seen


def _same_rows(case: Case, answers: Mapping[str, Any]) -> bool:
    found = _drawn(case, answers)
    if found is None or found[1]["mode"] != "train":
        return False
    return "same mask in every example" in mask_problem(answers["out"], found[0], found[1]["p"])


def _test_scaled(case: Case, answers: Mapping[str, Any]) -> bool:
    found = _drawn(case, answers)
    if found is None or found[1]["mode"] != "test":
        return False
    return bool(np.allclose(answers["out"], found[0] * found[1]["p"], rtol=1e-8))


def _two_calls(same: bool, seeded: bool) -> Recogniser:
    """Recognise two calls whose masks are the same, or are not, at a seed or without one."""

    def seen(case: Case, answers: Mapping[str, Any]) -> bool:
        if "first" not in answers or ("seed" in case.calls[0].args[1]) != seeded:
            return False
        first, second = (np.float64(answers[name]) for name in ("first", "second"))
        masked = all(0 < np.count_nonzero(a) < a.size and np.isfinite(a).all()
                     for a in (first, second))  # fmt: skip
        return masked and bool(np.array_equal(first != 0, second != 0)) == same

    return seen


def _drawn_again(case: Case, answers: Mapping[str, Any]) -> bool:
    """dx is dout times a mask like that of the forward, but another one."""
    x, param = case.calls[0].args
    out, dx = answers.get("out"), answers.get("dx")
    if param["mode"] != "train" or np.shape(out) != x.shape or np.shape(dx) != x.shape:
        return False
    forward = np.float64(out) / x
    backward = np.float64(dx) / case.calls[1].args[0]
    kept = backward[backward != 0]
    if not kept.size or np.array_equal(forward != 0, backward != 0):
        return False
    return bool(np.allclose(kept, forward.max(), rtol=1e-5) and (backward == 0).any())


def _masked_in_test(case: Case, answers: Mapping[str, Any]) -> bool:
    """dx of test mode is dout with entries dropped, and the others scaled alike."""
    param, dout = case.calls[0].args[1], case.calls[1].args[0]
    dx = answers.get("dx")
    if param["mode"] != "test" or np.shape(dx) != dout.shape:
        return False
    mask = np.float64(dx) / dout
    kept = mask[mask != 0]
    return bool(0 < kept.size < mask.size and np.allclose(kept, kept[0]))


def _mask_kept_in_test() -> dict[str, Callable[..., Any]]:
    functions = dropout()
    forward = functions["layers:dropout_forward"]

    def run(x: np.ndarray, param: dict[str, Any]) -> Any:
        drawn = right_mask(np.random.RandomState(param.get("seed")), x.shape, param["p"])
        out, mask = forward(x, param)
        return out, drawn if param["mode"] == "test" else mask

    return {**functions, "layers:dropout_forward": run}


def _in_double() -> dict[str, Callable[..., Any]]:
    functions = dropout()
    forward = functions["layers:dropout_forward"]

    def run(x: np.ndarray, param: dict[str, Any]) -> Any:
        out, mask = forward(x, param)
        return out.astype(np.float64), mask

    return {**functions, "layers:dropout_forward": run}


def _double(case: Case, answers: Mapping[str, Any]) -> bool:
    found = _drawn(case, answers)
    if found is None or found[1]["mode"] != "train":
        return False
    return mask_problem(answers["out"], found[0], found[1]["p"]).startswith("out is float64")


known(
    "dropout: keep and drop exchanged",
    "p is the probability to KEEP an entry. The text that you read may call p the probability to "
    "drop one.",
    "dropout_forward",
    dropout(_swapped),
    seen=_kept(False, lambda p: 1 / (1 - p)),
)
known(
    "dropout: keep and drop exchanged, divided by p",
    "p is the probability to KEEP an entry; here that many are dropped.",
    "dropout_forward",
    dropout(_swapped_unscaled),
    seen=_kept(False, lambda p: 1 / p),
)
known(
    "dropout: not scaled",
    "What is kept has to make up for what is dropped, so that the expectation stays that of x.",
    "dropout_forward",
    dropout(_unscaled),
    seen=_kept(True, lambda p: 1.0),
)
known(
    "dropout: multiplied by p",
    "Dropping makes the sum smaller, and multiplying by p makes it smaller again: what is kept "
    "has to grow.",
    "dropout_forward",
    dropout(_twice),
    seen=_kept(True, lambda p: p),
)
known(
    "dropout: scaled in test mode",
    "Inverted dropout does its scaling in training, so that test mode is left as it is.",
    "dropout_forward",
    dropout(test=lambda x, p: x * p),
    seen=_test_scaled,
)
known(
    "dropout: one mask for all examples",
    "Each example drops units of its own; one mask for the whole batch drops the same in all.",
    "dropout_forward",
    dropout(_one_row),
    seen=_same_rows,
)
known(
    "dropout: raised to float64",
    "float32 goes in and float64 comes out, at twice the memory: the mask is float64, and so is "
    "its product with x.",
    "dropout_forward",
    _in_double(),
    seen=_double,
)
known(
    "dropout: one mask for ever",
    "Every call draws a new mask unless a seed is given; here each call draws the same one.",
    "dropout_forward",
    dropout(_one_seed),
    seen=_two_calls(same=True, seeded=False),
)
known(
    "dropout: seed ignored",
    "With a seed in dropout_param the mask must be the same in each call; a gradient check needs "
    "that.",
    "dropout_forward",
    dropout(_seed_ignored),
    seen=_two_calls(same=False, seeded=True),
)
known(
    "dropout: backward not scaled",
    "The forward divided what it kept by p, so the backward does too: it is the same mask.",
    "dropout_backward",
    dropout(back=lambda dout, mask: dout * (mask != 0)),
)
known(
    "dropout: backward without the mask",
    "What was dropped had no part in the output, so no gradient goes back to it.",
    "dropout_backward",
    dropout(back=lambda dout, mask: dout),
)
known(
    "dropout: backward scaled twice",
    "The mask has its 1/p already: the backward divides once more.",
    "dropout_backward",
    dropout(back=lambda dout, mask: dout * mask * mask),
)
known(
    "dropout: backward masked in test mode",
    "In test mode the forward drops nothing, so the gradient goes back as it is.",
    "dropout_backward",
    _mask_kept_in_test(),
    seen=_masked_in_test,
)
known(
    "dropout: mask drawn again in the backward",
    "The backward must use the very mask that the forward drew; a new one lets other entries "
    "through.",
    "dropout_backward",
    dropout(
        back=lambda dout, mask: dout * np.random.permutation(mask.ravel()).reshape(mask.shape)
    ),
    seen=_drawn_again,
)
