"""Checks of notebooks/Dropout.ipynb. Masks are random: they are derived, never compared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np

from grading import reference
from grading.checks import network
from grading.checks.case import Call, Case, Kept, Law, check
from grading.checks.layer import away_from_zero, size
from grading.checks.tolerance import TOLERANCE, compare, relative_error, wrong_kind

on_notebook = partial(check, notebook="Dropout")

MASK = 1e-5  # how far a scale may be off, relative to it: a mask in float32 is a mask


def _forward(x: np.ndarray, param: dict[str, Any], *names: str) -> Call:
    names = names or ("out", "cache")
    return Call("layers:dropout_forward", (x, param), returns=names, keep=(names[1],))


def mask_problem(out: Any, x: np.ndarray, p: float) -> str:
    """What keeps `out` from being inverted dropout of x at keep probability p, or ''."""
    problem = wrong_kind(out, x.shape, str(x.dtype))
    if problem:
        return f"out {problem}"
    if np.shape(out) != x.shape:
        return f"out has shape {np.shape(out)}; it must have shape {x.shape}"
    if not np.isfinite(out).all():
        return "out holds NaN or infinity"
    scale = np.float64(out) / np.float64(x)
    kept = scale != 0
    if kept.all():
        return "nothing was dropped"
    if not kept.any():
        return "everything was dropped"
    if np.ptp(scale[kept]) > 1e-3 * abs(scale[kept].max()):
        return "out is not x times a mask of one constant and zeros"
    if len(kept) > 1 and (kept == kept[:1]).all():
        return "out has the same mask in every example"
    factor, share, slack = scale[kept].mean(), kept.mean(), 5 * np.sqrt(p * (1 - p) / x.size)
    if abs(share - p) > slack:
        if abs(share - (1 - p)) <= slack:
            return "p is the probability to keep an entry; here it is used as that to drop one"
        return f"{share:.0%} of the entries are kept; the keep probability is {p:.0%}"
    if abs(factor * p - 1) > max(TOLERANCE[str(x.dtype), "value"], MASK):
        if abs(factor - 1) < 1e-6:
            return "what is kept is not scaled, so the expectation of out is p times that of x"
        return f"what is kept is scaled by {factor:.4g}, so the expectation of out is not x"
    if out.dtype != x.dtype:
        return f"out is {out.dtype}; {x.dtype} goes in, so {x.dtype} must come out"
    return ""


def _train_case(rng: np.random.Generator, label: str, x: np.ndarray, edge: bool = False) -> Case:
    p = float(rng.choice([0.25, 0.3, 0.7, 0.75]))
    law = Law("out", lambda answers: mask_problem(answers.get("out"), x, p))
    call = _forward(x, {"mode": "train", "p": p})
    return Case(label, [call], laws=[law], dtype=str(x.dtype), edge=edge)


@on_notebook(2)
def dropout_forward(rng: np.random.Generator) -> list[Case]:
    x = away_from_zero(rng, size(rng, 45, 55), size(rng, 60, 70))
    x4 = away_from_zero(rng, 6, 5, 9, 8)
    p = rng.uniform(0.3, 0.7)

    def differ(answers: Mapping[str, Any]) -> str:
        same = np.array_equal(answers["first"] != 0, answers["second"] != 0)
        return "two calls drew the same mask" if same else ""

    def agree(answers: Mapping[str, Any]) -> str:
        same = np.array_equal(answers["first"], answers["second"])
        return "" if same else "the same seed must give the same mask"

    def twice(param: dict[str, Any]) -> list[Call]:
        return [_forward(x, param, "first", "c1"), _forward(x, param, "second", "c2")]

    train = {"mode": "train", "p": p}
    return [
        _train_case(rng, "training", x),
        _train_case(rng, "training, another p", x[::-1].copy()),
        Case(
            "test mode changes nothing",
            [_forward(x, {"mode": "test", "p": p})],
            {"out": x},
        ),
        _train_case(rng, "images", x4, edge=True),
        Case("a new mask each time", twice(train), laws=[Law("mask", differ)], edge=True),
        Case("a seed", twice({**train, "seed": 7}), laws=[Law("mask", agree)], edge=True),
        _train_case(rng, "float32 in, float32 out", x.astype(np.float32), edge=True),
    ]


@on_notebook(2, forward="dropout_forward")
def dropout_backward(rng: np.random.Generator) -> list[Case]:
    def case(label: str, x: np.ndarray, edge: bool = False) -> Case:
        dout = away_from_zero(rng, *x.shape).astype(x.dtype)

        def broken(answers: Mapping[str, Any]) -> str:
            out = answers.get("out")
            if wrong_kind(out, x.shape, str(x.dtype)) or np.shape(out) != x.shape:
                return "dropout_forward gives no answer to derive the mask from"
            mask = np.float64(out) / np.float64(x)
            if not (mask == 0).any() or not (mask != 0).any():
                return "dropout_forward drops nothing, or everything: there is no mask to go back"
            finding, _ = compare(
                "dx",
                answers.get("dx"),
                dout * mask,
                dtype=str(x.dtype),
                gradient=True,
                case="",
                edge=False,
            )
            return finding.message

        back = Call("layers:dropout_backward", (dout, Kept("cache")), returns=("dx",))
        calls = [_forward(x, {"mode": "train", "p": 0.6}), back]
        return Case(label, calls, laws=[Law("dx", broken)], edge=edge)

    x = away_from_zero(rng, size(rng, 10, 15), 20)
    dout = rng.normal(size=x.shape)
    back = Call("layers:dropout_backward", (dout, Kept("cache")), returns=("dx",))
    test = Case(
        "test mode changes nothing",
        [_forward(x, {"mode": "test", "p": 0.6}), back],
        {"dx": dout},
        weights={"dx": 1.0},
        edge=True,
    )
    return [
        case("training", x),
        test,
        case("images", away_from_zero(rng, 3, 4, 5, 6), edge=True),
        case("float32 in, float32 out", x.astype(np.float32), edge=True),
    ]


def _network_case(
    rng: np.random.Generator, label: str, normalization: str | None = None, edge: bool = False
) -> Case:
    """A training step at a fixed seed, with the masks that the student's own dropout draws."""
    keep, seed, reg = float(rng.uniform(0.5, 0.8)), int(rng.integers(1, 1000)), 0.3 if edge else 0.0
    drawn = network.draw_network(rng, depth=2, normalization=normalization, width=(20, 30))
    dims, params, X, y = drawn.dims, drawn.params, drawn.X, drawn.y
    build = network.build(dims, normalization, reg, "float64", dropout_keep_ratio=keep, seed=seed)
    calls = [build, network.fill(params)]
    for i, width in enumerate(dims[1:-1], 1):
        shape = np.ones((len(X), width))
        call = Call("tool:dropout_of", (network.NET, shape), returns=(f"mask{i}",))
        calls.append(call)
    calls.append(Call(".loss", (X, y), of="net", returns=("loss", "grads")))

    def expected(answers: Mapping[str, Any]) -> tuple[float, dict[str, np.ndarray]] | str:
        masks = [answers.get(f"mask{i}") for i in range(1, len(dims) - 1)]
        for mask, width in zip(masks, dims[1:-1], strict=True):
            problem = mask_problem(mask, np.ones((len(X), width)), keep)
            if problem:
                return f"dropout_forward is not right yet: {problem}"

        return right(*(mask.tobytes() for mask in masks))

    @lru_cache(maxsize=2)  # the same seed draws the same masks for most of a class
    def right(*drawn_masks: bytes) -> tuple[float, dict[str, np.ndarray]]:
        masks = [np.frombuffer(mask).reshape(len(X), -1) for mask in drawn_masks]

        def scores(p: Any, x: Any) -> Any:
            return reference.fully_connected_scores(p, x, normalization, masks=masks)

        return reference.regularized_loss(scores, params, X, y, reg)

    def loss(answers: Mapping[str, Any]) -> str:
        wanted = expected(answers)
        if isinstance(wanted, str):
            return wanted
        error = relative_error(np.float64(answers["loss"]), np.float64(wanted[0])).max()
        if error <= TOLERANCE["float64", "value"]:
            return ""
        return "the loss is not that of affine - norm - relu - dropout at this seed"

    def grads(answers: Mapping[str, Any]) -> str:
        wanted = expected(answers)
        if isinstance(wanted, str):
            return wanted
        for name, want in wanted[1].items():
            if name not in answers["grads"]:
                return f"grads has no {name!r}"
            finding, _ = compare(
                f"grads[{name!r}]",
                answers["grads"][name],
                want,
                dtype="float64",
                gradient=True,
                case="",
                edge=False,
            )
            rounded = finding.error is not None and finding.tolerance < finding.error <= MASK
            if not finding.passed and not rounded:
                return finding.message
        return ""

    return Case(label, calls, laws=[Law("loss", loss), Law("grads", grads)], edge=edge)


def _test_case(rng: np.random.Generator) -> Case:
    """At test time dropout is the identity: the scores are those of the net without it."""
    drawn = network.draw_network(rng, depth=2, normalization=None)
    build = network.build(drawn.dims, None, 0.0, "float64", dropout_keep_ratio=0.5, seed=3)
    scores = reference.fully_connected_scores(
        {n: reference.tensor(p) for n, p in drawn.params.items()}, reference.tensor(drawn.X)
    )
    score = Call(".loss", (drawn.X,), of="net", returns=("scores",))
    return Case(
        "scores at test time",
        [build, network.fill(drawn.params), score],
        {"scores": scores.numpy()},
        weights={"scores": 0.5},
    )


@on_notebook(
    2,
    exercises=("FullyConnectedNet",),
    parts=(*network.PARTS, *network.BATCHNORM_PARTS, "dropout_forward", "dropout_backward"),
)
def FullyConnectedNet_dropout(rng: np.random.Generator) -> list[Case]:
    return [
        _network_case(rng, "a training step"),
        _test_case(rng),
        _network_case(rng, "a training step with batch norm", "batchnorm", edge=True),
    ]
