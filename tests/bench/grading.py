"""Grading one submission.

A right submission is graded by all checks, sealed, but for the checkpoint's accuracy. Seconds are
of processor time, of all processes together. Those inside the student's functions are the student's
own; all others, imports of the student's modules among them, are the grader's. Against it stands
what nbgrader does where nothing of ours is configured: it executes the five solved notebooks, here
on the CIFAR-10 of CIFAR10_DIR, once, with one thread, since threads that wait take time as well.
That takes a quarter of an hour and is kept in `build/bench` until the section has used it;
`python -m tests.bench.grading` does it alone.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from grading import grade, subject
from grading.checks import ALL
from grading.overlay import ROOT, solved_tree
from grading.release.course import build_course
from grading.sealed import sandbox, warm
from grading.store import write_atomically
from tests.bench import Figure
from tests.bench.processor import counted

WITHOUT = "resnet18_accuracy"  # the checkpoint, which is measured by itself
KEPT = ROOT / "build" / "bench" / "stock.json"
ROUNDS = 9
STOCK = """
c = get_config()
c.CourseDirectory.course_id = "cs231n"
c.CourseDirectory.root = {root!r}
c.ClearSolutions.enforce_metadata = False
c.Execute.timeout = 7200
"""
Seconds = Callable[[], float]


def figures(short: bool) -> list[Figure]:
    """What grading costs; the short form has what warm workers save, on the clock."""
    names = [name for name in ALL if name != WITHOUT]
    numpy = [name for name in names if not ALL[name].torch]
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        solved = solved_tree(Path(place))
        if short:
            return [_warmth(solved, names)]
        with counted() as seconds:
            every, some = (_of(solved, chosen, seconds, ROUNDS) for chosen in (names, numpy))
            found = [
                _figure("all checks, beyond the student's own", every["beyond"], 0.3),
                _figure("all checks, the student's own", every["own"]),
                _figure("checks of NumPy code, all in", some["total"]),
                _figure("one warm worker", _of_a_worker(solved, False, seconds)),
                _figure("one warm worker with torch", _of_a_worker(solved, True, seconds)),
            ]
        found.append(_warmth(solved, names))
    taken = stock()
    ours = statistics.median(every["total"])
    text = f"{taken['processor']:.0f} s for {taken['notebooks']} notebooks, {ours:.2f} s for us"
    spread = taken["processor"] / max(every["total"]), taken["processor"] / min(every["total"])
    name = "nbgrader executing notebooks / all checks"
    ratio = Figure(name, taken["processor"] / ours, "times", 500, spread, text, True)
    KEPT.unlink()
    return [ratio, *found]


def _figure(name: str, values: list[float], target: float | None = None) -> Figure:
    text = f"median of {len(values)} submissions, the spread is theirs"
    spread = min(values), max(values)
    return Figure(name, statistics.median(values), "processor s", target, spread, text)


def _warmth(solved: Path, names: list[str]) -> Figure:
    """The checks with workers that bubblewrap starts from the beginning, against forked ones: on
    the clock, so that no control group is needed, and the fastest of each, since other work on
    the machine makes both slower."""
    warmed, cold = [], []
    for _ in range(3):
        warmed += _of(solved, names, time.perf_counter, 3)["total"]
        with mock.patch.object(warm, "fork", lambda *_: None):
            cold += _of(solved, names, time.perf_counter, 1)["total"]
    text = f"{min(cold):.2f} s and {min(warmed):.2f} s on the clock, the fastest of each"
    ratio = min(cold) / min(warmed)
    return Figure("all checks, cold / warm workers", ratio, "times", None, None, text, True)


def _of(solved: Path, names: list[str], seconds: Seconds, rounds: int) -> dict[str, list[float]]:
    """What the checks `names` took in each round: in all, the student's own, and the rest."""
    taken: dict[str, list[float]] = {"total": [], "own": [], "beyond": []}
    own = 0.0
    ask = subject.Submission._ask

    def counting(self: Any, check: Any, *rest: Any) -> Iterator[subject.Reply]:
        nonlocal own
        for reply in ask(self, check, *rest):
            own += reply["seconds"] if check is not subject.IMPORT else 0.0
            yield reply

    with mock.patch.object(subject.Submission, "_ask", counting):
        for number in range(rounds + 1):
            own, start = 0.0, seconds()
            outcomes = grade.grade_submission(solved, entropy=7, names=names, level="sealed")
            total = seconds() - start
            if not all(outcome.passed for outcome in outcomes.values()):
                raise RuntimeError("the solved package does not pass: nothing to measure")
            if number:  # the first one draws the cases and starts the zygotes
                found = {"total": total, "own": own, "beyond": total - own}
                for name, value in found.items():
                    taken[name].append(value)
    return taken


def _of_a_worker(solved: Path, torch: bool, seconds: Seconds) -> list[float]:
    """Processor seconds to start a worker on a tree, and to end it."""
    limits = sandbox.torch_limits(sandbox.Limits()) if torch else sandbox.Limits()
    taken = []
    for _ in range(ROUNDS):
        start = seconds()
        with sandbox.Child(solved, limits, "sealed"):
            pass
        taken.append(seconds() - start)
    return taken


def stock() -> dict[str, float]:
    """Processor and wall seconds of nbgrader's own autograde on the five solved notebooks, and
    how many it has done; kept from an earlier run, or taken now."""
    if not KEPT.exists():
        write_atomically(KEPT, json.dumps(_stock()))
    return json.loads(KEPT.read_text())


def _stock() -> dict[str, float]:
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
            found = {"processor": seconds(), "wall": time.perf_counter() - start}
        texts = [p.read_text() for p in course.glob("autograded/ann/assignment2/*.ipynb")]
        cells = [cell for text in texts for cell in json.loads(text)["cells"]]
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        failed = [output["evalue"] for output in outputs if output["output_type"] == "error"]
        if failed:  # what broke off early took less than it should
            print(f"{len(failed)} cells failed: {failed}", file=sys.stderr)
        return {**found, "notebooks": len(texts), "failed": len(failed)}


def _nbgrader(course: Path, solved: Path, *arguments: str) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(solved), str(ROOT)]),
    }
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nbgrader {arguments[0]} failed: {done.stderr[-2000:]}")


if __name__ == "__main__":
    print(json.dumps(stock()))
