"""Solution regions: what lies between `### BEGIN SOLUTION` and `### END SOLUTION`.

The markers are strict. A typing slip in a marker would otherwise hand the solution out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
# What stands in a released notebook, where the source has code or an answer. nbgrader's
# ClearSolutions is told to write the same.
CODE_STUB = 'raise NotImplementedError("Not written yet. Write it in this cell.")'
TEXT_STUB = "*Your answer here.*"
_LOOKS_LIKE = re.compile(r"(BEGIN|END)[\s_-]*SOLUTION", re.IGNORECASE)


class MarkerError(ValueError):
    """A solution marker that is nested, unclosed, misspelt or in the wrong place."""


@dataclass(frozen=True)
class Region:
    """Lines `start` to `end` (from 1, markers included) at `indent` spaces."""

    start: int
    end: int
    indent: str


def regions(text: str, name: str) -> list[Region]:
    """The solution regions of `text`, in order; `name` is the file's name for messages.

    Raises MarkerError (`file:line: what`) if a region is nested, unclosed, closed twice,
    closed at another indentation, empty, or if a line merely resembles a marker.
    """
    found: list[Region] = []
    opened: tuple[int, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        word, indent = line.strip(), line[: len(line) - len(line.lstrip())]
        if word == BEGIN:
            if opened:
                raise MarkerError(f"{name}:{number}: a region inside that of line {opened[0]}")
            opened = (number, indent)
        elif word == END:
            if not opened:
                raise MarkerError(f"{name}:{number}: {END} without {BEGIN}")
            if indent != opened[1]:
                raise MarkerError(f"{name}:{number}: not indented as line {opened[0]}")
            if number == opened[0] + 1:
                raise MarkerError(f"{name}:{number}: an empty region")
            found.append(Region(opened[0], number, indent))
            opened = None
        elif _LOOKS_LIKE.search(line):
            raise MarkerError(f"{name}:{number}: not exactly {BEGIN!r} or {END!r}")
    if opened:
        raise MarkerError(f"{name}:{opened[0]}: a region that is never closed")
    return found


def replace(text: str, name: str, stub: Callable[[Region], str]) -> str:
    """`text` with each region replaced by the lines of `stub(region)`, indented as it was."""
    lines = text.split("\n")
    for region in reversed(regions(text, name)):
        new = [region.indent + line for line in stub(region).split("\n")]
        lines[region.start - 1 : region.end] = new
    return "\n".join(lines)
