"""One operation for three trees: solved, under grading, and imported.

A tree under grading holds `cs231n/` alone: the course's own given modules, with a
student's task files and helpers laid over them. Everything else that a student hands in
has no effect on a grade. Nothing is executed here, links are never followed, and every
read is capped.
"""

import errno
import os
import re
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOLUTIONS = ROOT / "grading" / "solutions"

TASK_FILES = (
    "cs231n/layers.py",
    "cs231n/layer_utils.py",
    "cs231n/optim.py",
    "cs231n/classifiers/fc_net.py",
    "cs231n/classifiers/cnn.py",
    "cs231n/classifiers/resnet.py",
    "cs231n/classifiers/pytorch_nets.py",
)
# Named, not listed from the folder: a helper which somebody leaves in the course's own
# cs231n/ must not become part of every student's tree.
GIVEN = (
    "cs231n/__init__.py",
    "cs231n/averaging.py",
    "cs231n/budget.py",
    "cs231n/classifiers/__init__.py",
    "cs231n/curves.py",
    "cs231n/data_utils.py",
    "cs231n/distributed.py",
    "cs231n/evaluation.py",
    "cs231n/fast_blocks.py",
    "cs231n/fast_columns.py",
    "cs231n/fast_layers.py",
    "cs231n/fast_rows.py",
    "cs231n/gradient_check.py",
    "cs231n/hardware.py",
    "cs231n/im2col.py",
    "cs231n/images.py",
    "cs231n/predict.py",
    "cs231n/saving.py",
    "cs231n/solver.py",
    "cs231n/step.py",
    "cs231n/train.py",
    "cs231n/training.py",
    "cs231n/transfer.py",
    "cs231n/vis_utils.py",
    "cs231n/winograd.py",
)

MAX_BYTES = 1_000_000  # of one file
MAX_FILES = 200  # helpers that are taken
GRADIENT_CHECK = "cs231n/gradient_check.py"
# What stands in its place while code is graded: differences of a forward are no backward.
REFUSES = b'''"""The gradient check, which is not for code that is graded."""


def refused(*args, **kwargs):
    """Raise RuntimeError."""
    raise RuntimeError(
        "cs231n.gradient_check is not for code that is graded: compute the gradient by its formula"
    )


rel_error = eval_numerical_gradient = eval_numerical_gradient_array = grad_check_sparse = refused
'''
MAX_ENTRIES = 5_000  # folder entries that are looked at
MAX_DEPTH = 6  # of helpers' folders, below cs231n/

_REASONS = {
    ".pyx": "Cython source: nothing is compiled here, cs231n/fast_layers.py is given in NumPy",
    ".c": "compiled code is not taken: cs231n/fast_layers.py is given in NumPy",
    ".so": "compiled code is not taken: cs231n/fast_layers.py is given in NumPy",
    ".pyd": "compiled code is not taken: cs231n/fast_layers.py is given in NumPy",
    ".ipynb": "a notebook inside cs231n/ is not read",
}


@dataclass(frozen=True)
class Ignored:
    """Something that a student handed in and that plays no part, with a plain reason."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Overlay:
    """What became of a submission's files. Paths read `cs231n/...`, with forward slashes."""

    root: Path
    package: Path | None
    taken: tuple[str, ...]
    missing: tuple[str, ...]
    helpers: tuple[str, ...]
    ignored: tuple[Ignored, ...]

    def summary(self) -> str:
        """Lines of plain English: taken, missing, helpers, ignored."""
        lines = [] if self.package else ["no cs231n/ folder was found"]
        lines += [f"taken    {name}" for name in self.taken]
        lines += [f"helper   {name}" for name in self.helpers]
        lines += [f"missing  {name} (the unwritten file stands in)" for name in self.missing]
        lines += [f"ignored  {item}" for item in self.ignored]
        return "\n".join(lines)


def solved_tree(out: Path) -> Path:
    """Write the solved `cs231n/` into `out`, and return `out`.

    Raises FileExistsError if `out/cs231n` is there, FileNotFoundError without the masters.
    """
    _write(out, given() | {name: (SOLUTIONS / name).read_bytes() for name in TASK_FILES})
    return out


def submission_tree(submission: Path, out: Path) -> Overlay:
    """Write the tree under grading for the folder `submission` into `out`.

    Raises FileExistsError if `out/cs231n` is there. A submission never makes this raise:
    what cannot be used is listed in the result.
    """
    found = collect(submission)
    _write(out, _overlaid(found))
    return Overlay(
        out, found.package, found.taken, found.missing, found.helpers, tuple(found.ignored)
    )


def files_under_grading(submission: Path) -> dict[str, bytes]:
    """The same tree as it is sent to a worker, by name: no folder is needed."""
    return _overlaid(collect(submission))


@cache
def given() -> dict[str, bytes]:
    """The given modules, by name."""
    return {name: (ROOT / name).read_bytes() for name in GIVEN if (ROOT / name).is_file()}


def pristine_stub(name: str) -> bytes:
    """The unwritten task file `name`.

    With the masters at hand it is built from them, so that a solution that somebody wrote
    into the course's own cs231n/ never stands in for a file that a student left out.
    """
    if not (SOLUTIONS / name).is_file():
        return (ROOT / name).read_bytes()
    from grading.release.stubs import build_stub  # the checks import torch: only if needed

    return build_stub(name).encode()


@dataclass
class Found:
    """The usable files of a submission, read but not yet written anywhere."""

    package: Path | None
    taken: tuple[str, ...]
    missing: tuple[str, ...]
    helpers: tuple[str, ...]
    ignored: list[Ignored]
    content: dict[str, bytes]


def collect(submission: Path) -> Found:
    """Read a submission's task files and helpers. Nothing is written, nothing raises."""
    package = find_package(submission)
    if package is None:
        return Found(None, (), TASK_FILES, (), [], {})
    content: dict[str, bytes] = {}
    ignored = _beside(package)
    for name in TASK_FILES:
        data = _read_task_file(package, name, ignored)
        if data is not None:
            content[name] = data
    taken = tuple(content)
    helpers = _helpers(package, content, ignored)
    missing = tuple(name for name in TASK_FILES if name not in taken)
    return Found(package, taken, missing, helpers, ignored, content)


def _overlaid(found: Found) -> dict[str, bytes]:
    stubs = {name: pristine_stub(name) for name in found.missing}
    return given() | {GRADIENT_CHECK: REFUSES} | stubs | found.content


def find_package(submission: Path) -> Path | None:
    """The folder `cs231n` of a submission, or None.

    Looked for at `cs231n`, `assignment2/cs231n`, and both one level down. Of several the
    one with most task files is taken, then the first.
    """
    tops = [submission, *(e for e in _folders(submission) if e.name != "cs231n")]
    best, most = None, -1
    for top in tops:
        for steps in (["cs231n"], ["assignment2", "cs231n"]):
            if not all(_is_kind(top.joinpath(*steps[:i]), stat.S_IFDIR) for i in (1, len(steps))):
                continue
            place = top.joinpath(*steps)
            count = sum(_is_kind(_within(place, name), stat.S_IFREG) for name in TASK_FILES)
            if count > most:
                best, most = place, count
    return best


def _write(out: Path, files: dict[str, bytes]) -> None:
    if (out / "cs231n").exists():
        raise FileExistsError(f"{out / 'cs231n'} is there already: give an empty folder")
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _within(package: Path, name: str) -> Path:
    return package / name.removeprefix("cs231n/")


def _read_task_file(package: Path, name: str, ignored: list[Ignored]) -> bytes | None:
    path = _within(package, name)
    if path.parent != package and not _is_kind(path.parent, stat.S_IFDIR):
        return None  # the walk reports a linked folder
    if not os.path.lexists(path):
        return None
    data = _read(path)
    if isinstance(data, str):
        ignored.append(Ignored(name, data))
        return None
    return data


def _read(path: Path) -> bytes | str:
    """The bytes of a regular file of at most MAX_BYTES, or the reason why not."""
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link: links are not followed"
        return f"cannot be read ({error.strerror})"
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return "not an ordinary file"
        with os.fdopen(os.dup(handle), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    finally:
        os.close(handle)
    return data if len(data) <= MAX_BYTES else "larger than 1 MB"


def _helpers(
    package: Path, content: dict[str, bytes], ignored: list[Ignored]
) -> tuple[str, ...]:
    """Read the student's own .py files into `content`; return their names."""
    reserved = {*TASK_FILES, *GIVEN}
    # A folder cs231n/solver/ would be imported in the place of cs231n/solver.py.
    modules = {name.removesuffix(".py").casefold() for name in reserved}
    lowered = {name.casefold() for name in reserved}
    helpers: list[str] = []
    entries = 0
    stack = [(package, "cs231n")]
    while stack:
        folder, prefix = stack.pop()
        for entry in _scan(folder):
            entries += 1
            if entries > MAX_ENTRIES:
                ignored.append(Ignored("cs231n/", f"more than {MAX_ENTRIES} entries: rest unread"))
                return tuple(helpers)
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            name = f"{prefix}/{entry.name}"
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                reason = _folder_reason(name, modules)
                if reason:
                    ignored.append(Ignored(printable(name) + "/", reason))
                else:
                    stack.append((path, name))
                continue
            if name in TASK_FILES:
                continue
            if name in GIVEN:
                if not _same_as_given(path, name):
                    reason = "a given module: the course's own copy is used, edits have no effect"
                    ignored.append(Ignored(name, reason))
                continue
            reason = _file_reason(entry, name, lowered)
            if not reason and len(helpers) >= MAX_FILES:
                reason = f"more than {MAX_FILES} files of your own"
            data = reason or _read(path)
            if isinstance(data, str):
                ignored.append(Ignored(printable(name), data))
                continue
            content[name] = data
            helpers.append(name)
            lowered.add(name.casefold())
            modules.add(name.removesuffix(".py").casefold())
    return tuple(helpers)


def _folder_reason(name: str, modules: set[str]) -> str | None:
    if name.casefold() in modules:
        return f"a folder in the place of the module {name}.py"
    if name.casefold() == "cs231n/classifiers" and name != "cs231n/classifiers":
        return "differs from cs231n/classifiers by capital letters alone"
    if name.count("/") > MAX_DEPTH:
        return f"more than {MAX_DEPTH} folders deep"
    if not name.rpartition("/")[2].isidentifier():
        return "not a Python package's name"
    return None


def _file_reason(entry: os.DirEntry, name: str, lowered: set[str]) -> str | None:
    if entry.is_symlink():
        return "a link: links are not followed"
    if not entry.is_file(follow_symlinks=False):
        return "not an ordinary file"
    stem, suffix = os.path.splitext(entry.name)
    if suffix != ".py":
        return _REASONS.get(suffix, "not a Python file")
    if name == "cs231n/setup.py":
        return "it builds a Cython extension: nothing is compiled here"
    if name.casefold() in lowered:
        return "differs from another file by capital letters alone"
    if not stem.isidentifier():
        original = re.sub(r"( ?\(\d+\)| - Copy|-checkpoint)$", "", stem)
        return f"cannot be imported under this name (is it {printable(original)}.py? rename it)"
    return None


def _beside(package: Path) -> list[Ignored]:
    """What lies next to cs231n/ and might be thought to count."""
    noted = []
    for entry in _scan(package.parent):
        if entry.name in ("grading", "datasets"):
            noted.append(Ignored(f"{entry.name}/", "the course's own copy is used"))
        elif entry.name.endswith(".py"):
            reason = "outside cs231n/: move it there and import it as cs231n.<name>"
            noted.append(Ignored(printable(entry.name), reason))
    return noted


def _same_as_given(path: Path, name: str) -> bool:
    return _read(path) == given().get(name)


def _scan(folder: Path) -> list[os.DirEntry]:
    """The entries of a folder by name, at most MAX_ENTRIES + 1 of them."""
    entries = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                entries.append(entry)
                if len(entries) > MAX_ENTRIES:
                    break
    except OSError:
        return []
    return sorted(entries, key=lambda entry: entry.name)


def _folders(folder: Path) -> list[Path]:
    return [folder / e.name for e in _scan(folder) if e.is_dir(follow_symlinks=False)]


def _is_kind(path: Path, kind: int) -> bool:
    """Is it of this kind (stat.S_IFDIR, stat.S_IFREG) itself, not by a link?"""
    try:
        return stat.S_IFMT(path.lstat().st_mode) == kind
    except (OSError, ValueError):
        return False


def printable(name: str) -> str:
    """A file name that is safe to show: control codes and broken bytes are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
