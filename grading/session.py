"""The check that a student runs: in a notebook cell on the code that the notebook imported."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from grading import judge, report, sweep
from grading.checks import ALL
from grading.checks.case import Check
from grading.outcome import Outcome
from grading.subject import ThisProcess


def check(name: Any, entropy: int | None = None, plot: bool = False) -> float:
    """Run the check `name` on this process's `cs231n`, show what it found, return the points.

    A function or a class stands for the check of its name. `entropy` replays the draw of an
    earlier run. With `plot`, the numeric gradient of a layer is drawn over its step beside the
    gradient of the backward. Raises ValueError for a name that is no check.
    """
    name = str(getattr(name, "__name__", name))
    outcome = outcome_here(name, entropy)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from IPython.display import display

        outcome = replace(outcome, remarks=(*outcome.remarks, *_of_cells(name, shell.user_ns)))
        both = {"text/html": report.html(outcome), "text/plain": report.text(outcome)}
        display(both, raw=True)
    else:
        print(report.for_terminal(outcome))
    if plot:
        (wanted,) = judge.by_name([name])
        sweep.draw(wanted, sweep.sweep(wanted, _here(), outcome.entropy or 0))
    return float(outcome.points)


def _of_cells(name: str, cells: Mapping[str, Any]) -> list[str]:
    """What is said of an exercise that was written in a cell: it is not what is checked."""
    return [
        f"The {exercise} that is defined in a cell of this notebook is not what is checked: that "
        "is the one in the folder cs231n."
        for exercise in ALL[name].exercises
        if getattr(cells.get(exercise), "__module__", "") == "__main__"
    ]


def outcome_here(name: str, entropy: int | None = None) -> Outcome:
    """The outcome of one check in this process; what it builds on is checked where it fails."""
    (wanted,) = judge.by_name([name])
    entropy = secrets.randbits(64) if entropy is None else entropy
    try:
        return _outcome(wanted, _here(), entropy)
    except Exception as problem:  # a student's own errors were caught where they were raised
        return judge.failed_itself(wanted, problem, entropy)


def _outcome(wanted: Check, subject: ThisProcess, entropy: int) -> Outcome:
    outcome = judge.run(wanted, subject, entropy, {})
    if outcome.passed:
        return outcome
    earlier: dict[str, Outcome] = {}
    for below in judge.below([wanted]):
        earlier[below.name] = judge.run(below, subject, entropy, earlier)
    return judge.run(wanted, subject, entropy, earlier) if earlier else outcome


def _here() -> ThisProcess:
    folder = Path(sys.modules["cs231n"].__file__).parents[1] if "cs231n" in sys.modules else None
    return ThisProcess(folder or Path.cwd())
