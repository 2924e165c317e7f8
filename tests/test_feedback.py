"""What a student gets: one page that opens without a network, and fits into half a megabyte."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import v4

from grading import feedback, report
from grading.feedback import MAX_PAGE, FeedbackExporter, mathml, smaller
from grading.outcome import Finding, Outcome
from grading.overlay import ROOT

pytestmark = pytest.mark.fast
MARKS = {"nbgrader": {"grade": True, "grade_id": "relu_forward", "title": "relu_forward",
                      "score": 0.5, "points": 1.0, "says": "No gate."}}  # fmt: skip
RESOURCES = {"nbgrader": {"notebook": "Dropout", "score": 0.5, "max_score": 1.0, "late_penalty": 0},
             "metadata": {"name": "Dropout"}}  # fmt: skip


def page(*cells, **more) -> str:
    resources = {**RESOURCES, "nbgrader": {**RESOURCES["nbgrader"], **more}}
    made, _ = FeedbackExporter().from_notebook_node(v4.new_notebook(cells=list(cells)), resources)
    return made


def noise(side: int) -> str:
    """A picture that no compression makes small."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()


def shown(data: dict[str, str], **metadata) -> dict:
    return v4.new_output("display_data", data=data, metadata=metadata)


def test_every_formula_of_the_course_is_converted():
    """Is no formula of a notebook left as LaTeX?"""
    count = 0
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            found = re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", cell.source, re.DOTALL)
            for block, inline in found if cell.cell_type == "markdown" else []:
                made = mathml(block or inline, bool(block))
                assert made.startswith("<math") and "\\" not in made, block or inline
                count += 1
    assert count > 200


@pytest.mark.parametrize(
    "formula",
    [r"\href{javascript:alert(1)}{x}", r"\class{a}{x}", r"\style{color:red}{x}", "{" * 900,
     "x" * 3_000, r"\frac{", r"\undefined{x", "<script>alert(1)</script>"],
)  # fmt: skip
def test_a_students_formula_does_no_harm(formula):
    """Is what is no plain formula shown as text, with nothing that a browser would run?"""
    made = mathml(formula, False)
    assert not re.search(r"<(?!/?(m[a-z]*|code)\b)", made)
    assert "href=" not in made and "style=" not in made


def test_the_page_loads_and_runs_nothing():
    """Is there no address to load from on the page, and a rule that forbids it?"""
    made = page(v4.new_markdown_cell("$$\\frac{a}{b}$$ and $x$"), v4.new_code_cell("x = 1 < 2"))
    assert made.count("<math") == 2 and "x = 1 &lt; 2" in made
    assert "<script" not in made and "src=" not in made and "<link" not in made
    assert "default-src 'none'" in made


def test_checks_are_listed_by_name_with_points_and_a_sentence():
    """Does the page begin with each check, its points and what was found?"""
    made = page(v4.new_code_cell('check("relu_forward")', metadata=MARKS))
    row = made[made.index("<tbody>") : made.index("</tbody>")]
    assert all(word in row for word in ("relu_forward", "0.5 of 1", "No gate."))
    assert "Test cell" not in made


def test_a_section_that_a_diagnosis_names_is_linked():
    """Does the link of a diagnosis lead to the heading on the same page?"""
    said = 'Look. See "ReLU, forward" in notebooks/FullyConnectedNets.ipynb.'
    outcome = Outcome("relu_forward", 0.0, 1.0, said, diagnosis=said)
    outputs = [shown({"text/html": report.html(outcome)}),
               v4.new_output("execute_result", data={"text/plain": "0.0"})]  # fmt: skip
    kept = feedback._report(outputs)
    assert len(kept) == 1 and 'href="#ReLU%2C-forward"' in kept[0].data["text/html"]
    assert 'id="ReLU,-forward"' in page(v4.new_markdown_cell("## ReLU, forward"))


def test_a_score_that_waits_is_said_to_wait():
    """Is an answer that nobody has marked yet not shown as 0 points?"""
    waits = {"nbgrader": {**MARKS["nbgrader"], "waits": True, "solution": True, "score": 0.0}}
    assert "not marked yet, of 1" in page(v4.new_markdown_cell("Because.", metadata=waits))


def test_the_draw_is_told_only_when_released():
    """Is the entropy on the page only where it was given?"""
    assert "--entropy" not in page() and "--entropy\n77" in page(entropy=77)


@pytest.mark.parametrize("said, released", [(None, False), ("", False), ("0", False), ("1", True)])
def test_a_release_of_0_is_none(monkeypatch, said, released):
    """Are the inputs of the draw kept back where the switch is 0?"""
    monkeypatch.delenv(feedback.RELEASE, raising=False)
    if said is not None:
        monkeypatch.setenv(feedback.RELEASE, said)
    made = report.html(Outcome("c", 0.0, 1.0, "No.", output="x = [0.731]"))
    (output,) = feedback._report([shown({"text/html": made})])
    assert ("0.731" in output.data["text/html"]) == released


def test_what_the_code_printed_is_left_out():
    """Are the inputs of a graded draw, printed by a student's code, not in the feedback?"""
    findings = (Finding("dx", "rows", False, message="dx is None"),)
    made = report.html(Outcome("c", 0.0, 1.0, "No.", findings, output="x = [0.731, <b>0.2]"))
    assert "0.731" in made and "0.731" not in report.without_print(made)
    assert "dx is None" in report.without_print(made)


def test_an_exception_does_not_tell_the_inputs():
    """Is a student's own message there, without the numbers of the graded draw in it?"""
    message = "ValueError: <b>bad</b> x of shape (3, 4): [[ 0.731 -1.25e-03 .5]]"
    findings = (Finding("dx", "eps of 0.1", False, message=message, raised=True),
                Finding("dw", "rows", False, message="dw is wrong", error=0.25, tolerance=1e-7))
    outcome = Outcome("c", 0.5, 1.0, f"eps of 0.1: {message}.", findings)
    shown = report.without_inputs(report.html(outcome))
    for number in ("0.731", "1.25e-03", ".5]"):
        assert number in report.html(outcome)
        assert number not in shown and number not in report.first_words(outcome)
    assert shown.count("&lt;b&gt;bad&lt;/b&gt; x of shape (3, 4)") == 2
    assert "0.5 of 1 points" in shown and "error 2.5e-01" in shown  # the grader's own numbers stay


@pytest.mark.parametrize("side", [300, 700])
def test_a_page_fits(side):
    """Do many large plots, and a long print, end as a page of at most half a megabyte?"""
    picture = noise(side)
    cells = [
        v4.new_code_cell("plot()", outputs=[shown({"image/png": picture})]) for _ in range(12)
    ]
    cells.append(v4.new_code_cell("print()", outputs=[v4.new_output("stream", text="y" * 10**6)]))
    cells.append(v4.new_code_cell('check("c")', metadata=MARKS,
                                  outputs=[shown({"text/html": "<b>the diagnosis</b>"})]))
    made = page(*cells)
    assert len(made.encode()) <= MAX_PAGE
    assert "<b>the diagnosis</b>" in made


def test_a_broken_picture_is_left_out():
    """Is a picture that is none replaced by a sentence where it would have to be made smaller?"""
    cell = v4.new_code_cell("plot()", outputs=[shown({"image/png": "bm90IGEgcG5n"})])
    made = smaller(v4.new_notebook(cells=[cell]), 100, 16, 500)
    assert made.cells[0].outputs[0].data == {
        "text/plain": "A picture is left out here: it is in your own notebook."
    }
    assert json.loads(json.dumps(cell.outputs[0].data)) == {"image/png": "bm90IGEgcG5n"}


def test_the_templates_are_where_the_exporter_looks():
    """Is the template of this repository used, and not nbgrader's?"""
    folders = FeedbackExporter().extra_template_basedirs
    assert Path(folders[0], "course_feedback", "index.html.j2").is_file()
