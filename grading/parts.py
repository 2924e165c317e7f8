"""Right layers, served to a student's composed code in the place of the student's own.

A network or a sandwich layer that fails while one of its layers is wrong is judged again with
right layers, so that one mistake costs points once. They are computed here, by the definitions in
`reference`; a cache is a name that means nothing to the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.sealed.wire import Handle

_Cache = tuple[Callable[..., Any], list[np.ndarray]]


def _running(x: np.ndarray, param: dict[str, Any], axes: tuple[int, ...]) -> None:
    """Write the running statistics back, as batch norm does in training."""
    momentum, size = param.get("momentum", 0.9), x.shape[1]
    for key, now in (("running_mean", x.mean(axis=axes)), ("running_var", x.var(axis=axes))):
        old = param.get(key, np.zeros(size, dtype=x.dtype))
        param[key] = (momentum * old + (1 - momentum) * now).astype(x.dtype)


def _batchnorm(x: np.ndarray, gamma: Any, beta: Any, bn_param: dict[str, Any]) -> _Cache:
    spatial, eps = x.ndim == 4, bn_param.get("eps", 1e-5)
    if bn_param["mode"] == "train":
        _running(x, bn_param, (0, 2, 3) if spatial else (0,))
        function = reference.spatial_batchnorm if spatial else reference.batchnorm
        return partial(function, eps=eps), [x, gamma, beta]
    function = reference.spatial_batchnorm_test if spatial else reference.batchnorm_test
    mean, var = bn_param["running_mean"], bn_param["running_var"]
    return partial(function, mean=mean, var=var, eps=eps), [x, gamma, beta]


def _layernorm(x: Any, gamma: Any, beta: Any, ln_param: dict[str, Any]) -> _Cache:
    return partial(reference.layernorm, eps=ln_param.get("eps", 1e-5)), [x, gamma, beta]


def _dropout(x: np.ndarray, dropout_param: dict[str, Any]) -> _Cache:
    p = dropout_param["p"]
    if dropout_param["mode"] != "train":
        return partial(reference.masked, mask=np.ones(x.shape), p=1.0), [x]
    rng = np.random.RandomState(dropout_param.get("seed"))
    return partial(reference.masked, mask=rng.rand(*x.shape) < p, p=p), [x]


def _conv(x: Any, w: Any, b: Any, conv_param: dict[str, Any]) -> _Cache:
    return partial(reference.conv, stride=conv_param["stride"], pad=conv_param["pad"]), [x, w, b]


def _max_pool(x: Any, pool_param: dict[str, Any]) -> _Cache:
    return partial(reference.max_pool, **pool_param), [x]


def _sandwich(norm: Callable[..., Any]) -> Callable[..., _Cache]:
    def forward(x: Any, w: Any, b: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> _Cache:
        hidden = reference.value(reference.affine, [x, w, b]).astype(x.dtype)
        normalized, _ = norm(hidden, gamma, beta, param)

        def function(x: Any, w: Any, b: Any, gamma: Any, beta: Any) -> Any:
            return reference.relu(normalized(reference.affine(x, w, b), gamma, beta))

        return function, [x, w, b, gamma, beta]

    return forward


FORWARD: dict[str, Callable[..., _Cache]] = {
    "affine_forward": lambda x, w, b: (reference.affine, [x, w, b]),
    "relu_forward": lambda x: (reference.relu, [x]),
    "batchnorm_forward": _batchnorm,
    "spatial_batchnorm_forward": _batchnorm,
    "layernorm_forward": _layernorm,
    "affine_bn_relu_forward": _sandwich(_batchnorm),
    "affine_ln_relu_forward": _sandwich(_layernorm),
    "dropout_forward": _dropout,
    "conv_forward_naive": _conv,
    "conv_forward_fast": _conv,
    "max_pool_forward_naive": _max_pool,
    "max_pool_forward_fast": _max_pool,
}


class Parts:
    """Answers calls of right layers; remembers the caches that it handed out."""

    def __init__(self) -> None:
        self.caches: dict[str, _Cache] = {}

    def answer(self, name: str, args: Any, kwargs: Any) -> dict[str, Any]:
        """The wire's form of a call: the value and the arguments after it, or an error."""
        try:
            return {"value": self.call(name, *args, **kwargs), "args": tuple(args)}
        except Exception as problem:
            return {"error": f"{name}: {problem}"}

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The right value of one layer call."""
        if name == "softmax_loss":
            scores, y = args
            loss = reference.value(lambda s: reference.softmax_loss(s, y), [scores])
            dx = reference.gradients(lambda s: reference.softmax_loss(s, y), [scores])[0]
            return scores.dtype.type(loss), dx.astype(scores.dtype)
        if name in FORWARD:
            function, inputs = FORWARD[name](*args, **kwargs)
            cache = Handle(f"part-{len(self.caches)}")
            self.caches[cache.name] = function, inputs
            return reference.value(function, inputs).astype(inputs[0].dtype), cache
        dout, cache = args
        function, inputs = self.caches[cache.name]
        found = reference.gradients(function, inputs, dout)
        grads = tuple(g.astype(x.dtype) for g, x in zip(found, inputs, strict=True))
        return grads if len(grads) > 1 else grads[0]
