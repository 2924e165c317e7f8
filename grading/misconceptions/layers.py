"""Layers as pairs of a forward and a backward, from a form: right ones, and wrong ones.

A form takes the arguments of a forward and returns a torch function and its inputs. A backward
is autograd on it, so a mistake is often one line: a form for the gradient alone in which a term
is cut out of the graph, or a change of the right gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np

from grading import parts, reference

Form = Callable[..., tuple[Callable[..., Any], list[np.ndarray]]]


def _groupnorm(x: Any, gamma: Any, beta: Any, G: int, param: dict[str, Any]) -> Any:
    eps = param.get("eps", 1e-5)
    return partial(reference.spatial_groupnorm, G=G, eps=eps), [x, gamma, beta]


def _instancenorm(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
    eps = param.get("eps", 1e-5)
    return partial(reference.spatial_instancenorm, eps=eps), [x, gamma, beta]


def _switchable(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
    return switchable_form(reference.switchable_norm)(x, gamma, beta, param)


def write_back(x: np.ndarray, param: dict[str, Any], momentum: float | None = None) -> None:
    """Write the running statistics of x, features or images, into `param`."""
    kept = param.get("momentum", 0.9) if momentum is None else momentum
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    for key, now in (("running_mean", x.mean(axis=axes)), ("running_var", x.var(axis=axes))):
        old = param.get(key, np.zeros(x.shape[1], dtype=x.dtype))
        param[key] = (kept * old + (1 - kept) * now).astype(x.dtype)


def switchable_form(
    definition: Callable[..., Any], write: Callable[..., None] = write_back
) -> Form:
    """The form of switchable norm by a definition with the signature of `reference`'s."""

    def form(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
        running = None
        if param.get("mode", "train") == "test":
            running = (param["running_mean"], param["running_var"])
        else:
            write(x, param)
        inputs = [x, gamma, beta, param["lambda_mean"], param["lambda_var"]]
        return partial(definition, eps=param.get("eps", 1e-5), running=running), inputs

    return form


FORMS: dict[str, Form] = {
    **{name: form for name, form in parts.FORWARD.items() if "fast" not in name},
    "spatial_groupnorm_forward": _groupnorm,
    "spatial_instancenorm_forward": _instancenorm,
    "switchable_norm_forward": _switchable,
}
_BACKWARDS = {"batchnorm_forward": ("batchnorm_backward", "batchnorm_backward_alt")}
_MODULES = {"affine_bn_relu_forward": "layer_utils", "affine_ln_relu_forward": "layer_utils"}


def layer(
    forward: str,
    form: Form | None = None,
    back: Form | None = None,
    grads: Callable[..., list[Any]] | None = None,
    out: Callable[..., Any] | None = None,
    only: str | None = None,
) -> dict[str, Callable[..., Any]]:
    """The functions of a layer; whatever is not given is right.

    `form` is what the forward computes, and what the backward differentiates unless `back` is
    given. `grads(found, dout, inputs)` changes the gradients found, `out(value, *args)` the
    answer. `only` is the one backward that `back` and `grads` are for, where there are two.
    """
    names = _BACKWARDS.get(forward, (forward.replace("forward", "backward"),))
    module = _MODULES.get(forward, "layers")

    def run(*args: Any) -> Any:
        before = deepcopy(args)
        own = (form or FORMS[forward])(*args)
        value = reference.value(*own).astype(own[1][0].dtype)
        for_gradient = back(*before) if back else own
        return (out(value, *before) if out else value), (own, for_gradient)

    def run_back(name: str, dout: np.ndarray, cache: Any) -> Any:
        wrong = only in (None, name)
        function, inputs = cache[1] if wrong else cache[0]
        found = reference.gradients(function, inputs, dout)
        if grads and wrong:
            found = grads(found, dout, inputs)
        typed = tuple(g.astype(x.dtype) for g, x in zip(found, inputs, strict=True))
        return typed if len(typed) > 1 else typed[0]

    made = {f"{module}:{forward}": run}
    for name in names:
        made[f"{module}:{name}"] = _named(partial(run_back, name))
    return made


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: function(*args)


def scaled(tensor: Any, factor: float) -> Any:
    """The same value with `factor` times its gradient."""
    return tensor * factor - (tensor * (factor - 1)).detach()


def changed(**changes: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Change single gradients: `d0=f` puts f(right, dout, inputs) in the place of the first."""

    def change(found: list[Any], dout: np.ndarray, inputs: list[np.ndarray]) -> list[Any]:
        made = list(found)
        for key, function in changes.items():
            made[int(key[1:])] = function(found[int(key[1:])], dout, inputs)
        return made

    return change
