"""`nbgrader zip_collect` opens archives through this plugin: one bad one never ends the run."""

from __future__ import annotations

import re
import shutil
import sys
import unicodedata
from pathlib import Path

from nbgrader.plugins import ExtractorPlugin

from grading import repair
from grading.archives import NOTHING, newest_date, unpack, usable
from grading.graders import told
from grading.nbgrader_config import ASSIGNMENT
from grading.preprocessors import record
from grading.repair import COLLECTED, Repair

JUNK = ("thumbs.db", "desktop.ini")  # of Windows; those of other systems begin with a dot
ENDING = re.compile(r"(\.zip|\.tar\.gz|\.tgz|\.gz)+$", re.IGNORECASE)
# What browsers and desktops put behind the name of a copy, and Canvas behind a later `ann_hw`.
COPY = re.compile(
    r"(?:(?:[ _-]+Copy)?[ _-]*\((\d+)\)|[ _-]+Copy(\d*)|(?<=_hw)-(\d+)|(?<=_assignment2)-(\d+))$",
    re.IGNORECASE,
)
# What Canvas and Moodle put before the name of what was handed in: by whom, and their number.
# A year has four digits: what has one in its name must not become one student with its like.
SENT = re.compile(
    r"([^_]+)(?:_LATE)?_(\d{5,})_\d{5,}_(?!(?:hw|assignment2)\b)|([^_]+)_(\d+)_assignsubmission_"
)
UNNAMED = "unnamed"
# What is said of several archives of one student; their names have the student's name in them.
NEWEST = "Of several archives the newest was graded."
UNSURE = (
    "Another archive was handed in too, and nothing says which one is newer: "
    "please see whether the right one was graded."
)
PASSED_OVER = "Another archive was graded, because nothing usable was found in the newest."
LOOK = (NOTHING, UNSURE, PASSED_OVER)  # an instructor should know before grading


class CourseExtractor(ExtractorPlugin):
    """Unpack and repair each student's newest usable archive into `<student>_hw`."""

    def extract(self, archive_path: str, extracted_path: str) -> None:
        course = Path(archive_path).parents[2]
        released = course / "release" / ASSIGNMENT
        for student, sources in sorted(by_student(Path(archive_path)).items()):
            folder = Path(extracted_path, f"{student}_hw")
            note, originals = record(course, student), course / "originals" / student
            try:
                before = self._unpack_newest(sources, folder)
                note.unlink(missing_ok=True)
                shutil.rmtree(originals, ignore_errors=True)
                repair.settle(folder, released, originals, note, before)
            except OSError as problem:  # before anything of an earlier collection is replaced
                self.log.error("%s was not collected, nor anybody else: %s", student, told(problem))
                sys.exit(1)
            except Exception:  # of our own: the others are collected
                self.log.exception("%s could not be repaired", student)
        # What is not collected (mail, text) would only make zip_collect warn about it.
        for path in list(repair.files(Path(extracted_path))):
            if path.suffix not in COLLECTED:
                path.unlink()

    def _unpack_newest(self, sources: list[Path], folder: Path) -> list[Repair]:
        """Unpack the newest archive in which there is anything usable; say what there is to say."""
        if len(sources) == 1:
            return unpack(sources[0], folder)
        ages = {path: (_copy_number(path.name), newest_date(path)) for path in sources}
        ranked = sorted(sources, key=lambda p: (ages[p], p.stat().st_mtime), reverse=True)
        of_newest: list[Repair] = []
        for source in ranked:
            self.log.info("Unpacking %s", source)
            said = unpack(source, folder)
            if usable(folder):
                break
            of_newest = of_newest or said
            shutil.rmtree(folder)
        else:
            folder.mkdir()
            return of_newest
        if source != ranked[0]:
            return [Repair("", PASSED_OVER), *said]
        (copy, date), (other_copy, other_date) = ages[ranked[0]], ages[ranked[1]]
        known = copy != other_copy or (other_date and date != other_date)
        return [Repair("", NEWEST if known else UNSURE), *said]


def student_id(name: str) -> str:
    """The student whose archive has this name: `Zoë Ångström_hw (1).zip` is Zoë Ångström's.

    With Canvas and Moodle it is who handed in, `trent_12345`, whatever name they gave the file.
    Letters of any script, spaces, hyphens, dots, apostrophes stay. What paths, patterns or tables
    read as their own becomes its number in hexadecimal, so that a+b and a_b stay two.
    """
    stem = _stem(unicodedata.normalize("NFC", name))
    if sent := SENT.match(stem):
        stem = "_".join(filter(None, sent.groups()))
    else:
        stem = re.sub(r"_(hw|assignment2)$", "", COPY.sub("", stem), flags=re.IGNORECASE)
    stem = re.sub(r"[^\w .'’@-]", lambda odd: f"_{ord(odd[0]):x}_", stem)
    return re.sub(r"\s+", " ", stem).strip(" .-'@")[:100] or UNNAMED


def by_student(place: Path) -> dict[str, list[Path]]:
    """Student -> their archives, or folders, of those that lie in `place`."""
    students: dict[str, list[Path]] = {}
    for path in handed_in(place):
        students.setdefault(student_id(path.name), []).extend(_archives(path))
    return students


def handed_in(place: Path) -> list[Path]:
    """What lies in a folder, but for links and what a desktop puts there of its own."""
    return [
        path
        for path in (sorted(place.iterdir()) if place.is_dir() else ())
        if not path.is_symlink() and path.name[0] != "." and path.name.lower() not in JUNK
    ]


def _archives(path: Path) -> list[Path]:
    """An archive itself; those in a folder without files that count, as Moodle makes them."""
    if not path.is_dir() or usable(path):
        return [path]
    return [inner for inner in repair.files(path) if inner.suffix.lower() == ".zip"] or [path]


def _stem(name: str) -> str:
    """A name without its endings, `.zip.zip` included."""
    return ENDING.sub("", name).strip()


def _copy_number(name: str) -> int:
    """Which copy an archive is by its name: 0 for the first, 2 for `ann_hw (2).zip`."""
    copy = COPY.search(_stem(name))
    return int(next(filter(None, copy.groups()), 1)) if copy else 0
