"""The report on a class: its page, its table, and how long it takes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grading import images
from grading.class_report import page, table
from grading.class_report.__main__ import main
from grading.outcome import Finding, Outcome
from grading.overlay import ROOT
from grading.store import Store

fast = pytest.mark.fast
HOMES = {"relu_forward": "FullyConnectedNets", "fc_q1": "FullyConnectedNets",
         "resnet18_accuracy": "PyTorch"}  # fmt: skip


def outcome(name: str, points: float, summary: str = "", **more) -> Outcome:
    findings = tuple(Finding("dx", f"case {i}", bool(points)) for i in range(12))
    return Outcome(name, points, 2.0, summary, findings, seconds=0.5, level="sealed", **more)


def write(course: Path, found: dict[str, dict[str, Outcome]]) -> Path:
    """A course with these outcomes, by student."""
    source = course / "source" / "assignment2"
    source.mkdir(parents=True)
    for notebook in set(HOMES.values()):
        cells = [{"metadata": {"nbgrader": {"grade": True, "grade_id": name}}}
                 for name, home in HOMES.items() if home == notebook]  # fmt: skip
        (source / f"{notebook}.ipynb").write_text(json.dumps({"cells": cells}))
    (course / "graded").mkdir()
    for i, (student, outcomes) in enumerate(found.items()):
        Store(course).write(f"k{i}", outcomes)
        (course / "graded" / student).write_text(f"content k{i}\n")
    return course


@pytest.fixture
def course(tmp_path) -> Path:
    return write(tmp_path / "course", {
        "quentin": {"relu_forward": outcome("relu_forward", 2.0),
                "resnet18_accuracy": outcome("resnet18_accuracy", 1.0,
                                             "Accuracy 0.9009 on 5,000 of CIFAR-10's test images")},
        "=zebedee": {"relu_forward": outcome("relu_forward", 0.0, known=("ReLU: no gate",))},
        "yolanda": {"relu_forward": outcome("relu_forward", 0.0, error="IndexError: <b>3</b>",
                                        evidence=("tried to read /root",))},
        "xaver": {"relu_forward": outcome("relu_forward", 0.0, error="MyError: boo")},
    })  # fmt: skip


@fast
def test_the_page_names_nobody_unless_asked(course):
    """Is a student's name on the page, or in the table, only with the switch?"""
    assert main(["--course", str(course)]) == 0
    made = (course / "report.html").read_text() + (course / "report.csv").read_text()
    assert not any(name in made for name in ("quentin", "zebedee", "yolanda", "xaver"))
    assert main(["--course", str(course), "--names"]) == 0
    assert "yolanda" in (course / "report.html").read_text()
    with (course / "report.csv").open() as file:
        rows = {(row["student"], row["check"]): row for row in csv.DictReader(file)}
    assert rows["'=zebedee", "relu_forward"]["mistakes"] == "ReLU: no gate"
    assert rows["quentin", "relu_forward"]["passed"] == "1"


@fast
@pytest.mark.parametrize("said, named", [("", False), ("0", False), ("1", True)])
def test_names_of_0_are_none(said, named):
    """Does `make report NAMES=0` name nobody?"""
    run = subprocess.run(["make", "-n", "report", f"NAMES={said}", f"VENV={sys.prefix}"],
                         cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    assert ("--names" in run.stdout) == named and "class_report" in run.stdout


@fast
def test_the_page_says_what_was_not_understood(course):
    """Are mistakes counted by students, failures without a name said in words of ours?"""
    made = page.html(table.students(course), table.homes(course), names=False)
    assert "<td>ReLU: no gate</td><td class=\"n\">1</td>" in made
    assert "raises IndexError (1)" in made and "raises an error of its own (1)" in made
    assert "0.9009" in made and "may be tampering" in made
    assert "MyError" not in made and "<b>3" not in made


@fast
def test_the_page_says_what_checkpoints_were_tested_on(course):
    """Are the images of the last grading on the page, new ones too?"""
    assert main(["--course", str(course)]) == 0
    assert "test images of the last" not in (course / "report.html").read_text()
    images.note(course).write_text("CIFAR-10 and new images\n")
    assert main(["--course", str(course)]) == 0
    assert "last grading: CIFAR-10 and new images." in (course / "report.html").read_text()


@fast
def test_no_checkpoint_is_said_so():
    """Is a missing checkpoint told from one that gave no answer?"""
    about = {"summary": "", "error": "There is no checkpoints/resnet18_cifar10.safetensors. Train."}
    assert table._otherwise(about) == "no checkpoint handed in"
    assert table._otherwise(about | {"error": "The network gave no answer: boo"}) == "no answer"


@fast
def test_the_page_needs_no_network(course):
    """Does the page load nothing, and do its pictures have words beside them?"""
    made = page.html(table.students(course), table.homes(course), names=False)
    assert "<script" not in made and "src=" not in made and "@import" not in made
    assert made.count("<svg") == made.count('<svg role="img" aria-label="') == 3


@fast
def test_nothing_graded(tmp_path, capsys):
    """Is a course without grades told so, with no page made?"""
    assert main(["--course", str(tmp_path)]) == 1
    assert "comes first" in capsys.readouterr().err and not (tmp_path / "report.html").exists()


@fast
def test_a_damaged_outcome_needs_a_human(course):
    """Is a student whose outcome cannot be read counted as not graded?"""
    (course / "outcomes" / "k0.json").write_text("{")
    found = {student.name: student for student in table.students(course)}
    assert not found["quentin"].found and "not graded" in page._reasons(found["quentin"])


@fast
def test_a_disagreement_is_seen():
    """Is an automatic score in the gradebook that the outcome did not earn held up, with the
    check and both numbers; and is what an instructor gave no alarm?"""

    def student(automatic: float, score: float | None, most: float = 1.0) -> table.Student:
        found = {"relu_forward": table.Found(1.0, 2.0)}
        numbers = ({"relu_forward": value} for value in (score, automatic, most))
        return table.Student("a", found, *numbers)

    assert student(0.5, 0.5).disagrees == {} == student(0.5, 3.5).disagrees  # extra credit
    other = student(1.0, 1.0)
    assert other.disagrees == {"relu_forward": (1.0, 0.5)}
    assert page._reasons(other) == ["the gradebook and the stored outcome disagree"]
    assert "relu_forward: 1 in the gradebook, 0.5 stored" in page._reasons(other, numbers=True)[0]
    assert student(0.0, 0.0, 0.0).disagrees == {}  # an exercise may count nothing


@pytest.mark.slow
def test_a_thousand_students(tmp_path):
    """Is the report on a thousand students with 45 checks each there within ten seconds?"""
    checks = {f"check{i}": outcome(f"check{i}", float(i % 3), "wrong " * 20) for i in range(45)}
    course = write(tmp_path / "big", {f"s{i}": checks for i in range(1_000)})
    start = time.perf_counter()
    assert main(["--course", str(course)]) == 0
    assert time.perf_counter() - start < 10
    assert (course / "report.html").read_text().count("1000 students") == 1
