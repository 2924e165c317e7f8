"""The benchmarks: what they record, and that a ratio which became worse is told."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from grading.overlay import ROOT
from tests.bench import Figure, page, records
from tests.bench import __main__ as bench

FIGURE = Figure("one thing", 2.0, "times another", 1.5, (1.9, 2.2), "3 rounds")
MORE = Figure("speed", 5.0, "images a second", 4.0, None, "", True)


@pytest.mark.fast
def test_targets():
    """Is a target an upper bound, or a lower one where more is better?"""
    assert not FIGURE.met and MORE.met
    assert Figure("no target", 1e9, "s").met


@pytest.mark.fast
def test_a_section_keeps_the_figures_of_others(tmp_path):
    """Are figures read back as they were written, those of other sections too?"""
    file = tmp_path / "benchmarks.json"
    records.update("train", [MORE], [MORE], file)
    records.update("layers", [FIGURE, MORE], [FIGURE], file)
    found = records.load(file)
    assert list(found) == ["layers", "train"]
    assert found["layers"]["figures"] == [FIGURE, MORE] and found["train"]["short"] == [MORE]


@pytest.mark.fast
@pytest.mark.parametrize(
    "now, said",
    [
        ([Figure("one thing", 2.9, ""), Figure("speed", 3.4, "", more_is_better=True)], []),
        ([Figure("one thing", 3.1, ""), MORE], ["one thing is 3.1 , and was 2: 1.6 times worse"]),
        ([FIGURE, Figure("speed", 3.3, "", more_is_better=True)], ["speed is 3.3"]),
        ([FIGURE, Figure("speed", float("nan"), "", more_is_better=True)], ["speed is nan"]),
        ([FIGURE], ["speed is recorded, but not measured any more"]),
        ([FIGURE, MORE, Figure("new", 1.0, "")], ["new is not recorded"]),
    ],
)
def test_what_became_worse(now, said):
    """Is a ratio that is worse by more than half told, and one that came or went?"""
    found = records.regressions("train", now, {"train": {"short": [FIGURE, MORE]}})
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


@pytest.mark.fast
@pytest.mark.parametrize("times, status", [(1, 0), (2, 1)])
def test_a_section_that_became_slower_ends_with_1(monkeypatch, capsys, times, status):
    """Does the command end with 1 where every ratio is twice as bad, thrice measured, and with 0
    where all are as recorded?"""
    measured = []

    def run(section, short, _):
        measured.append(section)
        found = records.load()[section]["short"]
        return [replace(f, value=f.value * (1 / times if f.more_is_better else times))
                for f in found]  # fmt: skip

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(bench, "solved_tree", lambda place: place)
    monkeypatch.setattr(sys, "argv", ["bench", "layers", "grading", "--short"])
    assert bench.main() == status
    assert measured == ["layers", "grading"] if status == 0 else len(measured) == 2 * bench.TRIES
    assert ("2 times worse" in capsys.readouterr().out) == bool(status)


@pytest.mark.fast
def test_the_page_says_what_is_missed():
    """Does a table show value, spread, target, and whether it is met?"""
    lines = page.table([FIGURE, MORE]).splitlines()
    assert lines[2] == (
        "| one thing | 2 times another | 1.9 to 2.2 | at most 1.5 | **no** | 3 rounds |"
    )
    assert "at least 4 | yes" in lines[3]


def test_the_committed_page():
    """Is docs/benchmarks.md what docs/benchmarks.json gives?"""
    assert page.PAGE.read_text() == page.text(records.load())


@pytest.mark.slow
def test_no_ratio_became_worse(cifar10_dir):
    """Are layers, network, loading and warm workers about as fast, beside the same, as recorded?"""
    # The short forms of `class_` and `train` take minutes, and tell how busy the machine is.
    sections = ["layers", "network", "loading", "grading"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *sections, "--short"],
        cwd=ROOT,
        env={**os.environ, "CIFAR10_DIR": str(cifar10_dir)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
