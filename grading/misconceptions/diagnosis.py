"""Which known mistake a failed answer is, in a sentence; nothing where that is not sure.

A misconception is named where its own answers are the student's on the same inputs, in every
question that it changes, where no other explains as much, and where that is so for two draws.
A wrong diagnosis is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from grading.checks.case import Case, Check
from grading.checks.tolerance import TOLERANCE, relative_error
from grading.misconceptions.answers import Flat, answer, flat
from grading.misconceptions.bank import BANK, Functions, Misconception, where
from grading.misconceptions.right import table
from grading.misconceptions.words import in_words
from grading.outcome import Finding, Outcome

MORE = "That does not explain all that is wrong."
Asked = tuple[Case, Mapping[str, Any], Sequence[Finding]]  # a case, its reply, what was found


@dataclass
class Witness:
    """A student's answers to one case, beside the right ones."""

    case: Case
    answers: Mapping[str, Any]
    failed: frozenset[str]
    held: frozenset[str]

    @cached_property
    def got(self) -> Flat:
        return flat(self.answers)

    @cached_property
    def right(self) -> Flat:
        return answer(self.case, table(), {}, self.answers) or {}

    def explained(self, known: Misconception, form: Functions) -> set[tuple[str, str]] | None:
        """The labels that a form of the misconception explains; None where it says something
        else."""
        if known.seen is not None:
            seen = _seen(known, self) if self.failed else False
            if seen is None:
                return None
            return {(self.case.label, label) for label in self.failed} if seen else set()
        wrong = answer(self.case, table(), form, self.answers)
        if wrong is None:
            return set()
        touched = [k for k in self.right if not same(wrong.get(k), self.right[k], self.case, k)]
        if all(same(self.got.get(k), wrong.get(k), self.case, k) for k in touched):
            return {(self.case.label, label) for label in touched if label not in self.held}
        return None

    @cached_property
    def exchanged(self) -> list[tuple[str, str]]:
        """Failed answers of which each is what the other should be."""
        labels = [label for label in self.right if label in self.failed]
        return [
            (a, b)
            for a, b in combinations(labels, 2)
            if same(self.got.get(a), self.right[b], self.case, a)
            and same(self.got.get(b), self.right[a], self.case, b)
        ]


def _by_verdict(found: Sequence[Finding]) -> tuple[frozenset[str], frozenset[str]]:
    """The labels of what failed, and of what held."""
    failed = frozenset(f.label for f in found if not f.passed)
    return failed, frozenset(f.label for f in found) - failed


def _seen(known: Misconception, witness: Witness) -> bool | None:
    try:
        return known.seen(witness.case, witness.answers)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return False


def same(got: Any, want: Any, case: Case, label: str) -> bool:
    """Whether two answers agree in kind, shape, dtype and (within the tolerance) numbers."""
    if got is None or want is None:
        return got is want
    got, want = np.asarray(got), np.asarray(want)
    if got.size != want.size:
        return False
    if got.shape != want.shape:
        squeezed = [tuple(n for n in array.shape if n != 1) for array in (got, want)]
        if squeezed[0] != squeezed[1]:
            return False
        got = got.reshape(want.shape)
    if got.ndim and got.dtype != want.dtype:
        return False
    kind = "gradient" if label in case.gradients or label.startswith("grads") else "value"
    dtype = "float32" if want.dtype == np.float32 else case.dtype
    finite = np.isfinite(want)
    if not np.array_equal(np.isfinite(got), finite):
        return False
    got, want = np.float64(got[finite]), np.float64(want[finite])
    return bool(np.all(relative_error(got, want) <= TOLERANCE[dtype, kind]))


class Diagnosis:
    """What may be said about a check's failed answers, kept if a second draw says it again."""

    def __init__(
        self, check: Check, asked: Iterable[Asked], forward: Outcome | None = None
    ) -> None:
        self.check, self.forward = check, forward
        self.witnesses = [
            Witness(case, reply["answers"], *_by_verdict(found))
            for case, reply, found in asked
            if not reply["error"]
        ]
        # The questions that failed come first, and the usual ones before the edges.
        self.witnesses.sort(key=lambda w: (not w.failed, w.case.edge))
        self.failing = [witness for witness in self.witnesses if witness.failed]

    def matching(self, among: Iterable[str] | None = None) -> dict[str, set[tuple[str, str]]]:
        """Misconceptions that explain something and contradict nothing: what they explain."""
        if not self.failing:
            return {}
        names = [n for n, known in BANK.items() if self.check.name in known.fails]
        names = [n for n in names if self._possible(BANK[n])]
        found = {n: self._explained(BANK[n]) for n in names if among is None or n in among}
        found = {name: labels for name, labels in found.items() if labels}
        both = [n for n in found if self.forward and n in self.forward.known]
        return {name: found[name] for name in both} or found

    def _possible(self, known: Misconception) -> bool:
        """Whether the outcome of this backward's forward allows the misconception: one of the
        pair shows in the forward as well, and one of the backward alone does not."""
        if self.forward is None:
            return True
        pair = self.check.forward in known.fails
        if self.forward.known:
            return known.name in self.forward.known if pair else True
        return not (pair and self.forward.passed)

    def _explained(self, known: Misconception) -> set[tuple[str, str]]:
        return max((self._by_form(known, form) for form in known.forms), key=len)

    def _by_form(self, known: Misconception, form: Functions) -> set[tuple[str, str]]:
        explained, core = set(), 0
        for witness in self.witnesses:
            here = witness.explained(known, form)
            if here is None and (not witness.case.edge or core < 2):
                return set()
            explained |= here or set()
            core += bool(here) and not witness.case.edge
        return explained

    def unexplained(self, explained: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """What of the usual questions failed, and is not among what is explained."""
        usual = [w for w in self.failing if not w.case.edge]
        failed = {(w.case.label, label) for w in usual for label in w.failed if label in w.right}
        return failed - explained

    def words(self) -> list[tuple[str, str]]:
        """Labels and what is plain to see of their arrays, the same in each failed question."""
        plain: list[tuple[str, str]] = []
        for label in dict.fromkeys(k for w in self.failing for k in w.right if k in w.failed):
            here = [w for w in self.failing if label in w.failed and label in w.right]
            found = {in_words(w.got.get(label), w.right[label]) for w in here}
            if len(found) == 1 and (phrase := found.pop()):
                plain.append((label, phrase))
        swapped = [set(w.exchanged) for w in self.failing if not w.case.edge]
        for a, b in sorted(set.intersection(*swapped)) if swapped else ():
            plain = [(label, phrase) for label, phrase in plain if label not in (a, b)]
            plain.append((f"{a} and {b}", "stand in each other's place"))
        return plain


def best(found: Mapping[str, set[tuple[str, str]]]) -> list[str]:
    """The misconceptions that explain most; none that says as much as another."""
    chosen = []
    for name, labels in found.items():
        others = [other for n, other in found.items() if n != name]
        if any(labels <= other for other in others):
            continue
        rivals = [other for other in others if labels & other and not other < labels]
        if not rivals:
            chosen.append(name)
    return chosen


def diagnose(first: Diagnosis, ask_again: Callable[[], Diagnosis]) -> tuple[list[str], str]:
    """Names of the misconceptions that two draws agree on, and what a student reads of them.

    Where none is named, what is plain to see of the arrays is said. The second draw is asked for
    only where the first has something to say.
    """
    once, plain = first.matching(), first.words()
    if not once and not plain:
        return [], ""
    second = ask_again()
    chosen = best(once)
    names = [name for name in best(second.matching(once)) if name in chosen]
    if names:
        said = list(dict.fromkeys(BANK[name].says for name in names))
        left = first.unexplained(set().union(*(once[name] for name in names)))
        said += [MORE] if left else []
        return names, " ".join([*said, where(first.check.name)])
    again = second.words()
    said = [f"{label} {phrase}." for label, phrase in plain if (label, phrase) in again]
    return [], " ".join(said)
