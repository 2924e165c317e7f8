"""A small course to send through nbgrader: two notebooks, and archives made from a dictionary."""

from __future__ import annotations

import atexit
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import nbformat
from nbformat import v4

from grading.outcome import Finding, Outcome
from grading.overlay import TASK_FILES
from grading.store import Store

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
    cells.append(v4.new_markdown_cell("**Inline question**: why $x^2$?", id="question"))
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


def pretend(course: Path) -> None:
    """Put empty files where each verb of the class looks for what must come first."""
    for name in ("nbgrader_config.py", "release/assignment2/Dropout.ipynb",
                 "submitted/ann/assignment2/Dropout.ipynb",
                 "autograded/ann/assignment2/Dropout.ipynb"):  # fmt: skip
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).touch()


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


def outcome(name: str, share: float = 1.0) -> Outcome:
    """What the engine might say of a check: `share` of its points, and a sentence."""
    points = {k: v for checks in CHECKS.values() for k, v in checks.items()}[name]
    said = "All properties hold." if share == 1 else f"{name}: the sum is not divided by N."
    finding = Finding("dx", "a case", share == 1, message=said, error=0.5, tolerance=1e-6)
    return Outcome(name, share * points, points, said, (finding,), level="process", entropy=1)


def outcomes(**shares: float) -> dict[str, Outcome]:
    """Outcomes of all checks of the small course, full marks if not said otherwise."""
    names = [name for checks in CHECKS.values() for name in checks]
    return {name: outcome(name, shares.get(name, 1.0)) for name in names}


def files(**changes: str | bytes | None) -> dict[str, str | bytes]:
    """A complete submission, with files replaced (or, with None, left out) by their stem."""
    made: dict[str, str | bytes] = {
        f"{name}.ipynb": json.dumps(student_notebook(name)) for name in CHECKS
    }
    made |= {name: f"# {name}\n" for name in TASK_FILES}
    for name, content in changes.items():
        path = next(key for key in made if Path(key).stem == name)
        made.pop(path)
        if content is not None:
            made[path] = content
    return made


def vandalised(canary: Path) -> str:
    """A notebook in which a student deleted, doubled, edited, forged and scripted."""
    notebook = student_notebook("FullyConnectedNets", answer="<script>alert(1)</script> So.")
    cells = {cell["id"]: cell for cell in notebook["cells"]}
    edited, doubled = cells["graded-affine_forward"], cells["graded-relu_forward"]
    edited["source"] = f"open({str(canary)!r}, 'w'); 1.0"
    edited["outputs"] = [v4.new_output("execute_result", data={"text/plain": "1.0"})]
    forged = json.loads(json.dumps(doubled))
    forged["metadata"]["nbgrader"].update(grade_id="bonus", points=90.0)
    cells["plot"]["outputs"] += [
        v4.new_output("display_data", data={"text/html": "<script>alert(2)</script>"}),
        v4.new_output("stream", name="stderr", text="RuntimeWarning: overflow"),
    ]
    notebook["cells"].remove(cells["graded-softmax_loss"])
    notebook["cells"] += [json.loads(json.dumps(doubled)), forged]
    return json.dumps(notebook)


def class_of_students(canary: Path) -> dict[str, bytes | dict[str, str | bytes]]:
    """Student -> what is in the archive."""
    whole = json.dumps(student_notebook("FullyConnectedNets"))
    return {
        "ann": files(),
        "Zoë Ångström-Ő": {
            **files(FullyConnectedNets=None), "my work/FullyConnectedNets (1).ipynb": whole
        },
        "not a zip": b"PK no",
        "nothing": {"readme.txt": "Where do I hand in?"},
        "truncated": files(FullyConnectedNets=whole[: len(whole) // 2]),
        "vandal": files(FullyConnectedNets=vandalised(canary)),
        "no outcome": files(layers="# nobody could grade this\n"),
        "odd": files(layers="# odd numbers\n"),
    }  # fmt: skip


def stored(student: str) -> dict[str, Outcome]:
    """What the engine is taken to have found for a student of the class."""
    found = outcomes(softmax_loss=0.6)
    if student == "no outcome":
        return {"affine_forward": found["affine_forward"]}
    if student == "odd":
        odd = {"affine_forward": float("nan"), "relu_forward": -1.0, "softmax_loss": float("inf")}
        return {name: replace(o, points=odd.get(name, o.points)) for name, o in found.items()}
    if student in ("not a zip", "nothing"):
        return {name: replace(o, points=0.0, summary="Not written.") for name, o in found.items()}
    return found


@cache
def graded_course(database: str = "") -> Path:
    """A course that went through nbgrader's own commands once, for all tests of a run, one for
    each `database` that CS231N_DB_URL names."""
    folder = Path(tempfile.mkdtemp(prefix="course-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    course = write_course(folder / "course")
    must(nbgrader(course, "generate_assignment", "assignment2"))
    archives = course / "downloaded" / "assignment2" / "archive"
    for student, content in class_of_students(folder / "canary").items():
        path = archives / f"{student}_hw.zip"
        archive(path, content if isinstance(content, dict) else {})
        if isinstance(content, bytes):
            path.write_bytes(content)
    must(nbgrader(course, "zip_collect", "assignment2"))
    fill_store(course)
    must(nbgrader(course, "autograde", "assignment2"))
    must(nbgrader(course, "generate_feedback", "assignment2"))
    must(nbgrader(course, "export"))
    return course


def fill_store(course: Path) -> None:
    """Put outcomes where the engine would put them, so that these tests need no engine."""
    store = Store(course)
    for folder in course.glob("submitted/*/assignment2"):
        store.write(store.key(folder), stored(folder.parent.name))


def must(done: subprocess.CompletedProcess) -> None:
    """The command succeeded; otherwise show the end of what it said."""
    assert done.returncode == 0, done.stderr[-3000:]


# Graders for tests of the class run; each runs in a process of its own.
def well(course: Path, folder: Path) -> None:
    with (course / "calls").open("a") as log:
        log.write(folder.parent.name + "\n")
    store = Store(course)
    store.write(store.key(folder), outcomes())


def by_process(course: Path, folder: Path) -> None:
    """Notes who graded."""
    with (course / "processes").open("a") as log:
        log.write(f"{os.getpid()}\n")
    well(course, folder)


def badly(course: Path, folder: Path) -> None:
    """What goes wrong goes wrong for the students of these names."""
    name = folder.parent.name
    if name == "hangs":
        time.sleep(1_000)
    elif name == "dies":
        os._exit(7)
    elif name == "fails":
        raise RuntimeError("a fault of the grader")
    elif name == "fills":
        raise OSError(errno.ENOSPC, "No space left on device")
    elif name == "changes":
        (folder / "cs231n" / "layers.py").write_text("# written while it was graded\n")
    well(course, folder)
