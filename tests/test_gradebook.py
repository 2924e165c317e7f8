"""The gradebook: where it is, who may write, and what happens while its server is away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import needed
import pytest
import small_course

from grading import classroom, gradebook, grades, preprocessors
from grading.class_report import table
from grading.class_report.__main__ import main as report
from grading.gradebook import GradebookError
from grading.overlay import ROOT
from grading.store import write_atomically
from tests import faults

fast, slow = pytest.mark.fast, pytest.mark.slow
NOBODY = "postgresql://grader:hush@127.0.0.1:1/gradebook"
FOUND = {"affine_forward": 1.0, "relu_forward": 1.0, "softmax_loss": 1.2, "dropout_forward": 2.0}


def hand_in(course: Path, *students: str, said: str = "") -> None:
    """Submissions whose outcomes are stored, so that only the gradebook has work."""
    for student in students:
        for name, text in small_course.files(layers=f"# {student} {said}\n").items():
            path = course / "submitted" / student / "assignment2" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    small_course.fill_store(course)


def released(folder: Path) -> Path:
    course = small_course.write_course(folder)
    small_course.must(small_course.nbgrader(course, "generate_assignment", "assignment2"))
    return course


def grading(course: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "grading.classroom", "grade", "--course", str(course)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def points(course: Path) -> dict[str, dict[str, float | None]]:
    """What the gradebook has, by student and check, without the written answers."""
    return {
        row.student: {name: row.points[name] for name in FOUND if name in row.points}
        for row in grades.rows(course)
    }


@fast
@pytest.mark.parametrize("server, ends", [(True, pytest.fail), (False, pytest.skip)])
def test_what_a_build_server_lacks_is_no_skip(monkeypatch, server, ends):
    """Does a test whose server or wall is not there fail where CI is set, and else only skip?"""
    monkeypatch.setattr(needed, "CI", server)
    with pytest.raises(ends.Exception, match="not installed"):
        needed.lacks("PostgreSQL is not installed")


@fast
def test_the_url(tmp_path, monkeypatch):
    """Is it SQLite if nothing is said, a server that is noticed to be gone, and never shown with
    its password?"""
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    assert gradebook.url(tmp_path) == f"sqlite:///{tmp_path}/gradebook.db"
    monkeypatch.setenv("CS231N_DB_URL", f"{NOBODY}?connect_timeout=3")
    url = gradebook.url(tmp_path)
    assert "hush" in url and "connect_timeout=3" in url and "keepalives_idle" in url
    assert gradebook.shown(tmp_path) == NOBODY.replace("hush", "***")


@fast
def test_a_file_of_another_folder(tmp_path, monkeypatch):
    """Is a relative file that of the course, for us and for nbgrader; and none refused?"""
    for said, file in (("sqlite:///book.db", tmp_path / "book.db"), ("sqlite:////b.db", "/b.db")):
        monkeypatch.setenv("CS231N_DB_URL", said)
        assert gradebook.url(tmp_path) == f"sqlite:///{file}"
    for said in ("sqlite://", "sqlite:///:memory:"):
        monkeypatch.setenv("CS231N_DB_URL", said)
        with pytest.raises(GradebookError, match="names no file"):
            gradebook.url(tmp_path)


@fast
@pytest.mark.parametrize("url", ["no url", "oracle9i://me:hush@there/x", "postgresql://a:hush@b:c"])
def test_no_url_at_all(tmp_path, monkeypatch, url):
    """Is a URL that is none told in a sentence, without showing it?"""
    monkeypatch.setenv("CS231N_DB_URL", url)
    with pytest.raises(GradebookError, match="CS231N_DB_URL is not the URL of a database") as told:
        gradebook.students(tmp_path, "assignment2")
    assert "hush" not in str(told.value)


@fast
def test_no_driver(tmp_path, monkeypatch):
    """Is it said how to install what PostgreSQL needs?"""
    monkeypatch.setenv("CS231N_DB_URL", NOBODY)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(GradebookError, match="needs psycopg: pip install"):
        gradebook.students(tmp_path, "assignment2")


@fast
def test_nobody_answers(tmp_path, monkeypatch, capsys):
    """Is one sentence said, and nothing begun, where the server does not answer at first?"""
    monkeypatch.setenv("CS231N_DB_URL", NOBODY)
    small_course.pretend(tmp_path)
    verbs = [lambda v=v: classroom.main([v, "--course", str(tmp_path)])
             for v in ("release", "grade", "feedback", "grades")]  # fmt: skip
    for verb in [*verbs, lambda: report(["--course", str(tmp_path)])]:
        assert verb() == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "cannot be used" in told and "same command" in told
        assert "hush" not in told
    assert not (tmp_path / "entropy.txt").exists()


@fast
def test_another_gradebook_knows_nothing(tmp_path, monkeypatch):
    """Is it said what to do where the gradebook has never heard of the assignment?"""
    monkeypatch.setenv("CS231N_DB_URL", f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(GradebookError, match="does not know assignment2: `make release`"):
        gradebook.students(tmp_path, "assignment2")


@fast
def test_a_mark_names_its_gradebook(tmp_path, monkeypatch):
    """Is a student graded into one gradebook done again for another, and there, later, too?"""
    monkeypatch.setenv("ENTROPY", "5")
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    folder = tmp_path / "submitted/ann/assignment2"
    folder.mkdir(parents=True)
    note = preprocessors.mark(tmp_path, "ann")

    def graded_already() -> bool:
        assert classroom._forget_stale(tmp_path, {"ann"}) == {}
        there = note.is_file()
        write_atomically(note, preprocessors.graded_state(tmp_path, folder))
        return there

    assert not graded_already() and graded_already()
    monkeypatch.setenv("CS231N_DB_URL", NOBODY)
    assert not graded_already() and graded_already()
    monkeypatch.delenv("CS231N_DB_URL")
    assert not graded_already()


@slow
def test_the_server_starts_anew(postgresql_server, tmp_path, monkeypatch, capsys):
    """Is a command run again where the server went away, and only there?"""
    monkeypatch.setenv("CS231N_DB_URL", postgresql_server.database())
    calls = []

    def command() -> int:
        calls.append(1)
        if len(calls) == 1:
            postgresql_server.stop()
            postgresql_server.start()
            return 1
        return 0

    assert gradebook.through_outages(tmp_path, command, writes=True) == 0 and len(calls) == 2
    assert "went away: waiting for it" in capsys.readouterr().err
    assert gradebook.through_outages(tmp_path, lambda: calls.append(1) or 3) == 3
    assert len(calls) == 3


@slow
def test_the_server_stays_away(postgresql_server, tmp_path, monkeypatch):
    """Is the end of patience a sentence that says what to do?"""
    monkeypatch.setenv("CS231N_DB_URL", postgresql_server.database())
    monkeypatch.setattr(gradebook, "PATIENCE", 0.1)
    try:
        with pytest.raises(GradebookError, match="run the same command again once it answers"):
            gradebook.through_outages(tmp_path, lambda: postgresql_server.stop() or 1)
    finally:
        postgresql_server.start()


@slow
def test_one_writes_at_a_time(postgresql_server, tmp_path, monkeypatch):
    """Do those who write from different machines wait for one another?"""
    monkeypatch.setenv("CS231N_DB_URL", postgresql_server.database())
    inside, most = [], []

    def command() -> int:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return 0

    writers = [
        threading.Thread(target=gradebook.through_outages, args=(tmp_path, command, True))
        for _ in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert most == [1, 1, 1]


@slow
def test_two_instructors(gradebook_url, tmp_path, monkeypatch):
    """Do two who grade at the same time, and one who marks by hand, all find their work?"""
    monkeypatch.setenv("ENTROPY", "5")
    first = released(tmp_path / "first")
    # In one folder with SQLite; with a server each has a folder, and a part of the class.
    second = faults.copied(first, tmp_path / "second") if gradebook_url else first
    hand_in(first, "eve")
    begun = grading(first)
    assert begun.wait(300) == 0, begun.stdout.read()
    hand_in(first, "ann", "bob", "eve", said="again")
    hand_in(second, "bob", "cid", "eve", said="again")
    both, score = [grading(first), grading(second)], 0.0
    while any(run.poll() is None for run in both) or not score:
        try:
            with gradebook.opened(first) as book:
                grade = book.find_grade("fc_q1", "FullyConnectedNets", "assignment2", "eve")
                grade.manual_score, grade.needs_manual_grade = score + 0.01, False
                book.db.commit()
                score += 0.01
        except GradebookError:  # SQLite is locked: the desk would show an error, too
            continue
        time.sleep(0.1)
    assert [run.wait() for run in both] == [0, 0], [run.stdout.read() for run in both]
    assert points(first) == dict.fromkeys(["ann", "bob", "cid", "eve"], FOUND)
    (eve,) = (row for row in grades.rows(first) if row.student == "eve")
    assert eve.points["fc_q1"] == pytest.approx(score)


def mark_by_hand(course: Path, student: str, **scores: float) -> None:
    """What the formgrader writes for these checks and answers of the first notebook."""
    with gradebook.opened(course) as book:
        for name, score in scores.items():
            grade = book.find_grade(name, "FullyConnectedNets", "assignment2", student)
            grade.manual_score, grade.needs_manual_grade = score, False
        book.db.commit()


@slow
def test_a_mark_belongs_to_what_it_was_given_for(gradebook_url, tmp_path, monkeypatch, capsys):
    """Does a mark stay through a new draw, and wait to be given again once the answer, or the
    code of the check, is another; on the page and in the table?"""
    course = released(tmp_path / "course")

    def graded(entropy: int) -> tuple[grades.Row, str]:
        monkeypatch.setenv("ENTROPY", str(entropy))
        small_course.fill_store(course)
        assert classroom.grade(course, 1) == classroom.feedback(course) == 0
        (row,) = (row for row in grades.rows(course) if row.student == "mia")
        page = course / "feedback/mia/assignment2/FullyConnectedNets.html"
        return row, " ".join(page.read_text().split())

    hand_in(course, "mia")
    assert graded(5)[0].pending == 2.0
    mark_by_hand(course, "mia", fc_q1=0.5, softmax_loss=1.5, relu_forward=0.75)
    row, page = graded(6)
    assert row.points["fc_q1"] == 0.5 and row.points["softmax_loss"] == 1.5 and not row.again
    assert row.pending == 1.0 and "not marked yet" not in page and "so far" not in page

    place = course / "submitted/mia/assignment2"
    answer = small_course.student_notebook("FullyConnectedNets", "Another answer.")
    (place / "FullyConnectedNets.ipynb").write_text(json.dumps(answer))
    row, page = graded(6)
    assert row.again == ["fc_q1"] and row.points["softmax_loss"] == 1.5 and row.pending == 2.0
    assert page.count("not marked yet, of 1") == 2 and "3.25 of 5 points so far" in page
    assert graded(7)[0].again == ["fc_q1"]  # until somebody gives it again
    mark_by_hand(course, "mia", fc_q1=0.25)
    (place / "cs231n/layers.py").write_text("# wrong\n")
    row, page = graded(7)
    assert sorted(row.again) == ["relu_forward", "softmax_loss"] and row.points["fc_q1"] == 0.25
    assert "1.25 of 5 points so far" in page
    capsys.readouterr()
    grades.show([row])
    assert "mark again: mia relu_forward, softmax_loss" in capsys.readouterr().out


@slow
def test_a_student_who_left(tmp_path, monkeypatch, capsys):
    """Are feedback and report of the others, where one was removed from the gradebook; and is
    extra credit in the report's points, and no alarm?"""
    monkeypatch.delenv("CS231N_DB_URL", raising=False)
    course = released(tmp_path / "course")
    hand_in(course, "ann", "bob")
    assert classroom.grade(course, 1) == 0
    small_course.must(small_course.nbgrader(course, "db", "student", "remove", "bob", "--force"))
    shutil.rmtree(course / "submitted/bob")
    with gradebook.opened(course) as book:
        grade = book.find_grade("relu_forward", "FullyConnectedNets", "assignment2", "ann")
        grade.extra_credit, grade.needs_manual_grade = 3.0, False
        book.db.commit()
    assert classroom.feedback(course) == 0
    assert "not in the gradebook: bob" in capsys.readouterr().out
    assert {path.name for path in course.glob("feedback/*")} == {"ann"}
    (ann,) = table.students(course)
    assert ann.name == "ann" and ann.scores["relu_forward"] == 4.0 and not ann.disagrees


@slow
def test_the_server_goes_away_in_the_middle(postgresql_server, tmp_path, monkeypatch):
    """Is a class graded to its end where the server starts anew meanwhile?"""
    monkeypatch.setenv("CS231N_DB_URL", postgresql_server.database())
    course = released(tmp_path / "course")
    students = [f"student{i}" for i in range(15)]  # they must last until the server has stopped
    hand_in(course, *students)
    run = grading(course)
    end = time.monotonic() + 300
    while not any(course.glob("graded/*")):
        assert run.poll() is None and time.monotonic() < end, run.stdout.read()
        time.sleep(0.02)
    postgresql_server.stop()
    said = ""
    while "went away: waiting for it" not in said:  # it is away for as long as nobody waits
        line = run.stdout.readline()
        assert line, said
        said += line
    postgresql_server.start()
    said += run.communicate(timeout=300)[0]
    assert run.returncode == 0, said
    assert "Traceback" not in said
    assert points(course) == dict.fromkeys(students, FOUND)
    assert all(row.graded for row in grades.rows(course))
