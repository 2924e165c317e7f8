"""Notebooks from their text masters (jupytext percent), with nbgrader's metadata.

The source version has the answers and goes to nbgrader; the released one is what
students open. Both come without outputs, and with cell ids that depend on content alone.
"""

import hashlib
import re
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbgrader.utils import compute_checksum

from grading.checks import ALL
from grading.overlay import SOLUTIONS
from grading.release.markers import CODE_STUB, TEXT_STUB, regions, replace

MASTERS = SOLUTIONS / "notebooks"
_CHECK = re.compile(r'check\("(\w+)"\)')
_OPTIONS = {"question", "points", "exercise", "tags"}


class NotebookError(ValueError):
    """A master whose cells cannot be made into an assignment's cells."""


def build_notebook(name: str, *, answers: bool) -> str:
    """The notebook `name` (`Dropout`) as JSON text, with or without answers.

    Raises NotebookError or MarkerError, with the master's name.
    """
    path = MASTERS / f"{name}.py"
    return nbformat.writes(convert(path, answers=answers)) + "\n"


def convert(master: Path, *, answers: bool) -> NotebookNode:
    """The notebook of one percent master."""
    text = master.read_text(encoding="utf-8")
    regions(text, master.name)  # so that a message names the master's line, not the cell's
    _require_comments(text, master)
    read = jupytext.reads(text, fmt="py:percent")
    cells, seen = [], set()
    for cell in read.cells:
        made = _cell(cell, master, answers)
        if not answers:
            _finish(made)
        made.id = _cell_id(master.stem, cell, made, seen)
        cells.append(made)
    _require_unique_grade_ids(cells, master)
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def _cell(cell: NotebookNode, master: Path, answers: bool) -> NotebookNode:
    options = {k: v for k, v in cell.metadata.items() if k != "lines_to_next_cell"}
    if unknown := set(options) - _OPTIONS:
        raise NotebookError(f"{master.name}: unknown cell option {sorted(unknown)[0]!r}")
    new = getattr(nbformat.v4, f"new_{cell.cell_type}_cell")
    made = new(cell.source, metadata={"tags": options["tags"]} if "tags" in options else {})
    if cell.cell_type == "code" and cell.source.startswith("check("):
        _check_cell(made, master)
    elif "question" in options:
        if "points" not in options or cell.cell_type != "markdown":
            raise NotebookError(f"{master.name}: {options['question']}: markdown with points?")
        points = float(options["points"])
        made.metadata.nbgrader = _nbgrader(options["question"], points, solution=True)
        if not answers:
            made.source = TEXT_STUB
    elif regions(cell.source, master.name):
        if "exercise" not in options:
            raise NotebookError(f"{master.name}: a solution in a cell without exercise=")
        made.metadata.nbgrader = _nbgrader(options["exercise"], None, solution=True)
        if not answers:
            made.source = replace(cell.source, master.name, lambda region: CODE_STUB)
    elif options.keys() & {"exercise", "points"}:
        raise NotebookError(f"{master.name}: an exercise or points without a solution region")
    return made


def _check_cell(cell: NotebookNode, master: Path) -> None:
    match = _CHECK.fullmatch(cell.source)
    if not match:
        form = 'a check cell is exactly check("name")'
        raise NotebookError(f"{master.name}: {form}: {cell.source}")
    check = ALL.get(match[1])
    if check is None:
        raise NotebookError(f"{master.name}: no check is called {match[1]!r}")
    if check.notebook != master.stem:
        raise NotebookError(f"{master.name}: {check.name} belongs to {check.notebook}")
    cell.metadata.nbgrader = _nbgrader(check.name, float(check.points), solution=False)


def _finish(cell: NotebookNode) -> None:
    """What nbgrader's own generate_assignment adds to a graded cell. By the checksum it sees
    that a question was left unanswered."""
    graded = cell.metadata.get("nbgrader")
    if graded:
        cell.metadata.deletable = False
        if graded.locked:
            cell.metadata.editable = False
        graded.cell_type = cell.cell_type
        graded.checksum = compute_checksum(cell)


def _nbgrader(grade_id: str, points: float | None, *, solution: bool) -> NotebookNode:
    made = NotebookNode(
        grade=points is not None,
        grade_id=grade_id,
        locked=not solution,
        schema_version=3,
        solution=solution,
        task=False,
    )
    if points is not None:
        made.points = points
    return made


def _cell_id(notebook: str, cell: NotebookNode, made: NotebookNode, seen: set[str]) -> str:
    """An id that changes only when the master's cell does, unique in its notebook."""
    graded = made.metadata.get("nbgrader")
    if graded:
        base = f"{'graded' if graded.grade else 'exercise'}-{graded.grade_id}"
    else:
        text = "\0".join((notebook, cell.cell_type, cell.source))
        base = hashlib.sha256(text.encode()).hexdigest()[:12]
    number, name = 1, base
    while name in seen:
        number += 1
        name = f"{base}-{number}"
    seen.add(name)
    return name


def _require_comments(text: str, master: Path) -> None:
    """Text without `#` in a text cell: jupytext takes it, but then no tool reads the master."""
    markdown = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("# %%"):
            markdown = line.startswith("# %% [markdown]")
        elif markdown and line.strip() and not line.startswith("#"):
            raise NotebookError(f"{master.name}, line {number}: text without # before it: {line}")


def _require_unique_grade_ids(cells: list[NotebookNode], master: Path) -> None:
    ids = [cell.metadata.nbgrader.grade_id for cell in cells if "nbgrader" in cell.metadata]
    for grade_id in ids:
        if ids.count(grade_id) > 1:
            raise NotebookError(f"{master.name}: two cells are called {grade_id!r}")
