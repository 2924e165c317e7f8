"""An outcome for people: as text for a terminal, as HTML for a notebook or a feedback file."""

from __future__ import annotations

import html as escape_html
from collections.abc import Iterable

from grading.outcome import Finding, Outcome

MAX_TEXT = 1500


def clean(text: str, longest: int = MAX_TEXT, lines: bool = False) -> str:
    """Text that a student's code had a hand in: capped, with what cannot be printed as '?'.

    Unless `lines` are wanted it becomes one line: a message must not look like a line of the
    report.
    """
    if not lines:
        text = " ".join(text.splitlines())
    text = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text[: longest + 1])
    return text if len(text) <= longest else text[:longest] + " ... (cut)"


def number(value: float) -> str:
    """Points as people write them: 2, 1.5, 0.33."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Failed before passed, core before edges; otherwise in the order of the check."""
    return sorted(findings, key=lambda finding: (finding.passed, finding.edge))


def details(finding: Finding) -> str:
    """The figures of a finding: worst entry, error against tolerance."""
    if finding.error is None:
        return ""
    error = "not finite" if finding.error == float("inf") else f"{finding.error:.1e}"
    sign = "<=" if finding.passed else ">"
    text = f"error {error} {sign} {finding.tolerance:.0e}"
    if not finding.passed and finding.where:
        text += f", worst at {list(finding.where)}"
    return text + (f", shape {finding.shape}" if finding.shape and not finding.passed else "")


def text(outcome: Outcome, color: bool = False) -> str:
    """The report as plain text: the verdict, what is wrong in words, then a line a property."""
    mark = {True: "ok  ", False: "FAIL"}
    paint = {True: "\x1b[32m", False: "\x1b[31m"}
    score = f"{number(outcome.points)} of {number(outcome.max_points)} points"
    lines = [f"{outcome.check}: {score}. {clean(outcome.summary)}"]
    for finding in worst_first(outcome.findings):
        word = mark[finding.passed]
        word = f"{paint[finding.passed]}{word}\x1b[0m" if color else word
        edge = " (edge)" if finding.edge else ""
        line = f"  {word} {finding.case}{edge}: {finding.label}"
        figures = details(finding)
        lines.append(f"{line}  {figures}" if figures else line)
        if finding.message and not finding.passed:
            lines.append(f"         {clean(finding.message, 400)}")
            lines += [f"         {row}" for row in finding.chart]
    lines += [f"  note {clean(remark)}" for remark in outcome.remarks]
    if outcome.output and not outcome.passed:
        lines.append("  Your code printed:")
        lines += [f"    {line}" for line in clean(outcome.output, 600, lines=True).split("\n")[:10]]
    if outcome.level != "none" and outcome.entropy is not None:
        lines.append(f"  Held at level {outcome.level}; {outcome.seconds:.2f} s.")
    return "\n".join(lines)


def _summary(outcome: Outcome) -> str:
    """The summary, with the diagnosis that it starts with set apart."""
    said, rest = clean(outcome.diagnosis), clean(outcome.summary)
    if not said or not rest.startswith(said):
        return f" {escape_html.escape(rest)}"
    rest = escape_html.escape(rest[len(said) :].strip())
    idea = escape_html.escape(said)
    return f'<p style="margin:0.3em 0;font-size:110%">{idea}</p><div>{rest}</div>'


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _heat_map(finding: Finding) -> str:
    """A small table of where the array is wrong, redder for a larger error; in words as well."""
    chart = finding.chart
    if finding.passed or not chart:
        return ""
    rows = [i for i, row in enumerate(chart) if row.strip(".")]
    columns = sorted({j for row in chart for j, mark in enumerate(row) if mark != "."})
    words = (
        f"wrong in row{'s' * (len(rows) > 1)} {_listed(rows)} of {len(chart)}, "
        f"column{'s' * (len(columns) > 1)} {_listed(columns)} of {len(chart[0])}"
    )
    cell = "width:0.6em;height:0.6em;padding:0;border:1px solid #8886"
    body = "".join(
        "<tr>" + "".join(f'<td style="{cell};background:{_heat(mark)}"></td>' for mark in row)
        + "</tr>"
        for row in chart
    )
    style = "border-collapse:collapse;margin:0.2em 0"
    return f'<table role="img" aria-label="{words}" title="{words}" style="{style}">{body}</table>'


def _heat(mark: str) -> str:
    return f"rgba(208,59,59,{int(mark) / 9:.2f})" if mark.isdigit() else "transparent"


_STYLE = (
    "border-collapse:collapse;font-size:90%;margin:0.3em 0",
    "text-align:left;padding:0.15em 0.6em;border-bottom:1px solid #8884",
)


def html(outcome: Outcome) -> str:
    """The report as an HTML table that needs no style sheet, in light and dark mode alike.

    Ticks and crosses have words beside them, for whoever cannot see colour or the screen.
    """
    table, cell = _STYLE
    score = f"{number(outcome.points)} of {number(outcome.max_points)} points"
    passed = "passed" if outcome.passed else "not passed"
    rows = []
    for finding in worst_first(outcome.findings):
        sign, word = ("✓", "ok") if finding.passed else ("✗", "wrong")
        color = "#2e8540" if finding.passed else "#d03b3b"
        said = "" if finding.passed else escape_html.escape(clean(finding.message, 400))
        edge = " <small>(edge)</small>" if finding.edge else ""
        figures = escape_html.escape(details(finding))
        found = f"{said}<br>" if said else ""
        rows.append(
            f'<tr><td style="{cell};color:{color}">{sign} {word}</td>'
            f'<td style="{cell}">{escape_html.escape(finding.label)}</td>'
            f'<td style="{cell}">{escape_html.escape(finding.case)}{edge}</td>'
            f'<td style="{cell}">{found}<small>{figures}</small>{_heat_map(finding)}</td></tr>'
        )
    remarks = "".join(
        f"<div>Note: {escape_html.escape(clean(remark))}</div>" for remark in outcome.remarks
    )
    printed = ""
    if outcome.output and not outcome.passed:
        printed = f"<pre>{escape_html.escape(clean(outcome.output, 600, lines=True))}</pre>"
    head = "".join(
        f'<th scope="col" style="{cell}">{name}</th>'
        for name in ("", "property", "case", "what was found")
    )
    return (
        f'<div role="group" aria-label="{outcome.check}: {passed}">'
        f"<strong>{outcome.check}: {score}.</strong> "
        f"{_summary(outcome)}"
        f'<table style="{table}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        f"</table>{remarks}{printed}</div>"
    )
