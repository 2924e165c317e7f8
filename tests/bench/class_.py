"""What a class costs: `python -m tests.bench.class_ [--students 2000]`.

Every student hands in the five released notebooks and a right package that differs from all
others, so that nobody's outcome is another's. The checks of NumPy code are run, and the gradebook
is written, as `make grade` does it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from grading import classroom, connection, gradebook
from grading.overlay import ROOT, TASK_FILES, solved_tree
from grading.release.course import build_course
from grading.sealed import isolation
from grading.store import STORED_ONLY, Store
from tests.bench.processor import counted

EVERY = 2.0  # seconds between two looks at memory


def numpy_checks(course: Path, folder: Path) -> None:
    """Grade one submission as a class run does, by the checks of NumPy code alone."""
    from grading.checks import ALL
    from grading.grade import grade_submission

    store = Store(course)
    names = [check.name for check in ALL.values() if not check.torch]
    found = grade_submission(folder, entropy=store.entropy, names=names, level=store.level)
    store.write(store.key(folder), found)


def released(folder: Path) -> Path:
    """A released course without submissions."""
    course = build_course(folder / "course")
    if classroom.nbgrader(course, "generate_assignment", classroom.ASSIGNMENT):
        raise RuntimeError((course / "nbgrader.log").read_text()[-2000:])
    return course


def hand_in(course: Path, solved: Path, students: range) -> None:
    """Submissions of students by these numbers."""
    notebooks = sorted((course / "release" / classroom.ASSIGNMENT).glob("*.ipynb"))
    for number in students:
        place = course / "submitted" / f"student{number:05}" / classroom.ASSIGNMENT
        for name in TASK_FILES:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(solved / name, place / name)
        for notebook in notebooks:
            shutil.copyfile(notebook, place / notebook.name)
        with (place / "cs231n" / "layers.py").open("a") as layers:
            layers.write(f"\n# student {number}\n")


class Memory(threading.Thread):
    """Looks at the memory (PSS, bytes) of a process and its descendants now and then."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.seen, self.done = process, [], threading.Event()

    def run(self) -> None:
        while not self.done.wait(EVERY):
            self.seen.append(sum(map(_pss, isolation.family(self.process))))

    def growth(self) -> float:
        """The median of the last fifth less that of the second fifth, in MB."""
        fifth = max(1, len(self.seen) // 5)
        early, late = sorted(self.seen[fifth : 2 * fifth]), sorted(self.seen[-fifth:])
        return (late[len(late) // 2] - early[len(early) // 2]) / 1e6 if early else 0.0


def _pss(process: int) -> int:
    try:
        lines = Path("/proc", str(process), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def run(course: Path, workers: int) -> dict[str, float]:
    """Grade what is handed in, in a process of its own: seconds of processor and wall, memory."""
    command = [sys.executable, "-m", "tests.bench.class_", "--grade", str(course)]
    with counted() as seconds:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--workers", str(workers)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        memory = Memory(process.pid)
        memory.start()
        said, _ = process.communicate()
        memory.done.set()
        found = {"processor": seconds(), "wall": time.perf_counter() - start}
    if process.returncode:
        raise RuntimeError(said[-2000:])
    for line in said.splitlines():
        if line.startswith("phase "):
            _, name, value = line.split()
            found[name] = float(value)
    return {**found, "growth": memory.growth()}


def _timed(name: str, function):
    def timed(*args, **kwargs):
        start = time.perf_counter()
        value = function(*args, **kwargs)
        print(f"phase {name} {time.perf_counter() - start:.2f}")
        return value

    return timed


def grade(course: Path, workers: int) -> int:
    """A class run with the checks of NumPy code; says how long the parts take."""
    checks = partial(classroom.grade_in_parallel, one=numpy_checks)
    classroom.grade_in_parallel = _timed("checks", checks)
    classroom.autograde = _timed("gradebook", classroom.autograde)
    return classroom.grade(course, workers)


def class_figures(students: int, workers: int = 2, small: int = 10) -> dict[str, float]:
    """Seconds of a class of `students`, the cost of each against that in a class of `small`, and
    how much faster `workers` processes are than one (on a class of four times `small`).

    The start (imports, zygotes), measured on a class of one, is not part of a submission's cost.
    """
    figures: dict[str, float] = {"students": students, "workers": workers}
    with tempfile.TemporaryDirectory(prefix="class-") as place:
        empty = released(Path(place))
        solved = solved_tree(Path(place, "solved"))

        def graded(count: int, workers: int) -> dict[str, float]:
            course = Path(place, f"class-{count}-{workers}")
            shutil.copytree(empty, course)
            text = (empty / "nbgrader_config.py").read_text()
            (course / "nbgrader_config.py").write_text(text)
            hand_in(course, solved, range(count))
            found = run(course, workers)
            shutil.rmtree(course)
            return found

        start = graded(1, workers)
        few, many = graded(small, workers), graded(students, workers)
        one, several = graded(4 * small, 1), graded(4 * small, workers)
    figures |= {f"class: {name}": value for name, value in many.items()}
    costs = [
        (found["processor"] - start["processor"]) / (count - 1)
        for found, count in ((few, small), (many, students))
    ]
    figures["processor, a submission of few"], figures["processor, of many"] = costs
    figures["cost, many / few"] = costs[1] / costs[0]
    alone = graded_seconds(one) - graded_seconds(start)
    figures["speed-up"] = alone / (graded_seconds(several) - graded_seconds(start))
    return figures


def gradebook_figures(students: int = 20) -> dict[str, float]:
    """Processor seconds of a submission in nbgrader's part alone, its outcomes being stored: as
    nbgrader does it, and with one connection, one commit a notebook and fewer validations."""
    plain = repr(
        [
            "grading.preprocessors.GradeChecks", "nbgrader.preprocessors.LimitOutput",
            "nbgrader.preprocessors.SaveAutoGrades", "nbgrader.preprocessors.AssignLatePenalties",
            "nbgrader.preprocessors.CheckCellMetadata", "grading.preprocessors.ShowRepairs",
        ]
    )  # fmt: skip
    commands = {
        "nbgrader": [
            "nbgrader", "autograde", classroom.ASSIGNMENT,
            "--NotebookExporter.optimistic_validation=False",
            f"--Autograde.autograde_preprocessors={plain}",
        ],
        "batched": ["grading.autograde", "0", "1"],
    }  # fmt: skip
    figures = {}
    with tempfile.TemporaryDirectory(prefix="gradebook-") as place:
        empty, solved = released(Path(place)), solved_tree(Path(place, "solved"))
        hand_in(empty, solved, range(students))
        stored(empty)
        for label, command in commands.items():
            taken = []
            for count in (1, students):
                course = Path(place, f"{label}-{count}")
                shutil.copytree(empty, course)
                for number in range(count, students):
                    shutil.rmtree(course / "submitted" / f"student{number:05}")
                if label == "batched":
                    connection.prepare(gradebook.url(course))
                with counted() as seconds:
                    path = {STORED_ONLY: "1", "PYTHONPATH": str(ROOT)}
                    if classroom._started(course, *command, **path).wait():
                        raise RuntimeError((course / "nbgrader.log").read_text()[-2000:])
                    taken.append(seconds())
            figures[f"gradebook, {label}"] = (taken[1] - taken[0]) / (students - 1)
    return figures


def stored(course: Path) -> None:
    """The outcome of a right submission, for everybody who handed in."""
    from grading.checks import ALL
    from grading.grade import grade_submission

    store, found = Store(course), None
    names = [check.name for check in ALL.values() if not check.torch]
    for folder in classroom.submissions(course).values():
        found = found or grade_submission(folder, entropy=store.entropy, names=names)
        store.write(store.key(folder), found)


def graded_seconds(found: dict[str, float]) -> float:
    """Wall seconds of the two parts that run on all cores."""
    return found["checks"] + found["gradebook"]


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--grade", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.grade:
        return int(bool(grade(arguments.grade, arguments.workers)))
    figures = gradebook_figures() | class_figures(arguments.students, arguments.workers)
    for name, value in figures.items():
        print(f"{name:32} {value:10.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
