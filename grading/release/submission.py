"""A student's archive, made after saying what is missing, broken or unwritten."""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from grading.checks import NOTEBOOKS
from grading.hints import hint
from grading.overlay import ROOT, TASK_FILES, Found, collect, submission_tree
from grading.release.markers import CODE_STUB, TEXT_STUB
from grading.release.written import progress

CHECKPOINT = "checkpoints/resnet18_cifar10.safetensors"
IMPORT_SECONDS = 120

WITH_TORCH = ("cs231n.classifiers.pytorch_nets", "cs231n.classifiers.resnet")

# Runs in a tree as the grader sees it: the course's given modules and the student's files, where
# torch is there for the last two alone, and torchvision for none.
_IMPORT = """
import importlib, json, sys, traceback
sys.path.insert(0, sys.argv[1])
failed = {}
blocked = ("torch",)
with_torch = sys.argv[2].split(",")
sys.modules.update(torch=None, torchvision=None)
for module in sorted(sys.argv[3:], key=with_torch.__contains__):
    if module in with_torch and blocked:
        anew = (*blocked, *[name for name in sys.modules if name.startswith("cs231n")])
        for name in anew:
            sys.modules.pop(name, None)
        blocked = ()
    try:
        importlib.import_module(module)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [f for f in frames if f.filename.startswith(sys.argv[1])]
        line = f" (line {inside[-1].lineno} of {inside[-1].filename})" if inside else ""
        if isinstance(error, SyntaxError):
            line = f" (line {error.lineno} of {error.filename})"
        message = str(error.args[0]) if error.args else ""
        failed[module] = type(error).__name__, message, line.replace(sys.argv[1] + "/", "")
print("\\n" + json.dumps(failed))
"""


@dataclass(frozen=True)
class Archive:
    """Where the archive is, and what its student should know about it."""

    path: Path
    names: tuple[str, ...]
    warnings: tuple[str, ...]


def make_submission(student: str, root: Path = ROOT, out: Path | None = None) -> Archive:
    """Write `<student>_hw.zip` from the course folder `root`, into `out` (default: `root`).

    It holds the notebooks, `cs231n/` without the given modules, and the checkpoint if there
    is one. Raises ValueError if `student` is not made of letters, digits and underscores.
    """
    if not re.fullmatch(r"\w+", student):
        raise ValueError(f"student {student!r}: letters, digits and underscores, please")
    found = collect(root)
    warnings = [*_about_files(found), *import_failures(root), *_about_notebooks(root)]
    files = {name: found.content[name] for name in (*found.taken, *found.helpers)}
    for name in (*(f"notebooks/{n}.ipynb" for n in NOTEBOOKS), CHECKPOINT):
        path = root / name
        if path.is_file():
            files[name.removeprefix("notebooks/")] = path.read_bytes()
    if CHECKPOINT not in files:
        warnings.append(f"{CHECKPOINT}: not there (the last part of PyTorch.ipynb saves it)")
    path = (out or root) / f"{student}_hw.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(name, data)
    return Archive(path, tuple(sorted(files)), tuple(warnings))


def import_failures(root: Path) -> list[str]:
    """One line for each task file that does not import, in a tree as the grader sees it."""
    modules = [name.removesuffix(".py").replace("/", ".") for name in TASK_FILES]
    with tempfile.TemporaryDirectory() as folder:
        submission_tree(root, Path(folder))
        command = [sys.executable, "-I", "-c", _IMPORT, folder, ",".join(WITH_TORCH), *modules]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"cs231n: importing it takes more than {IMPORT_SECONDS} s"]
    try:
        failed = json.loads(run.stdout.rstrip().rpartition("\n")[2])
    except ValueError:
        return [f"cs231n: importing it ends Python (exit code {run.returncode})"]
    return [f"{module}: does not import: {_why(*problem)}" for module, problem in failed.items()]


def _why(kind: str, message: str, line: str) -> str:
    more = hint(kind, message)
    return f"{': '.join(filter(None, (kind, message)))}{line}{f': {more}' if more else ''}"


def _about_files(found: Found) -> list[str]:
    state = progress(found.content)
    lines = [f"{name}: missing" for name in found.missing]
    lines += [f"{item.path}: not handed in: {item.reason}" for item in found.ignored
              if item.path.startswith("cs231n/")]
    lines += state.broken
    if state.stubs:
        lines.append(f"not written yet: {', '.join(state.stubs)}")
    if state.undefined:
        lines.append(f"not defined: {', '.join(state.undefined)}")
    return lines


def _about_notebooks(root: Path) -> list[str]:
    lines = []
    for name in NOTEBOOKS:
        path = root / "notebooks" / f"{name}.ipynb"
        if not path.is_file():
            lines.append(f"{name}.ipynb: missing from notebooks/")
            continue
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            sources = ["".join(cell["source"]) for cell in cells]
        except (ValueError, KeyError, TypeError):
            lines.append(f"{name}.ipynb: not a notebook (was it cut off while saving?)")
            continue
        answers = sum(source.strip() == TEXT_STUB for source in sources)
        code = sum(CODE_STUB in source for source in sources)
        if answers:
            lines.append(f"{name}.ipynb: {answers} question(s) without an answer")
        if code:
            lines.append(f"{name}.ipynb: {code} cell(s) not written yet")
    return lines
