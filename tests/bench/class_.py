"""A class of thousands.

Every student hands in the five released notebooks and a right package that differs from all
others, so that nobody's outcome is another's. The checks of NumPy code alone are run, sealed, and
nbgrader's gradebook is written. Processor seconds are those of all processes together. The cost of
a submission is that of one more: what the processes take to start (imports, warm workers, the cases
drawn) is left out, but for the class of 5,000, where everything is in.

The long run is kept in `build/bench` and goes on from there when it was stopped:
`python -m tests.bench.class_` does it alone, and the section takes its figures from there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TextIO

from tqdm import tqdm

from grading import classroom, connection, gradebook
from grading.overlay import ROOT, TASK_FILES, solved_tree
from grading.release.course import build_course
from grading.sealed import isolation
from grading.store import STORED_ONLY, Store
from tests.bench import Figure
from tests.bench.processor import Group, busy, counted

KEPT = ROOT / "build" / "bench"
STUDENTS, FEW, SEVERAL, OVER = 5000, 10, 60, 2000
EVERY = 5.0  # seconds between two looks at memory
PHASES = ("repairing", "grading", "writing the gradebook")
Line = dict[str, Any]


def figures(short: bool) -> list[Figure]:
    """What a class costs; the short form has the ratios that need no large class."""
    several = 20 if short else SEVERAL
    rounds = 1 if short else 3
    with tempfile.TemporaryDirectory(prefix="class-") as place:
        empty, solved = released(Path(place)), solved_tree(Path(place, "solved"))
        found = [speed_up(empty, solved, several, rounds)]
        found.append(gradebook_ratio(empty, solved, 10 if short else 20, rounds))
        if not short:
            few = [
                graded(empty, solved, FEW, 2, Path(place, f"few-{number}")) for number in range(5)
            ]
            found = of_many(many(), few) + found
    if not short:
        shutil.rmtree(KEPT / f"class-{STUDENTS}")
    return found


def of_many(lines: list[Line], few: list[list[Line]]) -> list[Figure]:
    """The figures of the long run, and its costs beside those of small classes."""
    minutes, taken = total(lines, "wall") / 60, total(lines, "processor")
    others = (total(lines, "busy") - taken) / 60
    text = f"all of it; other work on the machine took {max(0.0, others):.0f} minutes meanwhile"
    name = f"a class of {STUDENTS:,}"
    cost, costs = cost_of_one(lines), [cost_of_one(small) for small in few]
    ratios = [cost / each for each in costs]
    late = cost_of_one(lines, 0.9, 1.0) / cost_of_one(lines, 0.0, 0.1)
    by_phase = ", ".join(f"{phase} {cost_of_one(lines, phases=[phase]):.3f}" for phase in PHASES)
    return [
        Figure(f"{name}, on the clock", minutes, "minutes", 30, text=text),
        Figure(
            f"{name}, of two cores", taken / 120, "minutes", 30,
            text="processor time of all processes, divided by two",
        ),
        Figure("a submission of many", taken / STUDENTS, "processor s", text="everything is in"),
        Figure("one more of many", cost, "processor s", text=by_phase),
        Figure(
            f"one more of {STUDENTS:,} / of {FEW}", cost / statistics.median(costs), "times", 1.1,
            (min(ratios), max(ratios)), f"the small class {len(few)} times, the median",
        ),
        Figure("the last tenth / the first", late, "times", text="within the long run"),
        Figure(
            f"memory, after {OVER:,} more", growth(lines), "MB", 50,
            text="anonymous memory of all processes; the larger of grading and gradebook",
        ),
    ]  # fmt: skip


def speed_up(empty: Path, solved: Path, count: int, rounds: int) -> Figure:
    """How much sooner one more submission is done by two processes than by one."""
    ratios = []
    with tempfile.TemporaryDirectory(prefix="class-") as place:
        for number in range(rounds):
            one, two = (
                cost_of_one(
                    graded(empty, solved, count, workers, Path(place, f"{number}-{workers}")),
                    of="wall",
                )
                for workers in (1, 2)
            )
            ratios.append(one / two)
    return Figure(
        "two processes / one", statistics.median(ratios), "times as fast", 1.8,
        (min(ratios), max(ratios)), f"a class of {count}, {rounds} rounds, on the clock",
        more_is_better=True,
    )  # fmt: skip


def released(folder: Path) -> Path:
    """A released course without submissions."""
    course = build_course(folder / "course")
    if classroom.nbgrader(course, "generate_assignment", classroom.ASSIGNMENT):
        raise RuntimeError((course / "nbgrader.log").read_text()[-2000:])
    return course


def hand_in(course: Path, solved: Path, students: range) -> None:
    """Submissions of students by these numbers, but for those that are there."""
    notebooks = sorted((course / "release" / classroom.ASSIGNMENT).glob("*.ipynb"))
    for number in tqdm(students, desc="handing in", unit="submission", disable=len(students) < 99):
        place = course / "submitted" / f"student{number:05}" / classroom.ASSIGNMENT
        if place.exists():
            continue
        part = place.with_name("part")
        shutil.rmtree(part, ignore_errors=True)
        for name in TASK_FILES:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(solved / name, part / name)
        for notebook in notebooks:
            shutil.copyfile(notebook, part / notebook.name)
        with (part / "cs231n" / "layers.py").open("a") as layers:
            layers.write(f"\n# student {number}\n")
        part.rename(place)


def many(students: int = STUDENTS) -> list[Line]:
    """What the long run wrote down; done now, or to its end, if it is not."""
    course = KEPT / f"class-{students}"
    with tempfile.TemporaryDirectory(prefix="solved-") as place:
        if not (course / "nbgrader_config.py").exists():
            part = course.with_name("part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(released(Path(place)), part)
            part.rename(course)
        return graded(course, solved_tree(Path(place, "solved")), students, 2, course)


def graded(empty: Path, solved: Path, count: int, workers: int, course: Path) -> list[Line]:
    """Grade a class in a process of its own, and return what was written down meanwhile."""
    if course != empty:
        shutil.copytree(empty, course)
    hand_in(course, solved, range(count))
    log = course / "bench.jsonl"
    if not log.exists() or read(log)[-1]["phase"] != "end":
        command = [sys.executable, "-m", "tests.bench.class_", "--grade", str(course)]
        command += ["--workers", str(workers)]
        with ExitStack() as stack:
            try:
                group = stack.enter_context(counted())
            except OSError:  # no control group can be made: the clock alone
                _run(command, log, lambda: 0.0)
            else:
                _run([*command, "--group", str(group.folder)], log, group)
    lines = read(log)
    if course != empty:
        shutil.rmtree(course)
    return lines


def _run(command: list[str], log: Path, seconds: Callable[[], float]) -> None:
    start, before = time.perf_counter(), busy()
    with log.open("a") as file:
        write(file, phase="begin")
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"grading the class failed with status {done.returncode}")
    wall = time.perf_counter() - start
    with log.open("a") as file:
        write(file, phase="end", processor=seconds(), wall=wall, busy=busy() - before)


def write(file: TextIO, **line: Any) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()


def read(log: Path) -> list[Line]:
    return [json.loads(line) for line in log.read_text().splitlines()]


class Recorded(tqdm):
    """A bar that writes down when, and after how many processor seconds, each is done."""

    file: ClassVar[TextIO]
    seconds: ClassVar[Callable[[], float]]
    started: ClassVar[float] = time.perf_counter()
    before: ClassVar[float]
    looked: ClassVar[float] = 0.0

    def update(self, n: float = 1) -> bool | None:
        now = time.perf_counter()
        if n and not self.disable:
            line = {"phase": self.desc.rstrip(": "), "done": self.n + n, "total": self.total}
            line |= {"processor": Recorded.seconds(), "wall": now - self.started}
            line["busy"] = busy() - self.before
            if now > Recorded.looked + EVERY:
                Recorded.looked = now
                line["memory"] = sum(map(_anonymous, isolation.family(os.getpid())))
            write(self.file, **line)
        return super().update(n)


def _anonymous(process: int) -> int:
    """Bytes of a process's own memory, and its part of what forks share."""
    try:
        lines = Path("/proc", str(process), "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    kilobytes = (int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
    return next(kilobytes, 0) << 10


def grade(course: Path, workers: int, seconds: Callable[[], float]) -> int:
    """A class run with the checks of NumPy code, written down as it goes."""
    Recorded.seconds, Recorded.before = seconds, busy()
    classroom.grade_in_parallel = partial(classroom.grade_in_parallel, one=numpy_checks)
    classroom.tqdm = Recorded
    with (course / "bench.jsonl").open("a") as Recorded.file:
        return classroom.grade(course, workers)


def numpy_checks(course: Path, folder: Path) -> None:
    """Grade one submission as a class run does, by the checks of NumPy code alone."""
    from grading.grade import grade_submission

    store = Store(course)
    found = grade_submission(folder, entropy=store.entropy, names=numpy_names(), level=store.level)
    store.write(store.key(folder), found)


def numpy_names() -> list[str]:
    from grading.checks import ALL

    return [check.name for check in ALL.values() if not check.torch]


def steps(lines: list[Line], phase: str) -> Iterator[tuple[Line, Line]]:
    """What was written down of a phase, in neighbouring pairs; of each session, if it was
    stopped meanwhile."""
    for one, other in zip(lines, lines[1:], strict=False):
        if one["phase"] == other["phase"] == phase:
            yield one, other


def cost_of_one(
    lines: list[Line],
    begin: float = 0.0,
    end: float = 1.0,
    of: str = "processor",
    phases: Any = PHASES,
) -> float:
    """Seconds of one more submission, all phases together, in this part of the class."""
    found = 0.0
    for phase in phases:
        pairs = [
            (one, other)
            for one, other in steps(lines, phase)
            if begin * other["total"] <= other["done"] <= end * other["total"]
        ]
        count = sum(other["done"] - one["done"] for one, other in pairs)
        found += sum(other[of] - one[of] for one, other in pairs) / count
    return found


def total(lines: list[Line], of: str) -> float:
    """The sum over the sessions of a run of what each took in all."""
    last, found = 0.0, 0.0
    for line in lines:
        if line["phase"] == "begin":
            found, last = found + last, 0.0
        else:
            last = line[of]
    return found + last


def growth(lines: list[Line], over: int = OVER) -> float:
    """How much more memory is in use after so many submissions more than a tenth of the class, in
    MB: medians of the five nearest looks."""
    found = []
    for phase in PHASES[1:]:
        seen = [line for line in lines if line["phase"] == phase and "memory" in line]
        size = seen[0]["total"]

        def near(done: float, seen: list[Line] = seen) -> float:
            nearest = sorted(seen, key=lambda line: abs(line["done"] - done))[:5]
            return statistics.median(line["memory"] for line in nearest) / 1e6

        found.append(near(min(0.1 * size + over, 0.9 * size)) - near(0.1 * size))
    return max(found)


def gradebook_ratio(empty: Path, solved: Path, students: int, rounds: int) -> Figure:
    """Processor seconds of a submission in nbgrader's part alone, its outcomes being stored: as
    nbgrader does it, against ours with one connection, one commit for all grades and fewer
    validations."""
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
        "ours": ["grading.autograde", "0", "1"],
    }  # fmt: skip
    taken: dict[str, list[float]] = {label: [] for label in commands}
    with tempfile.TemporaryDirectory(prefix="gradebook-") as place:
        full = Path(place, "full")
        shutil.copytree(empty, full)
        hand_in(full, solved, range(students))
        stored(full)
        for _ in range(rounds):
            for label, command in commands.items():
                seconds = [_nbgrader(full, Path(place), n, command) for n in (1, students)]
                taken[label].append((seconds[1] - seconds[0]) / (students - 1))
    ratios = [a / b for a, b in zip(*taken.values(), strict=True)]
    medians = {label: statistics.median(found) for label, found in taken.items()}
    text = ", ".join(f"{label} {value:.3f} s a submission" for label, value in medians.items())
    return Figure(
        "gradebook, nbgrader's / ours", statistics.median(ratios), "times",
        spread=(min(ratios), max(ratios)), text=f"{text}; {students} submissions",
        more_is_better=True,
    )  # fmt: skip


def _nbgrader(full: Path, place: Path, count: int, command: list[str]) -> float:
    """Processor seconds of nbgrader's command on the first `count` submissions of a course."""
    course = place / "course"
    shutil.copytree(full, course)
    for folder in sorted((course / "submitted").iterdir())[count:]:
        shutil.rmtree(folder)
    connection.prepare(gradebook.url(course))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = {STORED_ONLY: "1", "PYTHONPATH": str(ROOT)}
    if classroom._started(course, *command, **path).wait():
        raise RuntimeError((course / "nbgrader.log").read_text()[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(course)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stored(course: Path) -> None:
    """The outcome of a right submission, for everybody who handed in."""
    from grading.grade import grade_submission
    from grading.preprocessors import repair_submission

    store, found = Store(course), None
    for folder in classroom.submissions(course).values():
        repair_submission(classroom.ASSIGNMENT, "*", [str(folder / "any.ipynb")])
        found = found or grade_submission(folder, entropy=store.entropy, names=numpy_names())
        store.write(store.key(folder), found)


def main() -> int:
    """Do the long run, or a shorter one; print its figures as they are without a small class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=STUDENTS)
    parser.add_argument("--grade", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=2, help=argparse.SUPPRESS)
    parser.add_argument("--group", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.grade:
        seconds = Group(arguments.group) if arguments.group else lambda: 0.0
        return int(bool(grade(arguments.grade, arguments.workers, seconds)))
    lines = many(arguments.students)
    for of in ("wall", "processor", "busy"):
        print(f"{of:12} {total(lines, of):10.1f} s")
    for phase in PHASES:
        print(f"{cost_of_one(lines, phases=[phase]):.3f} processor s a submission: {phase}")
    if len(lines) > 300:
        print(f"last tenth / first: {cost_of_one(lines, 0.9) / cost_of_one(lines, 0, 0.1):.3f}")
    print(f"memory: {growth(lines):+.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
