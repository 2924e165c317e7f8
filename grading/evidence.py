"""What looks like tampering, for the instructor: by student and check, in words, no verdict.

Each entry may have an innocent cause: a notebook mended by a tool, a loop that did not end. It
says where to look, takes no points, and is not shown to students.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grading import overlay
from grading.archives import NOTHING
from grading.outcome import Outcome
from grading.repair import NOT_USED, Repair, recorded, shown
from grading.store import Store, write_atomically

# Of what was repaired or left out, the texts that an instructor may want to know of.
TELLING = (
    "may not be edited",
    "had been changed",
    "is not of this assignment",
    "a link",
    "leads out",
    "or a device",
    "ordinary file",
    "more than",
    "in the archive twice",
    "capital letters alone",
    "the course's own copy is used",
    "in the place of the module",
    "outside cs231n/",
    "a given module",
    "larger than",
    NOTHING,
)

# Convolution and pooling are exercises, and given in another form: who calls that gets points.
FAST = re.compile(
    rb"\bfast_(layers|rows|columns|blocks)\b|\.(im2col|winograd) import\b"
    rb"|\bcs231n\.(im2col|winograd)\b"
    rb"|\b(conv|max_pool)_(forward|backward)_(fast|im2col|strides|reshape)\b"
)
NAMES_FAST = "names the given fast layers, which answer what its exercises ask for"
NUMERIC = re.compile(rb"\bgradient_check\b|\b(eval_numerical_gradient|grad_check_sparse)")
NAMES_NUMERIC = "names the gradient check: differences of its forward are no backward"


@dataclass(frozen=True)
class Entry:
    """One thing that was noticed: about a check, or (`check` is empty) about the files."""

    student: str
    check: str
    what: str


def of_outcomes(student: str, outcomes: dict[str, Outcome]) -> Iterator[Entry]:
    """What the wall noticed while the checks ran."""
    for name, outcome in outcomes.items():
        for what in outcome.evidence:
            yield Entry(student, name, what)


def of_files(student: str, folder: Path, repairs: list[Repair]) -> Iterator[Entry]:
    """What is odd about the files that were handed in."""
    found = overlay.collect(folder)
    told = [f"{item.path}: {item.text}" if item.path else item.text for item in repairs]
    told += [
        f"{item.path}: {item.reason}"
        for item in found.ignored
        if f"{item.path}: {NOT_USED} {item.reason}." not in told
    ]
    for text in dict.fromkeys(told):
        if any(words in text for words in TELLING):
            yield Entry(student, "", text)
    for name in (*found.taken, *found.helpers):
        if name != "cs231n/layer_utils.py" and FAST.search(found.content[name]):
            yield Entry(student, "", f"{overlay.printable(name)}: {NAMES_FAST}")
    for name in (*found.taken, *found.helpers):
        if NUMERIC.search(found.content[name]):
            yield Entry(student, "", f"{overlay.printable(name)}: {NAMES_NUMERIC}")


def entries(course: Path) -> list[Entry]:
    """All entries of a class that has been graded."""
    from grading.classroom import submissions
    from grading.preprocessors import mark, record

    store, found = Store(course), []
    for student, folder in submissions(course).items():
        found += of_files(student, folder, recorded(record(course, student)))
        note = mark(course, student)
        if note.is_file():
            found += of_outcomes(student, store.read(note.read_text().split()[-1]) or {})
    return found


def write(course: Path) -> int:
    """Write `evidence.csv` into the course folder; how many entries it has."""
    from grading.grades import harmless

    found, text = entries(course), io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["student", "check", "noticed"])
    for entry in found:
        out.writerow(map(harmless, (shown(entry.student), entry.check, one_line(entry.what))))
    write_atomically(course / "evidence.csv", text.getvalue())
    return len(found)


def one_line(text: str, longest: int = 300) -> str:
    """Text that a student's code had a hand in, for one cell of a table."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= longest else f"{text[:longest]} ..."
