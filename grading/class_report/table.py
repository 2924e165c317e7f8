"""The class as data: what each check found of each student, read from where grading left it."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from grading import evidence, gradebook
from grading.archives import NOTHING
from grading.grades import ASSIGNMENT, harmless
from grading.repair import recorded, shown
from grading.store import write_atomically

COLUMNS = ("student", "notebook", "check", "points", "max", "passed", "mistakes", "otherwise",
           "seconds", "level", "evidence")  # fmt: skip
ACCURACY = re.compile(r"Accuracy (\d\.\d+) on .* of (the stand-in|CIFAR-10)")


@dataclass(frozen=True)
class Found:
    """One check of one student. `known` are mistakes by name; `otherwise` says in a few words
    what a failure without a name is."""

    points: float
    most: float
    known: tuple[str, ...] = ()
    otherwise: str = ""
    seconds: float = 0.0
    level: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.points >= self.most


@dataclass(frozen=True)
class Student:
    """One student: by check what was found, by exercise the gradebook's score (None: waits)."""

    name: str
    found: Mapping[str, Found] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    automatic: Mapping[str, float | None] = field(default_factory=dict)  # before marks by hand
    most: Mapping[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    stand_in: bool = False
    repairs: int = 0
    files: tuple[str, ...] = ()  # what is odd about the files
    nothing: bool = False  # nothing usable was handed in

    @property
    def total(self) -> float:
        """Points so far: the gradebook's, or those of the checks where it knows nothing."""
        if self.scores:
            return sum(score or 0.0 for score in self.scores.values())
        return sum(found.points for found in self.found.values())

    @property
    def seconds(self) -> float:
        return sum(found.seconds for found in self.found.values())

    @property
    def waits(self) -> list[str]:
        return [name for name, score in self.scores.items() if score is None]

    @property
    def disagrees(self) -> dict[str, tuple[float, float]]:
        """Checks whose automatic score in the gradebook is not what the stored outcome earned,
        with both."""
        return {
            name: (score, found.points / found.most * self.most[name])
            for name, found in self.found.items()
            if (score := self.automatic.get(name)) is not None
            and found.most > 0 and self.most[name] > 0
            and abs(score / self.most[name] - found.points / found.most) > 1e-3
        }  # fmt: skip


def students(course: Path) -> list[Student]:
    """Everybody who handed in or is in the gradebook, by name."""
    from grading.preprocessors import mark, record

    scores = scored(course)  # of each exercise: the score, the automatic one, the points
    collected = {path.parent.name for path in course.glob(f"submitted/*/{ASSIGNMENT}")}
    # Who left the course has a mark still, and is not in the gradebook.
    graded = {path.name for path in (course / "graded").glob("*")} if not scores else set()
    made = []
    for name in sorted(collected | graded | set(scores)):
        note = mark(course, name)
        found, accuracy, stand_in = {}, None, False
        if note.is_file():
            found, accuracy, stand_in = outcomes(course, note.read_text().split()[-1])
        repairs = recorded(record(course, name))
        nothing = [str(repair) for repair in repairs if repair.text.startswith(NOTHING)]
        told = [str(repair) for repair in repairs if str(repair) not in nothing]
        made.append(
            Student(
                name,
                found,
                *({check: of[i] for check, of in scores.get(name, {}).items()} for i in range(3)),
                accuracy,
                stand_in,
                len(repairs),
                tuple(t for t in told if any(words in t for words in evidence.TELLING)),
                bool(nothing),
            )
        )
    return made


@lru_cache(maxsize=64)
def outcomes(course: Path, key: str) -> tuple[dict[str, Found], float | None, bool]:
    """What is stored under a key: by check, and the checkpoint's accuracy with its data.

    The findings, most of the text, are not looked at: a class has half a million.
    """
    try:
        stored = json.loads((course / "outcomes" / f"{key}.json").read_text("utf-8"))
        read = {name: json.loads(text) for name, text in stored.items()}
        found = {name: _found(outcome) for name, outcome in read.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}, None, False
    measured = ACCURACY.search(read.get("resnet18_accuracy", {}).get("summary", ""))
    if measured is None:
        return found, None, False
    return found, float(measured[1]), measured[2] != "CIFAR-10"


def _found(outcome: dict[str, Any]) -> Found:
    known = tuple(outcome.get("known", ()))
    passed = outcome["points"] >= outcome["max_points"]
    return Found(
        float(outcome["points"]),
        float(outcome["max_points"]),
        known,
        "" if passed or known else _otherwise(outcome),
        float(outcome["seconds"]),
        outcome["level"],
        tuple(outcome["evidence"]),
    )


def _otherwise(outcome: dict[str, Any]) -> str:
    """A failure that has no name, in a few words; never a student's own text."""
    summary, error = outcome["summary"], outcome["error"]
    if "Not written yet" in summary:
        return "not written"
    if error.startswith("There is no checkpoints/"):
        return "no checkpoint handed in"
    if "the grader itself failed" in error:
        return "the grader failed"
    if re.search(r"no answer (within|in time)|seconds for (a|this) ", error):
        return "no answer in time"
    raised = re.match(r"([A-Z]\w{0,40}(?:Error|Exception|Exit|Warning|Interrupt))\b", error)
    if raised:
        return f"raises {raised[1]}" if raised[1] in BUILT_IN else "raises an error of its own"
    if error:
        return "no answer"
    if summary.startswith("Right on the usual inputs"):
        return "wrong at an edge, not recognised"
    return "wrong, not recognised"


BUILT_IN = {
    name for name, value in vars(__import__("builtins")).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}  # fmt: skip


def scored(course: Path) -> dict[str, dict[str, tuple[float | None, float | None, float]]]:
    """Student -> exercise -> (score or None while it waits, the automatic score, points), in one
    question to the gradebook."""
    from nbgrader.api import (
        Assignment,
        Grade,
        GradeCell,
        Student,
        SubmittedAssignment,
        SubmittedNotebook,
    )

    if not gradebook.there(course):
        return {}
    scores: dict[str, dict[str, tuple[float | None, float | None, float]]] = {}
    with gradebook.opened(course) as book:
        lines = (
            book.db.query(
                Student.id, GradeCell.name, GradeCell.max_score,
                Grade.auto_score, Grade.manual_score, Grade.extra_credit,
                Grade.needs_manual_grade,
            )
            .select_from(Grade)
            .join(GradeCell, GradeCell.id == Grade.cell_id)
            .join(SubmittedNotebook, SubmittedNotebook.id == Grade.notebook_id)
            .join(SubmittedAssignment, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
            .join(Student, Student.id == SubmittedAssignment.student_id)
            .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
            .filter(Assignment.name == ASSIGNMENT)
        )  # fmt: skip
        for student, name, most, auto, manual, extra, waits in lines:
            score = auto if manual is None else manual
            score = None if waits or score is None else float(score) + float(extra or 0.0)
            scores.setdefault(student, {})[name] = (score, auto, float(most))
    return scores


def homes(course: Path) -> dict[str, str]:
    """Exercise -> its notebook, in the course's order."""
    found = {}
    names = ("FullyConnectedNets", "BatchNorm", "Dropout", "ConvNets", "PyTorch")
    paths = sorted(
        course.glob(f"source/{ASSIGNMENT}/*.ipynb"),
        key=lambda path: names.index(path.stem) if path.stem in names else len(names),
    )
    for path in paths:
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            marks = cell.get("metadata", {}).get("nbgrader", {})
            if marks.get("grade"):
                found[marks["grade_id"]] = path.stem
    return found


def nameless(students: list[Student]) -> list[Student]:
    """The same students in random order, with numbers for names."""
    shuffled = random.SystemRandom().sample(students, len(students))
    width = len(str(len(shuffled)))
    return [replace(s, name=f"student {i:0{width}}") for i, s in enumerate(shuffled, 1)]


def write(students: list[Student], homes: Mapping[str, str], path: Path) -> None:
    """Write a line a student and check as CSV, whole or not at all."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(COLUMNS)
    for student in students:
        name = harmless(shown(student.name))
        for check, found in student.found.items():
            out.writerow((
                name, homes.get(check, ""), check, found.points, found.most,
                int(found.passed), "; ".join(found.known), found.otherwise,
                found.seconds, found.level, len(found.evidence),
            ))  # fmt: skip
    write_atomically(path, text.getvalue())
