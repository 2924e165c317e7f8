"""A student's feedback as one HTML file that needs no network: formulas are MathML.

nbgrader's `generate_feedback` calls the exporter below in the place of its own. No page is
larger than MAX_PAGE: pictures are made smaller, then texts shorter, until it fits.
"""

from __future__ import annotations

import base64
import copy
import html as escape_html
import io
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import GetGrades
from traitlets.config import Config

from grading import report
from grading.preprocessors import course_of
from grading.store import Store

TEMPLATES = Path(__file__).parent / "templates"
RELEASE = "RELEASE_ENTROPY"  # environment variable: set, the page says how to draw the inputs again
MAX_PAGE = 500_000  # bytes
MAX_FORMULA = 2_000  # characters
MAX_PIXELS = 20_000_000
# How a page is made to fit: longest side of a picture, its colours, and characters of a text.
SIZES = ((None, None, 20_000), (700, 64, 8_000), (420, 32, 2_000), (240, 16, 500), (0, 0, 200))
# All that a formula may be made of; a student writes formulas too.
ATTRIBUTES = {
    "xmlns", "display", "displaystyle", "scriptlevel", "mathvariant", "stretchy", "fence", "form",
    "separator", "accent", "accentunder", "movablelimits", "minsize", "maxsize", "width", "height",
    "depth", "lspace", "rspace", "linethickness", "columnalign", "columnspacing", "rowspacing",
    "columnlines", "rowlines", "notation",
}  # fmt: skip


@lru_cache(maxsize=4096)
def mathml(formula: str, block: bool) -> str:
    """A LaTeX formula as MathML; as code, where it cannot be converted or is not plain."""
    plain = f"<code>{escape_html.escape(formula, quote=False)}</code>"
    if len(formula) > MAX_FORMULA:
        return plain
    formula = re.sub(r"\\[Bb]igg?[lrm]?\s*(?=\\)", "", formula)  # fences stretch by themselves
    try:
        made = convert(formula, display="block" if block else "inline")
    except Exception:  # of whatever kind: what a student writes need not be LaTeX
        return plain
    return made if set(re.findall(r'([\w:-]+)="', made)) <= ATTRIBUTES else plain


class Renderer(IPythonRenderer):
    """Markdown with formulas as MathML."""

    def block_math(self, body: str) -> str:
        return mathml(body, True)

    def inline_math(self, body: str) -> str:
        return mathml(body, False)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", True)


class FeedbackExporter(HTMLExporter):
    """The page of one notebook."""

    @property
    def default_config(self) -> Config:
        import nbgrader.server_extensions.formgrader as formgrader

        stock = Path(formgrader.__file__).parent / "templates"
        ours = {
            "template_name": "course_feedback",
            "extra_template_basedirs": [str(TEMPLATES), str(stock)],
        }
        merged = super().default_config.copy()
        merged.merge(Config({"FeedbackExporter": ours}))
        return merged

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Markdown to HTML, formulas included."""
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = Renderer(escape=False, attachments=attachments)
        return MarkdownWithMath(renderer=renderer).render(source)

    def default_filters(self) -> Iterator[tuple[str, Any]]:
        yield from super().default_filters()
        yield "markdown2html", self.markdown2html
        yield "plain_number", report.number

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict | None = None, **options: Any
    ) -> tuple[str, dict]:
        """The page, made as rich as fits."""
        for size in SIZES:
            page, made = super().from_notebook_node(
                smaller(nb, *size), copy.copy(resources), **options
            )
            if len(page.encode()) <= MAX_PAGE:
                break
        return page, made


class Marks(GetGrades):
    """nbgrader's scores and comments in the cells, with what each check said in a sentence."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        nb, resources = super().preprocess(nb, resources)
        about, marks = resources["nbgrader"], [c.metadata.get("nbgrader", {}) for c in nb.cells]
        waiting = [mark for mark in marks if mark.get("waits")]
        about["waits"] = bool(waiting)  # an old mark of a new answer is not counted
        about["score"] = max(about["score"] - sum(mark["score"] for mark in waiting), 0.0)
        if _released():
            resources["nbgrader"]["entropy"] = Store(course_of(self.parent)).entropy
        return nb, resources

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict, cell_index: int
    ) -> tuple[NotebookNode, dict]:
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade"):
            answer = "Your answer" if cell.cell_type == "markdown" else "Your code"
            name = marks["grade_id"]
            marks["title"] = f"{answer} ({name})" if marks.get("solution") else name
            marks["says"] = _says(cell)
        elif marks.get("solution"):
            marks["title"] = "Your code"
        if marks.get("grade") and cell.cell_type == "code" and not marks.get("solution"):
            cell.outputs = _report(cell.outputs)
        return cell, resources

    def _get_score(self, cell: NotebookNode, resources: dict) -> None:
        super()._get_score(cell, resources)
        grade = self.gradebook.find_grade(
            cell.metadata["nbgrader"]["grade_id"],
            self.notebook_id,
            self.assignment_id,
            self.student_id,
        )
        cell.metadata.nbgrader["waits"] = bool(grade.needs_manual_grade)


def _released() -> bool:
    """Whether students may draw the inputs again: 0 means no."""
    return os.environ.get(RELEASE, "0") not in ("", "0")


def _report(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Of a check's outputs its report; the number below it is in the heading already."""
    kept = [output for output in outputs if output.output_type != "execute_result"]
    for output in kept:
        if "text/html" in output.get("data", {}):
            page = output.data["text/html"]
            page = page if _released() else report.without_inputs(page)
            # The section is on this very page.
            output.data["text/html"] = re.sub(r'href="\w+\.ipynb#', 'href="#', page)
    return kept


def _says(cell: NotebookNode) -> str:
    """What the check of a cell said first."""
    for output in cell.get("outputs", []):
        if output.get("output_type") == "error":
            return output.get("evalue", "")
        if "says" in output.get("metadata", {}):
            return output.metadata["says"]
    return ""


def smaller(nb: NotebookNode, side: int | None, colors: int | None, text: int) -> NotebookNode:
    """A copy with pictures of at most `side` pixels and `colors`, and texts of `text` characters.

    What graded cells say stays whole.
    """
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("grade"):
            cell.outputs = [_smaller(output, side, colors, text) for output in cell.outputs]
        elif cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = _cut(cell.source, 5 * text)
        if cell.cell_type == "code":
            cell.source = _cut(cell.source, 5 * text)
    return nb


def _smaller(
    output: NotebookNode, side: int | None, colors: int | None, text: int
) -> NotebookNode:
    if "text" in output:
        output.text = _cut(output.text, text)
    if "traceback" in output:
        output.traceback = [_cut("\n".join(output.traceback), text)]
    data = output.get("data", {})
    if "text/plain" in data:
        data["text/plain"] = _cut(data["text/plain"], text)
    for mime in ("image/png", "image/jpeg"):
        if mime in data and side is not None:
            image = _picture(data.pop(mime), side, colors)
            if image:
                data["image/png"] = image
            else:
                data["text/plain"] = "A picture is left out here: it is in your own notebook."
    return output


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}\n... (the rest is left out)"


def _picture(data: str, side: int, colors: int) -> str:
    """A picture of few colours, base64; '' where it cannot be made so."""
    from PIL import Image

    if not side:
        return ""
    try:
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return ""
            picture = picture.convert("RGBA")
            page = Image.new("RGBA", picture.size, "white")
            page.alpha_composite(picture)
            page = page.convert("RGB")
            page.thumbnail((side, side))
            made = io.BytesIO()
            page.quantize(colors).save(made, "PNG", optimize=True)
    except Exception:  # whatever a broken picture raises
        return ""
    return base64.b64encode(made.getvalue()).decode()
