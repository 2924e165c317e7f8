"""What a check found: an outcome, made of findings, that can be stored and read back."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass, field
from typing import Any

# OSErrors that say nothing of a submission: they would be anybody's zero.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
EXHAUSTED = (*NO_ROOM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True)
class Finding:
    """One thing that had to hold in one case, and whether it did.

    `label` says what ("dx", "running_mean"), `case` in which case, `edge` whether the case is an
    edge (legal, seldom tried). `message` says in words what is wrong. `error` and `tolerance` are
    relative; `where` is the index of the worst entry; shapes are those of the student's array.
    `chart` shows where it is wrong over its last two axes, a character an entry: '.' for right,
    else how large the error is, from 1 to 9; empty where that would not help. `raised` says that
    the message is that of an exception, so that the student's code has worded it.
    """

    label: str
    case: str
    passed: bool
    edge: bool = False
    message: str = ""
    error: float | None = None
    tolerance: float | None = None
    where: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None
    chart: tuple[str, ...] = ()
    raised: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of one check on one submission.

    `points` lies in [0, `max_points`]. `summary` is the first thing that a student reads; it
    starts with the `diagnosis`, if there is one, of the mistakes named in `known`. `error` is set
    when there was no answer to judge (an exception, a deadline, a crash). `remarks` cost
    nothing. `level` says how the student's code was held: 'sealed', 'process' or 'none'.
    """

    check: str
    points: float
    max_points: float
    summary: str
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    error: str = ""
    output: str = ""
    seconds: float = 0.0
    level: str = "none"
    entropy: int | None = None
    evidence: tuple[str, ...] = field(default=())
    diagnosis: str = ""
    known: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.points >= self.max_points

    def to_json(self) -> str:
        findings = [vars(finding) for finding in self.findings]
        return json.dumps({**vars(self), "findings": findings}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Read an outcome back; ValueError if `text` is not one."""
        try:
            fields: dict[str, Any] = json.loads(text)
            fields["findings"] = tuple(
                Finding(**{k: tuple(v) if isinstance(v, list) else v for k, v in finding.items()})
                for finding in fields["findings"]
            )
            for name in ("remarks", "evidence", "known"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except (TypeError, KeyError, AttributeError) as problem:
            raise ValueError(f"not an outcome: {problem}") from problem
