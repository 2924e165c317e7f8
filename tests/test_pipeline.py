"""A class of broken submissions through nbgrader's own commands, and the class run around them."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import nbformat
import pytest
import small_course
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

from datasets import cifar10_1
from grading import (
    classroom,
    connection,
    exam,
    examples,
    grade,
    gradebook,
    graders,
    grades,
    images,
    nbgrader_config,
    preprocessors,
)
from grading.outcome import Outcome
from grading.overlay import ROOT
from grading.release import notebooks
from grading.store import Changed, Store
from grading.zip_collect import student_id

slow = pytest.mark.slow
fast = pytest.mark.fast
FAILING_HOOK = """
from grading.preprocessors import repair_submission
def hook(assignment, student, notebooks):
    if "bob" in notebooks[0]:
        raise OSError("no repair")
    repair_submission(assignment, student, notebooks)
get_config().Autograde.pre_convert_hook = hook
"""


@pytest.fixture(scope="module")
def course(gradebook_url: str) -> Path:
    return small_course.graded_course(gradebook_url)


@pytest.fixture(scope="module")
def scores(course: Path) -> dict[str, dict[str, tuple[float | None, bool]]]:
    """Student -> check -> (score, waits for a human)."""
    with gradebook.opened(course) as book:
        return {
            submission.student.id: {
                grade.name: (grade.auto_score, grade.needs_manual_grade)
                for notebook in submission.notebooks
                for grade in notebook.grades
            }
            for submission in book.assignment_submissions("assignment2")
        }


def graded_cells(course: Path, student: str, name: str = "FullyConnectedNets") -> dict:
    path = course / "autograded" / student / "assignment2" / f"{name}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    return {c.metadata.nbgrader.grade_id: c for c in cells if "nbgrader" in c.metadata}


def feedback(course: Path, student: str, name: str = "FullyConnectedNets") -> str:
    return (course / "feedback" / student / "assignment2" / f"{name}.html").read_text()


@slow
def test_every_student_is_graded(course, scores):
    """Does everybody who handed in anything have grades and feedback for every notebook?"""
    students = small_course.class_of_students(Path("canary"))
    assert set(scores) == set(students)
    for student in students:
        assert set(scores[student]) == {"affine_forward", "relu_forward", "softmax_loss", "fc_q1",
                                        "dropout_forward", "dropout_q1"}
        assert feedback(course, student) and feedback(course, student, "Dropout")


@slow
@pytest.mark.parametrize("student", ["ann", "Zoë Ångström-Ő", "truncated", "vandal"])
def test_points_and_message_together(course, scores, student):
    """Are partial points and the sentence that explains them both there, repaired or not?"""
    earned = {name: score for name, (score, _) in scores[student].items()}
    assert earned["affine_forward"] == 1.0
    assert earned["softmax_loss"] == pytest.approx(1.2)
    assert earned["dropout_forward"] == 2.0
    cell = graded_cells(course, student)["softmax_loss"]
    assert utils.determine_grade(cell) == (pytest.approx(1.2), 2.0)
    assert "the sum is not divided by N" in feedback(course, student)
    assert "softmax_loss</a></td>\n<td>1.2 of 2</td>" in feedback(course, student)


@slow
def test_fails_closed(scores):
    """Does a check without an outcome, or with an odd number of points, earn nothing?"""
    assert scores["no outcome"]["affine_forward"] == (1.0, False)
    assert scores["no outcome"]["softmax_loss"] == (0.0, False)
    assert scores["no outcome"]["dropout_forward"] == (0.0, False)
    assert [scores["odd"][name][0] for name in ("affine_forward", "relu_forward", "softmax_loss",
                                                "dropout_forward")] == [0.0, 0.0, 0.0, 2.0]


@slow
def test_questions_wait_for_a_human(scores):
    """Is a written answer waiting for its grader, and an untouched one zero?"""
    assert scores["ann"]["fc_q1"] == (None, True)
    assert scores["nothing"]["fc_q1"] == (0.0, False)


@slow
def test_nothing_of_a_student_runs(course):
    """Is a student's code never executed by nbgrader, in a check cell or elsewhere?"""
    assert not (course.parent / "canary").exists()
    assert graded_cells(course, "vandal")["affine_forward"].source == 'check("affine_forward")'
    assert "bonus" not in graded_cells(course, "vandal")


@slow
def test_nothing_of_a_student_runs_in_a_browser(course):
    """Are a student's scripts text, in the notebook that the formgrader shows and in feedback?"""
    notebook = (course / "autograded/vandal/assignment2/FullyConnectedNets.ipynb").read_text()
    assert "<script>alert" not in notebook
    assert "<script>alert" not in feedback(course, "vandal")


@slow
def test_plots_are_kept(course):
    """Are the student's plots in the graded notebook and in the feedback?"""
    notebook = (course / "autograded/ann/assignment2/FullyConnectedNets.ipynb").read_text()
    assert small_course.PNG in notebook
    assert small_course.PNG in feedback(course, "ann")


@slow
def test_repairs_are_told(course):
    """Does the student read what was repaired, and the instructor too?"""
    assert "What we repaired" not in feedback(course, "ann")
    assert "was taken as FullyConnectedNets.ipynb" in feedback(course, "Zoë Ångström-Ő")
    assert "damaged or cut short" in feedback(course, "truncated")
    assert "could not be opened as a zip archive" in feedback(course, "not a zip")
    assert "may not be edited" in feedback(course, "vandal")
    table = {row.student: row for row in grades.rows(course)}
    assert table["ann"].repairs == []
    assert any("was taken as" in str(r) for r in table["Zoë Ångström-Ő"].repairs)
    original = course / "originals/Zoë Ångström-Ő/my work/FullyConnectedNets (1).ipynb"
    assert original.is_file()


@slow
def test_export(course):
    """Does nbgrader's own export have every student's total?"""
    assert not (course / "grades.csv").exists()  # which is our own table's place
    with (course / "nbgrader_export.csv").open() as file:
        exported = {line["student_id"]: float(line["score"]) for line in csv.DictReader(file)}
    assert exported["ann"] == exported["vandal"] == pytest.approx(5.2)
    assert exported["not a zip"] == 0.0
    assert set(exported) == set(small_course.class_of_students(Path("canary")))


@slow
def test_table_of_grades(course, tmp_path):
    """Does our table have a column a check, what waits for a human, the level, the repairs?"""
    grades.write(grades.rows(course), tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open() as file:
        table = {line["student"]: line for line in csv.DictReader(file)}
    assert table["ann"]["softmax_loss"] == "1.2"
    assert table["ann"]["fc_q1"] == "" and table["ann"]["manual_pending"] == "2.0"
    assert table["ann"]["level"] == "process" and table["ann"]["max"] == "8.0"
    assert "cut short" in table["truncated"]["repairs"]


@slow
def test_a_second_run_grades_what_changed(course, capsys):
    """After one late submission, is that one graded again and nobody else?"""
    before = {p: p.stat().st_mtime_ns for p in course.glob("autograded/*/*/*.ipynb")}
    late = course / "submitted/nothing/assignment2/cs231n/layers.py"
    late.parent.mkdir(exist_ok=True)
    late.write_text("# late\n")
    store = Store(course)
    store.write(store.key(late.parents[1]), small_course.outcomes())
    assert classroom.grade(course, workers=1) == 0
    after = {p: p.stat().st_mtime_ns for p in course.glob("autograded/*/*/*.ipynb")}
    assert {p.parts[-3] for p in after if after[p] != before[p]} == {"nothing"}
    table = {row.student: row.total for row in grades.rows(course)}
    assert table["nothing"] == 6.0 and table["ann"] == pytest.approx(5.2)
    assert f"ENTROPY={store.entropy}" in capsys.readouterr().out


@slow
def test_one_failure_never_stops_the_class(tmp_path, monkeypatch):
    """Is the class graded when one hangs, dies, raises, finds the disk full, or changes?"""
    def hand_in(*names: str) -> None:
        for name in names:
            folder = tmp_path / "submitted" / name / "assignment2" / "cs231n"
            folder.mkdir(parents=True)
            (folder / "layers.py").write_text(f"# {name}\n")

    hand_in("ann")
    assert classroom.grade_in_parallel(tmp_path, 4, small_course.badly) == {}  # torch is imported
    monkeypatch.setattr(classroom, "LONGEST", 20.0)
    hand_in("hangs", "dies", "fails", "fills", "changes", "bob")
    failed = classroom.grade_in_parallel(tmp_path, 2, small_course.badly)
    assert sorted(failed) == ["changes", "dies", "fails", "fills", "hangs"]
    assert "code 7" in failed["dies"] and "code -9" in failed["hangs"]
    assert "a fault of the grader" in failed["fails"]
    assert "disk is full" in failed["fills"] and "changed while it was read" in failed["changes"]
    assert sorted((tmp_path / "calls").read_text().split()) == ["ann", "bob", "changes"]
    assert sorted(classroom.grade_in_parallel(tmp_path, 2, small_course.well)) == []
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(calls) == ["ann", "bob", "changes", "dies", "fails", "fills", "hangs"]


@slow
def test_the_same_content_is_graded_once_and_a_late_one_alone(tmp_path, monkeypatch):
    """Is one of two students with the same content graded, for both; and after a late submission
    that one, and nobody else?"""
    def hand_in(student: str, content: str) -> None:
        folder = tmp_path / "submitted" / student / "assignment2" / "cs231n"
        folder.mkdir(parents=True)
        (folder / "layers.py").write_text(content)

    def calls() -> list[str]:
        return (tmp_path / "calls").read_text().split()

    one = partial(classroom.grade_in_parallel, one=small_course.well)
    monkeypatch.setattr(classroom, "grade_in_parallel", one)
    monkeypatch.setattr(classroom, "_repair_all", lambda *_: None)
    monkeypatch.setattr(classroom, "autograde", lambda *_: 0)
    monkeypatch.setattr(classroom, "_unconverted", lambda _: [])
    monkeypatch.setattr(gradebook, "students", lambda *_: {"ann", "bob", "cid"})
    hand_in("ann", "# the same\n")
    hand_in("bob", "# the same\n")
    hand_in("cid", "# other\n")
    assert classroom.grade(tmp_path, 2) == 0
    assert sorted(calls()) in (["ann", "cid"], ["bob", "cid"])
    assert classroom.ungraded(tmp_path) == ({}, {})
    before = len(calls())
    hand_in("late", "# late\n")
    assert classroom.grade(tmp_path, 2) == 0
    assert calls()[before:] == ["late"]
    assert classroom.grade(tmp_path, 2) == 0
    assert len(calls()) == before + 1


@slow
def test_many_submissions_are_graded_by_few_processes(tmp_path):
    """Does one process grade one submission after another, instead of one each?"""
    for number in range(6):
        folder = tmp_path / "submitted" / str(number) / "assignment2" / "cs231n"
        folder.mkdir(parents=True)
        (folder / "layers.py").write_text(f"# {number}\n")
    assert classroom.grade_in_parallel(tmp_path, 2, small_course.by_process) == {}
    processes = (tmp_path / "processes").read_text().split()
    assert len(processes) == 6 and len(set(processes)) <= 2


@slow
@pytest.mark.parametrize("many", [1, 100])
def test_repairs_before_grading(tmp_path, monkeypatch, capsys, many):
    """Is everybody's submission repaired once, by several processes or by one, and a failure told
    without an end to the others?"""
    monkeypatch.setattr(classroom, "MANY", many)
    course = small_course.write_course(tmp_path / "course")
    (course / "source" / "assignment2").rename(course / "released")
    (course / "release").mkdir()
    (course / "released").rename(course / "release" / "assignment2")
    for student in ("ann", "bob", "cid"):
        (course / "submitted" / student / "assignment2").mkdir(parents=True)
    (course / "originals").mkdir()
    (course / "repairs" / "bob.json").mkdir(parents=True)  # nothing can be written there
    classroom._repair_all(course, 2)
    assert "bob: " in capsys.readouterr().err
    assert sorted(path.stem for path in course.glob("repairs/*.json")) == ["ann", "bob", "cid"]
    for student in ("ann", "cid"):
        assert (course / "submitted" / student / "assignment2" / "Dropout.ipynb").is_file()
    monkeypatch.setattr(classroom, "_repaired", lambda course, folders, workers: iter(
        (student, f"again {student}") for student in folders))  # fmt: skip
    classroom._repair_all(course, 2)
    told = capsys.readouterr().err
    assert "again bob" in told and "again ann" not in told


@slow
def test_shares_of_a_class_make_one_gradebook(tmp_path, monkeypatch, request, gradebook_url):
    """Do two of nbgrader's processes at once write every grade, in a gradebook with indexes?"""
    if gradebook_url:  # that of this module's own class is another one
        url = request.getfixturevalue("postgresql_server").database()
        monkeypatch.setenv("CS231N_DB_URL", url)
    course = small_course.write_course(tmp_path / "course")
    small_course.must(small_course.nbgrader(course, "generate_assignment", "assignment2"))
    students = [f"student{number:02}" for number in range(5)]
    for student in students:
        place = course / "submitted" / student / "assignment2"
        for name, content in small_course.files(layers=f"# {student}\n").items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(content)
    small_course.fill_store(course)
    monkeypatch.setattr(classroom, "SHARE", 2)
    started = []
    start = classroom._started
    monkeypatch.setattr(
        classroom, "_started", lambda *a, **k: started.append(a[1:]) or start(*a, **k)
    )
    classroom.autograde(course, 2)
    assert started == [("grading.autograde", "0", "2"), ("grading.autograde", "1", "2")]
    table = {row.student: row for row in grades.rows(course)}
    assert sorted(table) == students
    for row in table.values():
        assert row.graded and row.total == pytest.approx(5.2)
        assert list(row.points) == [  # the order of the course
            "affine_forward", "relu_forward", "softmax_loss", "fc_q1",
            "dropout_forward", "dropout_q1",
        ]  # fmt: skip
        assert row.points["fc_q1"] is None and row.pending == 2.0
    assert (course / "gradebook.db").exists() != bool(gradebook_url)
    if gradebook_url:
        return
    with sqlite3.connect(course / "gradebook.db") as book:
        plan = "EXPLAIN QUERY PLAN SELECT * FROM grade WHERE notebook_id = 'x'"
        assert "USING INDEX" in book.execute(plan).fetchone()[3]


@slow
def test_penalties_of_who_is_late(tmp_path, monkeypatch):
    """Does nbgrader's penalty fall on late notebooks alone, and go with a later due date; and is a
    grade by hand kept when a submission is graded anew?"""
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    course = small_course.write_course(tmp_path / "course")
    with (course / "nbgrader_config.py").open("a") as config:
        config.write('get_config().LateSubmissionPlugin.penalty_method = "zero"\n')
    small_course.must(small_course.nbgrader(course, "generate_assignment", "assignment2"))
    for student, handed_in in (("early", "2026-01-01 12:00:00"), ("late", "2026-01-03 12:00:00")):
        place = course / "submitted" / student / "assignment2"
        for name, content in small_course.files(layers=f"# {student}\n").items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(content)
        (place / "timestamp.txt").write_text(f"{handed_in} UTC")
    small_course.fill_store(course)
    url = f"sqlite:///{course}/gradebook.db"

    def grade_by(due: str) -> dict[str, dict[str, float]]:
        with Gradebook(url, "cs231n") as book:
            book.update_or_create_assignment("assignment2", duedate=due)
        shutil.rmtree(course / "autograded", ignore_errors=True)
        assert classroom.autograde(course, 1) == 0
        with Gradebook(url, "cs231n") as book:
            return {
                student: {
                    n.name: n.late_submission_penalty
                    for n in book.find_submission("assignment2", student).notebooks
                }
                for student in ("early", "late")
            }

    found = grade_by("2026-01-02 12:00:00 UTC")
    assert found["early"] == {"FullyConnectedNets": None, "Dropout": None}
    with Gradebook(url, "cs231n") as book:
        scores = {n.name: n.score for n in book.find_submission("assignment2", "late").notebooks}
        assert found["late"] == scores and all(scores.values())
        exported = book.find_submission("assignment2", "late")
        (row,) = (row for row in grades.rows(course) if row.student == "late")
        assert row.penalty == exported.late_submission_penalty > 0 and row.total == 0.0
        grade = book.find_grade("relu_forward", "FullyConnectedNets", "assignment2", "late")
        grade.manual_score, grade.needs_manual_grade = 0.25, False
        book.db.commit()
    assert grade_by("2026-01-04 12:00:00 UTC")["late"] == found["early"]
    with Gradebook(url, "cs231n") as book:
        grade = book.find_grade("relu_forward", "FullyConnectedNets", "assignment2", "late")
        assert grade.score == 0.25 and not grade.needs_manual_grade


@slow
def test_nobody_gets_the_points_of_another(tmp_path, monkeypatch):
    """Where the repair of a submission fails, which nbgrader passes over, and a notebook is not
    there: does it get nothing, and not what the last student's had?"""
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    course = small_course.write_course(tmp_path / "course")
    with (course / "nbgrader_config.py").open("a") as config:
        config.write(FAILING_HOOK)
    small_course.must(small_course.nbgrader(course, "generate_assignment", "assignment2"))
    for student in ("ann", "bob"):
        place = course / "submitted" / student / "assignment2"
        for name, content in small_course.files(layers=f"# {student}\n").items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(content)
    (place / "FullyConnectedNets.ipynb").unlink()
    small_course.fill_store(course)
    assert classroom.autograde(course, 1) == 0
    with Gradebook(f"sqlite:///{course}/gradebook.db", "cs231n") as book:
        ann, bob = (book.find_submission("assignment2", student) for student in ("ann", "bob"))
        scores = {s.student_id: {n.name: n.score for n in s.notebooks} for s in (ann, bob)}
    assert all(scores["ann"].values())
    assert scores["bob"] == {"FullyConnectedNets": 0.0, "Dropout": scores["ann"]["Dropout"]}


@fast
def test_a_gradebook_stays_open(tmp_path):
    """Do two gradebooks of one process share a connection, and one's end leave the other alone?"""
    url = f"sqlite:///{tmp_path}/gradebook.db"
    with connection.OneConnection(url, "cs231n") as first:
        first.add_student("ann")
        with connection.OneConnection(url, "cs231n") as second:
            assert second.engine is first.engine
            assert second.find_student("ann").id == "ann"
        assert first.find_student("ann").id == "ann"


@fast
def test_a_locked_gradebook_is_left_to_nbgrader(tmp_path):
    """Does a gradebook that cannot be opened stop nobody before nbgrader says so?"""
    (tmp_path / "gradebook.db").write_bytes(b"not a database" * 100)
    connection.prepare(f"sqlite:///{tmp_path}/gradebook.db")


@slow
def test_a_failing_release_leaves_the_release_as_it_was(tmp_path, monkeypatch, capsys):
    """With submissions in the gradebook, is another question refused in a sentence; and where
    nbgrader itself fails, is the old release still there?"""
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    course = small_course.write_course(tmp_path / "course")
    source = course / "source/assignment2/FullyConnectedNets.ipynb"
    released = course / "release/assignment2/FullyConnectedNets.ipynb"
    master = source.read_text()
    assert classroom.release(course) == 0
    first = released.read_bytes()
    source.write_text(master.replace('"fc_q1"', '"fc_q3"'))
    assert classroom.release(course) == 0 and released.read_bytes() != first  # nobody is in it yet
    source.write_text(master)
    assert classroom.release(course) == 0
    with Gradebook(f"sqlite:///{course}/gradebook.db", "cs231n") as book:
        book.add_student("ann")
        book.add_submission("assignment2", "ann")
    source.write_text(master.replace('"fc_q1"', '"fc_q3"'))
    capsys.readouterr()
    assert classroom.release(course) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "Undo the change" in told
    assert "takes away fc_q1 of FullyConnectedNets and adds fc_q3 of FullyConnectedNets" in told
    monkeypatch.setattr(classroom, "refusal", lambda _: "")
    assert classroom.release(course) == 1
    assert "is as it was" in capsys.readouterr().err
    assert released.read_bytes() == first and not (course / "release.new").exists()
    monkeypatch.undo()
    source.write_text(master.replace("why $x^2$", "why not"))  # texts may change
    assert classroom.release(course) == 0 and b"why not" in released.read_bytes()


@fast
@pytest.mark.parametrize("verb, without, first", [
    ("collect", "release", "release"), ("grade", "release", "release"),
    ("grade", "submitted", "collect"), ("feedback", "autograded", "grade"),
])  # fmt: skip
def test_what_comes_first_is_told(tmp_path, monkeypatch, capsys, verb, without, first):
    """Does a verb do nothing where what it works on is not there, and name the verb before it?"""
    monkeypatch.setattr(classroom, "nbgrader", lambda *_: pytest.fail("it began"))
    monkeypatch.setattr(classroom, "_grade", lambda *_: pytest.fail("it began"))
    small_course.pretend(tmp_path)
    shutil.rmtree(tmp_path / without)
    assert classroom.main([verb, "--course", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"`make {first}` comes first" in told


@slow
def test_a_checkpoint_has_no_more_than_two_copies(tmp_path, monkeypatch):
    """Is a checkpoint in its archive and in `submitted` alone, and a student's feedback its pages,
    with what the exchange needs to give them back?"""
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    course = small_course.write_course(tmp_path / "course")
    weights = "checkpoints/resnet18_cifar10.safetensors"
    files = {**small_course.files(), weights: b"weights", "cs231n/tricks.py": ""}
    small_course.archive(course / "downloaded/assignment2/archive/ann_hw.zip", files)
    assert classroom.release(course) == 0 and classroom.collect(course) == 0
    submitted = course / "submitted/ann/assignment2"
    (submitted / "timestamp.txt").write_text("2026-01-01 12:00:00 UTC")
    small_course.fill_store(course)
    assert classroom.autograde(course, 1) == 0 and classroom.feedback(course) == 0
    assert list(course.rglob("*.safetensors")) == [submitted / weights]
    assert sorted(path.name for path in (course / "feedback/ann/assignment2").iterdir()) == [
        "Dropout.html", "FullyConnectedNets.html", "timestamp.txt"
    ]  # fmt: skip


@fast
def test_a_course_without_an_exchange(tmp_path, monkeypatch, caplog):
    """Does the formgrader, which looks for an exchange at each page, say once that there is none,
    and nothing critical; and does it find one that there is?"""
    monkeypatch.chdir(small_course.write_course(tmp_path / "course"))
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    settings = Config()
    nbgrader_config.configure(settings, tmp_path / "course")
    settings.Exchange.root = str(tmp_path / "exchange")
    for _ in range(2):
        assert NbGraderAPI(config=settings, log_level="INFO").exchange_missing
    (said,) = [line for line in caplog.records if "xchange" in line.getMessage()
               or line.levelname in ("ERROR", "CRITICAL")]  # fmt: skip
    assert said.levelname == "INFO" and "There is no exchange at" in said.getMessage()
    (tmp_path / "exchange").mkdir(mode=0o777)
    assert NbGraderAPI(config=settings).exchange_is_functional


@fast
def test_a_full_disk_is_told(tmp_path, monkeypatch, capsys):
    """Does a class run on a full disk end with a sentence?"""
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    small_course.pretend(tmp_path)
    monkeypatch.setattr(gradebook, "students", lambda *_: set())
    (tmp_path / "downloaded" / "assignment2" / "archive" / "ann_hw").mkdir(parents=True)
    monkeypatch.setattr(classroom, "_grade", full)
    monkeypatch.setattr(classroom, "nbgrader", full)
    for verb in ("grade", "collect", "feedback", "release"):
        assert classroom.main([verb, "--course", str(tmp_path)]) == 1
        assert capsys.readouterr().err == f"{graders.FULL}\n"


@fast
def test_ctrl_c_is_no_traceback(tmp_path, monkeypatch, capsys):
    """Is it said that the same command goes on?"""
    def stopped(*_):
        raise KeyboardInterrupt

    small_course.pretend(tmp_path)
    monkeypatch.setattr(classroom, "_grade", stopped)
    assert classroom.main(["grade", "--course", str(tmp_path)]) == 130
    assert "What was graded is kept: run the same command again" in capsys.readouterr().err


@fast
@pytest.mark.parametrize("said, stored", [("abc", None), ("-1", None), (None, "not a number")])
def test_an_entropy_that_is_none_is_told(tmp_path, monkeypatch, capsys, said, stored):
    """Does a class with such an ENTROPY, or file of it, end in a sentence?"""
    monkeypatch.delenv("ENTROPY", raising=False)
    monkeypatch.setattr(gradebook, "students", lambda *_: set())
    small_course.pretend(tmp_path)
    if said:
        monkeypatch.setenv("ENTROPY", said)
    else:
        (tmp_path / "entropy.txt").write_text(stored)
    assert classroom.main(["grade", "--course", str(tmp_path)]) == 1
    assert "whole number" in capsys.readouterr().err


@fast
def test_a_class_without_cifar10_is_told_and_graded_anew_with_it(tmp_path, monkeypatch, capsys):
    """Is it said that checkpoints get no points, and are the outcomes not those with the images?"""
    monkeypatch.setenv("ENTROPY", "1")
    monkeypatch.setattr(gradebook, "students", lambda *_: set())
    monkeypatch.setattr(classroom, "autograde", lambda *_: 0)
    (tmp_path / "graded").mkdir()
    keys = set()
    words = {"missing": "no points", "a stand-in": "the stand-in", "CIFAR-10": ""}
    for source, told in words.items():
        monkeypatch.setattr(exam, "source", lambda source=source: source)
        assert classroom.grade(tmp_path) == 0
        said = capsys.readouterr().err
        assert told in said and ("make cifar10" in said) == (source != "CIFAR-10")
        keys.add(Store(tmp_path).key(tmp_path))
    assert len(keys) == 3


def test_what_stands_in_for_a_missing_file_is_part_of_the_key(monkeypatch):
    """Is a class graded anew when given code in a task file's stub was corrected?"""
    from grading import overlay, store

    monkeypatch.setattr(overlay, "pristine_stub", lambda name: b"corrected")
    store.checks_version.cache_clear()
    corrected = store.checks_version()
    monkeypatch.undo()
    store.checks_version.cache_clear()
    assert store.checks_version() != corrected


@fast
def test_a_setting_that_is_forgotten_takes_no_points(tmp_path, monkeypatch, capsys):
    """Is nothing graded where a class had more to test checkpoints on, unless it is asked for; are
    new images told; and may there be more of them at any time?"""
    monkeypatch.setenv("ENTROPY", "1")
    monkeypatch.setattr(gradebook, "students", lambda *_: set())
    monkeypatch.setattr(classroom, "autograde", lambda *_: 0)
    earned = Outcome("resnet18_accuracy", 7.0, 10.0, "Accuracy 0.9", level="process")
    Store(tmp_path).write("k", {"resnet18_accuracy": earned})
    (tmp_path / "graded").mkdir()
    (tmp_path / "graded" / "ann").write_text("content k\n")

    def graded(source: str, new: str = "") -> tuple[int, str]:
        monkeypatch.setattr(exam, "source", lambda: source)
        monkeypatch.setattr(cifar10_1, "version", lambda: new)
        status = classroom.grade(tmp_path)
        return status, "".join(capsys.readouterr())

    assert graded("missing")[0] == graded("CIFAR-10")[0] == 0
    status, said = graded("CIFAR-10", "a hash")
    assert status == 0 and "tested on the new images of CIFAR10_1_URL too" in said
    for lacking in (("CIFAR-10",), ("missing", "a hash"), ("missing",)):
        status, said = graded(*lacking)
        assert status == 1 and "1 checkpoints have points from a test on CIFAR-10 and new" in said
    assert graded("CIFAR-10", "another hash")[0] == 0
    images.note(tmp_path).unlink()
    assert graded("missing")[0] == 0  # asked for


@slow
def test_who_has_no_outcome_in_the_gradebook_is_tried_again_and_told(tmp_path, monkeypatch, capsys):
    """Is a submission that changed between grading and the gradebook listed, and not a silent 0;
    and does one that only failed at first get its grade?"""
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    course = small_course.write_course(tmp_path / "course")
    small_course.must(small_course.nbgrader(course, "generate_assignment", "assignment2"))
    for student in ("ann", "bob", "cid"):
        place = course / "submitted" / student / "assignment2"
        for name, content in small_course.files(layers=f"# {student}\n").items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(content)
    small_course.fill_store(course)
    store, late = Store(course), course / "submitted/cid/assignment2"
    key, start, waits = store.key(late), classroom._share, []

    def share(course, share, of):
        """What comes between: bob's layers change for good, cid's outcome is away at first."""
        (course / "submitted/bob/assignment2/cs231n/layers.py").write_text("# changed\n")
        name = course / "outcomes" / f"{key}.json"
        away = name.with_suffix(".away")
        away.rename(name) if waits else name.rename(away)
        waits.append(share)
        return start(course, share, of)

    monkeypatch.setattr(classroom, "grade_in_parallel", lambda *_: {})
    monkeypatch.setattr(classroom, "_share", share)
    assert classroom.grade(course, 1) == 1
    assert "not graded: bob: " in capsys.readouterr().out and len(waits) == 2
    table = {row.student: row for row in grades.rows(course)}
    assert table["cid"].graded and table["ann"].graded and not table["bob"].graded
    for student in ("ann", "bob", "cid"):  # the answers can be marked all the same
        assert (course / "autograded" / student / "assignment2" / "Dropout.ipynb").is_file()


@fast
def test_what_changes_while_it_is_graded_has_no_outcome(tmp_path, monkeypatch):
    """Is an outcome of a folder that was written to meanwhile kept under neither content?"""
    folder = tmp_path / "submitted" / "ann" / "assignment2" / "cs231n"
    folder.mkdir(parents=True)
    (folder / "layers.py").write_text("# early\n")

    def graded(submission, **_):
        (submission / "cs231n" / "layers.py").write_text("# late\n")
        return small_course.outcomes()

    monkeypatch.setattr(grade, "grade_submission", graded)
    store = Store(tmp_path)
    with pytest.raises(Changed, match="run this again"):
        store.grade(folder.parent)
    assert not list(tmp_path.glob("outcomes/*"))


@fast
@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full"),
        (ValueError("odd"), "ValueError: odd"),
        (Changed("it changed"), "it changed"),
    ],
)
def test_what_an_instructor_reads_of_a_failure(problem, said):
    """Is a full disk told as such, and any other fault by its name?"""
    assert graders.told(problem).startswith(said)


@slow
def test_example_students(tmp_path):
    """Do the engine and the examples agree on what each example student earns?"""
    released = tmp_path / "release"
    released.mkdir()
    for name in small_course.CHECKS:
        nbformat.write(small_course.source_notebook(name), released / f"{name}.ipynb")
    earned = {}
    for student in ("complete", "wrong", "exit", "syntax error"):
        folder = tmp_path / student
        for name, data in examples.handed_in(examples.CLASS[student], released).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        names = ["affine_forward", "relu_forward", "softmax_loss", "batchnorm_forward"]
        from grading.grade import grade_submission

        found = grade_submission(folder, entropy=3, names=names, level=os.environ["LEVEL"])
        earned[student] = [found[name].passed for name in names]
        if student == "wrong":
            said = "".join(preprocessors.report.text(outcome) for outcome in found.values())
            assert not re.search(r"\d\.\d{3,}", said)  # an entry of an array, to many digits
    assert earned == {
        "complete": [True, True, True, True],
        "wrong": [True, True, False, False],
        "exit": [True, False, True, True],
        "syntax error": [False, False, False, False],
    }


@fast
@pytest.mark.parametrize("points", [float("nan"), float("inf"), True, None, "3"])
def test_points_that_are_no_number(points):
    """Is anything but a finite number of points no grade at all?"""
    outcome = replace(small_course.outcome("softmax_loss"), points=points)
    assert preprocessors.scaled(outcome, 2.0) is None


@fast
@pytest.mark.parametrize(("points", "expected"), [(-1.0, 0.0), (0.5, 0.5), (2, 2.0), (9.0, 2.0)])
def test_points_stay_in_range(points, expected):
    """Do points stay in [0, max], as a plain float?"""
    outcome = replace(small_course.outcome("softmax_loss"), points=points)
    assert preprocessors.scaled(outcome, 2.0) == expected
    assert type(preprocessors.scaled(outcome, 2.0)) is float


@fast
@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("ann_hw.zip", "ann"),
        ("Zoë Ångström_hw (1).zip", "Zoë Ångström"),
        ("Zoe\u0308_hw.zip", "Zo\u00eb"),
        ("o'brien-2_hw-Copy1.zip", "o'brien-2"),
        ("O’Brien+1_hw.zip", "O’Brien_2b_1"),
        ("a[b]*?{c}_hw.zip", "a_5b_b_5d__2a__3f__7b_c_7d_"),
        ("=cmd|x_hw.zip", "_3d_cmd_7c_x"),
        ("jcopy.zip", "jcopy"),
        ("..zip", "unnamed"),
        ("王小明_assignment2.ZIP", "王小明"),
    ],
)
def test_student_names(name, student):
    """Is the student's name read from the archive's, without what paths and patterns obey?"""
    assert student_id(name) == student


@fast
@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1"])
def test_formulas(text):
    """Is a text that a spreadsheet would run made a text?"""
    assert grades.harmless(text) == f"'{text}"
    assert grades.harmless("ann") == "ann"


@fast
def test_entropy(tmp_path, monkeypatch):
    """Is the entropy fresh once, the same from then on, and the one that ENTROPY says?"""
    monkeypatch.delenv("ENTROPY", raising=False)
    first = Store(tmp_path).entropy
    assert Store(tmp_path).entropy == first != Store(tmp_path / "other").entropy
    monkeypatch.setenv("ENTROPY", "7")
    assert Store(tmp_path).entropy == 7
    monkeypatch.delenv("ENTROPY")
    assert Store(tmp_path).entropy == 7


@fast
def test_store(tmp_path):
    """Does an outcome come back as it went in, and a damaged file count as none?"""
    store = Store(tmp_path)
    store.write("key", small_course.outcomes())
    assert store.read("key") == small_course.outcomes()
    (tmp_path / "outcomes/key.json").write_text('{"affine_forward": "{"}')
    assert store.read("key") is None and store.read("other") is None


@fast
def test_key_follows_content(tmp_path, monkeypatch):
    """Does the key change with what is graded, and with nothing else?"""
    monkeypatch.setenv("ENTROPY", "1")
    folder = tmp_path / "s"
    (folder / "cs231n").mkdir(parents=True)
    (folder / "cs231n/layers.py").write_text("x = 1")
    store = Store(tmp_path)
    first = store.key(folder)
    (folder / "Dropout.ipynb").write_text("{}")
    (folder / "numpy.py").write_text("x = 1")
    assert store.key(folder) == first
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/resnet18_cifar10.safetensors").write_bytes(b"1")
    second = store.key(folder)
    (folder / "cs231n/layers.py").write_text("x = 2")
    third = store.key(folder)
    (folder / "resnet18_cifar10.pt").write_bytes(b"1")  # looked for there too
    beside = store.key(folder)
    monkeypatch.setenv("ENTROPY", "2")
    assert len({first, second, third, beside, store.key(folder)}) == 5


@fast
def test_examples_fit_the_masters(tmp_path):
    """Can every example be made, each substitution standing once in its file?"""
    notebook = small_course.source_notebook("Dropout")
    nbformat.write(notebook, tmp_path / "Dropout.ipynb")
    for example in examples.CLASS.values():
        made = examples.handed_in(example, tmp_path)
        assert "cs231n/layers.py" in made
        assert json.loads(made["Dropout.ipynb"]) if "Dropout.ipynb" in made else True


@fast
def test_stubs_are_those_of_the_release():
    """Does nbgrader clear a solution to the very text that the released notebooks have?"""
    assert nbgrader_config.CODE_STUB == notebooks.CODE_STUB
    assert nbgrader_config.TEXT_STUB == notebooks.TEXT_STUB


@fast
def test_nbgrader_commands_do_not_import_torch():
    """Do the settings and plugins load without torch, which takes seconds a command?"""
    code = "import sys, grading.preprocessors, grading.zip_collect; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "False", done.stderr
