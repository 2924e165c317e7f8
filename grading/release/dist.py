"""The students' archive: the course without its solutions.

What goes in is listed, not what stays out, and whatever has an exercise is built from the
masters: an own solution in the course's working copy cannot slip into the archive. What is for
instructors and authors is left out, the sections on it of README and Makefile too.
"""

import zipfile
from pathlib import Path

from grading.overlay import GIVEN, ROOT
from grading.release.built import artefacts

TOP = "cs231n-assignment2"
ARCHIVE = ROOT / "build" / "dist" / f"{TOP}.zip"

FILES = ("README.md", "Makefile", "requirements.txt", "pyproject.toml", ".gitignore")
FOLDERS = {"datasets": (".py",), "grading": (".py",), "docs": (".md", ".png", ".svg")}
# The tests are not listed either: all of them import the solved package.
LEFT_OUT = (
    "grading/solutions",
    "grading/examples.py",
    "grading/misconceptions/kill.py",
    "grading/misconceptions/__main__.py",
    "docs/authors.md",
    "docs/instructors.md",
    "docs/security.md",
)


def contents() -> dict[str, bytes]:
    """Path (below the archive's one folder) -> bytes of every file that students get."""
    names = [*FILES, *GIVEN]
    for folder, endings in FOLDERS.items():
        names += [
            path.relative_to(ROOT).as_posix()
            for path in sorted((ROOT / folder).rglob("*"))
            if path.is_file() and path.suffix in endings
        ]
    kept = [name for name in names if not name.startswith(LEFT_OUT)]
    files = {name: (ROOT / name).read_bytes() for name in kept}
    for name in ("README.md", "Makefile"):
        files[name] = _for_students(files[name].decode()).encode()
    return files | {name: text.encode() for name, text in artefacts()}


def _for_students(text: str) -> str:
    """A README or Makefile without the sections that are for others: named so, or linking to what
    is left out. They name no folder that is not there."""
    first, *sections = text.split("\n## ")
    kept = [
        section
        for section in sections
        if not section.startswith(("Instructors", "Authors"))
        and not any(f"]({name})" in section for name in LEFT_OUT)
    ]
    lines = "\n## ".join([first, *kept]).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("tests/"))


def build_dist(archive: Path = ARCHIVE) -> Path:
    """Write the archive. Raises FileNotFoundError if a listed file is missing."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in sorted(contents().items()):
            member = zipfile.ZipInfo(f"{TOP}/{name}", (2026, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16  # without it, the owner alone may read the file
            file.writestr(member, data, zipfile.ZIP_DEFLATED)
    return archive
