"""The overlay: which files of a submission reach the grader."""

import os
import subprocess
import sys

import pytest

from grading import overlay
from grading.overlay import (
    GIVEN,
    MAX_BYTES,
    ROOT,
    TASK_FILES,
    files_under_grading,
    pristine_stub,
    solved_tree,
    submission_tree,
)

pytestmark = pytest.mark.fast


@pytest.fixture
def submission(tmp_path):
    """A folder with all task files, each one line long."""
    folder = tmp_path / "student"
    for name in TASK_FILES:
        write(folder / name, f"NAME = {name!r}\n")
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def reasons(tree):
    return {item.path: item.reason for item in tree.ignored}


def test_every_module_of_the_package_is_a_task_file_or_given():
    """Is each module at the top level known to the overlay, and each known one there?"""
    assert {f"cs231n/{name}" for name in files(ROOT / "cs231n") if name.endswith(".py")} == {
        *TASK_FILES,
        *GIVEN,
    }


def test_tree_holds_the_package_alone(submission, tmp_path):
    """Does the tree under grading hold the given modules and the task files, and no more?"""
    write(submission / "numpy.py", "raise SystemExit")
    write(submission / "sitecustomize.py", "raise SystemExit")
    write(submission / "grading" / "__init__.py", "")
    tree = submission_tree(submission, tmp_path / "out")
    assert files(tmp_path / "out") == {*TASK_FILES, *GIVEN}
    assert set(reasons(tree)) == {"numpy.py", "sitecustomize.py", "grading/"}
    for name in TASK_FILES:
        assert (tmp_path / "out" / name).read_bytes() == (submission / name).read_bytes()


@pytest.mark.parametrize(
    "place", [".", "assignment2", "my work", "my work/assignment2", "2020 (1)/assignment2"]
)
def test_package_is_found(tmp_path, place):
    """Is the package found at cs231n/, assignment2/cs231n/ and one level down?"""
    write(tmp_path / "student" / place / "cs231n" / "optim.py", "x = 1\n")
    tree = submission_tree(tmp_path / "student", tmp_path / "out")
    assert tree.taken == ("cs231n/optim.py",)
    assert tree.missing == tuple(name for name in TASK_FILES if name != "cs231n/optim.py")


def test_package_with_most_task_files_wins(submission, tmp_path):
    """Is a near-empty cs231n/ passed over for a fuller one below assignment2/?"""
    (submission / "cs231n").rename(submission / "full")
    (submission / "assignment2").mkdir()
    (submission / "full").rename(submission / "assignment2" / "cs231n")
    write(submission / "cs231n" / "notes.py", "")
    assert len(submission_tree(submission, tmp_path / "out").taken) == len(TASK_FILES)


def test_missing_files_are_the_stubs(submission, tmp_path, monkeypatch):
    """Does the unwritten file stand in, even where the working copy's is written?"""
    (submission / "cs231n/optim.py").unlink()
    overlay.given()  # is read once
    monkeypatch.setattr(overlay, "ROOT", tmp_path)  # a working copy without any file
    tree = submission_tree(submission, tmp_path / "out")
    assert tree.missing == ("cs231n/optim.py",)
    stub = (tmp_path / "out/cs231n/optim.py").read_bytes()
    assert stub == pristine_stub("cs231n/optim.py")
    assert b"not written yet" in stub


def test_a_worker_gets_the_same_tree(submission, tmp_path):
    """Are the files for a worker those of the folder?"""
    (submission / "cs231n/optim.py").unlink()
    out = submission_tree(submission, tmp_path / "out").root
    written = {name: (out / name).read_bytes() for name in files(out)}
    assert files_under_grading(submission) == written


def test_nothing_at_all(tmp_path):
    """Is an empty submission a tree of stubs, not an error?"""
    tree = submission_tree(tmp_path / "nobody", tmp_path / "out")
    assert tree.package is None and tree.missing == TASK_FILES
    assert "no cs231n/ folder" in tree.summary()


def test_given_modules_cannot_be_replaced(submission, tmp_path):
    """Do a student's edits to given modules and __init__ files have no effect?"""
    for name in GIVEN:
        write(submission / name, "CHEAT = True\n")
    write(submission / "cs231n/solver/__init__.py", "CHEAT = True\n")
    write(submission / "cs231n/layers/__init__.py", "CHEAT = True\n")
    write(submission / "cs231n/solver.cpython-311-x86_64-linux-gnu.so", "")
    tree = submission_tree(submission, tmp_path / "out")
    assert files(tmp_path / "out") == {*TASK_FILES, *GIVEN}
    for name in GIVEN:
        written = (tmp_path / "out" / name).read_bytes()
        ours = (ROOT / name).read_bytes()
        assert written == (overlay.REFUSES if name == overlay.GRADIENT_CHECK else ours)
        assert "given module" in reasons(tree)[name]
    assert "in the place of the module" in reasons(tree)["cs231n/solver/"]
    assert "in the place of the module" in reasons(tree)["cs231n/layers/"]


def test_unchanged_given_modules_are_not_remarked(submission, tmp_path):
    """Is a submission of the whole, unedited package free of remarks?"""
    for name in GIVEN:
        write(submission / name, (ROOT / name).read_text())
    assert submission_tree(submission, tmp_path / "out").ignored == ()


def test_helpers_are_taken(submission, tmp_path):
    """Do a student's own modules and sub-packages come along?"""
    own = ("cs231n/tricks.py", "cs231n/more/__init__.py", "cs231n/classifiers/own_net.py")
    for name in own:
        write(submission / name, "x = 1\n")
    tree = submission_tree(submission, tmp_path / "out")
    assert set(tree.helpers) == set(own)
    assert all((tmp_path / "out" / name).is_file() for name in own)
    assert tree.ignored == ()


def test_links_are_not_followed(submission, tmp_path):
    """Does a link to a file or folder elsewhere stay out of the tree?"""
    write(tmp_path / "secret/inner.py", "SECRET = 1\n")
    (submission / "cs231n/layers.py").unlink()
    os.symlink(tmp_path / "secret/inner.py", submission / "cs231n/layers.py")
    os.symlink(tmp_path / "secret", submission / "cs231n/linked")
    os.symlink("loop.py", submission / "cs231n/loop.py")
    tree = submission_tree(submission, tmp_path / "out")
    assert tree.missing == ("cs231n/layers.py",) and tree.helpers == ()
    for name in ("cs231n/layers.py", "cs231n/linked", "cs231n/loop.py"):
        assert "links are not followed" in reasons(tree)[name]


def test_linked_folders_of_task_files_are_not_followed(submission, tmp_path):
    """Is a linked classifiers/, or a linked cs231n/, passed over?"""
    (submission / "cs231n/classifiers").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", submission / "cs231n/classifiers")
    tree = submission_tree(submission, tmp_path / "out")
    assert set(tree.missing) == {name for name in TASK_FILES if "classifiers" in name}
    linked = tmp_path / "second"
    linked.mkdir()
    os.symlink(submission / "cs231n", linked / "cs231n")
    assert submission_tree(linked, tmp_path / "out2").package is None


def test_odd_files_are_ignored(submission, tmp_path):
    """Is each unusable file left out, with its reason, and without waiting on a pipe?"""
    own = submission / "cs231n"
    os.mkfifo(own / "pipe.py")
    write(own / "big.py", "#" * (MAX_BYTES + 1))
    write(own / "Layers.py", "x = 1\n")
    write(own / "layers (1).py", "x = 1\n")
    write(own / "fast.pyx", "")
    write(own / "evil\x1b[2J.py", "")
    tree = submission_tree(submission, tmp_path / "out")
    assert tree.helpers == ()
    assert {path: reason.split(":")[0] for path, reason in reasons(tree).items()} == {
        "cs231n/pipe.py": "not an ordinary file",
        "cs231n/big.py": "larger than 1 MB",
        "cs231n/Layers.py": "differs from another file by capital letters alone",
        "cs231n/layers (1).py":
            "cannot be imported under this name (is it layers.py? rename it)",
        "cs231n/fast.pyx": "Cython source",
        "cs231n/evil\\x1b[2J.py":
            "cannot be imported under this name (is it evil\\x1b[2J.py? rename it)",
    }


def test_oversized_task_file_is_missing(submission, tmp_path):
    """Does a task file above the limit count as missing, with the reason?"""
    (submission / "cs231n/layers.py").write_bytes(b"#" * (MAX_BYTES + 1))
    tree = submission_tree(submission, tmp_path / "out")
    assert tree.missing == ("cs231n/layers.py",)
    assert reasons(tree)["cs231n/layers.py"] == "larger than 1 MB"


def test_a_flood_of_files_ends(submission, tmp_path, monkeypatch):
    """Is a submission of very many files read up to a limit, task files first?"""
    monkeypatch.setattr(overlay, "MAX_ENTRIES", 50)
    for i in range(100):
        write(submission / f"cs231n/a{i}.py", "")
    tree = submission_tree(submission, tmp_path / "out")
    assert len(tree.taken) == len(TASK_FILES) and len(tree.helpers) <= 50
    assert "more than 50 entries" in reasons(tree)["cs231n/"]


def test_nothing_is_executed(submission, tmp_path):
    """Is a submission only read, never run?"""
    for name in TASK_FILES:
        write(submission / name, f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    submission_tree(submission, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_a_used_folder_is_refused(submission, tmp_path):
    """Is an existing tree never mixed with a new one?"""
    submission_tree(submission, tmp_path / "out")
    with pytest.raises(FileExistsError, match="give an empty folder"):
        submission_tree(submission, tmp_path / "out")


def test_solved_tree_imports(tmp_path):
    """Does every module of the solved tree import, from a process of its own?"""
    solved_tree(tmp_path)
    modules = [n.removesuffix(".py").replace("/", ".") for n in (*TASK_FILES, *GIVEN)]
    code = "import importlib, sys; [importlib.import_module(m) for m in sys.argv[1:]]"
    run = subprocess.run(
        [sys.executable, "-c", code, *modules], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
