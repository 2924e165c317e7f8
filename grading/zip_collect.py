"""`nbgrader zip_collect` opens archives through this plugin: one bad one never ends the run."""

from __future__ import annotations

import re
import shutil
import sys
import unicodedata
from pathlib import Path

from nbgrader.plugins import ExtractorPlugin

from grading import repair
from grading.archives import unpack
from grading.graders import told
from grading.nbgrader_config import ASSIGNMENT
from grading.preprocessors import record
from grading.repair import Repair, shown

COPY = re.compile(r"(?:[ _-]*\((\d+)\)|[ _-]+Copy(\d*))$", re.IGNORECASE)


class CourseExtractor(ExtractorPlugin):
    """Unpack and repair each student's newest archive into `<student>_hw`."""

    def extract(self, archive_path: str, extracted_path: str) -> None:
        course = Path(archive_path).parents[2]
        released = course / "release" / ASSIGNMENT
        for student, sources in sorted(_by_student(Path(archive_path)).items()):
            newest = max(sources, key=lambda path: (path.stat().st_mtime, path.name))
            folder = Path(extracted_path, f"{student}_hw")
            self.log.info("Unpacking %s for %s", newest, student)
            before = [
                Repair(shown(path.name), f"a newer archive was graded: {shown(newest.name)}.")
                for path in sources
                if path != newest
            ]
            note, originals = record(course, student), course / "originals" / student
            try:
                before += unpack(newest, folder)
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
            if path.suffix not in repair.COLLECTED:
                path.unlink()


def student_id(name: str) -> str:
    """The student whose archive has this name: `Zoë Ångström_hw (1).zip` is Zoë Ångström's.

    Letters of any script, spaces, hyphens, dots, apostrophes stay. What paths, patterns or tables
    read as their own becomes its number in hexadecimal, so that a+b and a_b stay two.
    """
    stem = unicodedata.normalize("NFC", name)
    stem = re.sub(r"(\.zip|\.tar\.gz|\.tgz|\.gz)$", "", stem, flags=re.IGNORECASE)
    stem = COPY.sub("", stem.strip())
    stem = re.sub(r"_(hw|assignment2)$", "", stem, flags=re.IGNORECASE)
    stem = re.sub(r"[^\w .'’@-]", lambda odd: f"_{ord(odd[0]):x}_", stem)
    return re.sub(r"\s+", " ", stem).strip(" .-'@")[:100] or "unnamed"


def _by_student(archive_path: Path) -> dict[str, list[Path]]:
    students: dict[str, list[Path]] = {}
    for path in sorted(archive_path.iterdir()):
        if path.is_symlink() or path.name.startswith("."):
            continue
        students.setdefault(student_id(path.name), []).append(path)
    return students
