"""A whole class: `python -m grading.classroom grade`, and the other verbs of a term.

Collecting, the gradebook, feedback and export are nbgrader's own commands. What is ours is
grading in parallel before nbgrader's single writer comes along, and the table at the end.
"""

from __future__ import annotations

import argparse
import fcntl
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

from tqdm import tqdm

from grading import cluster, gradebook
from grading.gradebook import GradebookError
from grading.machine import ClusterError
from grading.overlay import ROOT
from grading.sealed import isolation
from grading.sealed.isolation import LevelError
from grading.store import LEVEL, STORED_ONLY, Store

ASSIGNMENT = "assignment2"
COURSE = ROOT / "build" / "course"
DEMO = ROOT / "build" / "demo"  # a course of its own: a real class is never touched by a demo
Grader = Callable[[Path, Path], None]
LONGEST = 900.0  # seconds for one submission, should the engine's own deadlines fail


def submissions(course: Path) -> dict[str, Path]:
    """Student -> folder of what was collected from them."""
    return {path.parent.name: path for path in sorted(course.glob(f"submitted/*/{ASSIGNMENT}"))}


def nbgrader(course: Path, *arguments: str, **environment: str) -> int:
    """Run nbgrader's own command in the course folder; its messages go to `nbgrader.log`.

    GradebookError where the gradebook's server went away, and stayed away.
    """
    run = partial(_nbgrader, course, arguments, environment)
    return gradebook.through_outages(course, run, writes=arguments[0] == "autograde")


def _nbgrader(course: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> int:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "nbgrader", *arguments]
    environment = {**os.environ, "PATH": path, **environment}
    with (course / "nbgrader.log").open("a") as log:
        log.write(f"\n$ nbgrader {' '.join(arguments)}\n")
        log.flush()
        done = subprocess.run(
            command, cwd=course, env=environment, stdout=log, stderr=log, check=False,
            pass_fds=tuple(_locks),
        )  # fmt: skip
    return done.returncode


_locks: list[int] = []  # open files that lock a course; nbgrader's command keeps them open


@contextmanager
def alone(course: Path) -> Iterator[None]:
    """Wait until nobody else grades this course, and keep it so.

    The lock lives as long as anybody has the file open: an nbgrader command that outlives a
    killed grader still holds it, so that two never write to the gradebook at once.
    """
    lock = os.open(course / ".grading", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another run is grading this course: waiting for it to end", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    _locks.append(lock)
    try:
        yield
    finally:
        _locks.remove(lock)
        os.close(lock)


def release(course: Path) -> int:
    """nbgrader's `generate_assignment`: the notebooks for students, and a gradebook for them."""
    status = nbgrader(course, "generate_assignment", ASSIGNMENT, "--force")
    if status:
        return _failed(course, "generate_assignment")
    print(f"released: {course / 'release' / ASSIGNMENT}")
    return 0


def collect(course: Path) -> int:
    """nbgrader's `zip_collect` on `downloaded/assignment2/archive`, repairs included."""
    status = nbgrader(course, "zip_collect", ASSIGNMENT, "--force")
    if status:
        return _failed(course, "zip_collect")
    print(f"{len(submissions(course))} submissions collected in {course / 'submitted'}")
    return 0


def grade(course: Path, workers: int | None = None) -> int:
    """Grade whatever has no outcome yet, in parallel; then nbgrader's `autograde`.

    A submission that cannot be graded is listed at the end; the class goes on. Returns the
    number of these.
    """
    store = Store(course)
    try:
        print(f"students' code is held at the level {store.level!r}")
    except (LevelError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    with alone(course):
        return _grade(course, store, workers)


def _grade(course: Path, store: Store, workers: int | None) -> int:
    known = gradebook.students(course, ASSIGNMENT)  # before the work: is it there at all?
    _repair_all(course)
    print(f"entropy {store.entropy} (ENTROPY={store.entropy} replays this grading)")
    if scheduler := os.environ.get(cluster.SCHEDULER):
        pending, failed = ungraded(course)
        failed |= cluster.grade_on(scheduler, course, pending)
    else:
        failed = grade_in_parallel(course, workers or os.cpu_count() or 1)
    _forget_stale(course, known)
    # What could not be graded in a process of its own must not be tried in nbgrader's.
    nbgrader(course, "autograde", ASSIGNMENT, **{STORED_ONLY: "1"})
    for student in submissions(course):
        if not (course / "autograded" / student / ASSIGNMENT).is_dir():
            failed.setdefault(student, "nbgrader could not convert it")
    for student, reason in failed.items():
        print(f"not graded: {student}: {reason}")
    if failed:
        print(f"{len(failed)} not graded; see {course / 'nbgrader.log'} and run this again.")
    return len(failed)


def grade_one(course: Path, folder: Path) -> None:
    """Grade one submission into the store; runs in a process of its own."""
    Store(course).grade(folder)


def ungraded(course: Path) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """Key -> the students with that content, and their folders, where no outcome is stored; and
    the students whose files cannot be read, with the reason."""
    store, found, failed = Store(course), {}, {}
    for student, folder in submissions(course).items():
        try:
            key = store.key(folder)
        except OSError as problem:
            failed[student] = f"it could not be read ({problem.strerror})"
            continue
        if key in found or store.read(key) is None:
            found.setdefault(key, {})[student] = folder
    return found, failed


def grade_in_parallel(course: Path, workers: int, one: Grader = grade_one) -> dict[str, str]:
    """Fill the outcome store, one process a submission; student -> why there is no outcome."""
    store = Store(course)
    pending, failed = ungraded(course)
    # The server imports torch once; each submission's process is a fork of it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["grading.grade"])
    waiting, running = list(pending.items()), {}
    bar = tqdm(total=len(waiting), unit="submission", desc="grading", disable=not waiting)
    while waiting or running:
        while waiting and len(running) < workers:
            key, same = waiting.pop(0)  # students with the same content are graded once
            process = context.Process(target=one, args=(course, next(iter(same.values()))))
            process.start()
            running[process.sentinel] = process, key, same, time.monotonic()
        for sentinel in _finished(running):
            process, key, same, _ = running.pop(sentinel)
            process.join()
            if store.read(key) is None:
                reason = f"its grading process ended with code {process.exitcode}"
                failed |= dict.fromkeys(same, reason)
            process.close()
            bar.update()
    bar.close()
    return failed


def _finished(running: dict) -> list:
    """Sentinels of processes that have ended; one that is far too late is ended first."""
    done = wait(list(running), timeout=1.0)
    for process, _, _, start in running.values():
        if time.monotonic() - start > LONGEST:
            process.kill()
    return done


def _repair_all(course: Path) -> None:
    from grading.preprocessors import repair_submission

    for folder in tqdm(submissions(course).values(), desc="repairing", unit="submission"):
        try:
            repair_submission(ASSIGNMENT, "*", [str(folder / "any.ipynb")])
        except OSError as error:  # the next step names the student
            print(f"{folder}: {error}", file=sys.stderr)


def _forget_stale(course: Path, known: set[str]) -> None:
    """Remove what nbgrader autograded from other content, or into another gradebook than the one
    in which these students are `known`, so that it does those again."""
    from grading.preprocessors import graded_state, mark

    for student, folder in submissions(course).items():
        note = mark(course, student)
        same = note.is_file() and note.read_text() == graded_state(course, folder)
        if not same or student not in known:
            shutil.rmtree(course / "autograded" / student / ASSIGNMENT, ignore_errors=True)


def feedback(course: Path) -> int:
    """nbgrader's `generate_feedback`: one HTML file a notebook and student."""
    status = nbgrader(course, "generate_feedback", ASSIGNMENT, "--force")
    if status:
        return _failed(course, "generate_feedback")
    count = sum(1 for _ in course.glob(f"feedback/*/{ASSIGNMENT}/*.html"))
    print(f"{count} feedback files in {course / 'feedback'}/<student>/{ASSIGNMENT}")
    return 0


def grades(course: Path) -> int:
    """Write `grades.csv` (a column a check) and nbgrader's own export, and print a summary."""
    from grading import evidence
    from grading import grades as table

    rows = table.rows(course)
    if not rows:
        print("no grades yet: `python -m grading.classroom grade` comes first", file=sys.stderr)
        return 1
    path = course / "grades.csv"
    table.write(rows, path)
    status = nbgrader(course, "export", f"--CsvExportPlugin.to={course / 'nbgrader_export.csv'}")
    table.show(rows)
    noticed = evidence.write(course)
    print(f"what may be tampering: {noticed} entries in {course / 'evidence.csv'}")
    print(f"table: {path}\nnbgrader's export: {course / 'nbgrader_export.csv'}")
    return _failed(course, "export") if status else 0


def demo(course: Path) -> int:
    """The instructor's path from the masters to the table of grades, on example students."""
    from grading import examples
    from grading.release.course import build_course

    start = time.monotonic()
    os.environ.pop(gradebook.VARIABLE, None)  # the gradebook of a real class
    # The examples are our own: here, and here alone, the best level that there is will do.
    os.environ.setdefault(LEVEL, isolation.level().name)
    shutil.rmtree(course, ignore_errors=True)
    build_course(course)
    for said, step in _demo_steps(course, examples):
        print(f"\n== {said} ({time.monotonic() - start:.0f} s)", flush=True)
        if step():
            return 1
    print(
        f"\nDone in {time.monotonic() - start:.0f} s. Where to look:\n"
        f"  {course}/grades.csv          a line a student, a column a check\n"
        f"  {course}/feedback            what each student gets, as HTML\n"
        f"  {course}/repairs             what was repaired in whose submission\n"
        f"  cd {course} && jupyter lab   then /formgrader: the instructor's desk in a browser"
    )
    return 0


def _demo_steps(course: Path, examples) -> Iterator[tuple]:
    def hand_in() -> int:
        archive = course / "downloaded" / ASSIGNMENT / "archive"
        made = examples.write_class(archive, course / "release" / ASSIGNMENT)
        print("\n".join(f"  {name}: {what}" for name, what in made.items()))
        return 0

    yield "release the assignment", lambda: release(course)
    yield "a class of example students hands in", hand_in
    yield "collect and repair", lambda: collect(course)
    yield "grade", lambda: grade(course) and 0  # who was not graded is listed, and in the table
    yield "write feedback", lambda: feedback(course)
    yield "grades", lambda: grades(course)


def _failed(course: Path, command: str) -> int:
    print(f"nbgrader {command} failed; the end of {course / 'nbgrader.log'}:", file=sys.stderr)
    lines = (course / "nbgrader.log").read_text(errors="replace").splitlines()
    print("\n".join(f"  {line}" for line in lines[-12:]), file=sys.stderr)
    return 1


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m grading.classroom", description=__doc__)
    verbs = {"release": release, "collect": collect, "feedback": feedback, "grades": grades}
    parser.add_argument("verb", choices=[*verbs, "grade", "demo"])
    parser.add_argument("--course", type=Path, help="the course folder (default: build/course)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    arguments = parser.parse_args(argv)
    course = (arguments.course or COURSE).resolve()
    try:
        if arguments.verb == "demo":
            return demo(DEMO)
        if not (course / "nbgrader_config.py").is_file():
            print(f"{course} is not a course folder: `make release` makes one", file=sys.stderr)
            return 1
        if arguments.verb == "grade":
            return 1 if grade(course, arguments.workers) else 0
        return verbs[arguments.verb](course)
    except (GradebookError, ClusterError) as problem:
        print(problem, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
