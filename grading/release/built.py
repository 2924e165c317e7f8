"""Write what is built from the masters, and compare it with what is there."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path

from grading.checks import NOTEBOOKS
from grading.overlay import ROOT, TASK_FILES
from grading.release.notebooks import build_notebook
from grading.release.stubs import build_stub

MAX_DIFF = 60  # lines shown of one file


def artefacts() -> Iterator[tuple[str, str]]:
    """(path from the project's root, text) of each built file."""
    for name in TASK_FILES:
        yield name, build_stub(name)
    for name in NOTEBOOKS:
        yield f"notebooks/{name}.ipynb", build_notebook(name, answers=False)


def build(root: Path = ROOT) -> list[str]:
    """Write every built file below `root`; return the paths whose content changed."""
    changed = []
    for name, text in artefacts():
        path = root / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        changed.append(name)
    return changed


def compare(root: Path = ROOT) -> list[str]:
    """A readable difference for each file whose content is not what the masters give."""
    differences = []
    for name, text in artefacts():
        path = root / name
        if not path.is_file():
            differences.append(f"{name}: missing")
        elif difference := _difference(name, path.read_text(encoding="utf-8"), text):
            differences.append(difference)
    built = {f"{name}.ipynb" for name in NOTEBOOKS}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        if path.name not in built:
            differences.append(f"notebooks/{path.name}: has no master")
    return differences


def _difference(name: str, there: str, built: str) -> str:
    if there == built:
        return ""
    if name.endswith(".ipynb"):
        try:
            old, new = json.loads(there), json.loads(built)
        except ValueError:
            return f"{name}: not a notebook"
        if old == new:
            return ""
        there, built = _readable(old), _readable(new)
    lines = difflib.unified_diff(
        there.splitlines(), built.splitlines(), f"{name} (there)", f"{name} (built)", lineterm=""
    )
    shown = list(lines)
    if len(shown) > MAX_DIFF:
        shown[MAX_DIFF:] = [f"... {len(shown) - MAX_DIFF} more lines"]
    return "\n".join(shown)


def _readable(notebook: dict) -> str:
    """A notebook as text: one header line a cell, then its source and what else it holds."""
    lines = []
    for cell in notebook.get("cells", []):
        rest = {k: v for k, v in cell.items() if k not in ("source", "cell_type", "id") and v}
        lines.append(f"[{cell.get('cell_type')} {cell.get('id')}] {json.dumps(rest)[:300]}")
        lines += "".join(cell.get("source", [])).splitlines()
    lines.append(json.dumps({k: v for k, v in notebook.items() if k != "cells"}, sort_keys=True))
    return "\n".join(lines)
