"""Checks of notebooks/FullyConnectedNets.ipynb."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.checks import laws, network
from grading.checks.case import Call, Case, Law, OneOf, check
from grading.checks.layer import Drawn, Layer, away_from_zero, law_alone, size

on_notebook = partial(check, notebook="FullyConnectedNets")

AFFINE = Layer(reference.affine, "affine_forward", "affine_backward", ("dx", "dw", "db"))
RELU = Layer(reference.relu, "relu_forward", "relu_backward", ("dx",))


def _affine_drawn(rng: np.random.Generator) -> list[Drawn]:
    def drawn(label: str, N: int, shape: tuple[int, ...], edge: bool = False) -> Drawn:
        M = size(rng, 3, 6, but=N)
        inputs = {
            "x": rng.normal(size=(N, *shape)),
            "w": rng.normal(size=(int(np.prod(shape)), M)),
            "b": rng.normal(size=M),
        }
        return Drawn(label, inputs, edge=edge)

    rows = drawn("rows", size(rng, 2, 5), (size(rng, 6, 9),))
    images = drawn("images", size(rng, 2, 4), (3, size(rng, 2, 4), 5))
    return [rows, images, drawn("one row", 1, (7,), edge=True), rows.as_float32()]


@on_notebook(1)
def affine_forward(rng: np.random.Generator) -> list[Case]:
    return [AFFINE.forward_case(drawn) for drawn in _affine_drawn(rng)]


@on_notebook(2, forward="affine_forward")
def affine_backward(rng: np.random.Generator) -> list[Case]:
    return [AFFINE.backward_case(drawn, rng) for drawn in _affine_drawn(rng)]


def _relu_drawn(rng: np.random.Generator) -> list[Drawn]:
    rows = Drawn("rows", {"x": away_from_zero(rng, size(rng, 3, 5), size(rng, 6, 9))})
    images = Drawn("images", {"x": away_from_zero(rng, 2, 3, size(rng, 3, 5), 4)})
    far = Drawn("large and small values", {"x": 1e3 * away_from_zero(rng, 3, 8)}, edge=True)
    return [rows, images, far, rows.as_float32()]


@on_notebook(1)
def relu_forward(rng: np.random.Generator) -> list[Case]:
    return [RELU.forward_case(drawn) for drawn in _relu_drawn(rng)]


@on_notebook(1, forward="relu_forward")
def relu_backward(rng: np.random.Generator) -> list[Case]:
    return [*(RELU.backward_case(drawn, rng) for drawn in _relu_drawn(rng)), _zeros_case(rng)]


def _zeros_case(rng: np.random.Generator) -> Case:
    """At exactly 0 there is no derivative; 0 is taken, and any below 1 is let pass."""
    x = rng.integers(-2, 3, size=(4, size(rng, 6, 9))).astype(np.float64)
    x[0, :2] = 0
    case = RELU.backward_case(Drawn("inputs of exactly 0", {"x": x}, edge=True), rng)
    dout = case.own_forward.dout

    def open_at_zero(answers: Any) -> str:
        dx = answers.get("dx")
        if not isinstance(dx, np.ndarray) or dx.shape != x.shape:
            return "dx is no array of the shape of x"
        through = np.isclose(dx[x == 0], dout[x == 0], rtol=1e-6)
        return "dx has the gradient where x is exactly 0; 0 is taken there" if any(through) else ""

    return law_alone(case, Law("dx", open_at_zero))


def _softmax_case(
    label: str, scores: np.ndarray, y: np.ndarray, edge: bool = False
) -> Case:
    def loss(s: Any) -> Any:
        return reference.softmax_loss(s, y)

    def rows_sum_to_zero(answers: Any) -> str:
        dx = answers.get("dx")
        if not isinstance(dx, np.ndarray) or dx.shape != scores.shape:
            return "dx is no array of the scores' shape"
        worst = np.abs(dx.astype(np.float64).sum(axis=1)).max()
        # The same shift of a row's scores changes no probability, so each row of dx sums to 0.
        limit = 1e-6 if dx.dtype == np.float32 else 1e-12 * max(1, np.abs(scores).max() / 100)
        return "" if worst <= limit else "the rows of dx do not sum to 0"

    return Case(
        label=label,
        calls=[Call("layers:softmax_loss", (scores, y), returns=("loss", "dx"))],
        want={
            "loss": reference.value(loss, [scores]),
            "dx": reference.gradients(loss, [scores])[0],
        },
        laws=[Law("rows of dx sum to 0", rows_sum_to_zero, weight=0.0)],
        gradients=frozenset({"dx"}),
        dtype=str(scores.dtype),
        edge=edge,
    )


LOG_OF_ZERO = (
    "The loss is not that of the docstring where the scores of a row differ by 10,000: it takes "
    "the log of a probability that was rounded to 0. Take log p = s - log(sum(exp(s))), with s "
    "shifted by its row's maximum."
)
ONE_MAXIMUM = (
    "The loss is not that of the docstring where the rows differ by 10,000: exp of a whole row is "
    "rounded to 0. Shift each row by the maximum of its own."
)


def _loss_alone(scores: np.ndarray, y: np.ndarray, remark: str) -> Case:
    """Scores that many a published solution has no finite loss for: a remark, and no points."""
    case = _softmax_case("scores far apart", scores, y)
    return replace(
        case, want={"loss": case.want["loss"]}, laws=(), gradients=frozenset(), remark=remark
    )


@on_notebook(2)
def softmax_loss(rng: np.random.Generator) -> list[Case]:
    N, C = size(rng, 4, 7), size(rng, 8, 11)
    scores, y = rng.normal(scale=3, size=(N, C)), rng.integers(0, C, size=N)
    huge = 1e4 + rng.normal(scale=10, size=(N, C))
    huge[0, y[0]] -= 40  # a small probability: what is added to it shows
    # A shift by the least score is too little for the others, whose probability is not yet 0.
    huge[range(N), (y + 1) % C] = huge.max(axis=1) - 725
    apart, unlike = scores.copy(), scores.copy()
    apart[0, y[0]] -= 1e4
    unlike[0] -= 1e4
    return [
        _softmax_case("scores of usual size", scores, y),
        _softmax_case("three classes", scores[:, :3].copy(), y % 3),
        _softmax_case("scores near 10,000", huge, y, edge=True),
        _softmax_case("float32 in, float32 out", scores.astype(np.float32), y, edge=True),
        _loss_alone(apart, y, LOG_OF_ZERO),
        _loss_alone(unlike, y, ONE_MAXIMUM),
    ]


# Update rules -------------------------------------------------------------------------------------


def _rule_case(
    rule: str,
    label: str,
    w: np.ndarray,
    dw: np.ndarray,
    settings: dict[str, Any],
    config: dict[str, Any] | None,
    edge: bool = False,
) -> Case:
    """One step: `settings` are the rule's full settings, `config` what the student is given."""
    wide = {k: np.float64(v) if np.ndim(v) else v for k, v in settings.items()}
    want = getattr(reference, rule)(w.astype(np.float64), dw.astype(np.float64), **wide)
    next_w = want.pop("next_w")
    answers = OneOf(next_w) if isinstance(next_w, dict) else next_w
    return Case(
        label=label,
        calls=[
            Call(
                f"optim:{rule}",
                (w, dw) if config is None else (w, dw, config),
                returns=("next_w", "config"),
            )
        ],
        want={"next_w": answers},
        laws=laws.entries("config", want, str(w.dtype)),
        dtype=str(w.dtype),
        edge=edge,
    )


def _rule_cases(
    rng: np.random.Generator, rule: str, drawn: dict[str, Any]
) -> list[Case]:
    """A warm start, a later step with other settings, a cold start from the defaults, float32."""
    N, D = size(rng, 3, 5), size(rng, 6, 8)
    defaults = reference.RULE_DEFAULTS[rule]

    def state(positive: bool) -> np.ndarray:
        draw = rng.normal(scale=0.5, size=(N, D))
        return draw**2 + 0.01 if positive else draw

    def filled(settings: dict[str, Any]) -> dict[str, Any]:
        state_names = {"velocity": False, "cache": True, "m": False, "v": True}
        found = {k: state(positive) for k, positive in state_names.items() if k in settings}
        return {**settings, **found}

    w, dw = rng.normal(size=(N, D)), rng.normal(size=(N, D))
    states = ("velocity", "cache", "m", "v")
    cold = {k: np.zeros((N, D)) if k in states else v for k, v in defaults.items()}
    warm, other = filled(defaults), filled({**defaults, **drawn})
    given = {k: v for k, v in defaults.items() if k in ("learning_rate", "t")}
    single = {k: v.astype(np.float32) if np.ndim(v) else v for k, v in other.items()}
    cases = [
        _rule_case(rule, "with the state of earlier steps", w, dw, warm, dict(warm)),
        _rule_case(rule, "other settings", w, dw, other, dict(other)),
        _rule_case(rule, "first step, state from the defaults", w, dw, cold, given),
        _rule_case(
            rule,
            "float32 in, float32 out",
            np.float32(w),
            np.float32(dw),
            single,
            single,
            edge=True,
        ),
    ]
    if "epsilon" in defaults:
        squares = {k: np.full((N, D), 1e-6) for k in ("cache", "v") if k in defaults}
        tiny = {**filled(defaults), **squares}
        cases.append(_rule_case(rule, "tiny gradients", w, 1e-3 * dw, tiny, dict(tiny), edge=True))
    return cases


@on_notebook(1)
def sgd_momentum(rng: np.random.Generator) -> list[Case]:
    drawn = {"learning_rate": rng.uniform(0.05, 0.5), "momentum": rng.uniform(0.3, 0.7)}
    return _rule_cases(rng, "sgd_momentum", drawn)


@on_notebook(1)
def nesterov(rng: np.random.Generator) -> list[Case]:
    drawn = {"learning_rate": rng.uniform(0.05, 0.5), "momentum": rng.uniform(0.3, 0.7)}
    return _rule_cases(rng, "nesterov", drawn)


@on_notebook(1)
def adagrad(rng: np.random.Generator) -> list[Case]:
    return _rule_cases(rng, "adagrad", {"learning_rate": rng.uniform(0.05, 0.5)})


@on_notebook(1)
def rmsprop(rng: np.random.Generator) -> list[Case]:
    drawn = {"learning_rate": rng.uniform(0.05, 0.5), "decay_rate": rng.uniform(0.5, 0.9)}
    return _rule_cases(rng, "rmsprop", drawn)


@on_notebook(2)
def adam(rng: np.random.Generator) -> list[Case]:
    drawn = {
        "learning_rate": rng.uniform(0.05, 0.5),
        "beta1": rng.uniform(0.5, 0.8),
        "beta2": rng.uniform(0.8, 0.95),
        "t": int(rng.integers(3, 9)),
    }
    return _rule_cases(rng, "adam", drawn)


@on_notebook(5, parts=network.PARTS)
def FullyConnectedNet(rng: np.random.Generator) -> list[Case]:
    return [
        network.fully_connected_case(rng, "two layers", depth=1),
        network.fully_connected_case(rng, "four layers with regularisation", depth=3, reg=0.7),
        network.scores_case(rng, "scores at test time", depth=2),
        network.initial_case(rng, "initial parameters", depth=3),
        network.fully_connected_case(rng, "images in", depth=2, reg=0.1, images=True, edge=True),
        network.fully_connected_case(
            rng, "float32 in, float32 out", depth=2, reg=0.1, dtype="float32", edge=True
        ),
    ]
