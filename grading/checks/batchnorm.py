"""Checks of notebooks/BatchNorm.ipynb."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.checks import network
from grading.checks.case import Call, Case, Kept, check
from grading.checks.layer import Drawn, Layer, size

on_notebook = partial(check, notebook="BatchNorm")

GRADS = ("dx", "dgamma", "dbeta")
BATCHNORM = Layer(reference.batchnorm, "batchnorm_forward", "batchnorm_backward", GRADS)
BATCHNORM_TEST = Layer(reference.batchnorm_test, "batchnorm_forward", "batchnorm_backward", GRADS)
LAYERNORM = Layer(reference.layernorm, "layernorm_forward", "layernorm_backward", GRADS)


def _inputs(rng: np.random.Generator, N: int, D: int) -> dict[str, np.ndarray]:
    """Features of different centres and widths, so that no step can be left out unseen."""
    x = rng.uniform(-3, 3, size=D) + rng.uniform(0.5, 2, size=D) * rng.normal(size=(N, D))
    return {"x": x, "gamma": rng.uniform(0.5, 2, size=D), "beta": rng.normal(size=D)}


def _train_drawn(rng: np.random.Generator) -> list[Drawn]:
    def drawn(label: str, N: int, edge: bool = False, **param: Any) -> Drawn:
        inputs = _inputs(rng, N, size(rng, 5, 8, but=N))
        settings = {"eps": param["eps"]} if "eps" in param else {}
        return Drawn(label, inputs, settings, ({"mode": "train", **param},), edge)

    N = size(rng, 6, 9)
    rows = drawn("training", N)
    return [
        rows,
        drawn("training, a larger batch", 20),
        drawn("training, eps of 0.1", N, edge=True, eps=0.1),
        rows.as_float32(),
    ]


def running(
    x: np.ndarray, param: dict[str, Any], axes: tuple[int, ...] = (0,)
) -> dict[str, np.ndarray]:
    """The running statistics after a training step on x, as they must be written back."""
    momentum = param.get("momentum", 0.9)
    x64 = x.astype(np.float64)
    now = {"running_mean": x64.mean(axis=axes), "running_var": x64.var(axis=axes)}
    return {k: momentum * param.get(k, 0.0) + (1 - momentum) * v for k, v in now.items()}


def statistics(rng: np.random.Generator, D: int) -> dict[str, np.ndarray]:
    """Running statistics as an earlier training left them."""
    return {"running_mean": rng.normal(size=D), "running_var": rng.uniform(0.5, 3, size=D)}


def test_drawn(
    rng: np.random.Generator, inputs: dict[str, np.ndarray], edge: bool = False
) -> Drawn:
    """A question in test mode: given statistics, not those of the batch."""
    given = statistics(rng, inputs["gamma"].size)
    settings = {"mean": given["running_mean"], "var": given["running_var"]}
    return Drawn("test mode", inputs, settings, ({"mode": "test", **given},), edge)


@on_notebook(4)
def batchnorm_forward(rng: np.random.Generator) -> list[Case]:
    cases = []
    for drawn in _train_drawn(rng):
        after = running(drawn.inputs["x"], drawn.extra[0])
        cases.append(BATCHNORM.forward_case(drawn, after, "bn_param"))
    test = test_drawn(rng, _inputs(rng, 4, 6))
    unchanged = {k: v for k, v in test.extra[0].items() if k.startswith("running")}
    cases.insert(2, BATCHNORM_TEST.forward_case(test, unchanged, "bn_param"))
    inputs = _inputs(rng, 7, 5)
    param = {"mode": "train", "momentum": rng.uniform(0.3, 0.7), **statistics(rng, 5)}
    later = Drawn("training goes on from given statistics", inputs, {}, (param,), edge=True)
    cases.append(BATCHNORM.forward_case(later, running(inputs["x"], param), "bn_param"))
    return cases


TEST_MODE = (
    "In test mode mean and variance are constants, and dx = gamma * dout / sqrt(var + eps): yours "
    "is something else. Keep `mode` in the cache, and ask for it in the backward."
)


@on_notebook(4, forward="batchnorm_forward")
def batchnorm_backward(rng: np.random.Generator) -> list[Case]:
    cases = [BATCHNORM.backward_case(drawn, rng) for drawn in _train_drawn(rng)]
    test = BATCHNORM_TEST.backward_case(test_drawn(rng, _inputs(rng, 4, 6)), rng)
    return [*cases, replace(test, remark=TEST_MODE)]


@on_notebook(2, forward="batchnorm_forward")
def batchnorm_backward_alt(rng: np.random.Generator) -> list[Case]:
    return [
        BATCHNORM.backward_case(drawn, rng, "batchnorm_backward_alt")
        for drawn in _train_drawn(rng)
    ]


def _sandwich(norm: Any) -> Any:
    def definition(x: Any, w: Any, b: Any, gamma: Any, beta: Any) -> Any:
        return reference.relu(norm(reference.affine(x, w, b), gamma, beta))

    return definition


def _sandwich_cases(
    rng: np.random.Generator, name: str, norm: Any, param: dict[str, Any]
) -> list[Case]:
    grads = ("dx", "dw", "db", "dgamma", "dbeta")
    layer = Layer(_sandwich(norm), f"{name}_forward", f"{name}_backward", grads, "layer_utils")
    cases = []
    for label, shape in (("rows", (9,)), ("images", (3, 2, 2))):
        N, D = size(rng, 5, 8), size(rng, 5, 7)
        inputs = {
            "x": rng.normal(size=(N, *shape)),
            "w": rng.normal(size=(int(np.prod(shape)), D)),
            "b": rng.normal(size=D),
            "gamma": rng.uniform(0.5, 2, size=D),
            "beta": rng.normal(size=D),
        }
        edge = label == "images"
        forward = Drawn(f"forward, {label}", inputs, {}, (dict(param),), edge)
        backward = Drawn(f"backward, {label}", inputs, {}, (dict(param),), edge)
        cases += [layer.forward_case(forward), layer.backward_case(backward, rng)]
    return cases


_AFFINE_RELU = ("affine_forward", "affine_backward", "relu_forward", "relu_backward")


@on_notebook(
    1,
    exercises=("affine_bn_relu_forward", "affine_bn_relu_backward"),
    parts=(*_AFFINE_RELU, "batchnorm_forward", "batchnorm_backward", "batchnorm_backward_alt"),
)
def affine_bn_relu(rng: np.random.Generator) -> list[Case]:
    return _sandwich_cases(rng, "affine_bn_relu", reference.batchnorm, {"mode": "train"})


def _layernorm_drawn(rng: np.random.Generator) -> list[Drawn]:
    def drawn(label: str, N: int, edge: bool = False, **param: Any) -> Drawn:
        D = size(rng, 6, 9)
        inputs = _inputs(rng, N, D)
        inputs["x"] = inputs["x"] + rng.normal(scale=3, size=(N, 1))
        settings = {"eps": param["eps"]} if "eps" in param else {}
        return Drawn(label, inputs, settings, (param,), edge)

    rows = drawn("rows", size(rng, 3, 5))
    return [
        rows,
        drawn("more rows than features", 12),
        drawn("one row", 1, edge=True),
        drawn("eps of 0.1", 4, edge=True, eps=0.1),
        drawn("a mode that it does not need", 4, edge=True, mode="train"),
        rows.as_float32(),
    ]


@on_notebook(2)
def layernorm_forward(rng: np.random.Generator) -> list[Case]:
    cases = [LAYERNORM.forward_case(drawn) for drawn in _layernorm_drawn(rng)]
    return [*cases, _two_batches(rng)]


def _two_batches(rng: np.random.Generator) -> Case:
    """A network hands in one ln_param with every batch, whatever the batch's size."""
    first = Call(
        "layers:layernorm_forward",
        (*_inputs(rng, 5, 7).values(), {}),
        returns=("first", "cache"),
        keep=("first", "cache", "ln_param"),
        echo={"ln_param": 3},
    )
    label, inputs = "a second batch of another size", _inputs(rng, 3, 7)
    case = LAYERNORM.forward_case(Drawn(label, inputs, {}, (Kept("ln_param"),), edge=True))
    return replace(case, calls=[first, *case.calls])


@on_notebook(3, forward="layernorm_forward")
def layernorm_backward(rng: np.random.Generator) -> list[Case]:
    return [LAYERNORM.backward_case(drawn, rng) for drawn in _layernorm_drawn(rng)]


@on_notebook(
    1,
    exercises=("affine_ln_relu_forward", "affine_ln_relu_backward"),
    parts=(*_AFFINE_RELU, "layernorm_forward", "layernorm_backward"),
)
def affine_ln_relu(rng: np.random.Generator) -> list[Case]:
    return _sandwich_cases(rng, "affine_ln_relu", reference.layernorm, {})


_BN_PARTS = (*network.PARTS, *network.BATCHNORM_PARTS)


@on_notebook(2, exercises=("FullyConnectedNet",), parts=_BN_PARTS)
def FullyConnectedNet_batchnorm(rng: np.random.Generator) -> list[Case]:
    case = partial(network.fully_connected_case, rng, normalization="batchnorm")
    return [
        case("three layers", depth=2),
        case("three layers with regularisation", depth=2, reg=0.6),
        network.scores_case(rng, "scores at test time", 2, "batchnorm"),
        network.initial_case(rng, "initial parameters", 2, "batchnorm"),
        case("float32 in, float32 out", depth=1, reg=0.1, dtype="float32", edge=True),
    ]


_LN_PARTS = (
    *network.PARTS,
    "layernorm_forward",
    "layernorm_backward",
    "affine_ln_relu_forward",
    "affine_ln_relu_backward",
)


@on_notebook(1, exercises=("FullyConnectedNet",), parts=_LN_PARTS)
def FullyConnectedNet_layernorm(rng: np.random.Generator) -> list[Case]:
    case = partial(network.fully_connected_case, rng, normalization="layernorm")
    return [
        case("three layers", depth=2),
        case("three layers with regularisation", depth=2, reg=0.6),
        network.scores_case(rng, "scores at test time", 2, "layernorm"),
        network.initial_case(rng, "initial parameters", 2, "layernorm"),
    ]
