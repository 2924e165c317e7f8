"""The students' archive: the course without its solutions.

What goes in is listed, not what stays out, and whatever has an exercise is built from the
masters: an own solution in the course's working copy cannot slip into the archive. What is for
instructors is left out, the README's sections on it too.
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
    files["README.md"] = _for_students(files["README.md"].decode()).encode()
    return files | {name: text.encode() for name, text in artefacts()}


def _for_students(readme: str) -> str:
    """The README without the sections that link to what is left out."""
    first, *sections = readme.split("\n## ")
    kept = [text for text in sections if not any(f"]({name})" in text for name in LEFT_OUT)]
    return "\n## ".join([first, *kept])


def build_dist(archive: Path = ARCHIVE) -> Path:
    """Write the archive. Raises FileNotFoundError if a listed file is missing."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in sorted(contents().items()):
            member = zipfile.ZipInfo(f"{TOP}/{name}", (2026, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16  # without it, the owner alone may read the file
            file.writestr(member, data, zipfile.ZIP_DEFLATED)
    return archive
