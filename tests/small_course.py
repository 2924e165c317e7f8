"""A small course to send through nbgrader: two notebooks, and archives made from a dictionary."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import v4

ROOT = Path(__file__).resolve().parents[1]
CHECKS = {
    "FullyConnectedNets": {"affine_forward": 1.0, "relu_forward": 1.0, "softmax_loss": 2.0},
    "Dropout": {"dropout_forward": 2.0},
}
QUESTIONS = {"FullyConnectedNets": "fc_q1", "Dropout": "dropout_q1"}
ANSWER = "*Your answer here.*"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAA"
    "AElFTkSuQmCC"
)
CONFIG = """
import sys
sys.path.insert(0, {root!r})
from grading.nbgrader_config import configure
configure(get_config(), {course!r})
"""


def marked(cell: nbformat.NotebookNode, name: str, points: float | None, solution: bool):
    """`cell` with nbgrader's metadata."""
    cell.metadata.nbgrader = {
        "grade": points is not None,
        "grade_id": name,
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        cell.metadata.nbgrader["points"] = points
    cell.id = f"graded-{name}"
    return cell


def source_notebook(name: str) -> nbformat.NotebookNode:
    """A source notebook: a title, a plot, its checks, and one question with its answer."""
    cells = [
        v4.new_markdown_cell(f"# {name}", id="title"),
        v4.new_code_cell("plt.plot(losses)", id="plot"),
    ]
    for check, points in CHECKS[name].items():
        cells.append(marked(v4.new_code_cell(f'check("{check}")'), check, points, False))
    cells.append(v4.new_markdown_cell("**Inline question**: why?", id="question"))
    cells.append(marked(v4.new_markdown_cell(ANSWER), QUESTIONS[name], 1.0, True))
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": spec})


def write_course(folder: Path) -> Path:
    """The course folder before `generate_assignment`."""
    source = folder / "source" / "assignment2"
    source.mkdir(parents=True)
    for name in CHECKS:
        nbformat.write(source_notebook(name), source / f"{name}.ipynb")
    config = CONFIG.format(root=str(ROOT), course=str(folder))
    (folder / "nbgrader_config.py").write_text(config)
    return folder


def nbgrader(course: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run nbgrader's own command in the course folder."""
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def student_notebook(name: str, answer: str = "Because.", plot: bool = True) -> dict:
    """A released notebook as a student hands it in: an answer, and a plot."""
    notebook = source_notebook(name)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = answer
        if plot and cell.id == "plot":
            cell.outputs = [v4.new_output("display_data", data={"image/png": PNG})]
    return json.loads(nbformat.writes(notebook))


def archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A zip archive of `files` at `path`."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.getvalue())
    return path
