"""The release: stubs, the course folder, both archives, and taking in other solutions."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from traitlets.config import PyFileConfigLoader

from grading.checks import ALL, NOTEBOOKS
from grading.overlay import GIVEN, ROOT, SOLUTIONS, TASK_FILES, solved_tree
from grading.release import __main__ as release
from grading.release import built, dist
from grading.release.course import build_course
from grading.release.importing import import_solution
from grading.release.markers import BEGIN, END, MarkerError, regions, replace
from grading.release.notebooks import MASTERS
from grading.release.stubs import build_stub, exercises, strip
from grading.release.submission import make_submission
from grading.release.written import progress

pytestmark = pytest.mark.fast


def lines(*texts):
    return "\n".join(texts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lines(BEGIN, "a", BEGIN, "b", END), "m.py:3: a region inside that of line 1"),
        (lines("a", BEGIN, "b"), "m.py:2: a region that is never closed"),
        (lines("a", END), "m.py:2: ### END SOLUTION without"),
        (lines(BEGIN, "a", END, END), "m.py:4: ### END SOLUTION without"),
        (lines("    " + BEGIN, "    a", END), "m.py:3: not indented as line 1"),
        (lines(BEGIN, END), "m.py:2: an empty region"),
        (lines("## BEGIN SOLUTION", "a", END), "m.py:1: not exactly"),
        (lines("### begin solution"), "m.py:1: not exactly"),
        (lines("a  " + BEGIN), "m.py:1: not exactly"),
    ],
)
def test_a_wrong_marker_is_an_error(text, message):
    """Is each slip in a marker an error that names file and line?"""
    with pytest.raises(MarkerError, match=re.escape(message)):
        regions(text, "m.py")


def test_regions_are_replaced_at_their_indentation():
    """Does a region become its stub, indented as it was, and nothing else change?"""
    text = lines("def f():", "    x = 1", "    " + BEGIN, "    y = 2", "    " + END, "", "z = 3")
    assert replace(text, "m.py", lambda region: "a\nb") == lines(
        "def f():", "    x = 1", "    a", "    b", "", "z = 3"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lines("x = 1", BEGIN, "y = 2", END), "m.py:2: a region outside a function"),
        (
            lines("class Net:", "    " + BEGIN, "    a = 1", "    " + END),
            "m.py:2: a region outside a function",
        ),
        (
            lines("def affine_forward():", *2 * ["    " + BEGIN, "    a = 1", "    " + END]),
            "m.py:5: a second region in affine_forward",
        ),
        (
            lines("def unheard_of():", "    " + BEGIN, "    a = 1", "    " + END),
            "m.py:2: no check exercises unheard_of",
        ),
    ],
)
def test_a_region_in_the_wrong_place_is_an_error(body, message):
    """Is a region outside a function, twice in one, or unknown to the checks refused?"""
    with pytest.raises(MarkerError, match=re.escape(message)):
        strip("m.py", body)


@pytest.mark.parametrize("name", TASK_FILES)
def test_stub_has_no_solution(name):
    """Is every region of a master gone, its function still there, its docstring kept?"""
    master = (SOLUTIONS / name).read_text()
    stub = build_stub(name)
    assert "SOLUTION" not in stub
    written = exercises(name, master)
    assert written, "a task file without an exercise"
    for function in written:
        assert f'"{function}: not written yet. "' in stub
    assert documented(stub) == documented(master)
    kept = set(stub.splitlines())
    for region in regions(master, name):
        secret = master.splitlines()[region.start : region.end - 1]
        given = master.splitlines()[: region.start - 1] + master.splitlines()[region.end :]
        leaked = {s for s in secret if len(s.strip()) > 12} & kept - set(given)
        assert not leaked


def documented(source):
    """(name, docstring) of each function and class."""
    return [
        (node.name, ast.get_docstring(node))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]


def test_stub_names_function_file_and_notebook():
    """Does a stub say what is missing, where to write it, and what explains it?"""
    text = "affine_forward: not written yet. Write it in cs231n/layers.py; notebooks/" \
        "FullyConnectedNets.ipynb explains it."
    tree = ast.parse(build_stub("cs231n/layers.py"))
    messages = [
        node.exc.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and node.exc.func.id == "NotImplementedError"
    ]
    assert text in messages


def test_every_exercise_has_a_check_and_every_check_an_exercise():
    """Do the masters' regions and the checks' exercises name the same things?"""
    written = {e for name in TASK_FILES for e in exercises(name, (SOLUTIONS / name).read_text())}
    checked = {e for check in ALL.values() for e in check.exercises}
    tops = {e.partition(".")[0] for e in written}
    assert {e.partition(".")[0] for e in checked} == tops


def test_built_equals_committed():
    """Are the stubs and notebooks at the top level what the masters give?"""
    assert built.compare() == []


def test_a_difference_is_readable(tmp_path):
    """Does the comparison show what changed, what is missing, and what has no master?"""
    built.build(tmp_path)
    assert built.compare(tmp_path) == [] and built.build(tmp_path) == []
    layers = tmp_path / "cs231n/layers.py"
    layers.write_text(layers.read_text() + "# mine\n")
    (tmp_path / "cs231n/optim.py").unlink()
    notebook = tmp_path / "notebooks/Dropout.ipynb"
    content = json.loads(notebook.read_text())
    content["cells"][0]["source"] = ["# Mine"]
    notebook.write_text(json.dumps(content))
    (tmp_path / "notebooks/Extra.ipynb").write_text("{}")
    first, second, third, fourth = built.compare(tmp_path)
    assert first.startswith("--- cs231n/layers.py (there)") and "\n-# mine" in first
    assert second == "cs231n/optim.py: missing"
    assert "Dropout" in third and "\n-# Mine" in third
    assert fourth == "notebooks/Extra.ipynb: has no master"


def test_layout_alone_is_no_difference(tmp_path):
    """Is a notebook that was saved again, with the same content, still the same?"""
    built.build(tmp_path)
    notebook = tmp_path / "notebooks/Dropout.ipynb"
    notebook.write_text(json.dumps(json.loads(notebook.read_text()), indent=4))
    assert built.compare(tmp_path) == []


def test_course_source_holds_notebooks_alone(tmp_path):
    """Is there nothing in source/ that autograde would copy over a submission?"""
    build_course(tmp_path)
    assert sorted(p.name for p in (tmp_path / "source/assignment2").iterdir()) == sorted(
        f"{name}.ipynb" for name in NOTEBOOKS
    )
    assert str(ROOT) in (tmp_path / "nbgrader_config.py").read_text()


def test_a_notebook_without_a_master_is_refused(tmp_path, capsys):
    """Is an instructor's own notebook in source/ named, and neither deleted nor released?"""
    own = tmp_path / "source/assignment2/Bonus.ipynb"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert release.main(["course", "--out", str(tmp_path)]) == 1
    assert f"{own} has no master" in capsys.readouterr().err
    assert own.read_text() == "mine" and not (tmp_path / "nbgrader_config.py").exists()


def test_a_release_keeps_what_it_replaces(tmp_path, capsys):
    """Is what an instructor wrote into a file of ours kept, and is that said; and nothing said
    where all is as it was?"""
    build_course(tmp_path)
    build_course(tmp_path)
    assert capsys.readouterr().out == "" and not list(tmp_path.glob("before-release-*"))
    names = ["nbgrader_config.py", "source/assignment2/Dropout.ipynb"]
    built = [(tmp_path / name).read_text() for name in names]
    for name in names:
        (tmp_path / name).write_text("mine")
    build_course(tmp_path)
    said = capsys.readouterr().out
    (kept,) = tmp_path.glob("before-release-*")
    assert said.count(str(kept)) == 2 and "nbgrader_config.py" in said and "Dropout.ipynb" in said
    assert [path.read_text() for path in kept.iterdir()] == ["mine", "mine"]
    assert [(tmp_path / name).read_text() for name in names] == built


def test_own_settings_of_a_course(tmp_path, monkeypatch):
    """Does an instructor's own file add to the course's settings, and outlive a release?"""
    build_course(tmp_path)
    monkeypatch.chdir(ROOT)  # wherever the command is started
    course = str(tmp_path)
    first = PyFileConfigLoader("nbgrader_config.py", course).load_config()
    own = tmp_path / "nbgrader_config_local.py"
    own.write_text("c = get_config()\nc.LimitOutput.max_lines = 7\n")
    build_course(tmp_path)
    second = PyFileConfigLoader("nbgrader_config.py", course).load_config()
    assert first.LimitOutput.max_lines == 400 and second.LimitOutput.max_lines == 7
    assert second.LimitOutput.max_traceback == 60 and own.is_file()


def test_course_keeps_the_gradebook(tmp_path):
    """Does a second release leave the gradebook and the submissions alone?"""
    build_course(tmp_path)
    for name in ("gradebook.db", "submitted/ann/assignment2/Dropout.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("kept")
    build_course(tmp_path)
    assert (tmp_path / "gradebook.db").read_text() == "kept"
    assert (tmp_path / "submitted/ann/assignment2/Dropout.ipynb").read_text() == "kept"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The students' archive, unpacked."""
    folder = tmp_path_factory.mktemp("dist")
    with zipfile.ZipFile(dist.build_dist(folder / "course.zip")) as archive:
        archive.extractall(folder)
    return folder / dist.TOP


def test_archive_has_no_solution(unpacked):
    """Is no line of a solution, and no answer, in any file that students get?"""
    names = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    assert {*TASK_FILES, *GIVEN, "Makefile", "README.md"} <= names
    assert not [name for name in names if name.startswith(dist.LEFT_OUT)]
    secrets = solution_lines()
    assert len(secrets) > 100
    for name in sorted(names):
        text = (unpacked / name).read_text(encoding="utf-8", errors="replace")  # of plots, too
        if name.endswith(".ipynb"):
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells)
            assert not any(cell.get("outputs") for cell in cells), name
        leaked = secrets & {line.strip() for line in text.splitlines()}
        assert not leaked, name
        if name.endswith((".ipynb", *TASK_FILES)):
            assert "SOLUTION" not in text, name


def test_pages_of_the_archive_link_to_what_is_in_it(unpacked):
    """Are pages for instructors left out, and do the links of all others lead to a file?"""
    pages = {path.relative_to(unpacked).as_posix(): path for path in unpacked.rglob("*.md")}
    assert {"README.md", "docs/checkpoint.md", "docs/training.md"} <= set(pages)
    assert not {f"docs/{name}.md" for name in ("authors", "instructors", "security")} & set(pages)
    for name, path in pages.items():
        for target in re.findall(r"\]\(([^):#]+)\)", path.read_text()):
            assert (path.parent / target).is_file(), f"{name}: {target}"
    readme = pages["README.md"].read_text()
    assert "\n## For students\n" in readme and "\n## For instructors\n" not in readme
    assert "make demo" not in readme and "\ntests/" not in readme


def test_verbs_of_the_archive_run_what_is_in_it(unpacked):
    """Are verbs for others left out of the Makefile, and are the modules of all others there?"""
    command = ["make", "-s", "help"]
    shown = subprocess.run(command, cwd=unpacked, capture_output=True, text=True).stdout
    verbs = re.findall(r"^  make (\S+)", shown, re.MULTILINE)
    assert {"env", "lab", "check", "submission"} <= set(verbs)
    assert not {"demo", "grade", "build", "test"} & set(verbs)
    text = (unpacked / "Makefile").read_text()
    modules = re.findall(r"python -m ((?:cs231n|datasets|grading)[\w.]*)", text)
    assert len(modules) > 5
    for module in modules:
        place = unpacked / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
    refused = subprocess.run(["make", "demo"], cwd=unpacked, capture_output=True, text=True)
    assert "No rule to make target" in refused.stderr


def solution_lines():
    """Lines of 30 or more characters that stand in solution regions and in no given text."""
    secret, given = set(), set()
    masters = [*(SOLUTIONS / name for name in TASK_FILES), *MASTERS.glob("*.py")]
    for path in masters:
        text = path.read_text().splitlines()
        inside = set()
        for region in regions("\n".join(text), path.name):
            inside |= set(range(region.start, region.end - 1))
        for number, line in enumerate(text):
            (secret if number in inside else given).add(line.strip())
    for folder in ("cs231n", "datasets"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.relative_to(ROOT).as_posix() not in TASK_FILES:
                given |= {line.strip() for line in path.read_text().splitlines()}
    return {line for line in secret - given if len(line) >= 30 and not line.startswith("#")}


def test_archive_is_the_same_each_time(tmp_path):
    """Is the archive a function of its content?"""
    one = dist.build_dist(tmp_path / "one.zip").read_bytes()
    assert one == dist.build_dist(tmp_path / "two.zip").read_bytes()


@pytest.mark.slow
def test_archive_works_for_a_student(unpacked, tmp_path):
    """Can a student check a function and make a submission, with nothing but the archive?"""
    checked = run(unpacked, "grading", "affine_forward")
    assert "not written yet" in checked.stdout, checked.stderr
    made = run(unpacked, "grading.release", "submission", "--student", "ann", "--out", tmp_path)
    assert made.returncode == 0, made.stderr
    assert "not written yet: affine_forward, " in made.stdout
    names = zipfile.ZipFile(tmp_path / "ann_hw.zip").namelist()
    assert set(names) == {*TASK_FILES, *(f"{name}.ipynb" for name in NOTEBOOKS)}


def run(folder, module, *arguments):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def course(tmp_path):
    """A student's course folder in which everything is written."""
    folder = solved_tree(tmp_path / "course")
    built.build(tmp_path / "built")
    (tmp_path / "built/notebooks").rename(folder / "notebooks")
    return folder


@pytest.mark.slow
def test_submission_of_finished_work(course):
    """Is the archive of a solved course complete, with a word on what it lacks?"""
    (course / "cs231n/tricks.py").write_text("x = 1\n")
    (course / "checkpoints").mkdir()
    (course / "checkpoints/resnet18_cifar10.safetensors").write_bytes(b"weights")
    archive = make_submission("ann", course)
    assert archive.path == course / "ann_hw.zip"
    assert set(archive.names) == {
        *TASK_FILES,
        *(f"{name}.ipynb" for name in NOTEBOOKS),
        "cs231n/tricks.py",
        "checkpoints/resnet18_cifar10.safetensors",
    }
    assert all("question(s) without an answer" in w or "not written" in w
               for w in archive.warnings), archive.warnings


@pytest.mark.slow
def test_submission_says_what_is_wrong(course):
    """Is the student told of what is missing, does not import, is broken or unwritten?"""
    (course / "cs231n/layer_utils.py").unlink()
    (course / "cs231n/optim.py").write_text("import nowhere\n")
    (course / "cs231n/classifiers/cnn.py").write_text("def f(:\n")
    (course / "cs231n/solver.py").write_text("# edited\n")
    (course / "notebooks/Dropout.ipynb").write_text('{"cells": [')
    (course / "notebooks/BatchNorm.ipynb").unlink()
    text = "\n".join(make_submission("ann", course).warnings)
    for part in (
        "cs231n/layer_utils.py: missing",
        "cs231n.optim: does not import: ModuleNotFoundError: No module named 'nowhere' (line 1 of",
        "cs231n/classifiers/cnn.py, line 1: not Python 3",
        "cs231n/solver.py: not handed in: a given module",
        "Dropout.ipynb: not a notebook",
        "BatchNorm.ipynb: missing",
        "checkpoints/resnet18_cifar10.safetensors: not there",
        "not defined: ",
    ):
        assert part in text


@pytest.mark.parametrize("student", ["", "../ann", "ann bob", "a/b", "ann-1"])
def test_submission_needs_a_plain_name(course, student):
    """Is a name refused that the collector could not read back, or that leaves the folder?"""
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        make_submission(student, course)


def test_import_takes_files_and_keeps_what_was_there(course, tmp_path):
    """Are the files of another year taken, one's own work kept, and the rest explained?"""
    other = tmp_path / "assignment2-2017" / "assignment2" / "cs231n"
    other.mkdir(parents=True)
    (other / "optim.py").write_text("def sgd_momentum(w, dw, config=None):\n    return w, config\n")
    (other / "rnn_layers.py").write_text("x = 1\n")
    (other / "im2col_cython.pyx").write_text("")
    (other / "setup.py").write_text("")
    (other / "solver.py").write_text("# an old solver\n")
    before = (course / "cs231n/optim.py").read_text()
    solver = (course / "cs231n/solver.py").read_text()
    report = import_solution(tmp_path / "assignment2-2017", course).report()
    assert (course / "cs231n/optim.py").read_text().startswith("def sgd_momentum")
    assert (course / "cs231n/rnn_layers.py").is_file()
    assert (course / "cs231n/solver.py").read_text() == solver
    (kept,) = (course / "build").glob("before-import-*/cs231n/optim.py")
    assert kept.read_text() == before
    for part in (
        "took cs231n/optim.py (yours is kept as build/before-import-",
        "took (a helper of its own) cs231n/rnn_layers.py",
        "not in it: cs231n/layers.py; yours is unchanged",
        "im2col_cython.pyx: Cython source: nothing is compiled here",
        "setup.py: it builds a Cython extension",
        "solver.py: a given module",
        "does not define: ",
        "nesterov",
    ):
        assert part in report
    assert "sgd_momentum" not in report and "affine_forward" not in report


def test_import_of_a_folder_without_a_package(course, tmp_path):
    """Is a wrong folder an error that says what was looked for?"""
    with pytest.raises(FileNotFoundError, match="no cs231n/ and no assignment2/cs231n/"):
        import_solution(tmp_path / "nothing", course)


def test_progress_is_read_without_running():
    """Are stubs, missing definitions and Python 2 told apart by reading?"""
    solved = {name: (SOLUTIONS / name).read_bytes() for name in TASK_FILES}
    assert progress(solved).stubs == progress(solved).undefined == ()
    stubs = {name: build_stub(name).encode() for name in TASK_FILES}
    assert set(progress(stubs).stubs) == {e for c in ALL.values() for e in c.exercises}
    old = progress({"cs231n/layers.py": b"def affine_forward(x, w, b):\n  print 'x'\n"})
    assert old.broken[0].startswith("cs231n/layers.py, line 2: not Python 3")
    assert "affine_forward" not in old.undefined and "affine_backward" in old.undefined


def test_makefile_lists_every_verb():
    """Does `make help` know every verb, and is none more than two lines long?"""
    text = (ROOT / "Makefile").read_text()
    phony = " ".join(re.findall(r"^\.PHONY: (.*)", text, re.MULTILINE)).split()
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert set(phony) == set(re.findall(r"^  make (\S+)", shown, re.MULTILINE))
    recipes = re.findall(r"^[a-z0-9-]+:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert len(recipes) > 15
    assert max(recipe.count("\n") for recipe in recipes) <= 2


@pytest.mark.parametrize(
    "verb",
    ["release", "collect", "grade", "feedback", "grades", "report", "similar", "desk"],
)
def test_every_verb_of_a_class_works_on_the_course_that_is_named(verb):
    """Is COURSE passed on, blanks and all, to each command that a verb runs?"""
    command = ["make", "-n", "-s", "-o", "env", verb, "COURSE=build/my demo"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert shown and all('"build/my demo"' in line for line in shown)


def test_a_desk_without_a_course(tmp_path):
    """Is it said which verb makes the course?"""
    command = ["make", "-s", "-o", "env", "desk", f"COURSE={tmp_path / 'course'}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = made.stderr.splitlines()[0]
    assert made.returncode and said.endswith("course yet: make release or make demo comes first")


def test_clean_leaves_courses_alone(tmp_path):
    """Does `make clean` remove what is built and the demo, and no course, whatever its name?"""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("course", "my spring", "demo", "dist"):
        (tmp_path / "build" / name).mkdir(parents=True)
    for name in ("my spring", "demo"):
        (tmp_path / "build" / name / "nbgrader_config.py").touch()
    subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["course", "my spring"]


def test_an_environment_is_made_for_other_requirements_alone(tmp_path):
    """Is a shared environment used as it is, though the clone is newer, unless its pins differ?"""
    installed = tmp_path / ".installed"
    for content, status in ((ROOT.joinpath("requirements.txt").read_text(), 0), ("old==1\n", 2)):
        installed.write_text(content)
        os.utime(installed, (0, 0))
        made = subprocess.run(["make", "env", f"VENV={tmp_path}", "PYTHON=false"], cwd=ROOT)
        assert made.returncode == status
    assert installed.read_text() == "old==1\n"


def test_pins_are_exact():
    """Is every requirement pinned with ==?"""
    for line in Path(ROOT / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line
