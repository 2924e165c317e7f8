"""The summary of grades in the terminal."""

from types import SimpleNamespace

import pytest

from grading import grades
from grading.repair import Repair

pytestmark = pytest.mark.fast


def test_summary_is_short_for_a_large_class(capsys):
    """Are points rounded, the checks that cost most named, and long lists of repairs cut?"""
    repairs = [Repair("Dropout.ipynb", f"mended {i}.") for i in range(5)]
    table = [
        grades.Row(f"student{i}", {"relu": 1 / 3, "adam": 2.0}, {"relu": 1.0, "adam": 2.0},
                   repairs=repairs)
        for i in range(30)
    ]  # fmt: skip
    grades.show(table)
    shown = capsys.readouterr().out
    assert "2.33" in shown and "2.333" not in shown
    assert "relu: by 30 of 30 students" in shown and "adam: by" not in shown
    assert "Dropout.ipynb: mended 1. And 3 more." in shown and "mended 2." not in shown
    assert "10 students more, in the table's column repairs" in shown


def test_summary_of_a_name_with_control_codes(capsys):
    """Is a name shown without what a terminal would obey?"""
    grades.show([grades.Row("a\x1b[31mb", {}, {}, repairs=[Repair("", "mended.")])])
    assert "\x1b" not in capsys.readouterr().out


def test_columns_are_in_the_order_of_the_course(tmp_path):
    """Are checks in the order that is asked for, and not in that of the notebooks' names?"""

    def notebook(name, check):
        points = {"manual_score": None, "auto_score": 1.0, "score": 1.0, "max_score": 1.0}
        points |= {"extra_credit": None, "needs_manual_grade": False}
        cell = SimpleNamespace(name=check, **points)
        return SimpleNamespace(name=name, grades=[cell])

    row = grades.Row("ann")
    names = {"BatchNorm": "second", "Extra": "last", "FullyConnectedNets": "first"}
    notebooks = [notebook(*item) for item in names.items()]
    submission = SimpleNamespace(notebooks=notebooks, late_submission_penalty=0.0)
    grades._fill(row, submission, {"first": 0, "second": 1})
    grades.write([row], tmp_path / "grades.csv")
    heading = (tmp_path / "grades.csv").read_text().splitlines()[0]
    assert ",first,second,last," in heading


def test_a_late_penalty_is_taken_off(tmp_path, capsys):
    """Is the penalty in the table and the summary, and the total what is left, never below 0?"""
    table = [grades.Row(name, {"relu": 1.0}, {"relu": 1.0}, penalty=penalty)
             for name, penalty in (("ann", 0.25), ("bob", 2.0))]  # fmt: skip
    grades.write(table, tmp_path / "grades.csv")
    lines = (tmp_path / "grades.csv").read_text().splitlines()
    assert lines[0].startswith("student,total,max,manual_pending,late_penalty,relu")
    assert lines[1].startswith("ann,0.75,1.0,0.0,0.25,") and lines[2].startswith("bob,0.0,")
    grades.show(table)
    assert "-0.25" in capsys.readouterr().out
