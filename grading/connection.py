"""nbgrader's gradebook for a class of thousands: indexes, and one connection for a whole run.

nbgrader opens the gradebook anew for every step of every notebook, and looks at all its tables
each time. Its tables lack indexes on what it joins by, so that each answer takes longer the more
students there are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from nbgrader import api, utils
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.orm import scoped_session, sessionmaker, with_polymorphic
from sqlalchemy.orm.exc import FlushError

from grading import scores
from grading.nbgrader_config import COURSE_ID

COURSES = (COURSE_ID, "default_course")  # nbgrader's preprocessors name no course
INDEXES = {
    "submitted_assignment": "student_id",
    "submitted_notebook": "assignment_id",
    "grade": "notebook_id",
    "comment": "notebook_id",
}


def prepare(url: str) -> None:
    """Add the indexes that are missing, and the table of ours. A gradebook that is locked or away
    is left as it is: whoever comes next says so."""
    try:
        for course in COURSES:  # once, not by several at the same time
            with api.Gradebook(url, course) as gradebook:
                for table, column in INDEXES.items():
                    name = f"ix_{table}_{column}"
                    gradebook.db.execute(
                        text(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({column})")
                    )
                gradebook.db.commit()
        scores.add_table(url)
    except (SQLAlchemyError, api.InvalidEntry):
        return


class OneConnection(api.Gradebook):
    """A gradebook that is connected to, and its tables looked at, once in this process.

    The notebooks of the assignment and their cells are the same for everybody, and are asked for
    once, too.
    """

    _engines: dict[tuple[str, str], Any] = {}
    _kept: dict[tuple[str, ...], Any] = {}
    _held: Sequence[Any] = ()

    def __init__(
        self, db_url: str, course_id: str = "default_course", authenticator: Any = None
    ) -> None:
        engine = self._engines.get((db_url, course_id))
        if engine is None:
            super().__init__(db_url, course_id, authenticator)
            self._engines[db_url, course_id] = self.engine
            return
        self.engine, self.course_id, self.authenticator = engine, course_id, authenticator
        self.db = scoped_session(sessionmaker(autoflush=True, bind=engine, future=True))

    def find_notebook(self, name: str, assignment: str) -> Any:
        return self._known(self._whole_notebook, name, assignment)

    def find_source_cell(self, name: str, notebook: str, assignment: str) -> Any:
        return self._known(super().find_source_cell, name, notebook, assignment)

    def find_graded_cell(self, name: str, notebook: str, assignment: str) -> Any:
        return self._known(super().find_graded_cell, name, notebook, assignment)

    def _known(self, find: Callable[..., Any], *place: str) -> Any:
        found = self._once(find, *place)
        if found in self.db:  # asked for just now; it outlives the session: its columns are loaded
            whole = isinstance(found, api.Notebook)
            cells = [*found._base_cells, *found.source_cells] if whole else []
            for item in (found, *cells):
                self.db.expunge(item)
        return found

    def _once(self, find: Callable[..., Any], *place: str) -> Any:
        key = (str(self.engine.url), find.__name__, *place)
        if key not in self._kept:
            self._kept[key] = find(*place)
        return self._kept[key]

    def _whole_notebook(self, name: str, assignment: str) -> Any:
        self._held = self._load_cells(assignment)
        return super().find_notebook(name, assignment)

    def add_submission(self, assignment: str, student: str, **kwargs: Any) -> Any:
        """nbgrader's own, but that grades and comments go in as rows, and their cells, the same
        for everybody, are asked for once."""
        if "timestamp" in kwargs:
            kwargs["timestamp"] = utils.parse_utc(kwargs["timestamp"])
        cells = self._once(self._graded_and_commented, assignment)
        try:
            submission = api.SubmittedAssignment(
                assignment=self.find_assignment(assignment),
                student=self.find_student(student),
                **kwargs,
            )
            grades, comments = [], []
            for notebook, graded, commented in cells:
                submitted = api.SubmittedNotebook(
                    id=api.new_uuid(), notebook_id=notebook, assignment=submission
                )
                grades += [{"cell_id": cell, "notebook_id": submitted.id} for cell in graded]
                comments += [{"cell_id": cell, "notebook_id": submitted.id} for cell in commented]
            self.db.add(submission)
            self.db.flush()
            for table, rows in ((api.Grade, grades), (api.Comment, comments)):
                if rows:
                    self.db.execute(insert(table), rows)
            self.db.commit()
        except (IntegrityError, FlushError, StatementError) as problem:
            self.db.rollback()
            raise api.InvalidEntry(*problem.args) from problem
        return submission

    def _graded_and_commented(self, assignment: str) -> list[tuple[str, list[str], list[str]]]:
        """Each notebook with the cells that have a grade, and those that have a comment."""
        self._held = self._load_cells(assignment)
        return [
            (
                notebook.id,
                [cell.id for cell in (*notebook.grade_cells, *notebook.task_cells)],
                [cell.id for cell in (*notebook.solution_cells, *notebook.task_cells)],
            )
            for notebook in self.find_assignment(assignment).notebooks
        ]

    def _load_cells(self, assignment: str) -> list[Any]:
        """All cells of an assignment with a grade or a comment, by one question. The session
        holds them as long as somebody else does."""
        cell = with_polymorphic(api.BaseCell, "*")
        found = self.db.query(cell).join(api.Notebook, api.Notebook.id == cell.notebook_id)
        found = found.join(api.Assignment, api.Assignment.id == api.Notebook.assignment_id)
        return found.filter(api.Assignment.name == assignment).all()

    def close(self) -> None:
        """End the session. The connection stays."""
        self._held = ()
        self.db.remove()


def keep_open() -> None:
    """From now on, whatever in this process opens a gradebook uses one connection."""
    plain = api.Gradebook
    for name, module in list(sys.modules.items()):
        ours = name.partition(".")[0] in ("nbgrader", "grading") and name != __name__
        if ours and getattr(module, "Gradebook", None) is plain:
            module.Gradebook = OneConnection
