"""A broken submission made fit to be graded, where that is safe, and told so in plain words.

Works on folders alone and runs nothing of what it finds. Before a file is changed or removed
it is copied to `originals`. A second run on the result finds nothing left to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from grading import overlay, repair_notebook
from grading.repair_notebook import BrokenNotebook
from grading.store import write_atomically

COLLECTED = (".ipynb", ".py", ".safetensors", ".pt", ".pth")  # endings that are handed in
SKIPPED = (".ipynb_checkpoints", "__pycache__", "__MACOSX")
MAX_FILES = 5_000
NOT_USED = "it was not used:"  # before the reason


@dataclass(frozen=True)
class Repair:
    """One thing that was done, or could not be, to one file, said to the student."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def repair(folder: Path, released: Path, originals: Path) -> list[Repair]:
    """Mend the submission in `folder` against the notebooks in `released`.

    Never raises for what a student handed in. Missing notebooks are replaced by the released
    ones, so that every notebook of the assignment is there afterwards.
    """
    keeper = _Keeper(folder, originals)
    repairs = _only_plain_files(keeper)
    repairs += _lift_notebooks(keeper, released)
    repairs += _place_task_files(keeper)
    for release in sorted(released.glob("*.ipynb")):
        repairs += _repair_notebook(keeper, release)
    return repairs


def settle(
    folder: Path,
    released: Path,
    originals: Path,
    record: Path,
    before: Sequence[Repair] = (),
) -> list[Repair]:
    """Repair a submission once: what was done is kept in `record` with the result's content.

    As long as the content stays the same the record is the answer. New content starts a new
    record, which begins with the repairs `before`.
    """
    known = settled(folder, record)
    if known is not None:
        return known
    if record.is_file():  # of other content. Without a record, a repair was interrupted: its
        shutil.rmtree(originals, ignore_errors=True)  # originals are the only ones
        record.unlink()
    repairs = [*before, *repair(folder, released, originals)]
    content = {"content": fingerprint(folder), "repairs": [asdict(r) for r in repairs]}
    write_atomically(record, json.dumps(content, ensure_ascii=False, indent=1))
    return repairs


def settled(folder: Path, record: Path) -> list[Repair] | None:
    """The repairs in `record`, or None where it is not of what is in `folder` now."""
    try:
        known = json.loads(record.read_text("utf-8"))
        if known["content"] == fingerprint(folder):
            return [Repair(**entry) for entry in known["repairs"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no record yet, or a damaged one: repair again
    return None


def recorded(record: Path) -> list[Repair]:
    """The repairs in a record, none if there is no readable one."""
    try:
        return [Repair(**entry) for entry in json.loads(record.read_text("utf-8"))["repairs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def fingerprint(folder: Path) -> str:
    """A hash of the files of a submission that are collected, by path and content."""
    digest = hashlib.sha256()
    for path in sorted(files(folder)):
        if path.suffix in COLLECTED:
            name = path.relative_to(folder).as_posix()
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def files(folder: Path) -> Iterator[Path]:
    """The regular files below `folder`, links not followed, at most MAX_FILES of them."""
    count = 0
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            path = Path(top, name)
            if stat.S_ISREG(path.lstat().st_mode):
                count += 1
                if count > MAX_FILES:
                    return
                yield path


def shown(path: Path | str) -> str:
    """A file's name for a report: one line, nothing that markdown or a terminal would obey."""
    text = str(path).encode("utf-8", "replace").decode()
    text = "".join(c if c.isprintable() and c not in "`<>|*[]" else "\ufffd" for c in text)
    return text if len(text) <= 120 else text[:117] + "..."


class _Keeper:
    """The submission's folder, with a copy kept of whatever is changed in it."""

    def __init__(self, folder: Path, originals: Path) -> None:
        self.folder, self.originals = folder, originals

    def name(self, path: Path) -> str:
        return shown(path.relative_to(self.folder).as_posix())

    def keep(self, path: Path) -> None:
        copy = self.originals / path.relative_to(self.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            shutil.copyfile(path, copy, follow_symlinks=False)

    def move(self, path: Path, to: Path) -> None:
        self.keep(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, to)

    def write(self, path: Path, text: str) -> None:
        if path.exists():
            self.keep(path)
        write_atomically(path, text)


def _only_plain_files(keeper: _Keeper) -> list[Repair]:
    """Links, pipes and devices go; they are neither followed nor opened. A folder does not keep
    the name of a notebook."""
    repairs = []
    for top, folders, names in os.walk(keeper.folder):
        for i, name in enumerate(folders):
            path = Path(top, name)
            if path.suffix == ".ipynb" and not path.is_symlink():
                while path.exists():
                    path = path.with_name(path.name + "_")
                Path(top, name).rename(path)
                folders[i] = path.name
                text = "this was a folder, not a notebook; it was renamed."
                repairs.append(Repair(keeper.name(Path(top, name)), text))
        for name in [*folders, *names]:
            path = Path(top, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                continue
            path.unlink()
            kind = "a link" if stat.S_ISLNK(mode) else "not an ordinary file"
            text = f"this was {kind}, which is never followed; it was removed. Hand in the file."
            repairs.append(Repair(keeper.name(path), text))
    return repairs


def _lift_notebooks(keeper: _Keeper, released: Path) -> list[Repair]:
    """The assignment's notebooks go to the top of the submission, under their own names."""
    repairs = []
    found = [path for path in files(keeper.folder) if path.suffix.lower() == ".ipynb"]
    wanted = {path.name: keeper.folder / path.name for path in sorted(released.glob("*.ipynb"))}
    spare = [path for path in found if path not in wanted.values()]
    for name, place in wanted.items():
        copies = sorted((p for p in spare if _is_copy(p.stem, place.stem)), key=_age)
        if not copies:
            copies = [p for p in spare if _is_inside(p, released / name, wanted)]
        usable = [p for p in copies if _readable(p)]
        if place in found and (_readable(place) or not usable):
            for path in copies:
                text = f"this looks like a copy of {name}; {name} itself is the one graded."
                repairs.append(Repair(keeper.name(path), text))
                keeper.keep(path)
                path.unlink()
        elif copies:
            chosen = (usable or copies)[-1]
            text = f"it was taken as {name}. Hand it in under that name, at the top."
            repairs.append(Repair(keeper.name(chosen), text))
            if place.exists():
                keeper.keep(place)
            keeper.move(chosen, place)
        spare = [path for path in spare if path.exists()]
    return repairs


def _is_copy(stem: str, wanted: str) -> bool:
    """Whether a file's name is the wanted one with the additions that copying makes."""
    plain = re.sub(r"[^a-z0-9]", "", stem.lower())
    return wanted.lower() in plain


def _is_inside(path: Path, release: Path, wanted: dict[str, Path]) -> bool:
    """Whether a notebook of another name holds most of the released one's marked cells."""
    if path.name in wanted:
        return False
    try:
        theirs, ours = repair_notebook.read(path), repair_notebook.read(release)
    except BrokenNotebook:
        return False
    names = {repair_notebook.grade_id(cell) for cell in ours["cells"]} - {None}
    have = {
        repair_notebook.grade_id(cell)
        for cell in theirs["cells"]
        if isinstance(cell, dict) and isinstance(cell.get("metadata"), dict)
    }
    return len({name for name in names if name in have}) * 2 > len(names)


def _readable(path: Path) -> bool:
    try:
        repair_notebook.read(path)
    except (BrokenNotebook, OSError):
        return False
    return True


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name


def _place_task_files(keeper: _Keeper) -> list[Repair]:
    """Task files that lie loose at the top go into `cs231n/`; missing ones are named."""
    repairs = []
    if overlay.find_package(keeper.folder) is None:
        for name in overlay.TASK_FILES:
            loose = keeper.folder / Path(name).name
            if loose.is_file():
                keeper.move(loose, keeper.folder / name)
                repairs.append(Repair(loose.name, f"it was taken as {name}."))
    found = overlay.collect(keeper.folder)
    if found.package is None:
        text = "there is no such folder: every check ran on the unwritten files."
        return [*repairs, Repair("cs231n/", text)]
    for name in found.missing:
        text = "it is not in the submission: its checks ran on the unwritten file."
        repairs.append(Repair(name, text))
    for item in found.ignored:
        if item.path in overlay.TASK_FILES or item.reason.startswith("larger than"):
            text = f"{NOT_USED} {shown(item.reason)}."
            repairs.append(Repair(shown(item.path), text))
    return repairs


def _repair_notebook(keeper: _Keeper, release: Path) -> list[Repair]:
    """One notebook mended, or the released one in its place."""
    place, ours = keeper.folder / release.name, repair_notebook.read(release)
    if not place.is_file():
        keeper.write(place, release.read_text("utf-8"))
        text = "it is not in the submission: the released notebook stands in for it."
        return [Repair(release.name, text)]
    repairs = []
    try:
        mended = repair_notebook.mend(repair_notebook.read(place), ours)
    except BrokenNotebook as broken:
        saved = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": broken.cells}
        text = f"it could not be read: {broken}. The released notebook stands in for it"
        try:
            mended = repair_notebook.mend(saved, ours)
            kept = len(broken.cells)
        except BrokenNotebook:
            mended = repair_notebook.mend({**saved, "cells": []}, ours)
            kept = 0
        text += (
            f", with the {kept} cells that could be saved."
            if kept
            else "; your answers in it are lost to us."
        )
        repairs.append(Repair(release.name, text))
        mended.notes.clear()
        mended.changed = True
    if mended.changed:
        text = json.dumps(mended.notebook, ensure_ascii=True, indent=1)
        keeper.write(place, text + "\n")
    return repairs + [Repair(release.name, note) for note in mended.notes]
