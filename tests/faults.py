"""Faults around a class run: `python -m tests.faults --moments 50 --students 20` (`make faults`).

The grader is killed at random moments, the disk fills up, the gradebook is locked, the clock
jumps. After a rerun the gradebook must say what an undisturbed run says, no more and no less.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # where pytest finds small_course, too

import small_course  # noqa: E402

from grading import grades  # noqa: E402
from grading.overlay import solved_tree  # noqa: E402
from grading.sealed import isolation  # noqa: E402

ENTROPY = "11"
UNTOLD = "NOT TOLD"
IN_A_ROW = 5  # kills of one class before it is run to its end
WRONG = "\n\ndef relu_forward(x):\n    return -x, x\n"
JUMPING = """
import random, time
_time = time.time
time.time = lambda: _time() + random.choice([-86400.0, 0.0, 4e7])
"""


def make_class(folder: Path, students: int) -> Path:
    """A released course, and what its students handed in; every third has a wrong relu."""
    course = small_course.write_course(folder / "course")
    small_course.must(small_course.nbgrader(course, "generate_assignment", "assignment2"))
    solved = solved_tree(folder / "solved")
    for number in range(students):
        place = course / "submitted" / f"student{number:02}" / "assignment2"
        shutil.copytree(solved, place)
        layers = place / "cs231n" / "layers.py"
        text = layers.read_text() + f"\n# student {number}\n" + (WRONG if number % 3 == 0 else "")
        layers.write_text(text)
        for name in small_course.CHECKS:
            shutil.copy(course / "release" / "assignment2" / f"{name}.ipynb", place)
    return course


def start(course: Path, said: IO | int = subprocess.DEVNULL, **environment: str):
    """A class run in a session of its own; what it says goes to `said`."""
    level = os.environ.get("LEVEL") or isolation.level().name
    environment = {**os.environ, "ENTROPY": ENTROPY, "LEVEL": level, **environment}
    command = [sys.executable, "-m", "tests.quick_run", str(course)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )


def run(course: Path, **environment: str) -> int:
    return start(course, **environment).wait(timeout=600)


def told(course: Path, sentence: str) -> str:
    """Run a class with a fault, in which it must fail with a sentence; '' or what is missing."""
    with tempfile.TemporaryFile("w+") as said:
        status = start(course, said).wait(timeout=600)
        said.seek(0)
        text = said.read()
    if status != 0 and re.search(sentence, text) and "Traceback" not in text:
        return ""
    return f"{UNTOLD}: status {status} and {text[-1000:]!r}"


def afterwards(course: Path, untold: str, fault: str) -> str:
    """Run the class without the fault, in which it must not fail; what there is to say."""
    status = run(course)
    untold = untold or (f"{UNTOLD}: status {status} without the fault" if status else "")
    return untold or f"{fault}: told, and afterwards status 0"


def gradebook(course: Path) -> tuple:
    """All that the gradebook says but for times and random names: counts, scores, the table."""
    with sqlite3.connect(course / "gradebook.db") as book:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        tables = [name for (name,) in book.execute(names)]
        counts = {t: book.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0] for t in tables}
    book.close()
    rows = grades.rows(course)
    table = course / "compared.csv"
    grades.write(rows, table)
    return counts, [(r.student, r.points, r.graded) for r in rows], table.read_bytes()


def copied(course: Path, to: Path) -> Path:
    """The course in another folder, its settings with it."""
    shutil.copytree(course, to, symlinks=True)
    config = to / "nbgrader_config.py"
    config.write_text(small_course.CONFIG.format(root=str(ROOT), course=str(to)))
    return to


def killed(course: Path, rng: random.Random, longest: float, moments: int) -> str:
    """Kill the run at random moments, the grader alone or all that it started; then run it."""
    for _ in range(moments):
        process = start(course)
        time.sleep(rng.uniform(0.0, longest))
        if rng.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    return f"{moments} kills, then status {run(course)}"


def disk_full(course: Path, spare: int = 300_000) -> str:
    """Run on a file system with little room; then give it room, and run again."""
    size = sum(p.stat().st_blocks * 512 for p in course.rglob("*") if p.is_file()) + spare
    moved = course.with_name(f"{course.name}-moved")
    course.rename(moved)
    course.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(course)]
    subprocess.run(mount, check=True)
    shutil.copytree(moved, course, dirs_exist_ok=True, symlinks=True)
    untold = told(course, "the disk is full: make room, and run this again")
    subprocess.run(["mount", "-o", "remount,size=200m", str(course)], check=True)
    return afterwards(course, untold, "full")


def locked(course: Path) -> str:
    """Hold the gradebook's lock for longer than a run waits for it; then run again."""
    book = sqlite3.connect(course / "gradebook.db", isolation_level=None)
    book.execute("BEGIN EXCLUSIVE")
    untold = told(course, r"the gradebook at .* cannot be used \(database is locked\)")
    book.rollback()
    book.close()
    return afterwards(course, untold, "locked")


def jumping(course: Path, rng: random.Random) -> str:
    """Let every process see a clock that jumps, and give all files times of long ago or ahead."""
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        Path(folder, "sitecustomize.py").write_text(JUMPING)
        first = run(course, PYTHONPATH=folder)
        for path in sorted(course.rglob("*")):
            moment = time.time() + rng.choice([-4e7, 4e7])
            os.utime(path, (moment, moment), follow_symlinks=False)
        return f"jumping: status {first}, {run(course, PYTHONPATH=folder)}"


def all_faults(students: int, moments: int, seed: int, say: Callable[[str], None]) -> list[str]:
    """Try every fault on a class; what was different after the rerun, in words."""
    rng, different = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        folder = Path(place)
        course = make_class(folder, students)
        calm = copied(course, folder / "calm")
        begin = time.monotonic()
        status = run(calm)
        longest = time.monotonic() - begin
        want = gradebook(calm)
        say(f"undisturbed: status {status}, {longest:.0f} s, {len(want[1])} students (seed {seed})")
        if status or not all(graded for _, _, graded in want[1]):
            return ["the undisturbed run failed"]

        def tried(name: str, fault: Callable[[Path], str]) -> None:
            begin = time.monotonic()
            disturbed = copied(course, folder / name.replace(" ", "-"))
            said = fault(disturbed)
            same = gradebook(disturbed) == want
            say(f"{name}: {said}; {'the same' if same else 'DIFFERENT'}; "
                f"{time.monotonic() - begin:.0f} s")
            if not same or said.startswith(UNTOLD):
                different.append(name)
            if os.path.ismount(disturbed):
                subprocess.run(["umount", str(disturbed)], check=True)

        for number in range(0, moments, IN_A_ROW):
            count = min(IN_A_ROW, moments - number)
            tried(f"killed {number}", partial(killed, rng=rng, longest=longest, moments=count))
        if os.geteuid() == 0:
            tried("disk full", disk_full)
        else:
            say("disk full: not tried, only root may mount a small disk")
        tried("gradebook locked", locked)
        tried("clock", partial(jumping, rng=rng))
    return different


def main(argv: list[str] | None = None) -> int:
    """Print what each fault did; 1 if a gradebook was different after the rerun."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments = parser.parse_args(argv)
    say = partial(print, flush=True)
    different = all_faults(arguments.students, arguments.moments, arguments.seed, say)
    print(f"different after a rerun: {different or 'none'}")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
