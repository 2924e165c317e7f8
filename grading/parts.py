"""Right layers, served to a student's composed code in the place of the student's own.

A network or a sandwich layer that fails while one of its layers is wrong is judged again with
right layers, so that one mistake costs points once. They are computed here, by the definitions in
`reference`; a cache is a name that means nothing to the other side. Whoever asks is not trusted:
each question is held to the sizes of the course's own cases before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.sealed.wire import Handle

_Cache = tuple[Callable[..., Any], list[np.ndarray]]
MOST = 1_000_000  # entries of the arguments of one call, and of what is computed of them
MOST_TOGETHER = 20_000_000  # of the inputs of all caches


def _require(holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"it must be called with {wanted}")


def _numbers(param: dict[str, Any], *names: str) -> None:
    """An array among the settings would be spread out over x."""
    _require(all(np.ndim(param.get(name, 0)) == 0 for name in names), "numbers for settings")


def _size(arg: Any) -> int:
    """How many entries an argument has, with those inside of it."""
    if isinstance(arg, dict):
        return sum(map(_size, arg.values()))
    if isinstance(arg, (list, tuple)):
        return sum(map(_size, arg))
    return arg.size if isinstance(arg, np.ndarray) else 1


def _rows(x: np.ndarray, *vectors: Any) -> None:
    _require(x.ndim == 2, "x (N, D)")
    fits = all(np.broadcast_shapes(np.shape(v), x.shape) == x.shape for v in vectors)
    _require(fits, "vectors (D,)")


def _running(x: np.ndarray, param: dict[str, Any]) -> None:
    """Write the running statistics back, as batch norm does in training."""
    momentum, size = param.get("momentum", 0.9), x.shape[1]
    for key, now in (("running_mean", x.mean(axis=0)), ("running_var", x.var(axis=0))):
        old = param.get(key, np.zeros(size, dtype=x.dtype))
        _rows(x, old)
        param[key] = (momentum * old + (1 - momentum) * now).astype(x.dtype)


def _batchnorm(x: np.ndarray, gamma: Any, beta: Any, bn_param: dict[str, Any]) -> _Cache:
    """Of rows alone: that of images is an exercise of its own, which must not be had for this."""
    _rows(x, gamma, beta)
    _numbers(bn_param, "eps", "momentum")
    eps = bn_param.get("eps", 1e-5)
    if bn_param["mode"] == "train":
        _running(x, bn_param)
        return partial(reference.batchnorm, eps=eps), [x, gamma, beta]
    mean, var = bn_param["running_mean"], bn_param["running_var"]
    _rows(x, mean, var)
    return partial(reference.batchnorm_test, mean=mean, var=var, eps=eps), [x, gamma, beta]


def _spatial_batchnorm(x: np.ndarray, gamma: Any, beta: Any, bn_param: dict[str, Any]) -> _Cache:
    _require(x.ndim == 4, "x of 4 axes")
    N, C, H, W = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, C)  # (N * H * W, C)
    of_rows, _ = _batchnorm(rows, gamma, beta, bn_param)

    def function(x: Any, gamma: Any, beta: Any) -> Any:
        out = of_rows(x.permute(0, 2, 3, 1).reshape(-1, C), gamma, beta)
        return out.reshape(N, H, W, C).permute(0, 3, 1, 2)

    return function, [x, gamma, beta]


def _layernorm(x: Any, gamma: Any, beta: Any, ln_param: dict[str, Any]) -> _Cache:
    _rows(x, gamma, beta)
    _numbers(ln_param, "eps")
    return partial(reference.layernorm, eps=ln_param.get("eps", 1e-5)), [x, gamma, beta]


def _groupnorm(x: np.ndarray, gamma: Any, beta: Any, G: Any, gn_param: dict[str, Any]) -> _Cache:
    groups = int(G)
    _require(x.ndim == 4 and 1 <= groups and x.shape[1] % groups == 0, "x of 4 axes and its groups")
    _require(np.size(gamma) == np.size(beta) == x.shape[1], "gamma and beta (C,)")
    _numbers(gn_param, "eps")
    norm = partial(reference.spatial_groupnorm, G=groups, eps=gn_param.get("eps", 1e-5))
    return norm, [x, gamma, beta]


def _dropout(x: np.ndarray, dropout_param: dict[str, Any]) -> _Cache:
    _numbers(dropout_param, "p")
    p = dropout_param["p"]
    if dropout_param["mode"] != "train":
        return partial(reference.masked, mask=np.ones(x.shape), p=1.0), [x]
    rng = np.random.RandomState(dropout_param.get("seed"))
    return partial(reference.masked, mask=rng.rand(*x.shape) < p, p=p), [x]


def _affine(x: Any, w: Any, b: Any) -> _Cache:
    _require(w.ndim == 2 and b.shape == w.shape[1:], "w (D, M) and b (M,)")
    _require(len(x) * w.shape[1] <= MOST, "less data")
    return reference.affine, [x, w, b]


def _conv(x: Any, w: Any, b: Any, conv_param: dict[str, Any]) -> _Cache:
    stride, pad = int(conv_param["stride"]), int(conv_param["pad"])
    _require(x.ndim == w.ndim == 4 and b.shape == w.shape[:1], "x, w of 4 axes and b (F,)")
    _require(1 <= stride <= MOST and 0 <= pad <= MOST, "a stride and a pad that make sense")
    N, C, H, W = x.shape
    padded = N * (H + 2 * pad) * (W + 2 * pad)
    _require(padded * (C + len(w)) * w[0, 0].size <= MOST * 20, "less data")
    return partial(reference.conv, stride=stride, pad=pad), [x, w, b]


def _max_pool(x: Any, pool_param: dict[str, Any]) -> _Cache:
    window = [int(pool_param[key]) for key in ("pool_height", "pool_width", "stride")]
    _require(x.ndim == 4 and min(window) >= 1, "x of 4 axes and a window")
    _require(x.size * window[0] * window[1] <= MOST * 20, "less data")
    return partial(reference.max_pool, **pool_param), [x]


def _sandwich(norm: Callable[..., Any]) -> Callable[..., _Cache]:
    def forward(x: Any, w: Any, b: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> _Cache:
        hidden = reference.value(*_affine(x, w, b)).astype(x.dtype)
        normalized, _ = norm(hidden, gamma, beta, param)

        def function(x: Any, w: Any, b: Any, gamma: Any, beta: Any) -> Any:
            return reference.relu(normalized(reference.affine(x, w, b), gamma, beta))

        return function, [x, w, b, gamma, beta]

    return forward


FORWARD: dict[str, Callable[..., _Cache]] = {
    "affine_forward": _affine,
    "relu_forward": lambda x: (reference.relu, [x]),
    "batchnorm_forward": _batchnorm,
    "spatial_batchnorm_forward": _spatial_batchnorm,
    "layernorm_forward": _layernorm,
    "spatial_groupnorm_forward": _groupnorm,
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
        self.caches: dict[str, tuple[*_Cache, tuple[int, ...]]] = {}
        self.held = 0

    def answer(self, name: str, args: Any, kwargs: Any) -> dict[str, Any]:
        """The wire's form of a call: the value and the arguments after it, or an error."""
        try:
            return {"value": self.call(name, *args, **kwargs), "args": tuple(args)}
        except Exception as problem:
            return {"error": f"{name}: {problem}"}

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The right value of one layer call. ValueError where it is asked for too much."""
        given = _size(args) + _size(kwargs)
        self.held += given
        _require(given <= MOST and self.held <= MOST_TOGETHER, "less data")
        if name == "softmax_loss":
            scores, y = args
            _require(scores.ndim == 2 and y.shape == scores.shape[:1], "x (N, C) and y (N,)")
            loss = reference.value(lambda s: reference.softmax_loss(s, y), [scores])
            dx = reference.gradients(lambda s: reference.softmax_loss(s, y), [scores])[0]
            return scores.dtype.type(loss), dx.astype(scores.dtype)
        if name in FORWARD:
            function, inputs = FORWARD[name](*args, **kwargs)
            cache = Handle(f"part-{len(self.caches)}")
            out = reference.value(function, inputs).astype(inputs[0].dtype)
            self.caches[cache.name] = function, inputs, out.shape
            return out, cache
        dout, cache = args
        function, inputs, shape = self.caches[cache.name]
        _require(dout.shape == shape, f"dout of the shape of out, {shape}")
        found = reference.gradients(function, inputs, dout)
        grads = tuple(g.astype(x.dtype) for g, x in zip(found, inputs, strict=True))
        return grads if len(grads) > 1 else grads[0]
