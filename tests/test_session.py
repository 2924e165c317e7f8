"""`check` in a notebook: what a student reads after an edit, while one kernel goes on."""

import os
import shutil
import subprocess
import sys

import pytest

from grading.overlay import ROOT
from grading.session import check

SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
for cell in sys.stdin.read().split("# %%"):
    shell.run_cell(cell)
"""
START = """
%load_ext autoreload
%autoreload 2
import os, time
from pathlib import Path
from cs231n import layers
from cs231n.classifiers import fc_net
from grading.session import check
saved = [time.time()]

def edit(old, new, path="cs231n/layers.py"):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))
    saved[0] += 5
    os.utime(path, (saved[0], saved[0]))
"""
OUT = "out = rows @ w + b"


@pytest.fixture
def notebook(solved, tmp_path):
    """Runs cells in one shell with autoreload, beside a copy of the solved package."""
    shutil.copytree(solved, tmp_path, dirs_exist_ok=True)

    def run(*cells):
        paths = os.pathsep.join((str(tmp_path), str(ROOT)))
        done = subprocess.run(
            [sys.executable, "-P", "-c", SHELL], input="# %%".join((START, *cells)), text=True,
            cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONPATH": paths},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.tree = tmp_path
    return run


def line_of(text, tree, path="cs231n/layers.py"):
    """The line of a file that starts with `text`, counted from 1."""
    lines = (tree / path).read_text().splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.strip().startswith(text)]
    return number


def test_a_file_that_does_not_parse_is_not_judged_by_what_it_was(notebook):
    """Is a syntax error said with its line, though autoreload goes on with the old code?"""
    said = notebook(
        f'check("affine_forward")\nedit("{OUT}", "out = (rows @ w + b")',
        'check("affine_forward"); check("FullyConnectedNet"); check("adam")',
    )
    at = f"cs231n/layers.py, line {line_of('out = (rows', notebook.tree)}: out = (rows"
    assert said.count("affine_forward: 1 of 1 points.") == 1
    assert f"affine_forward: 0 of 1 points. SyntaxError: '(' was never closed. At {at}" in said
    assert "FullyConnectedNet: 0 of 5 points. SyntaxError" in said
    assert "adam: 2 of 2 points." in said  # of another file


def test_the_line_of_an_error_is_that_of_the_file_after_each_edit(notebook):
    """Is it so for a function that autoreload compiled alone, and for one that was moved?"""
    said = notebook(
        f'edit("{OUT}", "# a comment\\n    out = np.dott(x, w)")',
        'check("affine_forward")',
        'edit("out = np.dott(x, w)", "out = np.dot(x,\\n        w.nothing)")',
        'check("affine_forward")',
        'edit("import numpy as np", "import numpy as np\\n\\n\\nFIRST = 1")',
        'edit("def loss(self, X, y=None):", "def loss(self, X, y=None):\\n        X.gone", '
        '"cs231n/classifiers/fc_net.py")',
        'check("affine_forward"); check("FullyConnectedNet")',
    )
    line = line_of("out = np.dot(x,", notebook.tree)
    found = [row for row in said.splitlines() if row.startswith("affine_forward")]
    assert f"At cs231n/layers.py, line {line - 3}: out = np.dott(x, w)." in found[0]
    assert f"At cs231n/layers.py, line {line - 3}: out = np.dot(x,." in found[1]
    assert f"At cs231n/layers.py, line {line}: out = np.dot(x,." in found[2]
    line = line_of("X.gone", notebook.tree, "cs231n/classifiers/fc_net.py")
    assert f"At cs231n/classifiers/fc_net.py, line {line}: X.gone" in said


def test_an_error_in_a_helper_is_located_in_the_function_that_was_called_too(notebook):
    """Does a network that calls a right layer wrongly read of its own line first?"""
    said = notebook(
        'edit("def loss(self, X, y=None):", "def loss(self, X, y=None):\\n'
        '        layers.relu_backward(np.ones(2), np.ones(3))", "cs231n/classifiers/fc_net.py")\n'
        'edit("import numpy as np", "import numpy as np\\nfrom cs231n import layers", '
        '"cs231n/classifiers/fc_net.py")',
        'check("FullyConnectedNet")',
    )
    path = "cs231n/classifiers/fc_net.py"
    line = line_of("layers.relu_backward(", notebook.tree, path)
    own = f"At {path}, line {line}: layers.relu_backward(np.ones(2), np.ones(3))"
    assert f"{own}; in cs231n/layers.py, line " in said


def test_a_function_of_a_cell_is_said_not_to_be_checked(notebook):
    """Is that a note, for a function in a cell alone, and for none that was imported?"""
    said = notebook(
        'from cs231n.layers import affine_forward; check("affine_forward")',
        'def affine_forward(x, w, b):\n    return x, None\n\ncheck("affine_forward")',
    )
    note = "The affine_forward that is defined in a cell of this notebook is not what is checked"
    assert said.count("affine_forward: 1 of 1 points") == 2 and said.count(note) == 1


@pytest.mark.fast
def test_a_check_may_be_named_by_its_function(capsys):
    """Does the function do in the place of its name, and is the nearest name told for none?"""
    from cs231n.layers import relu_forward

    assert check(relu_forward, entropy=3) == 1.0
    with pytest.raises(ValueError, match=r"^no check is named affineforward; did you mean "
                       r"affine_forward\?$"):  # fmt: skip
        check("affineforward")
    with pytest.raises(ValueError, match="no check is named zzz; there are affine_forward, "):
        check("zzz")
