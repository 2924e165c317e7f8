"""The numeric gradient at many steps: where it errs by truncation, and where by rounding."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Any

import numpy as np

from grading import judge
from grading.checks.case import Call, Case, Check, Kept
from grading.subject import Subject

STEPS = [10.0**-k for k in range(1, 13)]
NEAR = 1e-5  # closer than this at some step: the same gradient, in float64


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
    """Plot a sweep, and say in words what it shows; say so where there is none."""
    if not found:
        print(f"{check.name} has no gradient whose steps could be plotted.")
        return
    import matplotlib.pyplot as plt

    steps, differences = zip(*found, strict=True)
    print(textwrap.fill(in_words(found), 79))
    figure, axes = plt.subplots(figsize=(6, 3.4))
    axes.loglog(steps, np.maximum(differences, 1e-17), "o-")
    axes.invert_xaxis()
    lowest, highest = max(min(differences), 1e-17), max(*differences, 1e-17)
    axes.set_ylim(lowest / 5, 100 * highest)  # room for the two notes
    axes.set_xlabel("step h")
    axes.set_ylabel("relative difference")
    axes.set_title(f"{check.name}: numeric gradient against yours", fontsize="medium")
    right = min(differences) <= NEAR  # else the difference is that of the gradient, not of h
    notes = {"left": (0.02, "large h: truncation, falls as $h^2$"),
             "right": (0.98, "tiny h: rounding, grows as $1/h$")}  # fmt: skip
    for side, (x, note) in notes.items() if right else ():
        axes.text(x, 0.92, note, transform=axes.transAxes, ha=side, fontsize="small")
    figure.tight_layout()
    plt.show()


def in_words(found: list[tuple[float, float]]) -> str:
    """What a sweep shows, in a sentence."""
    h, least = min(found, key=lambda pair: pair[1])
    if least > NEAR:
        return (
            f"At no step does the numeric gradient come closer than {least:.0e} to yours: yours "
            "is not the gradient of your forward."
        )
    return (
        f"The numeric gradient is closest to yours at h = {h:.0e}: {least:.0e} apart. A larger "
        "step errs by truncation, a smaller one by rounding."
    )
