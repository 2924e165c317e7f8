"""Cases of whole networks: built by the student's code, filled with drawn parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.checks import laws
from grading.checks.case import Call, Case, Kept, Law
from grading.checks.layer import size

PARTS = (
    "affine_forward",
    "affine_backward",
    "relu_forward",
    "relu_backward",
    "softmax_loss",
)
BATCHNORM_PARTS = (
    "batchnorm_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "affine_bn_relu_forward",
    "affine_bn_relu_backward",
)
NET = Kept("net")


def _draw_params(
    rng: np.random.Generator, dims: list[int], normalization: str | None
) -> dict[str, np.ndarray]:
    params = {}
    for i in range(1, len(dims)):
        fan_in, fan_out = dims[i - 1], dims[i]
        params[f"W{i}"] = rng.normal(size=(fan_in, fan_out)) / np.sqrt(fan_in)
        params[f"b{i}"] = rng.normal(scale=0.3, size=fan_out)
        if normalization and i < len(dims) - 1:
            params[f"gamma{i}"] = rng.uniform(0.5, 1.5, size=fan_out)
            params[f"beta{i}"] = rng.normal(scale=0.5, size=fan_out)
    return params


@dataclass(frozen=True)
class Drawn:
    """A fully connected network's dimensions and parameters, and a batch for it."""

    dims: list[int]
    params: dict[str, np.ndarray]
    X: np.ndarray
    y: np.ndarray


def draw_network(
    rng: np.random.Generator,
    depth: int,
    normalization: str | None,
    width: tuple[int, int] = (6, 9),
    images: bool = False,
    dtype: str = "float64",
) -> Drawn:
    dims, N = [12, *[size(rng, *width) for _ in range(depth)], 5], size(rng, 6, 9)
    params = {n: p.astype(dtype) for n, p in _draw_params(rng, dims, normalization).items()}
    X = rng.normal(size=(N, 3, 2, 2) if images else (N, 12)).astype(dtype)
    return Drawn(dims, params, X, rng.integers(0, dims[-1], size=N))


def build(dims: list[int], normalization: str | None, reg: float, dtype: str, **more: Any) -> Call:
    """The call that builds the network; the tool knows the keywords of all years."""
    settings = {"input_dim": dims[0], "num_classes": dims[-1], "reg": reg, "dtype": dtype, **more}
    if normalization:
        settings["normalization"] = normalization
    return Call(
        "tool:fully_connected_net", (dims[1:-1], settings), returns=("net",), keep=("net",)
    )


def fill(params: Mapping[str, np.ndarray]) -> Call:
    """Overwrite the network's own random parameters: random draws are never compared."""
    return Call("tool:update", (NET, "params", dict(params)), returns=("_done",))


def loss_calls(
    made: Call, params: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> list[Call]:
    return [made, fill(params), Call(".loss", (X, y), of="net", returns=("loss", "grads"))]


def fully_connected_case(
    rng: np.random.Generator,
    label: str,
    depth: int,
    reg: float = 0.0,
    normalization: str | None = None,
    images: bool = False,
    dtype: str = "float64",
    edge: bool = False,
) -> Case:
    """Loss and every gradient of one training step."""
    drawn = draw_network(rng, depth, normalization, images=images, dtype=dtype)
    dims, params, X, y = drawn.dims, drawn.params, drawn.X, drawn.y
    scores = partial(reference.fully_connected_scores, normalization=normalization)
    loss, grads = reference.regularized_loss(scores, params, X, y, reg)
    return Case(
        label=label,
        calls=loss_calls(build(dims, normalization, reg, dtype), params, X, y),
        want={"loss": np.float64(loss)},
        laws=laws.entries("grads", grads, dtype, gradient=True),
        dtype=dtype,
        edge=edge,
    )


def scores_case(
    rng: np.random.Generator, label: str, depth: int, normalization: str | None = None
) -> Case:
    """Scores without labels: test mode, with the running statistics that training left behind."""
    drawn = draw_network(rng, depth, normalization)
    dims, params, X = drawn.dims, drawn.params, drawn.X
    running = None
    if normalization == "batchnorm":
        running = [
            {"running_mean": rng.normal(size=d), "running_var": rng.uniform(0.5, 2, size=d)}
            for d in dims[1:-1]
        ]
    scores = reference.fully_connected_scores(
        {n: reference.tensor(p) for n, p in params.items()},
        reference.tensor(X),
        normalization,
        running,
    )
    calls = [build(dims, normalization, 0.0, "float64"), fill(params)]
    for i, stats in enumerate(running or []):
        calls.append(Call("tool:update_item", (NET, "bn_params", i, stats), returns=("_done",)))
    calls.append(Call(".loss", (X,), of="net", returns=("scores",)))
    return Case(label=label, calls=calls, want={"scores": scores.numpy()})


def initial_case(
    rng: np.random.Generator, label: str, depth: int, normalization: str | None = None
) -> Case:
    """Parameters as they are built: names, shapes, scale of W, zeros and ones elsewhere."""
    dims = [40, *[size(rng, 30, 50) for _ in range(depth)], 10]
    scale = rng.uniform(0.01, 0.1)
    made = build(dims, normalization, 0.0, "float64", weight_scale=scale)
    want = {name: array.shape for name, array in _draw_params(rng, dims, normalization).items()}
    calls = [made, Call(".params", of="net", returns=("params",))]
    return Case(label=label, calls=calls, laws=initial_laws(want, lambda name: scale))


def initial_laws(
    want: Mapping[str, tuple[int, ...]], scale: Callable[[str], float]
) -> list[Law]:
    """Laws on freshly built parameters: what must be there, and how large."""

    def names(answers: Mapping[str, Any]) -> str:
        params = answers.get("params")
        if not isinstance(params, dict):
            return "the network has no dictionary `params`"
        missing, extra = sorted(set(want) - set(params)), sorted(set(params) - set(want))
        if missing or extra:
            lacks = f"lacks {', '.join(missing)}" if missing else ""
            has = f"should not have {', '.join(extra)}" if extra else ""
            return f"params {' and '.join(filter(None, (lacks, has)))}"
        for name, shape in want.items():
            if np.shape(params[name]) != shape:
                return f"params[{name!r}] has shape {np.shape(params[name])}; it must have {shape}"
        return ""

    def values(answers: Mapping[str, Any]) -> str:
        problem = names(answers)
        if problem:
            return problem
        for name in want:
            array = np.asarray(answers["params"][name], dtype=np.float64)
            if name.startswith("W"):
                # A sample's deviation lies within a few times sigma / sqrt(2 n) of sigma.
                slack = 6 / np.sqrt(2 * array.size)
                if not abs(array.std() / scale(name) - 1) <= slack:
                    return f"params[{name!r}] does not have a standard deviation of weight_scale"
            elif not np.all(array == (1.0 if name.startswith("gamma") else 0.0)):
                return f"params[{name!r}] must start at {1 if name.startswith('gamma') else 0}"
        return ""

    return [Law("names and shapes", names), Law("scale of the weights, start of the rest", values)]
