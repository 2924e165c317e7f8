"""From a student's answers to an outcome: findings, points, and the first thing to read."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from grading import follow
from grading.checks import ALL
from grading.checks.case import Case, Check, Law, OneOf
from grading.checks.tolerance import compare, kind_wanted, right_answers
from grading.hints import hint
from grading.misconceptions import diagnosis
from grading.outcome import Finding, Outcome
from grading.subject import Reply, Subject

TOO_SLOW = "too slow, or without an end"
SLOW = (
    "Work on whole arrays: a loop of Python's over every single number takes as many minutes as "
    "NumPy takes milliseconds, and a loop must come to an end."
)
DIFFERENCES = 3e-13  # relative error: formulas stay below 1e-14, differences above 1e-12
FORM = "You wrote the form with"
ALL_HOLD = "All properties hold."
EDGE_SHARE = 0.4  # edges cost at most this share of a check's points together
EDGE_STEP = 0.15  # and at most this share for each edge case there is


def draw(check: Check, entropy: int, again: bool = False) -> list[Case]:
    """The check's cases for this entropy; the same entropy draws the same cases.

    With `again`, the second draw that a diagnosis needs.
    """
    seed = [entropy, *check.name.encode(), *([1] if again else [])]
    return check.cases(np.random.default_rng(seed))


def run(
    check: Check,
    subject: Subject,
    entropy: int,
    earlier: Mapping[str, Outcome],
    cases: Sequence[Case] | None = None,
) -> Outcome:
    """Ask, judge, and follow an earlier mistake through so that it costs once.

    `earlier` holds the outcomes of the checks before this one; `cases` are drawn if not given.
    """
    start = time.perf_counter()
    if check.procedure:
        outcome = check.procedure(check, subject, entropy)
    else:
        cases = draw(check, entropy) if cases is None else cases
        outcome = _followed(check, subject, entropy, earlier, _graded(cases))
        outcome = _remarked(check, subject, outcome, [case for case in cases if case.remark])
    return replace(
        outcome,
        seconds=round(time.perf_counter() - start, 4),
        level=subject.level,
        entropy=entropy,
    )


def _graded(cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if not case.remark]


def _remarked(check: Check, subject: Subject, outcome: Outcome, asides: list[Case]) -> Outcome:
    """An outcome in which all holds with the remarks of `asides`, and with word of all remarks
    but that on which of two right forms it is."""
    if outcome.summary != ALL_HOLD:
        return outcome
    remarks = list(outcome.remarks)
    replies = subject.replies(check, asides, False) if asides else ()
    for case, reply in zip(asides, replies, strict=True):
        answered = not reply["error"] or reply["error"]["kind"] != "lost"
        if answered and not all(finding.passed for finding in judge_case(case, reply)[0]):
            remarks.append(case.remark)
    told = sum(not remark.startswith(FORM) for remark in remarks)
    if not told:
        return outcome
    count = "a remark" if told == 1 else f"{told} remarks"
    return replace(outcome, remarks=tuple(remarks), summary=f"Right, with {count}.")


def _followed(
    check: Check,
    subject: Subject,
    entropy: int,
    earlier: Mapping[str, Outcome],
    cases: Sequence[Case],
) -> Outcome:
    outcome, asked = _judged(check, subject, cases, parts=False)
    parts = False
    if _by_differences(cases, outcome):
        note = getattr(subject, "note", lambda text: None)
        note("its gradients are as exact as differences of a forward are, not as a formula is")
    if outcome.passed:
        return outcome
    culprits = [c.name for c in built_on(check) if c.name in earlier]
    culprits = [name for name in culprits if not earlier[name].passed]
    if culprits and check.parts:
        again, asked_again = _judged(check, subject, cases, parts=True)
        if again.points > outcome.points:
            names, do = ", ".join(culprits), "does" if len(culprits) == 1 else "do"
            remark = f"Judged with the course's {names} in place of yours, which {do} not pass yet."
            outcome = replace(again, remarks=(*again.remarks, remark))
            asked, parts = asked_again, True
    forward = earlier.get(check.forward or "")
    if not outcome.passed and forward and follow.where_wrong(forward):
        in_its_form = [case for case, _ in asked]
        outcome = follow.own_forward(check, subject, in_its_form, outcome, forward, points)
        if not outcome.passed:  # what is left may be another mistake than what came first
            said = summary(check, outcome.findings, [reply for _, reply in asked])
            outcome = replace(outcome, summary=said)
    if outcome.passed:
        return outcome

    def ask_again() -> diagnosis.Diagnosis:
        again, asked = _judged(
            check, subject, _graded(draw(check, entropy, again=True)), parts
        )
        return diagnosis.Diagnosis(check, with_findings(asked, again.findings), forward)

    if any(reply.get("hung") for _, reply in asked):
        return replace(
            outcome, diagnosis=SLOW, known=(TOO_SLOW,), summary=f"{SLOW} {outcome.summary}"
        )
    kinds = {reply["error"]["kind"] for _, reply in asked if reply["error"]}
    if kinds & {"lost", "stub", "import"}:
        return outcome
    first = diagnosis.Diagnosis(check, with_findings(asked, outcome.findings), forward)
    names, said = diagnosis.diagnose(first, ask_again)
    if not said:
        return outcome
    if forward and set(names) & set(forward.known) and check.torch:
        explained = set().union(*first.matching(names).values())
        if all(f.passed or (f.case, f.label) in explained for f in outcome.findings):
            return follow.own_block(check, outcome)
    return replace(
        outcome, diagnosis=said, known=tuple(names), summary=f"{said} {outcome.summary}"
    )


def _by_differences(cases: Sequence[Case], outcome: Outcome) -> bool:
    """Whether each gradient in float64 that is right is so to fewer digits than formulas give."""
    double = {(c.label, label) for c in cases if c.dtype == "float64" for label in c.gradients}
    right = [f for f in outcome.findings if f.passed and (f.case, f.label) in double]
    errors = [finding.error for finding in right if finding.error is not None]
    return bool(errors) and min(errors) > DIFFERENCES


def with_findings(
    asked: Sequence[tuple[Case, Reply]], findings: Sequence[Finding]
) -> list[diagnosis.Asked]:
    """Each case and its reply, with what was found in it."""
    return [(c, reply, [f for f in findings if f.case == c.label]) for c, reply in asked]


def _judged(
    check: Check, subject: Subject, cases: Sequence[Case], parts: bool
) -> tuple[Outcome, list[tuple[Case, Reply]]]:
    """The outcome of asking once, and what was asked with the reply that counted."""
    replies = list(subject.replies(check, cases, parts))
    asked = list(zip(cases, replies, strict=True))
    judged = [judge_case(case, reply) for case, reply in asked]
    second = [(i, case.otherwise) for i, case in enumerate(cases) if case.otherwise is not None]
    if second and not all(f.passed for i, _ in second for f in judged[i][0]):
        others = [case for _, case in second]
        for (i, case), reply in zip(second, subject.replies(check, others, parts), strict=True):
            other = judge_case(case, reply)
            if _share(other[0], case) > _share(judged[i][0], cases[i]):
                judged[i], asked[i] = other, (case, reply)
    replies = [reply for _, reply in asked]
    findings = [finding for found, _ in judged for finding in found]
    remarks = dict.fromkeys(remark for _, found in judged for remark in found)
    forms = [remark for remark in remarks if remark.startswith(FORM)]
    several = {(c.label, k) for c, _ in asked for k, w in c.want.items() if isinstance(w, OneOf)}
    if len(forms) > 1 or any(not f.passed for f in findings if (f.case, f.label) in several):
        remarks = [remark for remark in remarks if remark not in forms]  # it is none of them
    output = next((reply["output"] for reply in replies if reply.get("output")), "")
    outcome = Outcome(
        check=check.name,
        points=points(check, cases, findings),
        max_points=check.points,
        summary=summary(check, findings, replies),
        findings=tuple(findings),
        remarks=tuple(remarks),
        error=next((error_text(r["error"]) for r in replies if r["error"]), ""),
        output=output,
    )
    return outcome, asked


def judge_case(case: Case, reply: Reply) -> tuple[list[Finding], list[str]]:
    """What holds and what does not in one case, and what is only remarked."""
    remarks = [f"{name} changes its input in place: work on a copy." for name in reply["changed"]]
    place = {"case": case.label, "edge": case.edge}
    if reply["error"]:
        message = error_text(reply["error"])
        came = [law for law in case.laws if law.of in reply["answers"]]
        labels = [*case.want, *(law.label for law in case.laws if law not in came)]
        said = {"message": message, "raised": reply["error"]["kind"] in ("raised", "import")}
        findings = [Finding(label=n, passed=False, **said, **place) for n in labels]
        return [*findings, *(_judge_law(law, reply, place) for law in came)], remarks
    findings = []
    for label, want in case.want.items():
        finding, remark = compare(
            label,
            reply["answers"].get(label),
            want,
            dtype=case.dtype,
            gradient=label in case.gradients,
            case=case.label,
            edge=case.edge,
        )
        if not finding.passed and finding.shape and _equals_input(reply["answers"][label], case):
            message = f"{label} equals one of the inputs, entry for entry"
            wanted = kind_wanted(np.shape(right_answers(want)[0]), case.dtype)
            finding = replace(finding, message=f"{message}; it {wanted} computed from them")
        findings.append(finding)
        remarks += [f"{FORM} {remark}; both are in use."] if remark else []
    findings += [_judge_law(law, reply, place) for law in case.laws]
    return findings, remarks


def _judge_law(law: Law, reply: Reply, place: Mapping[str, Any]) -> Finding:
    try:
        message = law.broken(reply["answers"])
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError):
        message = f"{law.label}: the answer is not of the kind that was asked for"
    return Finding(label=law.label, passed=not message, message=message, **place)


def _equals_input(answer: Any, case: Case) -> bool:
    """Whether an answer has the entries of an input: given back, or computed as x + 0."""
    inputs = [a for call in case.calls for a in call.args if isinstance(a, np.ndarray)]
    flat = np.ravel(answer)
    return any(a.size == flat.size > 1 and np.array_equal(a.ravel(), flat) for a in inputs)


def _weight(case: Case, label: str) -> float:
    laws = {law.label: law.weight for law in case.laws}
    return case.weights.get(label, laws.get(label, 1.0))


def _share(findings: Sequence[Finding], case: Case) -> float:
    weights = [_weight(case, finding.label) for finding in findings]
    got = sum(w for w, finding in zip(weights, findings, strict=True) if finding.passed)
    return got / sum(weights) if sum(weights) else float(all(f.passed for f in findings))


def points(check: Check, cases: Sequence[Case], findings: Sequence[Finding]) -> float:
    """Core cases earn; an edge case that fails takes a small share of what the core earned."""
    by_case = {case.label: [f for f in findings if f.case == case.label] for case in cases}
    shares = {case.label: _share(by_case[case.label], case) for case in cases}
    core = [shares[case.label] for case in cases if not case.edge]
    edges = [shares[case.label] for case in cases if case.edge]
    at_stake = min(EDGE_SHARE, EDGE_STEP * len(edges))
    lost = at_stake * (1 - sum(edges) / len(edges)) if edges else 0.0
    return round(check.points * (sum(core) / len(core)) * (1 - lost), 4)


def summary(check: Check, findings: Sequence[Finding], replies: Sequence[Reply]) -> str:
    """One sentence: what a student reads first."""
    failed = [finding for finding in findings if not finding.passed]
    if not failed:
        return ALL_HOLD
    core = [finding for finding in failed if not finding.edge]
    first = (core or failed)[0]
    errors = [reply["error"] for reply in replies if reply["error"]]
    for error in errors:
        if error["kind"] == "stub":
            return _unwritten(check, error)
    for error in errors:
        if error["kind"] == "import":  # in whatever case
            return f"{error_text(error).rstrip('.')}."
    prefix = "" if core else "Right on the usual inputs, not at an edge. "
    stop = "" if first.message.endswith((".", "?", "!")) else "."
    return f"{prefix}{first.case}: {first.message}{stop}"


def _unwritten(check: Check, error: Mapping[str, str]) -> str:
    """What a stub says of itself, which may be that of a function that the check is built on."""
    told = re.match(r"([\w.]+): not written yet\b.* notebooks/(\w+)\.ipynb", error["message"])
    name, notebook = told.groups() if told else (", ".join(check.exercises), check.notebook)
    place = f", {error['where'].partition(': ')[0]}" if error["where"] else ""
    return f"Not written yet ({name}{place}); see notebooks/{notebook}.ipynb."


def error_text(error: Mapping[str, str]) -> str:
    """An error of the student's code in one line, with the line it came from and a hint."""
    kind, name, message, where = (error[k] for k in ("kind", "type", "message", "where"))
    if kind == "stub":
        return message or f"not written yet. At {where}"
    more = hint(name, message)
    if more:  # it says what to do in fewer words than NumPy's advice of several lines
        message = message.partition("\n")[0]
    text = ": ".join(filter(None, (name, message)))
    said = [text.rstrip("."), f"At {where}" if where else "", more]
    return ". ".join(filter(None, said)).replace("?. ", "? ")


def failed_itself(check: Check, problem: Exception, entropy: int) -> Outcome:
    """The outcome where it was the grader that raised `problem`: no points, and no blame."""
    message = (
        f"the grader itself failed on this check ({type(problem).__name__}). This is an error of "
        "the grader, not of yours: please show your instructor this line"
    )
    return Outcome(
        check.name, 0.0, check.points, f"No result: {message}.", error=message, entropy=entropy
    )


def by_name(names: Sequence[str] | None) -> list[Check]:
    """Checks by name, in the course's order; all if none is named. ValueError if unknown."""
    for name in names or ():
        if name not in ALL:
            close = difflib.get_close_matches(name, ALL, 1)
            said = f"did you mean {close[0]}?" if close else f"there are {', '.join(ALL)}"
            raise ValueError(f"no check is named {name}; {said}")
    return [check for name, check in ALL.items() if not names or name in names]


def built_on(check: Check) -> list[Check]:
    """The checks whose outcome decides how a failure of this one is judged."""
    parts = set(check.parts)
    return [
        other
        for other in ALL.values()
        if other is not check and (other.name == check.forward or parts & set(other.exercises))
    ]


def below(checks: Sequence[Check]) -> list[Check]:
    """What checks are built on, and what that is built on, without themselves, in order."""
    found: dict[str, None] = {}
    waiting = list(checks)
    while waiting:
        new = [c for c in built_on(waiting.pop()) if c.name not in found and c not in checks]
        found.update(dict.fromkeys(check.name for check in new))
        waiting += new
    return by_name(list(found)) if found else []
