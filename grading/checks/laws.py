"""Laws on dictionaries that come back: states of update rules, running statistics, gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grading.checks.case import Law
from grading.checks.tolerance import compare


def entry(
    dictionary: str, key: str, want: Any, dtype: str, gradient: bool = False, weight: float = 1.0
) -> Law:
    """The answer named `dictionary` is a dictionary, and its `key` holds `want`."""
    label = f"{dictionary}[{key!r}]"

    def broken(answers: Mapping[str, Any]) -> str:
        held = answers.get(dictionary)
        if not isinstance(held, dict):
            return f"{dictionary} must be a dictionary"
        if key not in held:
            return f"{dictionary} has no {key!r}"
        finding, _ = compare(
            label, held[key], want, dtype=dtype, gradient=gradient, case="", edge=False
        )
        return finding.message

    return Law(label, broken, weight)


def entries(
    dictionary: str, want: Mapping[str, Any], dtype: str, gradient: bool = False, weight: float = 1
) -> tuple[Law, ...]:
    """One law for each of the entries; together they weigh `weight`."""
    share = weight / max(len(want), 1)
    return tuple(entry(dictionary, k, v, dtype, gradient, share) for k, v in want.items())
