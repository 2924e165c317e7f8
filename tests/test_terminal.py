"""`python -m grading`: what a student reads in a terminal."""

from __future__ import annotations

import shutil

import pytest

from grading import __main__ as terminal
from grading import report
from grading.checks import ALL
from grading.outcome import Outcome

pytestmark = pytest.mark.fast


def run(monkeypatch, capsys, outcomes: dict[str, Outcome], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(terminal, "_outcomes", lambda *_: outcomes)
    monkeypatch.setattr("sys.argv", ["grading", *arguments])
    monkeypatch.setenv("COLUMNS", "100")
    status = terminal.main()
    return status, capsys.readouterr().out


def outcomes() -> dict[str, Outcome]:
    """Everything passed but three: one wrong, two not written."""
    said = "All properties hold."
    found = {name: Outcome(name, c.points, c.points, said) for name, c in ALL.items()}
    found["adam"] = Outcome("adam", 0.5, 2.0, "The first [moment] is lost. rows: next_w is wrong.",
                            diagnosis="The first [moment] is lost.")
    for name in ("BasicBlock", "ResNet18"):
        found[name] = Outcome(name, 0.0, 2.0, "Not written yet (x); see notebooks/PyTorch.ipynb.")
    return found


def test_all_checks_at_a_glance(monkeypatch, capsys):
    """Are the points of each notebook, what is wrong, what is not written and what is next said?"""
    status, said = run(monkeypatch, capsys, outcomes())
    assert status == 1
    assert "adam 0.5 of 2: The first [moment] is lost." in said
    assert "not written yet: BasicBlock, ResNet18" in said
    assert "FullyConnectedNets  16.5 of 18" in said and "84.5 of 90 points" in said
    assert "Next: adam, in notebooks/FullyConnectedNets.ipynb" in said
    assert "make check NAME=adam" in said


def test_one_check_is_reported_in_full(monkeypatch, capsys):
    """Does a check that is named get its whole report, and the number to draw it again with?"""
    found = {"adam": outcomes()["adam"]}
    status, said = run(monkeypatch, capsys, found, "adam", "--entropy", "7")
    assert status == 1 and "rows: next_w is wrong." in said and "entropy 7 (" in said


def test_all_well(monkeypatch, capsys):
    """Is there nothing next where all checks pass?"""
    found = {name: Outcome(name, c.points, c.points, "") for name, c in ALL.items()}
    status, said = run(monkeypatch, capsys, found)
    assert status == 0 and "Next" not in said and "90 of 90 points" in said


def test_a_check_that_is_named_is_judged_as_in_a_notebook(solved, tmp_path, monkeypatch, capsys):
    """Does a network lose no points for a layer that fails a check that was not named?"""
    shutil.copytree(solved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "cs231n" / "layers.py"
    text = path.read_text()
    assert ".T @ dout  # (D, N)" in text
    path.write_text(text.replace(".T @ dout  # (D, N)", ".T @ dout / len(dout)  # (D, N)"))
    arguments = ["grading", "FullyConnectedNet", "--folder", str(tmp_path), "--entropy", "7"]
    monkeypatch.setattr("sys.argv", arguments)
    terminal.main()
    said = capsys.readouterr().out
    assert "FullyConnectedNet: 5 of 5 points" in said and "affine_backward: " not in said
    assert "Judged with the course's affine_backward in place of yours" in said


def test_a_name_that_is_nearly_right(monkeypatch, capsys):
    """Is a check with a slip in its name asked back by the right one?"""
    monkeypatch.setattr("sys.argv", ["grading", "affin_forward"])
    with pytest.raises(SystemExit):
        terminal.main()
    assert "affin_forward; did you mean affine_forward?" in capsys.readouterr().err


def test_a_warning_is_not_what_the_code_printed(solved, tmp_path, monkeypatch, capsys):
    """Is NumPy's warning said to be that, at the student's line, apart from what was printed?"""
    shutil.copytree(solved, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "cs231n" / "layers.py").open("a") as file:
        file.write("\n\ndef relu_forward(x):\n    print('mine')\n    return np.exp(x + 1e4), x\n")
    monkeypatch.setattr("sys.argv", ["grading", "relu_forward", "--folder", str(tmp_path)])
    terminal.main()
    said = capsys.readouterr().out
    line = len((tmp_path / "cs231n" / "layers.py").read_text().splitlines())
    warning = f"cs231n/layers.py, line {line}: overflow encountered in exp"
    assert f"  NumPy warned:\n    {warning}\n  Your code printed:\n    mine\n" in said
    outcome = Outcome("relu_forward", 0.0, 1.0, "", output=f"NumPy warned: {warning}\n")
    assert "printed" not in report.html(outcome) and warning in report.html(outcome)
    assert warning not in report.without_print(report.html(outcome))
