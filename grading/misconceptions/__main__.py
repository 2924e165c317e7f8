"""`python -m grading.misconceptions [WORD]`: the kill table of the bank, on the solved package.

For every misconception (or those with WORD in their name) it says whether its own checks fail,
whether any other does, and whether the diagnosis is the right one. Ends with 1 if not all is well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    # The solved package must be there before anything imports `cs231n`: so in a new process.
    with tempfile.TemporaryDirectory(prefix="solved-") as folder:
        build = "from grading.overlay import solved_tree; import pathlib, sys; "
        build += "solved_tree(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", build, folder], check=True, cwd=ROOT)
        path = os.pathsep.join([folder, str(ROOT)])
        command = [sys.executable, "-P", "-m", "grading.misconceptions.kill", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
