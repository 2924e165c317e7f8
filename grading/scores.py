"""What nbgrader runs of ours to write scores and comments into the gradebook.

`SaveGrades` stands for its SaveAutoGrades, and `LatePenalties` for its AssignLatePenalties. Both
wait for the last notebook of a submission, which is written all at once.

A mark by hand belongs to what it was given for: the text of an answer, or a check's code. The
gradebook has a table of ours that says what that was; where it has changed, the grade waits again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbgrader import utils
from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    Gradebook,
    Notebook,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.converters import BaseConverter
from nbgrader.preprocessors import AssignLatePenalties, SaveAutoGrades
from sqlalchemy import (
    Column,
    MetaData,
    Select,
    String,
    Table,
    Text,
    bindparam,
    insert,
    select,
    update,
)

from grading.store import content

Place = tuple[str, str]  # a notebook, and a cell in it
# Of the submission that is being converted:
_scores: dict[Place, float | None] = {}
_comments: dict[Place, str | None] = {}
_contents: dict[str, str] = {}  # by notebook/cell
# By submission: hashes of what its grades are of, by notebook/cell, as JSON.
_given_for = Table(
    "given_for",
    MetaData(),
    Column("submission_id", String(32), primary_key=True),
    Column("contents", Text, nullable=False),
)


@cache
def add_table(db_url: str) -> None:
    """Make the table of what grades were given for, where the gradebook has none."""
    with Gradebook(db_url) as gradebook:
        _given_for.create(gradebook.engine, checkfirst=True)


class SaveGrades(SaveAutoGrades):
    """nbgrader's own, but that a submission's grades and comments are written all at once, when
    its last notebook is there: with few questions and one commit, instead of one each a cell."""

    _code = ""  # a hash of the submission's code

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        about = resources["nbgrader"]
        if _is_nth(0, about, self.parent):  # of the last submission nothing stays
            _scores.clear()
            _comments.clear()
            _contents.clear()
            course = Path(converter(self.parent).coursedir.root)
            self._code = content(course / "submitted" / about["student"] / about["assignment"])
        for number, cell in enumerate(nb.cells):
            self.preprocess_cell(cell, resources, number)
        if _is_nth(-1, about, self.parent):
            add_table(about["db_url"])
            with Gradebook(about["db_url"]) as gradebook:
                _save(gradebook, about)
        return nb, resources

    def _add_score(self, cell: NotebookNode, resources: dict) -> None:
        place = resources["nbgrader"]["notebook"], cell.metadata.nbgrader["grade_id"]
        _scores[place], _ = utils.determine_grade(cell, self.log)
        answer = hashlib.sha256(cell.source.encode("utf-8", "surrogatepass")).hexdigest()
        given_for = answer if utils.is_solution(cell) else self._code
        _contents["/".join(place)] = given_for[:16]

    def _add_comment(self, cell: NotebookNode, resources: dict) -> None:
        marks = cell.metadata.nbgrader
        same = marks.get("checksum") == utils.compute_checksum(cell) and not utils.is_task(cell)
        place = resources["nbgrader"]["notebook"], marks["grade_id"]
        _comments[place] = "No response." if same else None


def _save(gradebook: Gradebook, about: Mapping[str, str]) -> None:
    """Write the scores and comments of the submission that is being converted."""
    by_hand = (Grade.manual_score, Grade.extra_credit, Grade.needs_manual_grade)
    grades = _by_cell(gradebook, about, Grade, *by_hand)
    before = _swap_contents(gradebook, about)
    comments = _by_cell(gradebook, about, Comment, Comment.auto_comment)
    changed: dict[type, list[dict[str, Any]]] = {Grade: [], Comment: []}
    for place, score in _scores.items():
        number, mark, extra, waits = grades[place]
        if mark is None and not extra:
            waits = score is None
        else:  # given by hand: to be looked at again if it was given for something else
            name = "/".join(place)
            waits = waits or before.get(name) != _contents[name] or score is mark is None
        row = {"id": number, "auto_score": score, "needs_manual_grade": waits}
        changed[Grade].append(row)
    for place, comment in _comments.items():
        number, said = comments[place]
        if comment != said:
            changed[Comment].append({"id": number, "auto_comment": comment})
    for table, rows in changed.items():
        if rows:
            gradebook.db.execute(update(table), rows)
    gradebook.db.commit()


def _swap_contents(gradebook: Gradebook, about: Mapping[str, str]) -> dict[str, str]:
    """Write down what the grades are of from now on; returns what they were of before."""
    submission = gradebook.find_submission(about["assignment"], about["student"]).id
    mine = _given_for.c.submission_id == submission
    before = gradebook.db.scalar(select(_given_for.c.contents).where(mine))
    new = json.dumps(_contents)
    if before is None:
        row = {"submission_id": submission, "contents": new}
        gradebook.db.execute(insert(_given_for).values(row))
    elif before != new:
        gradebook.db.execute(update(_given_for).where(mine).values(contents=new))
    return json.loads(before or "{}")


def _by_cell(
    gradebook: Gradebook, about: Mapping[str, str], kind: type, *columns: Any
) -> dict[Place, tuple[Any, ...]]:
    """Id and these columns of the grades or comments of a submission, by their cells."""
    who = {name: about[name] for name in ("assignment", "student")}
    found = gradebook.db.execute(_cells_of_submission(kind, *columns), who)
    return {(notebook, cell): tuple(values) for notebook, cell, *values in found}


@cache
def _cells_of_submission(kind: type, *columns: Any) -> Select:
    return (
        select(Notebook.name, BaseCell.name, kind.id, *columns)
        .join(BaseCell, BaseCell.id == kind.cell_id)
        .join(SubmittedNotebook, SubmittedNotebook.id == kind.notebook_id)
        .join(SubmittedAssignment, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
        .join(Notebook, Notebook.id == SubmittedNotebook.notebook_id)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .where(Assignment.name == bindparam("assignment"))
        .where(SubmittedAssignment.student_id == bindparam("student"))
    )


class LatePenalties(AssignLatePenalties):
    """nbgrader's own, for all notebooks of a submission together, once their scores are written,
    and only where it is late, or was."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        about = resources["nbgrader"]
        if _is_nth(-1, about, self.parent):
            for notebook in self._may_be_late(about):
                super().preprocess(nb, {**resources, "nbgrader": {**about, "notebook": notebook}})
        return nb, resources

    def _may_be_late(self, about: Mapping[str, str]) -> list[str]:
        """The notebooks of a late submission, and those that have a penalty already."""
        with Gradebook(about["db_url"]) as gradebook:
            submission = gradebook.find_submission(about["assignment"], about["student"])
            late = submission.total_seconds_late > 0
            return [
                notebook.name
                for notebook in submission.notebooks
                if late or notebook.late_submission_penalty is not None
            ]


def _is_nth(number: int, about: Mapping[str, str], exporter: Any) -> bool:
    """Whether this is its submission's notebook of that number: 0 is the first, -1 the last."""
    return Path(converter(exporter).notebooks[number]).stem == about["notebook"]


def converter(part: Any) -> BaseConverter:
    """The converter that a preprocessor's exporter belongs to."""
    while not isinstance(part, BaseConverter):
        part = part.parent
    return part
