"""What a release would change in a gradebook with submissions, and nbgrader cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbgrader import utils

from grading import gradebook
from grading.gradebook import GradebookError
from grading.nbgrader_config import ASSIGNMENT

Cell = tuple[str, str, bool, bool]  # notebook, name, has points, is written by students


def refusal(course: Path) -> str:
    """Why the notebooks of `source` cannot be released into this gradebook; '' if they can."""
    try:
        students = gradebook.students(course, ASSIGNMENT)
    except GradebookError:  # empty: the release fills it; or away: nbgrader's command waits for it
        return ""
    if not students:
        return ""
    there, coming = set(_of_gradebook(course)), set(_of_source(course))
    changes = [
        f"{verb} {', '.join(f'{name} of {notebook}' for notebook, name, *_ in sorted(cells))}"
        for verb, cells in (("takes away", there - coming), ("adds", coming - there))
        if cells
    ]
    if not changes:
        return ""
    return (
        f"not released: it {' and '.join(changes)}, and the gradebook has submissions "
        f"({len(students)}), for which questions and checks cannot be added or taken away. What "
        "was released before is as it was. Undo the change in grading/solutions/ and `make "
        "release`, or begin another course (make release COURSE=build/another)."
    )


def _of_gradebook(course: Path) -> Iterator[Cell]:
    with gradebook.opened(course) as book:
        for notebook in book.find_assignment(ASSIGNMENT).notebooks:
            points = {cell.name for cell in notebook.grade_cells}
            written = {cell.name for cell in notebook.solution_cells}
            for cell in notebook.source_cells:
                yield notebook.name, cell.name, cell.name in points, cell.name in written


def _of_source(course: Path) -> Iterator[Cell]:
    for path in (course / "source" / ASSIGNMENT).glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            points, written = utils.is_grade(cell), utils.is_solution(cell)
            if points or written or utils.is_locked(cell):
                yield path.stem, cell.metadata.nbgrader.grade_id, points, written
