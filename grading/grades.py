"""The table of grades: a line a student, a column a check, from nbgrader's gradebook."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grading import gradebook
from grading.repair import Repair, recorded, shown
from grading.store import Store, write_atomically

ASSIGNMENT = "assignment2"
AT_ONCE = 200  # students whose grades are read together
STUDENTS_SHOWN, REPAIRS_SHOWN = 20, 2  # in the summary; the table has all of them
# What a spreadsheet would run, at the start of a cell: wide signs are as good in some languages,
# and where numbers have a decimal comma a semicolon starts the next cell, in quotes or not.
FORMULA = re.compile(r"(^|[;\t])(\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])")


@dataclass
class Row:
    """One student: points by check and question (None: waits for a human), and remarks."""

    student: str
    points: dict[str, float | None] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    pending: float = 0.0
    penalty: float = 0.0  # nbgrader's, for a late submission
    again: list[str] = field(default_factory=list)  # marked by hand, and then handed in anew
    level: str = ""
    repairs: list[Repair] = field(default_factory=list)
    graded: bool = True

    @property
    def total(self) -> float:
        earned = sum(points or 0.0 for points in self.points.values())
        return round(max(earned - self.penalty, 0.0), 4)


def rows(course: Path) -> list[Row]:
    """A row for each student whom the gradebook knows or whose submission was collected."""
    from grading.class_report.table import homes
    from grading.preprocessors import mark, record

    place = {name: number for number, name in enumerate(homes(course))}
    collected = {path.parent.name for path in course.glob(f"submitted/*/{ASSIGNMENT}")}
    store = Store(course)
    found = []
    with gradebook.opened(course) as book:
        names = sorted({student.id for student in book.students} | collected)
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            submitted = _submissions(book, some)
            for name in some:
                row = Row(name, graded=name in submitted and mark(course, name).is_file())
                if name in submitted:
                    _fill(row, submitted[name], place)
                if row.graded:
                    key = mark(course, name).read_text().split()[-1]
                    outcomes = store.read(key) or {}
                    row.level = ", ".join(sorted({o.level for o in outcomes.values()}))
                row.repairs = recorded(record(course, name))
                found.append(row)
            book.db.expunge_all()  # what was read is in the rows
    return found


def _submissions(book: Any, students: list[str]) -> dict[str, Any]:
    """Student -> submission, with its notebooks, grades and cells, by a few questions for all."""
    from nbgrader.api import Assignment, Grade, SubmittedAssignment, SubmittedNotebook
    from sqlalchemy.orm import joinedload, selectinload, undefer

    grades = selectinload(SubmittedAssignment.notebooks).selectinload(SubmittedNotebook.grades)
    found = book.db.query(SubmittedAssignment).join(SubmittedAssignment.assignment)
    found = found.filter(
        Assignment.name == ASSIGNMENT, SubmittedAssignment.student_id.in_(students)
    ).options(grades.options(undefer(Grade.max_score), joinedload(Grade.cell)))
    return {submission.student_id: submission for submission in found}


def _fill(row: Row, submission: Any, place: dict[str, int]) -> None:
    """Fill in what a submission earned, in the order of the course."""
    row.penalty = float(submission.late_submission_penalty or 0.0)
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    for grade in sorted(grades, key=lambda grade: place.get(grade.name, len(place))):
        by_hand = grade.manual_score is not None or bool(grade.extra_credit)
        waits = grade.needs_manual_grade or (grade.manual_score is grade.auto_score is None)
        if waits and by_hand:
            row.again.append(grade.name)
        row.points[grade.name] = None if waits else float(grade.score)
        row.most[grade.name] = float(grade.max_score)
        row.pending += float(grade.max_score) if waits else 0.0


def write(table: list[Row], path: Path) -> None:
    """Write the table as CSV, whole or not at all."""
    names = sorted({name for row in table for name in row.most}, key=_order(table).index)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(
        ["student", "total", "max", "manual_pending", "late_penalty", *names, "level", "graded",
         "repairs"]
    )
    for row in table:
        cells = ["" if row.points.get(name) is None else row.points[name] for name in names]
        repairs = "; ".join(map(str, row.repairs))
        state = "yes" if row.graded else "no"
        most = sum(row.most.values())
        start = [row.student, row.total, most, row.pending, row.penalty]
        line = [*start, *cells, row.level, state, repairs]
        out.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in line])
    write_atomically(path, text.getvalue())


def _order(table: list[Row]) -> list[str]:
    """The names of checks and questions in the order of the longest row."""
    order: dict[str, None] = {}
    for row in sorted(table, key=lambda row: -len(row.most)):
        order.update(dict.fromkeys(row.most))
    return list(order)


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return FORMULA.sub(r"\1'\2", text)


def show(table: list[Row]) -> None:
    """Print the summary: a line a student, the checks that the class passed least, the repairs."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    summary = Table(title="Grades")
    for heading in ("student", "points", "of", "waiting", "late", "level", "repairs"):
        summary.add_column(heading, justify="left" if heading in ("student", "level") else "right")
    for row in table:
        points = _short(row.total) + ("" if row.graded else " (not graded)")
        most, waiting = _short(sum(row.most.values())), _short(row.pending)
        late = _short(-row.penalty) if row.penalty else ""
        repairs = str(len(row.repairs) or "")
        summary.add_row(escape(shown(row.student)), points, most, waiting, late, row.level, repairs)
    console.print(summary)
    if again := [row for row in table if row.again]:
        print("Marks that were given for other work, and count only once they are given again:")
    for row in again:
        print(f"  mark again: {shown(row.student)} {', '.join(row.again)}")
    missed = Counter(
        name
        for row in table
        for name, points in row.points.items()
        if points is not None and points < row.most[name]
    )
    if missed:
        print("Where points were lost most often:")
    for name, count in missed.most_common(5):
        print(f"  {name}: by {count} of {len(table)} students")
    mended = [row for row in table if row.repairs]
    if mended:
        print("What was repaired, or could not be:")
    for row in mended[:STUDENTS_SHOWN]:
        told = [str(entry) for entry in row.repairs[:REPAIRS_SHOWN]]
        more = len(row.repairs) - len(told)
        print(f"  {shown(row.student)}: {' '.join(told)}{f' And {more} more.' if more else ''}")
    if len(mended) > STUDENTS_SHOWN:
        print(f"  {len(mended) - STUDENTS_SHOWN} students more, in the table's column repairs")


def _short(points: float) -> str:
    return f"{round(points, 2):g}"
