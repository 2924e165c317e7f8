"""Where the outcomes of a class are kept: one file for each graded content.

An outcome depends on what was handed in, on the checks, on the entropy, on whether CIFAR-10 is
there and on the new images that an instructor adds, and on nothing else. So it is stored under a
hash of these, and a class that was graded half is graded on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from datasets import cifar10_1
from grading import exam, overlay
from grading.outcome import Outcome
from grading.sealed import isolation

ENTROPY = "ENTROPY"  # environment variable: replay a class with this number
STORED_ONLY = "CS231N_STORED_ONLY"  # environment variable: set while nbgrader only reads
CHANGED = "what was handed in changed while it was read: run this again"
WEIGHTS = (".safetensors", ".pt", ".pth")
LEVEL = "LEVEL"  # environment variable: 'sealed' or 'process', how students' code is held
# What a grade does not depend on; everything else in grading/ does change a grade.
INDEPENDENT = (
    "release", "solutions", "class_report", "__main__.py", "archives.py", "autograde.py",
    "classroom.py", "cluster.py", "connection.py", "doctor.py", "evidence.py", "examples.py",
    "exchange.py", "feedback.py", "gradebook.py", "graders.py", "grades.py", "images.py",
    "machine.py", "nbgrader_config.py", "outputs.py", "preprocessors.py", "repair.py",
    "repair_notebook.py", "report.py", "scores.py", "session.py", "similar.py", "store.py",
    "sweep.py", "zip_collect.py",
)  # fmt: skip


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Changed(RuntimeError):
    """A submission was written to while it was graded, so that its outcome is of nothing."""


class Store:
    """The outcomes of the course in the folder `course`, for its one entropy."""

    def __init__(self, course: Path) -> None:
        self.course = course
        self.folder = course / "outcomes"

    @property
    def level(self) -> str:
        """How students' code is held: sealed, or as LEVEL says by name; LevelError otherwise."""
        return isolation.chosen(os.environ.get(LEVEL))

    @property
    def entropy(self) -> int:
        """The class's entropy: the environment's, the stored one, or a fresh one, stored."""
        path = self.course / "entropy.txt"
        said = os.environ.get(ENTROPY)
        if not said:
            try:
                return int(path.read_text())
            except FileNotFoundError:
                pass
            except ValueError:
                raise ValueError(f"{path} does not hold a whole number: delete it") from None
        if said and not said.isdecimal():
            raise ValueError(f"{ENTROPY} must be a whole number, but is {said!r}")
        entropy = int(said) if said else secrets.randbits(64)
        write_atomically(path, f"{entropy}\n")
        return entropy

    def key(self, submission: Path) -> str:
        """The hash of everything that the outcomes of `submission` depend on."""
        return key_of(content(submission), self.entropy, self.level)

    def read(self, key: str) -> dict[str, Outcome] | None:
        """The outcomes under `key`, or None; a damaged file counts as none."""
        try:
            stored = json.loads((self.folder / f"{key}.json").read_text("utf-8"))
            return {name: Outcome.from_json(text) for name, text in stored.items()}
        except (OSError, ValueError, AttributeError):
            return None

    def write(self, key: str, outcomes: Mapping[str, Outcome]) -> None:
        stored = {name: outcome.to_json() for name, outcome in outcomes.items()}
        write_atomically(self.folder / f"{key}.json", json.dumps(stored, ensure_ascii=False))

    def grade(self, submission: Path) -> dict[str, Outcome]:
        """The outcomes of `submission`: the stored ones, or those of grading it now.

        LookupError if they are not stored and this process was told not to grade, Changed if
        the submission is not what it was when its grading began.
        """
        key = self.key(submission)
        outcomes = self.read(key)
        if outcomes is None:
            if os.environ.get(STORED_ONLY):
                raise LookupError(f"no outcome is stored for {submission}")
            from grading.grade import grade_submission  # imports torch: only when it is needed

            outcomes = grade_submission(submission, entropy=self.entropy, level=self.level)
            if self.key(submission) != key:
                raise Changed(CHANGED)
            self.write(key, outcomes)
        return outcomes


def key_of(content: str, entropy: int, level: str) -> str:
    """The key of outcomes, from the hash of a submission's content; ValueError if CIFAR10_1_URL
    names no set of images."""
    images = f"{exam.source()} {cifar10_1.version()}"
    parts = f"{content} {checks_version()} {entropy} {level} {images}"
    return hashlib.sha256(parts.encode()).hexdigest()


def content(submission: Path) -> str:
    """A hash of what is graded of a submission: its task files, helpers and checkpoint."""
    digest = hashlib.sha256()
    found = overlay.collect(submission)
    for name in sorted(found.content):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(hashlib.sha256(found.content[name]).digest())
    for path in weights(submission):
        name = path.relative_to(submission).as_posix()
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(_file_digest(path, path.stat().st_size, path.stat().st_mtime_ns))
    return digest.hexdigest()


def weights(submission: Path) -> list[Path]:
    """The files that a checkpoint is looked for among, in `checkpoints` and beside it."""
    found = []
    for place in (submission / "checkpoints", submission):
        if place.is_dir() and not place.is_symlink():
            files = [p for p in sorted(place.iterdir()) if p.is_file() and not p.is_symlink()]
            found += [p for p in files if place != submission or p.suffix in WEIGHTS]
    return found


@cache
def _file_digest(path: Path, size: int, changed: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@cache
def checks_version() -> str:
    """A hash of the code that grades: the engine, the checks, and the given modules."""
    digest = hashlib.sha256()
    grading = overlay.ROOT / "grading"
    paths = [
        path
        for path in grading.rglob("*.py")
        if path.relative_to(grading).parts[0] not in INDEPENDENT
    ]
    for name in overlay.TASK_FILES:  # the unwritten one stands in for a file that is missing
        digest.update(overlay.pristine_stub(name) + b"\0")
    paths += [overlay.ROOT / name for name in overlay.GIVEN]
    for path in sorted(paths):
        if path.is_file():
            digest.update(path.relative_to(overlay.ROOT).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
