"""Follow-through: a backward that is right for the student's own, slightly wrong, forward.

The mistake was charged at the forward. Where that forward is near the right one, a gradient that
is exactly its derivative keeps its points. A forward that is far off earns its backward nothing:
otherwise a constant and a zero would pass for a layer. Nor does a gradient that is far off: that
of a forward which rounds its inputs is 0 as well, and a forward may lie about its differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from grading.checks.case import Call, Case, Check, Kept
from grading.checks.tolerance import TOLERANCE, relative_error
from grading.outcome import Finding, Outcome
from grading.subject import Subject

NEAR = 0.2  # how far the forward may be from the right one, relative to its size
NEAR_GRADIENT = 0.6  # the same for the gradient; most known mistakes change it by less than 0.5
H = 1e-5  # step of the central difference
AGREES = 1e-5  # largest relative difference between derivative and gradient along a direction
DIRECTIONS = 3
RIGHT = "right for your forward"
UNBIASED = "batch norm: unbiased variance"
Points = Callable[[Check, Sequence[Case], Sequence[Finding]], float]


def own_forward(
    check: Check,
    subject: Subject,
    cases: Sequence[Case],
    outcome: Outcome,
    forward: Outcome,
    points: Points,
) -> Outcome:
    """The outcome with failed gradients passed where they are those of the student's `forward`, at
    edges alone where that is wrong at these alone."""
    edges_alone = where_wrong(forward) == {True}
    findings = list(outcome.findings)
    for i, finding in enumerate(findings):
        case = next(case for case in cases if case.label == finding.case)
        asked = finding.edge or not edges_alone
        asked = asked and case.own_forward is not None and case.dtype == "float64"
        if asked and not finding.passed and finding.error is not None:
            if _is_derivative(check, subject, case, finding.label, forward.known):
                findings[i] = replace(finding, passed=True, message=RIGHT)
    if findings == list(outcome.findings):
        return outcome
    findings = findings if edges_alone else _in_single(cases, findings)
    remark = f"Judged against your own forward, which is not right yet ({check.forward})."
    now = points(check, cases, findings)
    still = [finding for finding in findings if not finding.passed]
    summary = outcome.summary if still else "Right for your own forward."
    return replace(
        outcome,
        points=now,
        findings=tuple(findings),
        summary=summary,
        remarks=(*outcome.remarks, remark),
    )


def where_wrong(forward: Outcome) -> set[bool]:
    """Whether the cases are edges in which a forward's output itself is wrong: what else is wrong
    of it makes no other gradient right."""
    return {f.edge for f in forward.findings if f.label == "out" and not f.passed}


def _in_single(cases: Sequence[Case], findings: Sequence[Finding]) -> list[Finding]:
    """The findings with wrong values in float32 passed where those in float64 are right for the
    student's forward: differences in float32 are too coarse to ask again."""
    single = {case.label for case in cases if case.dtype == "float32"}
    right = {f.label for f in findings if f.passed and f.message == RIGHT}
    right -= {f.label for f in findings if not f.passed and f.case not in single}
    return [
        replace(f, passed=True, message=RIGHT)
        if f.case in single and f.label in right and f.error is not None and f.error > f.tolerance
        else f
        for f in findings
    ]


def own_block(check: Check, outcome: Outcome) -> Outcome:
    """The outcome of a network that is right but for what its block was charged for."""
    findings = [f if f.passed else replace(f, passed=True, message=RIGHT) for f in outcome.findings]
    remark = f"Judged against your own {check.forward}, which is not right yet."
    return replace(
        outcome,
        points=check.points,
        findings=tuple(findings),
        summary=f"Right for your own {check.forward}.",
        remarks=(*outcome.remarks, remark),
    )


def _documented(case: Case, label: str, known: Sequence[str]) -> np.ndarray | None:
    """dx by the docstring's formula with the unbiased variance of the student's forward, which
    is in none of the formula's own terms; None where that is not the forward's mistake."""
    if label != "dx" or not any(name.startswith(UNBIASED) for name in known):
        return None
    (x, gamma, _, param), dout = case.own_forward.call.args, case.own_forward.dout
    std = np.sqrt(x.var(axis=0, ddof=1) + param.get("eps", 1e-5))
    hat = (x - x.mean(axis=0)) / std
    return gamma / std * (dout - dout.mean(axis=0) - hat * (dout * hat).mean(axis=0))


def _is_derivative(
    check: Check, subject: Subject, case: Case, label: str, known: Sequence[str]
) -> bool:
    """Whether the gradient agrees with differences of the forward along random directions."""
    own = case.own_forward
    if label not in own.arguments:
        return False
    position, key = own.arguments[label]
    argument = own.call.args[position]
    point = np.asarray(argument[key] if key else argument, dtype=np.float64)
    rng = np.random.default_rng(list(label.encode()))
    directions = [rng.normal(size=point.shape) for _ in range(DIRECTIONS)]
    calls = [replace(own.call, returns=("out", "cache"), keep=("cache",))]
    for k, direction in enumerate(directions):
        for sign in (1, -1):
            args = list(own.call.args)
            moved = point + sign * H * direction
            args[position] = {**argument, key: moved} if key else moved
            names = (f"out{k}{sign:+d}", "cache")
            calls.append(replace(own.call, args=tuple(args), returns=names, keep=("cache",)))
    backward: Call = case.calls[-1]
    calls += [
        replace(own.call, returns=("out", "cache"), keep=("cache",)),
        replace(backward, args=(own.dout, Kept("cache"))),
    ]
    (reply,) = subject.replies(check, [replace(case, calls=calls)], False)
    answers = reply["answers"]
    try:
        out, gradient = np.float64(answers["out"]), np.float64(answers[label])
        if out.shape != own.out.shape or gradient.size != point.size:
            return False
        if relative_error(out, own.out).max() <= TOLERANCE["float64", "value"]:
            return False  # right here: so is its derivative, and there is nothing to follow
        if not _near(out, own.out, NEAR):
            return False
        if not _near(gradient, np.float64(case.want[label]), NEAR_GRADIENT):
            return False
        formula = _documented(case, label, known)
        if formula is not None and _near(gradient, formula, AGREES):
            return bool(reply["error"] is None)
        for k, direction in enumerate(directions):
            moved = (answers[f"out{k}+1"], answers[f"out{k}-1"])
            if [np.shape(m) for m in moved] != [out.shape] * 2:
                return False
            slope = (np.float64(answers[f"out{k}+1"]) - np.float64(answers[f"out{k}-1"])) / (2 * H)
            expected = np.sum(slope * own.dout)
            found = np.sum(gradient.reshape(-1) * direction.ravel())
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
            if not abs(expected - found) <= AGREES * max(scale, 1e-3):
                return False
    except (KeyError, TypeError, ValueError):
        return False
    return bool(reply["error"] is None)


def _near(got: np.ndarray, right: np.ndarray, share: float) -> bool:
    """Whether two arrays of as many entries differ by at most that share of the right one."""
    difference = np.linalg.norm(got.ravel() - right.ravel())
    return bool(difference <= share * np.linalg.norm(right))
