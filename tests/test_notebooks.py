"""The notebooks: their metadata, their size, and that the solved ones run."""

import json
import os
import re
import resource
import subprocess
import sys
import time

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbgrader.nbgraderformat import MetadataValidator

from grading.checks import ALL, NOTEBOOKS
from grading.overlay import ROOT, solved_tree, submission_tree
from grading.release.course import ASSIGNMENT, build_course
from grading.release.markers import CODE_STUB, TEXT_STUB, MarkerError
from grading.release.notebooks import MASTERS, NotebookError, build_notebook, convert

SMOKE_SECONDS = 60
LINES = 15
TRAINED = {"resnet18_accuracy"}  # its points need a full training run


def cells(name, *, answers=False):
    return nbformat.reads(build_notebook(name, answers=answers), as_version=4).cells


def graded(name):
    """The nbgrader cells of the released notebook `name`."""
    return [cell for cell in cells(name) if "nbgrader" in cell.metadata]


@pytest.mark.fast
def test_every_master_is_a_notebook():
    """Is each master one of the five, and each of the five there?"""
    assert {path.stem for path in MASTERS.glob("*.py")} == set(NOTEBOOKS)


@pytest.mark.fast
def test_points_sum_to_100():
    """Do all graded cells of the course, questions too, sum to 100 points?"""
    points = [c.metadata.nbgrader.get("points", 0) for n in NOTEBOOKS for c in graded(n)]
    assert sum(points) == 100


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_another_package_named_datasets_is_not_in_the_way(name, tmp_path):
    """Does a notebook find the course's own where Hugging Face's is installed, as on Colab?"""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("raise RuntimeError('not the course')")
    (line,) = [line for cell in cells(name) for line in cell.source.splitlines()
               if line.startswith("sys.path")]  # fmt: skip
    code = f"import sys; {line}\nfrom datasets import cifar10_1"
    paths = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=ROOT / "notebooks", capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.fast
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_check_has_its_cell(name):
    """Does a notebook hold its checks, each once, in their order, at their points?"""
    found = [c for c in graded(name) if c.source.startswith("check(")]
    wanted = [check for check in ALL.values() if check.notebook == name]
    assert [(c.metadata.nbgrader.grade_id, c.metadata.nbgrader.points) for c in found] == [
        (check.name, check.points) for check in wanted
    ]
    for cell in found:
        assert cell.source == f'check("{cell.metadata.nbgrader.grade_id}")'


@pytest.mark.fast
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_at_least_two_questions(name):
    """Are there two or more questions, marked by hand, their answers only in the source?"""
    released, source = cells(name), cells(name, answers=True)
    asked = [i for i, c in enumerate(released) if is_question(c)]
    assert len(asked) >= 2
    for i in asked:
        assert released[i].source == TEXT_STUB
        assert len(source[i].source) > 80


def is_question(cell):
    meta = cell.metadata.get("nbgrader", {})
    return bool(meta.get("grade") and meta.get("solution"))


@pytest.mark.fast
@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("answers", [False, True])
def test_metadata_is_valid_for_nbgrader(name, answers):
    """Does nbgrader's own validator accept each cell, at its present schema?"""
    notebook = nbformat.reads(build_notebook(name, answers=answers), as_version=4)
    MetadataValidator().validate_nb(notebook)
    schemas = [
        c.metadata.nbgrader.schema_version for c in notebook.cells if "nbgrader" in c.metadata
    ]
    assert set(schemas) == {3}
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.fast
def test_grade_ids_are_unique_in_the_course():
    """Does each grade_id name one cell of one notebook?"""
    ids = [c.metadata.nbgrader.grade_id for name in NOTEBOOKS for c in graded(name)]
    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.fast
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cell_ids_are_unique_and_stable(name):
    """Are cell ids unique, the same in each build, with answers and without?"""
    ids = [cell.id for cell in cells(name)]
    assert len(set(ids)) == len(ids)
    assert ids == [cell.id for cell in cells(name)]
    assert ids == [cell.id for cell in cells(name, answers=True)]


@pytest.mark.fast
def test_an_edit_changes_one_id(tmp_path):
    """Does an edit to one cell leave the ids of all others as they were?"""
    before = master(tmp_path, "# %%\na = 1\n\n# %%\nb = 2\n\n# %%\na = 1\n")
    after = master(tmp_path, "# %%\na = 1\n\n# %%\nb = 3\n\n# %%\na = 1\n")
    old, new = ([c.id for c in convert(m, answers=False).cells] for m in (before, after))
    assert [a == b for a, b in zip(old, new, strict=True)] == [True, False, True]


def master(folder, text):
    path = folder / f"{len(list(folder.iterdir()))}" / "Dropout.py"
    path.parent.mkdir()
    path.write_text(text)
    return path


@pytest.mark.fast
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_clean(name):
    """Are there no outputs, no counts, and no code cell above 15 lines?"""
    for cell in cells(name, answers=True):
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            assert cell.source.count("\n") < LINES, cell.source


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('check("unheard_of")', "no check is called 'unheard_of'"),
        ('check("affine_forward")', "affine_forward belongs to FullyConnectedNets"),
        ('check("dropout_forward"); print(1)', 'a check cell is exactly check("name")'),
        ("### BEGIN SOLUTION\na = 1\n### END SOLUTION", "a solution in a cell without exercise="),
        ("### BEGIN SOLUTION\na = 1", "a region that is never closed"),
        ("pass\n\n# %% [markdown]\n# one\ntwo", "line 6: text without # before it: two"),
        ('check("dropout_forward")\n\n# %%\ncheck("dropout_forward")', "two cells are called"),
    ],
)
def test_a_wrong_master_is_an_error(tmp_path, text, message):
    """Is each slip in a master an error that names the master and the trouble?"""
    path = master(tmp_path, f"# %%\n{text}\n")
    with pytest.raises((NotebookError, MarkerError), match=re.escape(message)) as caught:
        convert(path, answers=False)
    assert "Dropout.py" in str(caught.value)


@pytest.mark.fast
def test_code_of_students_is_replaced(tmp_path):
    """Does a solution in a notebook's cell become a stub, in a cell marked as solution?"""
    text = '# %% exercise="best"\nx = 1\n### BEGIN SOLUTION\nx = 2\n### END SOLUTION\n'
    path = master(tmp_path, text)
    (released,) = convert(path, answers=False).cells
    (source,) = convert(path, answers=True).cells
    assert released.source == f"x = 1\n{CODE_STUB}"
    assert "x = 2" in source.source
    meta = released.metadata.nbgrader
    assert (meta.grade_id, meta.grade, meta.solution) == ("best", False, True)


@pytest.mark.slow
def test_nbgrader_releases_the_same_notebooks(tmp_path):
    """Does stock generate_assignment make exactly the notebooks that are committed?"""
    build_course(tmp_path)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", ASSIGNMENT]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for name in NOTEBOOKS:
        released = (tmp_path / "release" / ASSIGNMENT / f"{name}.ipynb").read_text()
        assert json.loads(released) == json.loads(build_notebook(name, answers=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_solved_notebook_runs(name, tmp_path, cifar10_dir):
    """Does the solved notebook run within a minute, and earn every point of its checks?"""
    solved_tree(tmp_path)
    notebook = nbformat.reads(build_notebook(name, answers=True), as_version=4)
    start, used = time.perf_counter(), cpu_of_children()
    execute(notebook, tmp_path, cifar10_dir)
    # On a busy machine the clock goes on while the kernel waits; on an idle one it is the less.
    seconds = min(time.perf_counter() - start, cpu_of_children() - used)
    earned = {
        cell.metadata.nbgrader.grade_id: points(cell)
        for cell in notebook.cells
        if cell.source.startswith("check(")
    }
    assert earned
    for check, value in earned.items():
        assert check in TRAINED or value == ALL[check].points, check
    assert seconds <= SMOKE_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_released_notebook_runs_up_to_the_first_exercise(name, tmp_path, cifar10_dir):
    """Does an untouched notebook stop at a NotImplementedError, not at a broken cell?"""
    submission_tree(tmp_path / "nothing", tmp_path)
    notebook = nbformat.reads(build_notebook(name, answers=False), as_version=4)
    with pytest.raises(CellExecutionError) as problem:
        execute(notebook, tmp_path, cifar10_dir)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(problem.value))  # a traceback may be in colour
    assert re.search("NotImplementedError: .*ot written yet", plain)


def cpu_of_children():
    """Seconds of processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(notebook, tree, data):
    """Run a notebook in `tree/notebooks`, with this project's grader and the data in `data`."""
    folder = tree / "notebooks"
    folder.mkdir()
    environment = {
        **os.environ,
        "SMOKE": "1",
        "CIFAR10_DIR": str(data),
        "PYTHONPATH": os.pathsep.join((str(tree), str(ROOT))),
    }
    NotebookClient(
        notebook,
        timeout=5 * SMOKE_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute(env=environment)


def points(cell):
    """What a check cell returned."""
    (result,) = [o for o in cell.outputs if o.output_type == "execute_result"]
    return float(result.data["text/plain"])
