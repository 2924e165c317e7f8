"""What sealing costs, and what four endless loops cost a class: `python -m tests.hostile.cost`."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from grading import classroom
from grading.checks import ALL
from grading.grade import cases, grade_submission
from grading.overlay import solved_tree
from grading.sealed.sandbox import Limits
from tests.quick_run import quick

LOOP = "\n\ndef relu_forward(x):\n    while True:\n        pass\n"


def of_sealing(solved: Path, rounds: int) -> str:
    """Seconds for all checks of NumPy code, sealed and not, one after the other in turn."""
    names = [check.name for check in ALL.values() if not check.torch]
    for name in names:
        cases(name, 7)  # drawn once for a class
    seconds: dict[str, list[float]] = {"sealed": [], "process": []}
    for _ in range(rounds):
        for level, taken in seconds.items():
            start = time.perf_counter()
            grade_submission(solved, entropy=7, names=names, level=level)
            taken.append(time.perf_counter() - start)
    sealed, process = (statistics.median(taken) for taken in seconds.values())
    differences = [a - b for a, b in zip(*seconds.values(), strict=True)]
    return (
        f"{len(names)} checks, median of {rounds}: sealed {sealed:.2f} s, process {process:.2f} s; "
        f"median difference {statistics.median(differences):.3f} s"
    )


def of_loops(folder: Path, solved: Path, students: int, loops: int, workers: int) -> str:
    """Seconds for a class of honest students, and for one of which some loop for ever."""
    taken = []
    for looping in (0, loops):
        course = folder / f"class-{looping}"
        for number in range(students):
            place = course / "submitted" / f"student{number:02}" / "assignment2"
            shutil.copytree(solved, place)
            layers = place / "cs231n" / "layers.py"
            end = LOOP if number < looping else ""
            layers.write_text(f"{layers.read_text()}\n# student {number}\n{end}")
        start = time.perf_counter()
        failed = classroom.grade_in_parallel(course, workers, quick)
        taken.append(time.perf_counter() - start)
        if failed:
            return f"not graded: {failed}"
    bound = taken[0] + loops * Limits().case_seconds / workers
    return (
        f"{students} students, {workers} workers: honest {taken[0]:.1f} s, with {loops} endless "
        f"loops {taken[1]:.1f} s; the bound is {bound:.1f} s"
    )


def main() -> int:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--students", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cost-") as place:
        solved = solved_tree(Path(place, "solved"))
        sys.path.insert(0, str(solved))
        print(of_sealing(solved, arguments.rounds), flush=True)
        print(of_loops(Path(place), solved, arguments.students, 4, 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
