"""The nbgrader course folder: notebooks with answers, and a configuration of a few lines.

`source/assignment2` holds notebooks and nothing else. nbgrader copies every other file
of it over each submission, so a `cs231n/` there would overwrite what students wrote;
students get theirs with the archive of `make dist`.
"""

from pathlib import Path

from grading.checks import NOTEBOOKS
from grading.overlay import ROOT
from grading.release.notebooks import build_notebook

ASSIGNMENT = "assignment2"
COURSE = ROOT / "build" / "course"

_CONFIG = '''"""Written by `make release`: the settings live in grading/nbgrader_config.py."""

import sys

ROOT = {root!r}
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from grading.nbgrader_config import configure

configure(get_config(), ROOT)
'''


def build_course(folder: Path = COURSE) -> Path:
    """Write the course folder, or renew it: a gradebook and submissions there are kept."""
    source = folder / "source" / ASSIGNMENT
    source.mkdir(parents=True, exist_ok=True)
    names = {f"{name}.ipynb" for name in NOTEBOOKS}
    for path in source.glob("*.ipynb"):
        if path.name not in names:
            path.unlink()
    for name in NOTEBOOKS:
        text = build_notebook(name, answers=True)
        (source / f"{name}.ipynb").write_text(text, encoding="utf-8")
    (folder / "nbgrader_config.py").write_text(_CONFIG.format(root=str(ROOT)), encoding="utf-8")
    return folder
