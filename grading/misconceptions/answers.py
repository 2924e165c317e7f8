"""Answer a case here, with right functions or with a misconception's, as a student's code would."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from grading.checks.case import Call, Case, Kept
from grading.misconceptions.bank import Functions
from grading.sealed import tools, worker

Flat = dict[str, Any]


def answer(
    case: Case, right: Functions, functions: Functions, given: Mapping[str, Any]
) -> Flat | None:
    """What `functions`, and right ones where they are silent, answer; None if they raise.

    `given` are the student's answers, from which masks are derived: random draws are never
    compared.
    """
    table, kept, answers = {**right, **functions}, {}, {}
    try:
        for call in case.calls:
            args = [kept[a.name] if isinstance(a, Kept) else deepcopy(a) for a in call.args]
            with np.errstate(all="ignore"):
                value = _run(call, args, table, kept, given)
            values = value if len(call.returns) > 1 else (value,)
            for name, item in zip(call.returns, values, strict=True):
                (kept if name in call.keep else answers)[name] = item
            for name, position in call.echo.items():
                (kept if name in call.keep else answers)[name] = args[position]
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, AttributeError):
        return None
    return flat(answers)


def _run(
    call: Call, args: list[Any], table: Functions, kept: Mapping[str, Any], given: Mapping[str, Any]
) -> Any:
    kwargs = dict(call.kwargs)
    if "dtype" in kwargs:
        kwargs["dtype"] = np.dtype(kwargs["dtype"]).type
    path = call.function
    if path.startswith("."):
        found = getattr(kept[call.of], path[1:])
        return found(*args, **kwargs) if callable(found) else found
    if path == "tool:fully_connected_net":
        hidden, settings = args
        settings["dtype"] = np.dtype(settings["dtype"]).type
        return table["classifiers.fc_net:FullyConnectedNet"](hidden, **settings)
    if path == "tool:dropout_of":
        mask = np.float64(_drawn(given[call.returns[0]], args[1]))
        args[0].masks.append(mask)
        return mask
    if path == "tool:call_with_tensors":
        return tools.scores_and_gradients(table[args[0]], *args[1:])
    if path.startswith("tool:"):
        return getattr(tools, path[5:])(*args)
    if path == "layers:dropout_forward":
        out = _drawn(given[call.returns[0]], args[0])
        return out, np.float64(out) / np.float64(args[0])
    return table[path](*args, **kwargs)


def _drawn(given: Any, like: np.ndarray) -> np.ndarray:
    """A student's answer that a mask is derived from. ValueError where its shape is another: it
    would be spread out over the question's, to any size."""
    found = np.asarray(given)
    if found.shape != like.shape:
        raise ValueError(f"an answer of shape {found.shape} to a question of {like.shape}")
    return found


def _as_array(value: Any) -> Any:
    """A list of numbers as an array: it is of the wrong kind, but it is there."""
    try:
        return np.asarray(value) if type(value) in (list, tuple) else value
    except (TypeError, ValueError):
        return None


def flat(answers: Mapping[str, Any]) -> Flat:
    """Answers by the labels of findings: "dx", "config['velocity']"; numbers and arrays alone.

    Parameters that a network drew are left out: random draws are never compared.
    """
    found: Flat = {}
    for name, value in answers.items():
        value = worker.plain(value)
        if isinstance(value, dict) and name != "params":
            found.update({f"{name}[{key!r}]": item for key, item in value.items()})
        else:
            found[name] = value
    found = {name: _as_array(value) for name, value in found.items()}
    numeric = (np.ndarray, np.number, int, float)
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, numeric) and np.asarray(value).dtype.kind in "biuf"
    }
