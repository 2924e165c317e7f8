"""What a check is made of: calls into the student's code, and what must hold of the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from grading.outcome import Outcome
from grading.sealed import wire


@dataclass(frozen=True)
class Kept:
    """A value that stays where the student's code runs (a cache, a network), named by `name`."""

    name: str


@dataclass(frozen=True)
class Call:
    """One call into the student's code.

    `function` is "module:name" below `cs231n`, or ".method" / ".attribute" of the kept value
    `of`. `returns` names what comes back, in order; names in `keep` stay there and are passed to
    later calls as `Kept(name)`. `echo` maps a name to the position of an argument that the call
    may change, and that comes back (or is kept) after it.
    """

    function: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    returns: tuple[str, ...] = ("out",)
    keep: tuple[str, ...] = ()
    echo: Mapping[str, int] = field(default_factory=dict)
    of: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The call as it crosses the wall."""
        return {
            "function": self.function,
            "args": tuple(_handle(arg) for arg in self.args),
            "kwargs": {key: _handle(arg) for key, arg in self.kwargs.items()},
            "returns": list(self.returns),
            "keep": list(self.keep),
            "echo": dict(self.echo),
            "of": self.of,
        }


def _handle(arg: Any) -> Any:
    return wire.Handle(arg.name) if isinstance(arg, Kept) else arg


@dataclass(frozen=True)
class OneOf:
    """Several right answers, each with its name; what the student wrote is remarked."""

    answers: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Law:
    """A property of the answers: `broken(answers)` returns what is wrong in words, or ''.

    `of` names the one answer that it is about, if it is to be asked where a later call raised.
    """

    label: str
    broken: Callable[[Mapping[str, Any]], str]
    weight: float = 1.0
    of: str = ""


@dataclass(frozen=True)
class Case:
    """Calls with drawn inputs, and what must hold.

    `want` maps a returned name to its reference in float64 (an array, a float, or `OneOf`).
    `gradients` are the names held to the gradients' tolerance. `dtype` is what float answers must
    have. `weights` raises or lowers what a name counts for. An edge case is legal by the
    docstring and seldom tried. A case with a `remark` costs nothing: that is said of an answer
    which is right but for it.
    """

    label: str
    calls: Sequence[Call]
    want: Mapping[str, Any] = field(default_factory=dict)
    laws: Sequence[Law] = ()
    gradients: frozenset[str] = frozenset()
    dtype: str = "float64"
    edge: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    own_forward: OwnForward | None = None
    remark: str = ""
    otherwise: Case | None = None  # the same question in another legal form, tried where this fails

    @property
    def data(self) -> list[dict[str, Any]]:
        """The calls as they cross the wall."""
        return [call.data for call in self.calls]

    @cached_property
    def packed(self) -> wire.Packed:
        """The same, packed once for a whole class."""
        return wire.pack(self.data)


@dataclass(frozen=True)
class OwnForward:
    """How to differentiate the student's own forward: the call, and which argument each gradient
    belongs to (its position, and the key where it is in a dictionary); `dout` is the upstream
    gradient of its first answer, `out` the right answer."""

    call: Call
    arguments: Mapping[str, tuple[int, str]]
    dout: np.ndarray
    out: np.ndarray


@dataclass(frozen=True)
class Check:
    """A named question to a student's code. `cases(rng)` draws it anew.

    `exercises` are the functions and classes that it grades. `parts` are other exercises that
    they call: where one of those fails a check of its own, this check is judged again with right
    ones in their place, so that one mistake costs once. `forward` is the check of the forward
    whose backward this is, or of the block that this network is made of. `procedure(check,
    subject, entropy)` takes the place of cases where they cannot say it.
    """

    name: str
    points: float
    notebook: str
    exercises: tuple[str, ...]
    cases: Callable[[np.random.Generator], list[Case]]
    parts: tuple[str, ...] = ()
    forward: str | None = None
    torch: bool = False
    procedure: Callable[..., Outcome] | None = None


ALL: dict[str, Check] = {}


def check(
    points: float,
    notebook: str,
    exercises: Sequence[str] = (),
    name: str = "",
    **options: Any,
) -> Callable[[Callable[[np.random.Generator], list[Case]]], Check]:
    """Register a generator of cases as a check, named as the generator unless `name` says."""

    def register(cases: Callable[[np.random.Generator], list[Case]]) -> Check:
        made = Check(
            name=name or cases.__name__,
            points=points,
            notebook=notebook,
            exercises=tuple(exercises) or (name or cases.__name__,),
            cases=cases,
            **options,
        )
        if made.name in ALL:
            raise ValueError(f"two checks are named {made.name!r}")
        ALL[made.name] = made
        return made

    return register
