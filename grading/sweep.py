"""The numeric gradient at many steps: where it errs by truncation, and where by rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from grading import judge
from grading.checks.case import Call, Case, Check, Kept
from grading.subject import Subject

STEPS = [10.0**-k for k in range(1, 13)]


def sweep(check: Check, subject: Subject, entropy: int) -> list[tuple[float, float]]:
    """Step h, and how far (f(x + h d) - f(x - h d)) / 2h is from the student's gradient along d,
    relative to it; d is a random direction in x. Empty where there is no gradient, or no answer.
    """
    cases = judge.draw(check, entropy) if check.forward else []
    case = next((c for c in cases if c.own_forward is not None), None)
    if case is None:
        return []
    x = np.float64(case.own_forward.call.args[0])
    direction = np.random.default_rng(entropy).normal(size=x.shape)
    (reply,) = subject.replies(check, [_question(case, x, direction)], False)
    try:
        return _differences(case, reply["answers"], direction)
    except (KeyError, TypeError, ValueError):
        return []


def _question(case: Case, x: np.ndarray, direction: np.ndarray) -> Case:
    own = case.own_forward
    calls: list[Call] = []
    for k, h in enumerate(STEPS):
        for sign in (1, -1):
            args = (x + sign * h * direction, *own.call.args[1:])
            calls.append(replace(own.call, args=args, returns=(f"out{k}{sign:+d}", "cache")))
    backward = case.calls[-1]
    calls.append(replace(own.call, returns=("out", "cache")))
    calls.append(replace(backward, args=(own.dout, Kept("cache"))))
    return replace(case, calls=calls)


def _differences(
    case: Case, answers: dict[str, Any], direction: np.ndarray
) -> list[tuple[float, float]]:
    gradient = np.float64(answers[case.calls[-1].returns[0]])
    slope = float((gradient * direction).sum())
    found = []
    for k, h in enumerate(STEPS):
        change = np.float64(answers[f"out{k}+1"]) - np.float64(answers[f"out{k}-1"])
        numeric = float((change * case.own_forward.dout).sum()) / (2 * h)
        found.append((h, abs(numeric - slope) / max(abs(slope), 1e-12)))
    return found


def draw(check: Check, found: list[tuple[float, float]]) -> None:
    """Plot a sweep; say so where there is none."""
    if not found:
        print(f"{check.name} has no gradient whose steps could be plotted.")
        return
    import matplotlib.pyplot as plt

    steps, differences = zip(*found, strict=True)
    figure, axes = plt.subplots(figsize=(6, 3.2))
    axes.loglog(steps, np.maximum(differences, 1e-17), "o-")
    axes.invert_xaxis()
    axes.set_xlabel("step h")
    axes.set_ylabel("relative difference")
    axes.set_title(f"{check.name}: numeric gradient against yours")
    axes.text(0.02, 0.04, "large h: truncation, falls as h squared", transform=axes.transAxes)
    axes.text(0.98, 0.9, "tiny h: rounding", transform=axes.transAxes, ha="right")
    figure.tight_layout()
    plt.show()
