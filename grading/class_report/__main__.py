"""`python -m grading.class_report`: report.html, a page about the class, and report.csv.

The page says how many students, and names nobody unless `--names` is given. The table has a line
a student and check, for an analysis of your own.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from grading import images
from grading.class_report import page, table
from grading.gradebook import GradebookError
from grading.overlay import ROOT
from grading.store import write_atomically


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m grading.class_report", description=__doc__)
    parser.add_argument("--course", type=Path, default=ROOT / "build" / "course", help="its folder")
    parser.add_argument("--names", action="store_true", help="name students, in page and table")
    chosen = parser.parse_args(argv)
    start, course = time.perf_counter(), chosen.course.resolve()
    try:
        students = table.students(course)
    except GradebookError as problem:
        print(problem, file=sys.stderr)
        return 1
    if not any(student.found for student in students):
        print(f"nothing is graded in {course}: `make grade` comes first", file=sys.stderr)
        return 1
    if not chosen.names:
        students = table.nameless(students)
    homes, tested = table.homes(course), images.before(course)
    write_atomically(course / "report.html", page.html(students, homes, chosen.names, tested))
    table.write(students, homes, course / "report.csv")
    print(f"{len(students)} students, {time.perf_counter() - start:.1f} s")
    print(f"page: {course / 'report.html'}\ntable: {course / 'report.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
