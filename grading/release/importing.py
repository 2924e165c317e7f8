"""Take a solution written for another year into the working copy."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from grading.overlay import ROOT, TASK_FILES, collect
from grading.release.written import progress


@dataclass
class Imported:
    """What became of each file, for `report`."""

    lines: list[str] = field(default_factory=list)
    took: int = 0

    def report(self) -> str:
        return "\n".join(self.lines)


def import_solution(folder: Path, root: Path = ROOT) -> Imported:
    """Copy task files and helpers from `folder` into `root/cs231n`, and say what was done.

    A file that is replaced is kept below `root/build/`. Nothing is edited or executed.
    Raises FileNotFoundError if `folder` holds no `cs231n/` or `assignment2/cs231n/`.
    """
    found = collect(folder)
    if found.package is None:
        raise FileNotFoundError(f"{folder}: no cs231n/ and no assignment2/cs231n/ in it")
    result = Imported([f"from {found.package}"])
    backup = root / "build" / time.strftime("before-import-%Y%m%d-%H%M%S")
    for name in (*found.taken, *found.helpers):
        kind = "took" if name in TASK_FILES else "took (a helper of its own)"
        result.lines.append(f"  {kind} {name}{_replace(root, name, found.content[name], backup)}")
        result.took += 1
    for name in found.missing:
        result.lines.append(f"  not in it: {name}; yours is unchanged")
    result.lines += [f"  ignored {item}" for item in found.ignored]
    others = [name for name in found.missing if (root / name).is_file()]
    elsewhere = {name: (root / name).read_bytes() for name in others}
    result.lines += _exercises(found.content, elsewhere)
    return result


def _replace(root: Path, name: str, data: bytes, backup: Path) -> str:
    """Write the file; keep what was there, if it differs. Return a remark on that."""
    path, remark = root / name, ""
    if path.is_file() and path.read_bytes() != data:
        kept = backup / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(path.read_bytes())
        remark = f" (yours is kept as {kept.relative_to(root)})"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return remark


def _exercises(content: dict[str, bytes], elsewhere: dict[str, bytes]) -> list[str]:
    """What the files that were taken lack; exercises of files that are not in it are no lack."""
    state = progress(content)
    lines = [f"  {problem}" for problem in state.broken]
    nowhere = progress(elsewhere | content).undefined
    lacking = [name for name in state.undefined if name in nowhere]
    if lacking:
        lines.append(f"  exercises that it does not define: {', '.join(lacking)}")
    if state.stubs:
        lines.append(f"  exercises that it leaves unwritten: {', '.join(state.stubs)}")
    return lines
