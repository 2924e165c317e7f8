"""Cases of a layer with a forward and a backward, from its definition in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.checks.case import Call, Case, Kept, Law, OwnForward
from grading.checks.laws import entries


@dataclass(frozen=True)
class Drawn:
    """One drawn question: inputs by name, in order; settings for the definition; the student's
    dictionary argument; what sort of case it is."""

    label: str
    inputs: Mapping[str, np.ndarray]
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: tuple[Any, ...] = ()
    edge: bool = False
    weight: float = 1.0

    @property
    def dtype(self) -> str:
        return str(next(iter(self.inputs.values())).dtype)

    def as_float32(self) -> Drawn:
        """The same question in float32, an edge: what goes in as float32 comes out so."""
        inputs = {name: array.astype(np.float32) for name, array in self.inputs.items()}
        extra = tuple(_float32(argument) for argument in self.extra)
        return Drawn("float32 in, float32 out", inputs, self.settings, extra, edge=True)


def _float32(argument: Any) -> Any:
    if isinstance(argument, dict):
        return {key: _float32(value) for key, value in argument.items()}
    return argument.astype(np.float32) if isinstance(argument, np.ndarray) else argument


@dataclass(frozen=True)
class Layer:
    """A layer in `module`: `definition(*inputs, **settings)` in torch, gradients `grads`."""

    definition: Callable[..., Any]
    forward: str
    backward: str
    grads: tuple[str, ...]
    module: str = "layers"
    positional: int | None = None  # how many inputs are arguments; the rest are in a dictionary

    def forward_case(
        self, drawn: Drawn, written: Mapping[str, np.ndarray] | None = None, name: str = "param"
    ) -> Case:
        """The forward's answer is the definition's; `written` is what the last argument, the
        dictionary `name`, must hold afterwards."""
        call = self._forward_call(drawn)
        return Case(
            label=drawn.label,
            calls=[replace(call, echo={name: len(call.args) - 1} if written else {})],
            want={"out": self._out(drawn)},
            laws=entries(name, written or {}, drawn.dtype),
            dtype=drawn.dtype,
            edge=drawn.edge,
            weights={"out": drawn.weight},
        )

    def backward_case(
        self, drawn: Drawn, rng: np.random.Generator, backward: str | None = None
    ) -> Case:
        """The backward, fed its own forward's cache and a random dout, is autograd's gradient."""
        function = partial(self.definition, **drawn.settings)
        inputs = list(drawn.inputs.values())
        out = reference.value(function, inputs)
        dout = rng.normal(size=out.shape).astype(drawn.dtype)
        found = reference.gradients(function, inputs, dout)
        forward = self._forward_call(drawn)
        function_path = f"{self.module}:{backward or self.backward}"
        back = Call(function_path, (dout, Kept("cache")), returns=self.grads)
        return Case(
            label=drawn.label,
            calls=[replace(forward, returns=("out", "cache"), keep=("out", "cache")), back],
            want=dict(zip(self.grads, found, strict=True)),
            gradients=frozenset(self.grads),
            dtype=drawn.dtype,
            edge=drawn.edge,
            weights=dict.fromkeys(self.grads, drawn.weight / len(self.grads)),
            own_forward=OwnForward(
                call=forward,
                arguments=self._arguments(drawn),
                dout=dout,
                out=out,
            ),
        )

    def _arguments(self, drawn: Drawn) -> dict[str, tuple[int, str]]:
        """Where in the forward's call the input of each gradient is."""
        count = len(drawn.inputs) if self.positional is None else self.positional
        places = [(i, "") if i < count else (count, key) for i, key in enumerate(drawn.inputs)]
        return dict(zip(self.grads, places, strict=True))

    def _forward_call(self, drawn: Drawn) -> Call:
        return Call(
            f"{self.module}:{self.forward}",
            (*list(drawn.inputs.values())[: self.positional], *drawn.extra),
            returns=("out", "cache"),
            keep=("cache",),
        )

    def _out(self, drawn: Drawn) -> np.ndarray:
        return reference.value(partial(self.definition, **drawn.settings), [*drawn.inputs.values()])


def law_alone(case: Case, law: Law) -> Case:
    """The case with the law in the place of its right answers, where several are right."""
    plain = {"want": {}, "gradients": frozenset(), "weights": {}, "own_forward": None}
    return replace(case, laws=(law,), **plain)


def away_from_zero(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal draws with no entry near 0, where ReLU has no derivative."""
    x = rng.normal(size=shape)
    return x + 0.1 * np.sign(x)


def distinct(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Draws with no two entries near each other, so that a maximum is one entry alone."""
    size = int(np.prod(shape))
    ranks = rng.permutation(size).reshape(shape)
    return (ranks - size / 2 + rng.uniform(-0.2, 0.2, size=shape)) / max(size / 6, 1.0)


def size(rng: np.random.Generator, low: int, high: int, but: int = 0) -> int:
    """A whole number in [low, high] that is not `but`, so that axes cannot be mistaken."""
    drawn = int(rng.integers(low, high + 1))
    return drawn if drawn != but else (drawn + 1 if drawn < high else drawn - 1)
