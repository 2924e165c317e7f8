"""Grade a hostile submission sealed, by a warm worker and by one that is started anew, and by a
stand-in grader with the wall taken away.

A submission is the solved package with a wrong `relu_forward` and the text of one file behind it.
Its honest part is affine_forward and sgd_momentum, a point each. `shown` in the file's head names
the stand-in with which it succeeds:

in-process  the student's code in the grader's own process, as in a notebook kernel
process     the child of this design, on the bare system and with limits lifted
trusting    the same, with a parent that believes what the child sends
"""

from __future__ import annotations

import ast
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from grading import report
from grading.evidence import one_line
from grading.grade import grade_submission
from grading.grades import FORMULA, harmless
from grading.sealed import isolation, warm
from grading.sealed.sandbox import Limits
from tests.hostile import naive
from tests.hostile.canary import Canary

HERE = Path(__file__).resolve().parent
NAMES = ["affine_forward", "relu_forward", "sgd_momentum"]
HONEST = {"affine_forward": 1.0, "relu_forward": 0.0, "sgd_momentum": 1.0}
LIMITS = Limits(case_seconds=2.0, memory=160 << 20)
WRONG = "\n\ndef relu_forward(x):\n    return -x, x\n\n\n"
LONGEST = 25.0  # seconds for three small checks, of which one may wait for its deadline


@dataclass(frozen=True)
class Attack:
    """One file: what it tries, what it is aimed at, how it is shown to succeed."""

    path: Path
    what: str
    aimed: str
    shown: str
    bound: int | None = None
    runs: int = 1

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"


@dataclass
class Result:
    """Points by check, the harm that was done, and what the instructor is told."""

    points: dict[str, float] = field(default_factory=dict)
    harm: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def above(self) -> list[str]:
        """The checks with more points than the honest part deserves."""
        return [name for name, points in self.points.items() if points > HONEST[name]]


def attacks() -> list[Attack]:
    """All hostile submissions."""
    found = []
    for path in sorted(HERE.glob("*/*.py")):
        head = ast.get_docstring(ast.parse(path.read_text()))
        what, _, rest = head.partition("\n\n")
        said = dict(line.split(": ", 1) for line in rest.splitlines())
        bound = int(said["bound"]) if "bound" in said else None
        shown, runs = said["shown"], int(said.get("runs", 1))
        found.append(Attack(path, what, said["aimed at"], shown, bound, runs))
    return found


def write(attack: Attack, canary: Canary, solved: Path, folder: Path) -> Path:
    """The submission of an attack, in `folder`."""
    for path in sorted(solved.rglob("cs231n/**/*.py")):
        place = folder / path.relative_to(solved)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    layers = folder / "cs231n" / "layers.py"
    layers.write_text(layers.read_text() + WRONG + canary.fill_in(attack.path.read_text()))
    return folder


def sealed(attack: Attack, solved: Path, folder: Path) -> Result:
    """Grade it as a class is graded."""
    return _graded(attack, solved, folder, "sealed", LIMITS)


def cold(attack: Attack, solved: Path, folder: Path) -> Result:
    """The same where no zygote can be had."""
    with mock.patch.object(warm, "fork", lambda *_: None):
        return _graded(attack, solved, folder, "sealed", LIMITS)


def unsealed(attack: Attack, solved: Path, folder: Path) -> Result:
    """Grade it by the stand-in that its head names."""
    if attack.shown == "process":
        with mock.patch.object(isolation.ControlGroup, "_make"):  # nor any control group
            return _graded(attack, solved, folder, "process", naive.LIFTED)
    with Canary() as canary:
        write(attack, canary, solved, folder)
        run = naive.in_process if attack.shown == "in-process" else naive.trusting
        points, harm, text = run(folder, attack.runs)
        harm = [*harm, *canary.harm()]
        if "\x1b" in text:
            harm.append("control codes in the report")
        if "<script" in text:
            harm.append("a script in the report")
        if "\nrelu_forward: 1 of 1" in text:
            harm.append("a forged line in the report")
        if "\n=" in text:
            harm.append("a formula in the table of evidence")
        if canary.secret in text:
            harm.append("a secret was read")
        return Result(points, [*harm, *_taken(attack, text)])


def _graded(attack: Attack, solved: Path, folder: Path, level: str, limits: Limits) -> Result:
    start = time.monotonic()
    with Canary() as canary:
        write(attack, canary, solved, folder)
        for run in range(attack.runs):
            outcomes = grade_submission(
                folder, entropy=7 + run, names=NAMES, level=level, limits=limits
            )
        seconds = time.monotonic() - start
        result = Result({n: o.points for n, o in outcomes.items()}, canary.harm(), [], seconds)
        if seconds > LONGEST:
            result.harm.append("it took too long")
        if set(outcomes) != set(NAMES):
            result.harm.append("a check has no grade")
        for outcome in outcomes.values():
            told = [f"{outcome.check}: {one_line(text)}" for text in outcome.evidence]
            result.evidence += told
            result.harm += _read_by(outcome, canary.secret) + _taken(attack, outcome.output)
    return result


def _read_by(outcome, secret: str) -> list[str]:
    """What an outcome would do to those who read it."""
    text, html = report.text(outcome), report.html(outcome)
    cells = [harmless(one_line(entry)) for entry in outcome.evidence]
    shown, found = "\n".join((text, html, *cells)), []
    try:
        outcome.to_json().encode("utf-8")
    except UnicodeEncodeError:
        found.append("the outcome cannot be stored")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown):
        found.append("control codes in the report")
    if "<script" in html or "<img" in html:
        found.append("a script in the report")
    if re.search(r"^relu_forward: 1 of 1", text, re.MULTILINE) and not outcome.points:
        found.append("a forged line in the report")
    if any(FORMULA.search(cell) for cell in cells):
        found.append("a formula in the table of evidence")
    if secret in outcome.to_json():
        found.append("a secret was read")
    if len(shown) > 60_000:
        found.append("a flood of text")
    return found


def _taken(attack: Attack, text: str) -> list[str]:
    """What was taken beyond the bound in the attack's head, by its own count."""
    taken = max(map(int, re.findall(r"took (\d+)", text)), default=0)
    too_much = attack.bound is not None and taken > attack.bound
    return [f"took {taken}, where {attack.bound} is the bound"] if too_much else []
