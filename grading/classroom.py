"""A whole class: `python -m grading.classroom grade`, and the other verbs of a term.

Collecting, the gradebook, feedback and export are nbgrader's own commands. What is ours is
grading in parallel before nbgrader's single writer comes along, and the table at the end.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from datasets import cifar10_1
from grading import cluster, connection, exam, gradebook, graders, images, repair
from grading.gradebook import GradebookError
from grading.graders import LONGEST
from grading.machine import ClusterError
from grading.nbgrader_config import EXPORT
from grading.overlay import ROOT
from grading.release.changes import refusal
from grading.sealed import isolation
from grading.sealed.isolation import LevelError
from grading.store import CHANGED, LEVEL, STORED_ONLY, Store

ASSIGNMENT = "assignment2"
COURSE = ROOT / "build" / "course"
DEMO = ROOT / "build" / "demo"  # a course of its own: a real class is never touched by a demo
Grader = Callable[[Path, Path], None]
SHARE = 10  # submissions for which another process of nbgrader's is worth its start
AFTERWARDS = "After `make cifar10`, `make grade` grades anew."
WITHOUT_IMAGES = {  # by what there is in the place of CIFAR-10
    "missing": f"There is no CIFAR-10 here, so checkpoints get no points. {AFTERWARDS}",
    "a stand-in": f"Checkpoints are tested on the stand-in, not on CIFAR-10. {AFTERWARDS}",
}
LISTED = 20  # lines of a list in the terminal
COMES_FIRST = {  # verb -> what must be there in the course folder, and the verb that makes it
    "collect": {f"release/{ASSIGNMENT}/*.ipynb": "release"},
    "grade": {f"release/{ASSIGNMENT}/*.ipynb": "release", f"submitted/*/{ASSIGNMENT}": "collect"},
    "feedback": {f"autograded/*/{ASSIGNMENT}/*.ipynb": "grade"},
}
MANY = 20  # submissions for whose repair it is worth to start processes, which grading needs too


def submissions(course: Path) -> dict[str, Path]:
    """Student -> folder of what was collected from them."""
    return {path.parent.name: path for path in sorted(course.glob(f"submitted/*/{ASSIGNMENT}"))}


def nbgrader(course: Path, *arguments: str) -> int:
    """Run nbgrader's own command in the course folder; its messages go to `nbgrader.log`.

    GradebookError where the gradebook's server went away, and stayed away.
    """
    return gradebook.through_outages(
        course, lambda: _started(course, "nbgrader", *arguments).wait()
    )


def _anew(course: Path, command: str, *arguments: str) -> int:
    """Run nbgrader's command on the whole assignment; say why where it failed."""
    status = nbgrader(course, command, ASSIGNMENT, "--force", *arguments)
    return _failed(course, command) if status else 0


def _started(course: Path, *module: str, **environment: str) -> subprocess.Popen:
    """A Python module that works in the course folder, as a process of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, **environment}
    with (course / "nbgrader.log").open("a") as log:
        log.write(f"\n$ {' '.join(module)}\n")
        log.flush()
        return subprocess.Popen(
            [sys.executable, "-m", *module], cwd=course, env=environment, stdout=log, stderr=log,
            pass_fds=tuple(_locks),
        )  # fmt: skip


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
    """nbgrader's `generate_assignment`: the notebooks for students, and a gradebook for them.

    It removes what it fails to make, so it works beside the release, which stays until then.
    """
    released, new = course / "release" / ASSIGNMENT, course / "release.new"
    with alone(course):
        if reason := refusal(course):
            print(reason, file=sys.stderr)
            return 1
        place = f"--CourseDirectory.release_directory={new.name}"
        if _anew(course, "generate_assignment", place):
            shutil.rmtree(new, ignore_errors=True)
            print("What was released before is as it was.", file=sys.stderr)
            return 1
        shutil.rmtree(released, ignore_errors=True)
        released.parent.mkdir(exist_ok=True)
        (new / ASSIGNMENT).rename(released)
        new.rmdir()
    _archives(course).mkdir(parents=True, exist_ok=True)
    print(f"released: {released}")
    return 0


def collect(course: Path) -> int:
    """nbgrader's `zip_collect` on `downloaded/assignment2/archive`, repairs included."""
    from grading.zip_collect import by_student, handed_in

    place = _archives(course)
    beside = [p for p in handed_in(place.parent) if p.name not in ("archive", "extracted")]
    beside += [p for p in handed_in(place.parents[1]) if p.name != ASSIGNMENT]
    if beside:
        names = _few([repair.shown(path.relative_to(course)) for path in beside], ", ")
        print(f"not collected, because it is not in {place}: {names}", file=sys.stderr)
    found = by_student(place)
    if not found:
        print(f"there is no archive to collect: put them into {place}", file=sys.stderr)
        return 1
    with alone(course):  # who grades must not meet half a submission
        if _anew(course, "zip_collect"):
            return 1
        shutil.rmtree(course / "downloaded" / ASSIGNMENT / "extracted", ignore_errors=True)
    print(f"{len(submissions(course))} submissions collected in {course / 'submitted'}")
    if lines := _to_look_at(course, found):
        print("Please look at:\n  " + _few(lines, "\n  "))
    return 0


def _archives(course: Path) -> Path:
    return course / "downloaded" / ASSIGNMENT / "archive"


def _to_look_at(course: Path, found: dict[str, list[Path]]) -> list[str]:
    """Of the archives of each student what an instructor should know before grading."""
    from grading.preprocessors import record
    from grading.zip_collect import LOOK, UNNAMED

    lines = []
    for student, sources in found.items():
        about = [r.text for r in repair.recorded(record(course, student))]
        said = [text for text in about if text.startswith(LOOK)]
        said += ["There is no student's name in the file's."] if student == UNNAMED else []
        names = _few([repair.shown(path.name) for path in sources], ", ")
        lines += [f"{repair.shown(student)} ({names}): {text}" for text in said]
    return lines


def _few(lines: list[str], between: str) -> str:
    """The first LISTED of some lines, and how many there are more."""
    more = len(lines) - LISTED
    return between.join([*lines[:LISTED], *([f"and {more} more"] if more > 0 else [])])


def grade(course: Path, workers: int | None = None) -> int:
    """Grade whatever has no outcome yet, in parallel; then nbgrader's `autograde`.

    A submission that cannot be graded is listed at the end; the class goes on. Returns the
    number of these. ClusterError where the cluster is lost: what is graded is in the gradebook.
    """
    store = Store(course)
    try:
        print(f"students' code is held at the level {store.level!r}")
        cifar10_1.version()  # a set of new images that cannot be had ends this before it begins
    except (LevelError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    with alone(course):
        return _grade(course, store, workers)


def _grade(course: Path, store: Store, workers: int | None) -> int:
    known = gradebook.students(course, ASSIGNMENT)  # before the work: is it there at all?
    try:
        print(f"entropy {store.entropy} (ENTROPY={store.entropy} replays this grading)")
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    if problem := images.fewer(course):
        print(problem, file=sys.stderr)
        return 1
    images.keep(course)
    if (found := exam.source()) != "CIFAR-10":
        print(WITHOUT_IMAGES[found], file=sys.stderr)
    elif cifar10_1.version():
        print(f"checkpoints are tested on the new images of {cifar10_1.VARIABLE} too")
    workers = workers or os.cpu_count() or 1
    _repair_all(course, workers)
    lost = None
    if scheduler := os.environ.get(cluster.SCHEDULER):
        pending, failed = ungraded(course)
        try:
            failed |= cluster.grade_on(scheduler, course, pending)
        except ClusterError as problem:
            lost, (pending, failed) = problem, ungraded(course)
            for same in pending.values():
                failed |= dict.fromkeys(same, "no machine of the cluster graded it")
    else:
        failed = grade_in_parallel(course, workers)
    failed = _forget_stale(course, known) | failed
    if lost and not set(_unconverted(course)) - failed.keys():
        raise lost  # nothing was graded that is not in the gradebook already
    gradebook.through_outages(course, partial(autograde, course, workers), writes=True)
    full = shutil.disk_usage(course).free < 1 << 20
    for student in _unconverted(course):
        failed.setdefault(student, graders.FULL if full else "the gradebook has no grade of it")
    for student, reason in failed.items():
        print(f"not graded: {student}: {reason}")
    if failed:
        print(f"{len(failed)} not graded; see {course / 'nbgrader.log'} and run this again.")
    if lost:
        raise lost
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
            failed[student] = f"{CHANGED} ({problem.strerror})"
            continue
        if key in found or store.read(key) is None:
            found.setdefault(key, {})[student] = folder
    return found, failed


def grade_in_parallel(course: Path, workers: int, one: Grader = grade_one) -> dict[str, str]:
    """Fill the outcome store; student -> why there is no outcome."""
    store = Store(course)
    pending, failed = ungraded(course)
    # Students with the same content are graded once.
    folders = {key: next(iter(same.values())) for key, same in pending.items()}
    bar = tqdm(total=len(folders), unit="submission", desc="grading", disable=not folders)
    for key, reason in graders.run(course, folders, workers, one, LONGEST):
        if store.read(key) is None:
            failed |= dict.fromkeys(pending[key], reason or CHANGED)
        bar.update()
    bar.close()
    return failed


def repair_one(course: Path, folder: Path) -> None:
    """Repair one submission; runs in a process of its own."""
    from grading.preprocessors import repair_submission

    repair_submission(ASSIGNMENT, "*", [str(folder / "any.ipynb")])


def _repair_all(course: Path, workers: int) -> None:
    from grading.preprocessors import record

    folders = {
        student: folder
        for student, folder in submissions(course).items()
        if repair.settled(folder, record(course, student)) is None
    }
    with tqdm(total=len(folders), desc="repairing", unit="submission", disable=not folders) as bar:
        for student, reason in _repaired(course, folders, workers):
            if reason:  # the next step says so in the list of those who are not graded
                bar.write(f"{student}: {reason}", file=sys.stderr)
            bar.update()


def _repaired(course: Path, folders: dict[str, Path], workers: int) -> Iterator[tuple[str, str]]:
    """Repair each folder; yields its student, and why that failed ('' if it did not)."""
    if len(folders) >= MANY:
        yield from graders.run(course, folders, workers, repair_one, LONGEST)
        return
    for student, folder in folders.items():
        try:
            repair_one(course, folder)
            yield student, ""
        except Exception as problem:  # as in a process of its own
            yield student, graders.told(problem)


def _forget_stale(course: Path, known: set[str]) -> dict[str, str]:
    """Remove what nbgrader autograded from other content, or into another gradebook than the one
    in which these students are `known`, so that it does those again.

    Student -> why it cannot be told.
    """
    from grading.preprocessors import graded_state, mark

    failed = {}
    for student, folder in submissions(course).items():
        note = mark(course, student)
        try:
            same = note.is_file() and note.read_text() == graded_state(course, folder)
            if same and student in known:
                continue
        except OSError as problem:
            failed[student] = f"{CHANGED} ({problem.strerror})"
        note.unlink(missing_ok=True)
        shutil.rmtree(course / "autograded" / student / ASSIGNMENT, ignore_errors=True)
    return failed


def _unconverted(course: Path) -> list[str]:
    """The students whose notebooks nbgrader has yet to convert, with an outcome for each check."""
    marked = {path.name for path in course.glob("graded/*")}
    return [student for student in submissions(course) if student not in marked]


def autograde(course: Path, workers: int) -> int:
    """nbgrader's `autograde` on all cores: each process converts a share of the class, and reads
    the outcomes that are stored. What is left, after a gradebook that was away or locked, is
    tried once more. Returns how many are left after that."""
    marks = course / "graded"
    marks.mkdir(exist_ok=True)
    before = len(os.listdir(marks))
    waiting = len(_unconverted(course))
    connection.prepare(gradebook.url(course))
    with tqdm(total=waiting, unit="submission", desc="writing the gradebook", mininterval=1) as bar:
        left = []
        for of in (max(1, min(workers, waiting // SHARE)), 1):
            for student in left:  # nbgrader passes over what is there, with an outcome or without
                shutil.rmtree(course / "autograded" / student / ASSIGNMENT, ignore_errors=True)
            for process in [_share(course, share, of) for share in range(of)]:
                while process.poll() is None:
                    time.sleep(0.1)
                    bar.update(len(os.listdir(marks)) - before - bar.n)
            left = _unconverted(course)
            if not left:
                break
    return len(left)


def _share(course: Path, share: int, of: int) -> subprocess.Popen:
    """A process that converts one of so many shares of a class."""
    # What could not be graded in a process of its own must not be tried in nbgrader's.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {STORED_ONLY: "1", "PYTHONPATH": path}
    return _started(course, "grading.autograde", str(share), str(of), **environment)


def feedback(course: Path) -> int:
    """nbgrader's `generate_feedback`: one HTML file a notebook and student in the gradebook."""
    converted = {path.parent.name for path in course.glob(f"autograded/*/{ASSIGNMENT}")}
    known = gradebook.students(course, ASSIGNMENT) if converted else set()
    gone = ",".join(sorted(converted - known))
    if _anew(course, "generate_feedback", f"--CourseDirectory.student_id_exclude={gone}"):
        return 1
    if gone:
        print(f"no feedback for who is not in the gradebook: {gone}")
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
    status = nbgrader(course, "export")
    table.show(rows)
    noticed = evidence.write(course)
    print(f"\nnoticed while grading, without a verdict: {noticed} entries in "
          f"{course / 'evidence.csv'}")
    print(f"table: {path}\nnbgrader's export: {course / EXPORT}")
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
        f"  {course}/grades.csv    a line a student, a column a check\n"
        f"  {course}/feedback      what each student gets, as HTML\n"
        f"  {course}/evidence.csv  whose code ended or hung its process, and the like\n"
        f"  make desk COURSE={course.relative_to(ROOT)}  the instructor's desk in a browser: menu "
        "Nbgrader, Formgrader"
    )
    return 0


def _demo_steps(course: Path, examples) -> Iterator[tuple]:
    def hand_in() -> int:
        made = examples.write_class(_archives(course), course / "release" / ASSIGNMENT)
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
    if data := os.environ.get("CIFAR10_DIR"):  # nbgrader's command works in another folder
        os.environ["CIFAR10_DIR"] = os.path.abspath(data)
    try:
        if arguments.verb == "demo":
            return demo(DEMO)
        if not (course / "nbgrader_config.py").is_file():
            print(f"{course} is not a course folder: `make release` makes one", file=sys.stderr)
            return 1
        for pattern, first in COMES_FIRST.get(arguments.verb, {}).items():
            if not any(course.glob(pattern)):
                print(f"there is no {course / pattern}: `make {first}` comes first",
                      file=sys.stderr)
                return 1
        if arguments.verb == "grade":
            return 1 if grade(course, arguments.workers) else 0
        return verbs[arguments.verb](course)
    except (GradebookError, ClusterError) as problem:
        print(problem, file=sys.stderr)
    except OSError as problem:
        if problem.errno not in graders.NO_ROOM:
            raise
        print(graders.FULL, file=sys.stderr)
    except KeyboardInterrupt:
        kept = ". What was graded is kept" if arguments.verb == "grade" else ""
        print(f"stopped{kept}: run the same command again", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
