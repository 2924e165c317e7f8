"""What grading one submission costs: `python -m tests.bench.grading [--stock]`.

`--stock` has nbgrader execute the five solved notebooks on the CIFAR-10 of CIFAR10_DIR as well,
as it does where nothing of ours is configured: ten minutes of processor time and more, once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from grading import grade, subject
from grading.checks import ALL
from grading.overlay import ROOT, solved_tree
from grading.release.course import build_course
from grading.sealed import sandbox, warm
from tests.bench.processor import counted

WITHOUT = "resnet18_accuracy"  # the checkpoint, which is measured by itself
STOCK = """
c = get_config()
c.CourseDirectory.course_id = "cs231n"
c.CourseDirectory.root = {root!r}
c.ClearSolutions.enforce_metadata = False
c.Execute.timeout = 7200
"""


def grading_figures(rounds: int = 9) -> dict[str, float]:
    """Medians over `rounds` of the processor seconds that a right submission takes, sealed.

    `own` are those inside the student's functions; `beyond` is all the rest, imports of the
    student's modules included. `cold` is the same without a zygote, of a few rounds.
    """
    names = [name for name in ALL if name != WITHOUT]
    numpy = [name for name in names if not ALL[name].torch]
    figures: dict[str, float] = {"checks": len(names), "numpy checks": len(numpy)}
    with tempfile.TemporaryDirectory(prefix="bench-") as place, counted() as seconds:
        solved = solved_tree(Path(place))
        for label, chosen in (("all", names), ("numpy", numpy)):
            figures |= _of(label, solved, chosen, seconds, rounds)
            with mock.patch.object(warm, "fork", lambda *_: None):
                cold = _of(f"{label}, cold", solved, chosen, seconds, max(2, rounds // 4))
            figures |= {name: value for name, value in cold.items() if name.endswith("total")}
        for label, limits in _kinds():
            figures[f"a {label} worker"] = _of_a_worker(solved, limits, seconds, rounds)
    return figures


def _kinds() -> list[tuple[str, sandbox.Limits]]:
    limits = sandbox.Limits()
    return [("numpy", limits), ("torch", sandbox.torch_limits(limits))]


def _of(label: str, solved: Path, names: list[str], seconds: Any, rounds: int) -> dict[str, float]:
    """Processor seconds (total, own, beyond, parent) and wall seconds of the checks `names`."""
    taken: dict[str, list[float]] = {}
    own = 0.0
    ask = subject.Submission._ask

    def counting(self: Any, check: Any, *rest: Any) -> Iterator[subject.Reply]:
        nonlocal own
        for reply in ask(self, check, *rest):
            own += reply["seconds"] if check is not subject.IMPORT else 0.0
            yield reply

    with mock.patch.object(subject.Submission, "_ask", counting):
        for number in range(rounds + 1):
            own = 0.0
            wall, parent, start = time.perf_counter(), time.process_time(), seconds()
            outcomes = grade.grade_submission(solved, entropy=7, names=names, level="sealed")
            total = seconds() - start
            if not all(outcome.passed for outcome in outcomes.values()):
                raise RuntimeError("the solved package does not pass: nothing to measure")
            if number:  # the first one draws the cases and starts the zygotes
                found = {"total": total, "own": own, "beyond": total - own}
                found["parent"] = time.process_time() - parent
                found["wall"] = time.perf_counter() - wall
                for name, value in found.items():
                    taken.setdefault(f"{label}: {name}", []).append(value)
    return {name: statistics.median(values) for name, values in taken.items()}


def _of_a_worker(solved: Path, limits: sandbox.Limits, seconds: Any, rounds: int) -> float:
    """Processor seconds to start a worker on a tree, and to end it."""
    taken = []
    for _ in range(rounds):
        start = seconds()
        with sandbox.Child(solved, limits, "sealed"):
            pass
        taken.append(seconds() - start)
    return statistics.median(taken)


def stock_figures() -> dict[str, float]:
    """Processor and wall seconds of nbgrader's own autograde on the five solved notebooks."""
    with tempfile.TemporaryDirectory(prefix="stock-") as place:
        course = build_course(Path(place, "course"))
        (course / "nbgrader_config.py").write_text(STOCK.format(root=str(course)))
        handed_in = course / "submitted" / "ann" / "assignment2"
        shutil.copytree(course / "source" / "assignment2", handed_in)
        solved = solved_tree(Path(place, "solved"))
        shutil.copytree(solved / "cs231n", handed_in / "cs231n")
        _nbgrader(course, solved, "generate_assignment", "assignment2")
        start = time.perf_counter()
        with counted() as seconds:
            _nbgrader(course, solved, "autograde", "assignment2")
            figures = {"stock: total": seconds(), "stock: wall": time.perf_counter() - start}
        done = len(list(course.glob("autograded/ann/assignment2/*.ipynb")))
        return {**figures, "stock: notebooks": done}


def _nbgrader(course: Path, solved: Path, *arguments: str) -> None:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(solved), str(ROOT)]),
    }
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nbgrader {arguments[0]} failed: {done.stderr[-2000:]}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stock", action="store_true")
    arguments = parser.parse_args()
    figures = grading_figures(arguments.rounds)
    if arguments.stock:
        figures |= stock_figures()
        figures["stock / all"] = figures["stock: total"] / figures["all: total"]
    for name, value in figures.items():
        print(f"{name:24} {value:10.3f}")


if __name__ == "__main__":
    main()
