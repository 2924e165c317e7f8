"""The nbgrader course folder: notebooks with answers, and a configuration of a few lines.

`source/assignment2` holds notebooks and nothing else. nbgrader copies every other file
of it over each submission, so a `cs231n/` there would overwrite what students wrote;
students get theirs with the archive of `make dist`.
"""

import time
from pathlib import Path

from grading.checks import NOTEBOOKS
from grading.overlay import ROOT
from grading.release.notebooks import build_notebook

ASSIGNMENT = "assignment2"
COURSE = ROOT / "build" / "course"

LOCAL = "nbgrader_config_local.py"  # an instructor's own settings, which nobody writes but they
_CONFIG = '''"""Written by `make release`. Your own settings go into {local}, beside this file.

Those of the course live in grading/nbgrader_config.py.
"""

import sys
from pathlib import Path

ROOT = {root!r}
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from grading.nbgrader_config import configure

configure(get_config(), ROOT)
load_subconfig("{local}", path=str(Path(__file__).parent))  # if it is there
'''


def build_course(folder: Path = COURSE) -> Path:
    """Write the course folder, or renew it: a gradebook and submissions there are kept.

    What is replaced by other text is kept in `before-release-<time>`. Raises FileExistsError if
    `source` has a notebook without a master, which would be released, and is nobody's to delete.
    """
    source = folder / "source" / ASSIGNMENT
    for path in sorted(source.glob("*.ipynb")):
        if path.stem not in NOTEBOOKS:
            raise FileExistsError(
                f"{path} has no master in grading/solutions/notebooks/: give it one, or take it "
                "out of this folder. Nothing was changed."
            )
    texts = {source / f"{name}.ipynb": build_notebook(name, answers=True) for name in NOTEBOOKS}
    texts[folder / "nbgrader_config.py"] = _CONFIG.format(root=str(ROOT), local=LOCAL)
    kept = folder / time.strftime("before-release-%Y%m%d-%H%M%S")
    source.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            kept.mkdir(exist_ok=True)
            path.rename(kept / path.name)
            print(f"{path.name} was other than it is now: as it was, it is in {kept}")
        path.write_text(text, encoding="utf-8")
    return folder
