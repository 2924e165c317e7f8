"""What nbgrader runs of ours: no line of a student's code is executed in its process.

`CleanNotebook` stands for nbgrader's ClearOutput, `GradeChecks` for its Execute, and what is in
`scores.py` for what writes to the gradebook. The two functions at the end are the hooks before and
after a submission's notebooks are converted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat.notebooknode import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

from grading import gradebook, repair, report, scores
from grading.outcome import Outcome
from grading.outputs import Budget, clean_outputs
from grading.store import Store, write_atomically

# A tag begins so. A space behind the angle bracket makes it text, and leaves formulas alone.
TAG = re.compile(r"<(?=[A-Za-z/!?])")
LINK = re.compile(r"\](?=[(\[:])")  # between a link's text and its address
SCHEMES = ("", "http", "https", "mailto")  # of addresses that run nothing
MAX_MARKDOWN = 20_000  # characters of a notebook's cells that are rendered as markdown
NOT_GRADED = "This check has no result, so it has no points yet. Please tell your instructor."
_failed: set[Path] = set()  # submissions of this run that could not be graded: once is enough
_found: dict[Path, dict[str, Outcome]] = {}  # of the submission that is being converted


class CleanNotebook(NbGraderPreprocessor):
    """Keep a student's text and plots for the instructor, and nothing that runs in a browser."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        budget, markdown = Budget(), 0
        released = _released_sources(*_places(resources, self.parent))
        nb.metadata.pop("widgets", None)  # their state is large, and breaks the HTML export
        for cell in nb.cells:
            marks = cell.metadata.get("nbgrader")
            if marks is not None and marks.get("schema_version") != 3:
                del cell.metadata["nbgrader"]  # one such cell would end the run for the class
            if cell.cell_type == "code":
                outputs = [] if utils.is_grade(cell) else clean_outputs(cell.outputs, budget)
                cell.outputs = nbformat.from_dict(outputs)
            elif cell.source not in released:
                markdown += len(cell.source)
                attachments = cell.get("attachments", {})
                cell.source = plain_markdown(cell.source, attachments, markdown > MAX_MARKDOWN)
        return nb, resources


class GradeChecks(NbGraderPreprocessor):
    """Write the outcome of each check as the output of its cell.

    Only a cell is graded that the gradebook knows by name and by text. The last output is a
    plain float in [0, points]; without an outcome it is an error, which earns nothing.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        course, student, assignment = _where(resources, self.parent)
        about = resources["nbgrader"]
        known = graded_cells(about["db_url"], about["notebook"], assignment)
        cells = [
            cell
            for cell in nb.cells
            if cell.cell_type == "code" and utils.is_grade(cell) and not utils.is_solution(cell)
        ]
        if cells:
            outcomes = self._outcomes(course, course / "submitted" / student / assignment)
            for cell in cells:
                self._write(cell, known, outcomes)
        return nb, resources

    def _outcomes(self, course: Path, submission: Path) -> dict[str, Outcome]:
        if submission in _failed:
            return {}
        try:
            if submission not in _found:
                _found[submission] = Store(course).grade(submission)
            return _found[submission]
        except Exception:  # of the grader's own: the class goes on, this student is listed
            self.log.exception("No outcome for %s", submission)
            _failed.add(submission)
            return {}

    def _write(self, cell: NotebookNode, known: dict, outcomes: dict[str, Outcome]) -> None:
        name = cell.metadata.nbgrader.get("grade_id")
        source, points = known.get(name, (None, 0.0))
        outcome = outcomes.get(name)
        earned = None if outcome is None else scaled(outcome, points)
        cell.execution_count = None
        if source is None or cell.source != source or earned is None:
            cell.outputs = [nbformat.v4.new_output("error", ename="NotGraded", evalue=NOT_GRADED)]
            cell.outputs[0].traceback = [NOT_GRADED]
            return
        says = report.first_words(outcome)
        shown = {"text/plain": report.text(outcome), "text/html": report.html(outcome)}
        outputs = [  # valid by construction: the whole notebook is validated when it is written
            {"output_type": "display_data", "data": shown, "metadata": {"says": says}},
            {"output_type": "execute_result", "data": {"text/plain": repr(earned)},
             "metadata": {}, "execution_count": None},
        ]  # fmt: skip
        cell.outputs = nbformat.from_dict(outputs)


def plain_markdown(source: str, attachments: Mapping[str, Any], much: bool = False) -> str:
    """Markdown without HTML; without links, where one would run a script or cannot be shown.
    Where there is too `much`, it is text as it stands: markdown can take the square of its length.
    """
    source = TAG.sub("< ", source)
    if much:
        fence = "`" * (1 + max(map(len, re.findall("``+", source)), default=2))
        return f"{fence}\n{source}\n{fence}"
    if not LINK.search(source):
        return source
    try:
        renderer = IPythonRenderer(escape=False, attachments=attachments)
        page = BeautifulSoup(MarkdownWithMath(renderer=renderer).render(source), "html.parser")
    except Exception:  # such as a picture that is not there, of which every page would end
        return LINK.sub("] ", source)
    links = [tag.get("href", "") for tag in page.find_all("a")]
    links += [src for tag in page.find_all("img") if not _is_picture(src := tag.get("src", ""))]
    return source if all(_scheme(link) in SCHEMES for link in links) else LINK.sub("] ", source)


def _is_picture(address: str) -> bool:
    return address.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))


def _scheme(address: str) -> str:
    """What comes before an address's first colon, as browsers read it; '' for a relative one."""
    start, colon, _ = re.sub(r"[\x00-\x20]", "", address).partition(":")
    return start.lower() if colon and not re.search("[/?#]", start) else ""


class ShowRepairs(NbGraderPreprocessor):
    """Tell the student, at the top of the notebook, what was repaired in the submission."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        course, student, assignment = _where(resources, self.parent)
        notebook = f"{resources['nbgrader']['notebook']}.ipynb"
        others = {path.name for path in (course / "release" / assignment).glob("*.ipynb")}
        others.discard(notebook)  # what concerns another notebook is told there
        mine = [r for r in repair.recorded(record(course, student)) if r.path not in others]
        if mine:
            lines = "\n".join(f"- {line(r)}" for r in mine)
            text = f"**What we repaired in your submission**\n\n{lines}"
            nb.cells.insert(0, nbformat.v4.new_markdown_cell(text, id="what-we-repaired"))
        return nb, resources


def line(entry: repair.Repair) -> str:
    """A repair as one line of markdown."""
    return f"`{entry.path}`: {entry.text}" if entry.path else entry.text


def scaled(outcome: Outcome, points: float) -> float | None:
    """What `outcome` earns of a cell's `points`, a plain float; None if it is not a number."""
    earned, most = outcome.points, outcome.max_points
    if isinstance(earned, bool) or not isinstance(earned, (int, float)):
        return None
    if not math.isfinite(earned) or not most > 0:
        return None
    share = min(max(float(earned) / float(most), 0.0), 1.0)
    return round(share * float(points), 4)


def record(course: Path, student: str) -> Path:
    """Where the repairs of a student's submission are written down."""
    return course / "repairs" / f"{student}.json"


def mark(course: Path, student: str) -> Path:
    """Where it stands which content of a student was graded last."""
    return course / "graded" / student


def repair_submission(assignment: str, student: str, notebooks: list[str]) -> None:
    """nbgrader's hook before a submission: repair the folder, and list its notebooks anew."""
    folder = Path(notebooks[0]).parent
    course = folder.parents[2]
    released = course / "release" / assignment
    name = folder.parent.name
    repair.settle(folder, released, course / "originals" / name, record(course, name))
    _failed.discard(folder)
    _found.clear()
    # nbgrader listed the notebooks before it called us: those that came back belong to them.
    notebooks[:] = sorted(str(path) for path in folder.glob("*.ipynb"))


def mark_graded(assignment: str, student: str, notebooks: list[str]) -> None:
    """nbgrader's hook after a submission: note what was graded, so that a rerun can skip it."""
    folder = Path(notebooks[0]).parent
    course = folder.parents[2]
    if folder not in _failed:
        write_atomically(mark(course, folder.parent.name), graded_state(course, folder))


def graded_state(course: Path, folder: Path) -> str:
    """All that a submission's place in the gradebook depends on, and which gradebook that is."""
    return f"{gradebook.name(course)} {repair.fingerprint(folder)} {Store(course).key(folder)}\n"


def _where(resources: dict, converter) -> tuple[Path, str, str]:
    about = resources["nbgrader"]
    return course_of(converter), about["student"], about["assignment"]


def _places(resources: dict, converter) -> tuple[Path, str]:
    about = resources["nbgrader"]
    return course_of(converter) / "release" / about["assignment"], about["notebook"]


def course_of(exporter: Any) -> Path:
    return Path(scores.converter(exporter).coursedir.root)


def _released_sources(folder: Path, notebook: str) -> frozenset[str]:
    path = folder / f"{notebook}.ipynb"
    return _sources(path, path.stat().st_mtime_ns) if path.is_file() else frozenset()


@cache
def _sources(path: Path, changed: int) -> frozenset[str]:
    return frozenset(cell.source for cell in nbformat.read(path, as_version=4).cells)


def graded_cells(db_url: str, notebook: str, assignment: str) -> dict[str, tuple[str, float]]:
    """Name -> (text, points) of the locked code cells with points, from the gradebook."""
    with Gradebook(db_url) as gradebook:
        found = gradebook.find_notebook(notebook, assignment)
        points = {cell.name: float(cell.max_score) for cell in found.grade_cells}
        return {
            cell.name: (cell.source, points[cell.name])
            for cell in found.source_cells
            if cell.name in points and cell.locked
        }
