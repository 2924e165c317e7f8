"""Checks of notebooks/ConvNets.ipynb."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.checks import laws, network
from grading.checks.batchnorm import running, statistics, test_drawn
from grading.checks.case import Call, Case, Law, check
from grading.checks.layer import Drawn, Layer, distinct, law_alone, size

on_notebook = partial(check, notebook="ConvNets")

GRADS = ("dx", "dgamma", "dbeta")
CONV = Layer(reference.conv, "conv_forward_naive", "conv_backward_naive", ("dx", "dw", "db"))
POOL = Layer(reference.max_pool, "max_pool_forward_naive", "max_pool_backward_naive", ("dx",))


def _conv_drawn(rng: np.random.Generator) -> list[Drawn]:
    def drawn(
        label: str,
        image: tuple[int, int],
        window: tuple[int, int],
        stride: int,
        pad: int,
        edge: bool = False,
    ) -> Drawn:
        N, C, F = size(rng, 2, 3), 3, size(rng, 4, 5)
        inputs = {
            "x": rng.normal(size=(N, C, *image)),
            "w": rng.normal(size=(F, C, *window)),
            "b": rng.normal(size=F),
        }
        param = {"stride": stride, "pad": pad}
        return Drawn(label, inputs, param, (dict(param),), edge)

    same = drawn("3 x 3, stride 1, padding 1", (5, 5), (3, 3), 1, 1)
    return [
        same,
        drawn("4 x 4, stride 2, padding 1", (6, 6), (4, 4), 2, 1),
        drawn("no padding", (5, 5), (3, 3), 1, 0, edge=True),
        drawn("image and filter not square", (5, 8), (3, 2), 1, 1, edge=True),
        drawn("stride 3, padding 2", (7, 7), (5, 5), 3, 2, edge=True),
        drawn("windows that do not tile", (6, 7), (3, 3), 2, 0, edge=True),
        same.as_float32(),
    ]


@on_notebook(3)
def conv_forward_naive(rng: np.random.Generator) -> list[Case]:
    return [CONV.forward_case(drawn) for drawn in _conv_drawn(rng)]


@on_notebook(4, forward="conv_forward_naive")
def conv_backward_naive(rng: np.random.Generator) -> list[Case]:
    return [CONV.backward_case(drawn, rng) for drawn in _conv_drawn(rng)]


def _pool_drawn(rng: np.random.Generator) -> list[Drawn]:
    def drawn(
        label: str,
        image: tuple[int, int],
        window: tuple[int, int],
        stride: int,
        edge: bool = False,
    ) -> Drawn:
        x = distinct(rng, size(rng, 2, 3), size(rng, 2, 4), *image)
        param = {"pool_height": window[0], "pool_width": window[1], "stride": stride}
        return Drawn(label, {"x": x}, param, (dict(param),), edge)

    tiles = drawn("2 x 2, stride 2", (6, 6), (2, 2), 2)
    return [
        tiles,
        drawn("3 x 3, stride 3", (9, 9), (3, 3), 3),
        drawn("windows that overlap", (7, 7), (3, 3), 2, edge=True),
        drawn("windows that do not tile", (5, 7), (2, 2), 2, edge=True),
        drawn("window not square", (6, 8), (3, 2), 2, edge=True),
        tiles.as_float32(),
    ]


@on_notebook(2)
def max_pool_forward_naive(rng: np.random.Generator) -> list[Case]:
    return [POOL.forward_case(drawn) for drawn in _pool_drawn(rng)]


@on_notebook(2, forward="max_pool_forward_naive")
def max_pool_backward_naive(rng: np.random.Generator) -> list[Case]:
    return [*(POOL.backward_case(drawn, rng) for drawn in _pool_drawn(rng)), _ties_case(rng)]


def _ties_case(rng: np.random.Generator) -> Case:
    """Of equal maxima any may take the gradient, or all a share of it; none of it is doubled."""
    x = rng.integers(0, 3, size=(2, 3, 6, 4)).astype(np.float64)
    x[:, :, :2, :2] = 3
    param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    case = POOL.backward_case(Drawn("equal maxima", {"x": x}, param, (param,), edge=True), rng)
    dout = case.own_forward.dout

    def doubled(answers: Any) -> str:
        dx = answers.get("dx")
        if not isinstance(dx, np.ndarray) or dx.shape != x.shape:
            return "dx is no array of the shape of x"
        handed_on = dx.reshape(2, 3, 3, 2, 2, 2).sum(axis=(3, 5))  # by window, as dout
        right = np.allclose(handed_on, dout, rtol=1e-6, atol=1e-9)
        return "" if right else "dx of a window with equal maxima does not sum to its dout"

    return law_alone(case, Law("dx", doubled))


# The three-layer network ------------------------------------------------------------------------


def _conv_params(rng: np.random.Generator, dtype: str) -> dict[str, np.ndarray]:
    C, H, W, F, k, hidden, classes = 3, 6, 8, 4, 3, 7, 5
    flat = F * (H // 2) * (W // 2)
    params = {
        "W1": rng.normal(size=(F, C, k, k)) / np.sqrt(C * k * k),
        "b1": rng.normal(scale=0.3, size=F),
        "W2": rng.normal(size=(flat, hidden)) / np.sqrt(flat),
        "b2": rng.normal(scale=0.3, size=hidden),
        "W3": rng.normal(size=(hidden, classes)) / np.sqrt(hidden),
        "b3": rng.normal(scale=0.3, size=classes),
    }
    return {name: array.astype(dtype) for name, array in params.items()}


def _conv_build(dtype: str = "float64", **settings: Any) -> Call:
    shape = {"input_dim": (3, 6, 8), "num_filters": 4, "filter_size": 3, "hidden_dim": 7}
    return Call(
        "classifiers.cnn:ThreeLayerConvNet",
        kwargs={**shape, "num_classes": 5, "dtype": dtype, **settings},
        returns=("net",),
        keep=("net",),
    )


def _conv_net_case(
    rng: np.random.Generator, label: str, reg: float, dtype: str = "float64", edge: bool = False
) -> Case:
    params = _conv_params(rng, dtype)
    X = rng.normal(size=(4, 3, 6, 8)).astype(dtype)
    y = rng.integers(0, 5, size=4)
    scores = reference.three_layer_scores
    loss, grads = reference.regularized_loss(scores, params, X, y, reg)
    return Case(
        label=label,
        calls=network.loss_calls(_conv_build(dtype, reg=reg), params, X, y),
        want={"loss": np.float64(loss)},
        laws=laws.entries("grads", grads, dtype, gradient=True),
        dtype=dtype,
        edge=edge,
    )


def _conv_scores_case(rng: np.random.Generator) -> Case:
    params, X = _conv_params(rng, "float64"), rng.normal(size=(3, 3, 6, 8))
    leaves = {name: reference.tensor(array) for name, array in params.items()}
    scores = reference.three_layer_scores(leaves, reference.tensor(X)).numpy()
    score = Call(".loss", (X,), of="net", returns=("scores",))
    return Case(
        "scores without labels", [_conv_build(), network.fill(params), score], {"scores": scores}
    )


def _conv_initial_case(rng: np.random.Generator) -> Case:
    scale = float(rng.uniform(0.01, 0.1))
    shapes = {"num_filters": 20, "filter_size": 5, "hidden_dim": 30, "input_dim": (3, 8, 10)}
    want = {"W1": (20, 3, 5, 5), "b1": (20,), "W2": (400, 30), "b2": (30,)}
    want.update(W3=(30, 5), b3=(5,))
    build = _conv_build(weight_scale=scale, **shapes)
    calls = [build, Call(".params", of="net", returns=("params",))]
    return Case("initial parameters", calls, laws=network.initial_laws(want, lambda name: scale))


@on_notebook(
    3,
    parts=(
        *network.PARTS,
        "conv_forward_naive",
        "conv_backward_naive",
        "max_pool_forward_naive",
        "max_pool_backward_naive",
    ),
)
def ThreeLayerConvNet(rng: np.random.Generator) -> list[Case]:
    return [
        _conv_net_case(rng, "a training step", 0.0),
        _conv_net_case(rng, "with regularisation", 0.6),
        _conv_scores_case(rng),
        _conv_initial_case(rng),
        _conv_net_case(rng, "float32 in, float32 out", 0.1, "float32", edge=True),
    ]


# Normalisation of images --------------------------------------------------------------------------


def _images(
    rng: np.random.Generator, C: int, H: int, W: int, N: int = 0
) -> dict[str, np.ndarray]:
    """Channels, images and places of different centres, so that no axis can be mistaken."""
    N = N or size(rng, 2, 4)
    x = rng.normal(size=(N, C, H, W)) * rng.uniform(0.5, 2, size=(1, C, 1, 1))
    x += rng.uniform(-3, 3, size=(1, C, 1, 1)) + rng.normal(size=(N, 1, 1, 1))
    x += rng.normal(scale=0.5, size=(1, 1, H, W))
    return {"x": x, "gamma": rng.uniform(0.5, 2, size=C), "beta": rng.normal(size=C)}


SPATIAL_BATCHNORM = Layer(
    reference.spatial_batchnorm, "spatial_batchnorm_forward", "spatial_batchnorm_backward", GRADS
)
SPATIAL_BATCHNORM_TEST = replace(SPATIAL_BATCHNORM, definition=reference.spatial_batchnorm_test)
_ROWS = (
    "batchnorm_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "layernorm_forward",
    "layernorm_backward",
)


def _spatial_batchnorm_drawn(rng: np.random.Generator) -> list[Drawn]:
    square = Drawn("training", _images(rng, 4, 5, 5), {}, ({"mode": "train"},))
    wide = Drawn("image not square", _images(rng, 3, 4, 7), {}, ({"mode": "train"},), edge=True)
    param = {"mode": "train", "eps": 0.1}
    eps = Drawn("eps of 0.1", _images(rng, 3, 4, 4), {"eps": 0.1}, (param,), edge=True)
    return [square, wide, eps, square.as_float32()]


@on_notebook(1, parts=_ROWS)
def spatial_batchnorm_forward(rng: np.random.Generator) -> list[Case]:
    cases = []
    for drawn in _spatial_batchnorm_drawn(rng):
        after = running(drawn.inputs["x"], drawn.extra[0], (0, 2, 3))
        cases.append(SPATIAL_BATCHNORM.forward_case(drawn, after, "bn_param"))
    cases.insert(1, SPATIAL_BATCHNORM_TEST.forward_case(test_drawn(rng, _images(rng, 4, 3, 5))))
    return cases


@on_notebook(2, parts=_ROWS, forward="spatial_batchnorm_forward")
def spatial_batchnorm_backward(rng: np.random.Generator) -> list[Case]:
    return [SPATIAL_BATCHNORM.backward_case(d, rng) for d in _spatial_batchnorm_drawn(rng)]


GROUPNORM = Layer(
    reference.spatial_groupnorm, "spatial_groupnorm_forward", "spatial_groupnorm_backward", GRADS
)


def _as_channels(drawn: Drawn) -> Drawn:
    """The same question with gamma and beta as (1, C, 1, 1)."""
    inputs = dict(drawn.inputs)
    for name in ("gamma", "beta"):
        inputs[name] = inputs[name].reshape(1, -1, 1, 1)
    return replace(drawn, inputs=inputs)


def _groupnorm_drawn(rng: np.random.Generator) -> list[Drawn]:
    def drawn(
        label: str, C: int, G: int, H: int, W: int, edge: bool = False, **param: float
    ) -> Drawn:
        return Drawn(label, _images(rng, C, H, W), {"G": G, **param}, (G, param), edge)

    groups = drawn("6 channels in 2 groups", 6, 2, 4, 5)
    return [
        groups,
        drawn("6 channels in 3 groups", 6, 3, 4, 4),
        drawn("one group", 4, 1, 3, 5, edge=True),
        drawn("as many groups as channels", 4, 4, 5, 3, edge=True),
        drawn("eps of 0.1", 6, 3, 4, 4, edge=True, eps=0.1),
        groups.as_float32(),
    ]


@on_notebook(2, parts=_ROWS)
def spatial_groupnorm_forward(rng: np.random.Generator) -> list[Case]:
    return [
        replace(
            GROUPNORM.forward_case(_as_channels(drawn)), otherwise=GROUPNORM.forward_case(drawn)
        )
        for drawn in _groupnorm_drawn(rng)
    ]


@on_notebook(3, parts=_ROWS, forward="spatial_groupnorm_forward")
def spatial_groupnorm_backward(rng: np.random.Generator) -> list[Case]:
    return [
        replace(
            GROUPNORM.backward_case(_as_channels(drawn), rng),
            otherwise=GROUPNORM.backward_case(drawn, rng),
        )
        for drawn in _groupnorm_drawn(rng)
    ]


INSTANCENORM = Layer(
    reference.spatial_instancenorm,
    "spatial_instancenorm_forward",
    "spatial_instancenorm_backward",
    GRADS,
)


def _instancenorm_drawn(rng: np.random.Generator) -> list[Drawn]:
    square = Drawn("square images", _images(rng, 3, 5, 5), {}, ({},))
    eps = Drawn("eps of 0.1", _images(rng, 3, 4, 4), {"eps": 0.1}, ({"eps": 0.1},), edge=True)
    return [
        square,
        Drawn("one image", _images(rng, 4, 3, 5, N=1), {}, ({},), edge=True),
        eps,
        square.as_float32(),
    ]


_GROUPS = (*_ROWS, "spatial_groupnorm_forward", "spatial_groupnorm_backward")


@on_notebook(1, parts=_GROUPS)
def spatial_instancenorm_forward(rng: np.random.Generator) -> list[Case]:
    return [INSTANCENORM.forward_case(drawn) for drawn in _instancenorm_drawn(rng)]


@on_notebook(1, parts=_GROUPS, forward="spatial_instancenorm_forward")
def spatial_instancenorm_backward(rng: np.random.Generator) -> list[Case]:
    return [INSTANCENORM.backward_case(drawn, rng) for drawn in _instancenorm_drawn(rng)]


SWITCHABLE = Layer(
    reference.switchable_norm,
    "switchable_norm_forward",
    "switchable_norm_backward",
    (*GRADS, "dlambda_mean", "dlambda_var"),
    positional=3,
)


def _switchable_drawn(rng: np.random.Generator) -> list[Drawn]:
    def drawn(label: str, H: int, W: int, edge: bool = False, **param: Any) -> Drawn:
        logits = {"lambda_mean": rng.normal(size=3), "lambda_var": rng.normal(size=3)}
        settings = {"eps": param["eps"]} if "eps" in param else {}
        extra = ({**logits, "mode": "train", **param},)
        return Drawn(label, {**_images(rng, 4, H, W), **logits}, settings, extra, edge)

    square = drawn("training", 4, 4)
    return [
        square,
        drawn("image not square", 3, 5),
        drawn("eps of 0.1", 4, 3, edge=True, eps=0.1),
        square.as_float32(),
    ]


@on_notebook(2)
def switchable_norm_forward(rng: np.random.Generator) -> list[Case]:
    cases = []
    for drawn in _switchable_drawn(rng):
        after = running(drawn.inputs["x"], drawn.extra[0], (0, 2, 3))
        cases.append(SWITCHABLE.forward_case(drawn, after, "sn_param"))
    logits = {"lambda_mean": rng.normal(size=3), "lambda_var": rng.normal(size=3)}
    given = statistics(rng, 4)
    settings = {"running": (given["running_mean"], given["running_var"])}
    extra = ({**logits, "mode": "test", **given},)
    test = Drawn("test mode", {**_images(rng, 4, 3, 5), **logits}, settings, extra, edge=True)
    return [*cases, SWITCHABLE.forward_case(test)]


@on_notebook(3, forward="switchable_norm_forward")
def switchable_norm_backward(rng: np.random.Generator) -> list[Case]:
    return [SWITCHABLE.backward_case(drawn, rng) for drawn in _switchable_drawn(rng)]
