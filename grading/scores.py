"""What nbgrader runs of ours to write scores and comments into the gradebook.

`SaveGrades` stands for its SaveAutoGrades, and `LatePenalties` for its AssignLatePenalties. Both
wait for the last notebook of a submission, which is written all at once.
"""

from __future__ import annotations

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
from sqlalchemy import Select, bindparam, select, update

Place = tuple[str, str]  # a notebook, and a cell in it
# Of the submission that is being converted:
_scores: dict[Place, float | None] = {}
_comments: dict[Place, str | None] = {}


class SaveGrades(SaveAutoGrades):
    """nbgrader's own, but that a submission's grades and comments are written all at once, when
    its last notebook is there: with two questions and one commit, instead of one each a cell."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        about = resources["nbgrader"]
        if _is_nth(0, about, self.parent):  # of the last submission nothing stays
            _scores.clear()
            _comments.clear()
        for number, cell in enumerate(nb.cells):
            self.preprocess_cell(cell, resources, number)
        if _is_nth(-1, about, self.parent):
            with Gradebook(about["db_url"]) as gradebook:
                _save(gradebook, about)
        return nb, resources

    def _add_score(self, cell: NotebookNode, resources: dict) -> None:
        place = resources["nbgrader"]["notebook"], cell.metadata.nbgrader["grade_id"]
        _scores[place], _ = utils.determine_grade(cell, self.log)

    def _add_comment(self, cell: NotebookNode, resources: dict) -> None:
        marks = cell.metadata.nbgrader
        same = marks.get("checksum") == utils.compute_checksum(cell) and not utils.is_task(cell)
        place = resources["nbgrader"]["notebook"], marks["grade_id"]
        _comments[place] = "No response." if same else None


def _save(gradebook: Gradebook, about: Mapping[str, str]) -> None:
    """Write the scores and comments of the submission that is being converted."""
    grades = _by_cell(gradebook, about, Grade, Grade.manual_score)
    comments = _by_cell(gradebook, about, Comment, Comment.auto_comment)
    changed: dict[type, list[dict[str, Any]]] = {Grade: [], Comment: []}
    for place, score in _scores.items():
        number, by_hand = grades[place]
        again = by_hand is not None or score is None  # to be looked at
        row = {"id": number, "auto_score": score, "needs_manual_grade": again}
        changed[Grade].append(row)
    for place, comment in _comments.items():
        number, before = comments[place]
        if comment != before:
            changed[Comment].append({"id": number, "auto_comment": comment})
    for table, rows in changed.items():
        if rows:
            gradebook.db.execute(update(table), rows)
    gradebook.db.commit()


def _by_cell(
    gradebook: Gradebook, about: Mapping[str, str], kind: type, column: Any
) -> dict[Place, tuple[str, Any]]:
    """Id and this column of the grades or comments of a submission, by their cells."""
    who = {name: about[name] for name in ("assignment", "student")}
    found = gradebook.db.execute(_cells_of_submission(kind, column), who)
    return {(notebook, cell): (number, value) for notebook, cell, number, value in found}


@cache
def _cells_of_submission(kind: type, column: Any) -> Select:
    return (
        select(Notebook.name, BaseCell.name, kind.id, column)
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
