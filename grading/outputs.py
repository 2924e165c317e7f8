"""What a student's cells printed and drew: kept for the instructor, within bounds.

Only text and bitmaps are kept. HTML, SVG and scripts would run in the instructor's browser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 20_000  # characters of one output
MAX_IMAGE = 2_000_000  # base64 characters of one picture
MAX_TOTAL = 8_000_000  # characters of all outputs of a notebook
MAX_OUTPUTS = 50  # of one cell
CUT = "\n... the rest of this output was left out ...\n"
IMAGES = ("image/png", "image/jpeg")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ud800-\udfff]")


@dataclass
class Budget:
    """What is left for the outputs of one notebook, and how many were cut."""

    left: int = MAX_TOTAL
    cut: int = 0

    def text(self, text: str) -> str:
        limit = min(MAX_TEXT, self.left)
        if len(text) > limit:
            self.cut += 1
            text = (text[: limit - len(CUT)] + CUT) if limit > len(CUT) else ""
        self.left -= len(text)
        return CONTROL.sub("\ufffd", text)

    def image(self, data: str) -> str | None:
        if len(data) > min(MAX_IMAGE, self.left):
            self.cut += 1
            return None
        self.left -= len(data)
        return data


def joined(value: Any) -> str:
    """Text that notebooks store as a string or as a list of lines."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def clean_outputs(outputs: Any, budget: Budget) -> list[dict[str, Any]]:
    """The outputs of one cell that are safe and small enough to keep, well formed."""
    if not isinstance(outputs, list):
        return []
    if len(outputs) > MAX_OUTPUTS:
        budget.cut += 1
    cleaned = (_clean(o, budget) for o in outputs[:MAX_OUTPUTS] if isinstance(o, dict))
    return [output for output in cleaned if output is not None]


def _clean(output: dict[str, Any], budget: Budget) -> dict[str, Any] | None:
    kind = output.get("output_type")
    if kind == "stream":
        name = output.get("name")
        return {
            "output_type": "stream",
            "name": name if name in ("stdout", "stderr") else "stdout",
            "text": budget.text(joined(output.get("text"))),
        }
    if kind == "error":
        trace = output.get("traceback")
        lines = [joined(line) for line in trace] if isinstance(trace, list) else []
        return {
            "output_type": "error",
            "ename": joined(output.get("ename"))[:200],
            "evalue": joined(output.get("evalue"))[:1_000],
            "traceback": budget.text("\n".join(lines)).split("\n"),
        }
    if kind not in ("display_data", "execute_result"):
        return None
    data = output.get("data")
    data = data if isinstance(data, dict) else {}
    kept: dict[str, str] = {}
    for mime in IMAGES:
        image = budget.image(joined(data[mime])) if mime in data else None
        if image:
            kept[mime] = image
    if "text/plain" in data:
        kept["text/plain"] = budget.text(joined(data["text/plain"]))
    if not kept:
        return None
    result = {"output_type": kind, "data": kept, "metadata": {}}
    if kind == "execute_result":
        count = output.get("execution_count")
        result["execution_count"] = count if type(count) is int and count >= 0 else None
    return result
