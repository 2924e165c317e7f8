"""One notebook mended: each cell that carries points is the released one again.

A notebook is handled as what it is on disk, a tree of JSON, so that nothing of it runs and
nothing in it can surprise a library. What a student wrote is kept; what the assignment owns
(check cells, questions' points, settings) is put back.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import nbformat.reader

from grading.outputs import Budget, clean_outputs, joined

MAX_FILE = 200_000_000  # bytes of a notebook that is read at all
MAX_PARTS = 500_000  # lists and dictionaries in it: each takes half a kilobyte of memory
MAX_SOURCE = 200_000  # characters of one cell
MAX_CELLS = 2_000
SETTINGS = ("grade", "solution", "locked", "task", "points", "grade_id", "schema_version")
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
BETWEEN = re.compile(r"[\s,]*")
VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

Cell = dict[str, Any]


class BrokenNotebook(ValueError):
    """A file that cannot be read as a notebook; `cells` are those that could be saved."""

    def __init__(self, reason: str, cells: list[Cell] | None = None) -> None:
        super().__init__(reason)
        self.cells = cells or []


@dataclass
class Mended:
    """A mended notebook, what was done in words, and whether the file must be written."""

    notebook: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    changed: bool = False

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
        self.changed = True


def read(path: Path) -> dict[str, Any]:
    """The notebook at `path` as JSON of format 4; BrokenNotebook says why it cannot be read."""
    if path.stat().st_size > MAX_FILE:
        raise BrokenNotebook(f"it is larger than {MAX_FILE // 1_000_000} MB")
    data = path.read_bytes()
    if not data.strip():
        raise BrokenNotebook("it is empty")
    if _parts(data) > MAX_PARTS and _parts(TEXT.sub(b"", data)) > MAX_PARTS:
        raise BrokenNotebook(f"it has more than {MAX_PARTS:,} brackets")
    try:
        notebook = json.loads(data)
    except RecursionError:
        raise BrokenNotebook("it is nested too deeply") from None
    except ValueError:
        raise BrokenNotebook("it is damaged or cut short (not valid JSON)", _rescue(data)) from None
    if isinstance(notebook, dict) and isinstance(notebook.get("worksheets"), list):
        try:
            notebook = nbformat.convert(nbformat.reader.reads(data), 4)  # it joins lists of lines
            notebook["nbformat"] = 3  # where it comes from: `mend` says so, and writes it anew
        except Exception as error:  # whatever an odd old notebook makes the converter raise
            raise BrokenNotebook("it is in an old format that cannot be converted") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise BrokenNotebook("it is not a notebook (it has no cells)")
    return notebook


def _parts(data: bytes) -> int:
    return data.count(b"{") + data.count(b"[")


def mend(student: dict[str, Any], released: dict[str, Any]) -> Mended:
    """The student's notebook with the released cells in order. Neither argument is changed."""
    result = Mended({**released, "cells": []})
    if student.get("nbformat") != 4:
        result.note("It was in an old notebook format and was converted.")
    elif not _is_valid(student):
        result.note("It did not follow the notebook format in places; those were put right.")
    budget = Budget()
    try:
        cells = [_plain_cell(raw, budget) for raw in student["cells"][:MAX_CELLS]]
    except RecursionError:
        raise BrokenNotebook("it is nested too deeply") from None
    cells = [cell for cell in cells if cell is not None]
    if len(student["cells"]) > MAX_CELLS:
        result.note(f"It had more than {MAX_CELLS} cells; the rest was left out.")
    if budget.cut:
        result.note(f"Long outputs were shortened ({budget.cut} of them); the grade is unaffected.")
    ours = [{**cell, "source": joined(cell["source"])} for cell in released["cells"]]
    cells = _put_back(cells, ours, result)
    _name_cells(cells)
    result.notebook["cells"] = cells
    result.notebook.update(nbformat=4, nbformat_minor=5)
    if result.changed and not _is_valid(result.notebook):
        raise BrokenNotebook("it does not follow the notebook format", cells)
    return result


def answered(source: str, released: str) -> bool:
    """Whether `source` says anything beyond the released text of a question."""
    return source.strip() not in ("", released.strip())


def grade_id(cell: Cell) -> str | None:
    """The nbgrader name of a cell, or None."""
    marks = cell["metadata"].get("nbgrader")
    name = marks.get("grade_id") if isinstance(marks, dict) else None
    return name if isinstance(name, str) and name else None


def _put_back(cells: list[Cell], released: list[Cell], result: Mended) -> list[Cell]:
    """Match the student's cells with the released ones; restore, keep, drop and insert."""
    marked = [cell for cell in released if "nbgrader" in cell["metadata"]]
    known = {grade_id(cell) for cell in marked}
    for cell in cells:
        name = grade_id(cell)
        if "nbgrader" in cell["metadata"] and name not in known:
            del cell["metadata"]["nbgrader"]
            result.changed = True
            if name:
                result.note(f"The cell `{name}` is not of this assignment and carries no points.")
    home: dict[int, Cell] = {}  # place among the released cells -> the student's cell
    by_id = {cell["id"]: cell for cell in reversed(cells) if cell.get("id")}
    for place, ours in enumerate(released):
        if "nbgrader" not in ours["metadata"]:
            if ours.get("id") in by_id:
                home[place] = by_id[ours["id"]]
            continue
        found = _candidates(cells, ours, home)
        kept = _best(found, ours)
        if kept is None:
            kept = copy.deepcopy(ours)
            cells.insert(_place_for(cells, home, place), kept)
            result.note(f"The cell `{grade_id(ours)}` was missing and was put back.")
        else:
            cells = _single(cells, found, kept, ours, result)
            _restore(kept, ours, result)
        home[place] = kept
    return cells


def _candidates(cells: list[Cell], ours: Cell, home: dict[int, Cell]) -> list[Cell]:
    """The student's cells that may be `ours`: by name, by cell id, or by their text."""
    name = grade_id(ours)
    named = [cell for cell in cells if grade_id(cell) == name]
    if named:
        return named
    taken = {id(cell) for cell in home.values()}
    free = [cell for cell in cells if grade_id(cell) is None and id(cell) not in taken]
    same_id = [cell for cell in free if cell.get("id") and cell["id"] == ours.get("id")]
    if same_id or not _is_locked(ours):
        return same_id
    return [cell for cell in free if cell["source"].strip() == ours["source"].strip()]


def _best(found: list[Cell], ours: Cell) -> Cell | None:
    """The first candidate; among answers the first that says something."""
    if not _is_locked(ours):
        for cell in found:
            if answered(cell["source"], ours["source"]):
                return cell
    return found[0] if found else None


def _single(cells: list[Cell], found: list[Cell], kept: Cell, ours: Cell, result: Mended):
    """Leave one cell of the name: doubles are dropped, other answers stay as plain cells."""
    doubles = [cell for cell in found if cell is not kept]
    if not doubles:
        return cells
    result.note(f"The cell `{grade_id(ours)}` was there {len(found)} times; one is graded.")
    for cell in doubles:
        cell["metadata"].pop("nbgrader", None)
    keep = () if _is_locked(ours) else (kept["source"], ours["source"], "")
    gone = {id(c) for c in doubles if _is_locked(ours) or c["source"] in keep}
    return [cell for cell in cells if id(cell) not in gone]


def _restore(cell: Cell, ours: Cell, result: Mended) -> None:
    name = grade_id(ours)
    theirs, settings = cell["metadata"].get("nbgrader"), ours["metadata"]["nbgrader"]
    if theirs is None:
        result.note(f"The cell `{name}` had lost its marking; it was recognised.")
    elif any(theirs.get(key) != settings.get(key) for key in SETTINGS):
        result.note(f"The settings of the cell `{name}` had been changed and were put back.")
    if cell["cell_type"] != ours["cell_type"]:
        result.note(f"The cell `{name}` is of type {ours['cell_type']} again.")
        for key in ("outputs", "execution_count", "attachments"):
            cell.pop(key, None)
        cell["cell_type"] = ours["cell_type"]
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    if _is_locked(ours) and cell["source"] != ours["source"]:
        result.note(f"The cell `{name}` may not be edited; its released text was put back.")
        cell["source"] = ours["source"]
    cell["metadata"]["nbgrader"] = copy.deepcopy(settings)
    cell["id"] = ours.get("id") or cell.get("id")


def _place_for(cells: list[Cell], home: dict[int, Cell], place: int) -> int:
    """Behind the nearest released cell before it that the student still has."""
    for before in range(place - 1, -1, -1):
        for index, cell in enumerate(cells):
            if cell is home.get(before):
                return index + 1
    return 0


def _is_locked(ours: Cell) -> bool:
    marks = ours["metadata"]["nbgrader"]
    return not marks.get("solution") and not marks.get("task")


def _plain_cell(raw: Any, budget: Budget) -> Cell | None:
    """A well-formed cell from whatever stands in the list, or None."""
    if not isinstance(raw, dict):
        return None
    kind = raw.get("cell_type")
    kind = kind if kind in ("code", "markdown", "raw") else "raw"
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kept = [k for k in ("nbgrader", "deletable", "editable") if k in metadata]
    metadata = {k: copy.deepcopy(metadata[k]) for k in kept}
    if not isinstance(metadata.get("nbgrader", {}), dict):
        del metadata["nbgrader"]
    cell: Cell = {
        "cell_type": kind,
        "metadata": metadata,
        "source": joined(raw.get("source", ""))[:MAX_SOURCE],
        "id": raw.get("id") if isinstance(raw.get("id"), str) else None,
    }
    if kind == "code":
        count = raw.get("execution_count")
        cell["execution_count"] = count if type(count) is int and count >= 0 else None
        cell["outputs"] = clean_outputs(raw.get("outputs"), budget)
    elif _is_images(raw.get("attachments")):
        cell["attachments"] = raw["attachments"]
    return cell


def _is_images(attachments: Any) -> bool:
    return isinstance(attachments, dict) and all(
        isinstance(bundle, dict)
        and set(bundle) <= {"image/png", "image/jpeg"}
        and all(isinstance(data, str) for data in bundle.values())
        for bundle in attachments.values()
    )


def _name_cells(cells: list[Cell]) -> None:
    """Each cell gets a valid id of its own; the same notebook always gets the same ids."""
    seen = {c["id"] for c in cells if grade_id(c) and c.get("id")}
    for index, cell in enumerate(cells):
        name = cell.get("id") or ""
        if grade_id(cell) and name:
            continue
        if not VALID_ID.fullmatch(name) or name in seen:
            text = f"{index} {cell['source']}"
            name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        seen.add(name)
        cell["id"] = name


def _is_valid(notebook: dict[str, Any]) -> bool:
    try:
        nbformat.validate(nbformat.from_dict(notebook))
    except Exception:  # a validator on hostile input: any failure means not valid
        return False
    return True


def _rescue(data: bytes) -> list[Cell]:
    """The whole cells at the beginning of a notebook that was cut short."""
    text = data.decode("utf-8", "replace")
    start = re.search(r'"cells"\s*:\s*\[', text)
    if start is None:
        return []
    cells, decoder, at = [], json.JSONDecoder(), start.end()
    while at < len(text) and len(cells) < MAX_CELLS:
        at = BETWEEN.match(text, at).end()
        try:
            cell, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        cells.append(cell)
    return cells
