"""An outcome for people: as text for a terminal, as HTML for a notebook or a feedback file.

What holds takes a line a case. What does not is said once, with all the cases that show it.
"""

from __future__ import annotations

import html as escape_html
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from grading.outcome import Finding, Outcome

MAX_TEXT = 1500
OWN_WORDS = re.compile(r"<samp[^>]*>[^<]*</samp>")  # an exception's, as the student worded it
SECTION = re.compile(r"See &quot;([^&<>]+)&quot; in notebooks/(\w+)\.ipynb")
PRINTED = {"NumPy": "NumPy warned:", "Python": "Python warned:", "": "Your code printed:"}
SHOWN_CASES = 3  # in which the same thing is wrong; the others are counted
OK, WRONG = "#2f8f46", "#d9484a"  # seen on white and on black


def clean(text: str, longest: int = MAX_TEXT, lines: bool = False) -> str:
    """Text that a student's code had a hand in: capped, with what cannot be printed as '?'.

    Unless `lines` are wanted it becomes one line: a message must not look like a line of the
    report.
    """
    if not lines:
        text = " ".join(text.splitlines())
    text = text[: longest + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    return text if len(text) <= longest else text[:longest] + " ... (cut)"


def number(value: float) -> str:
    """Points as people write them: 2, 1.5, 0.33."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Row:
    """Findings that say the same, as one line of a report."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return self.findings[0].passed

    @property
    def properties(self) -> str:
        """What had to hold: "dx, dw, db"."""
        return ", ".join(dict.fromkeys(finding.label for finding in self.findings))

    @property
    def cases(self) -> str:
        """In which cases, edges marked; the first few of many."""
        names = [f"{c} (edge)" if e else c for c, e in dict.fromkeys(
            (finding.case, finding.edge) for finding in self.findings
        )]  # fmt: skip
        more = len(names) - SHOWN_CASES
        return "; ".join(names[:SHOWN_CASES]) + (f"; and {more} more" if more > 0 else "")

    @property
    def said(self) -> str:
        """What is wrong, in words; '' where all is well."""
        return "" if self.passed else clean(self.findings[0].message, 400)

    @property
    def figures(self) -> str:
        """What passed: the largest error. Of a failure: its first case, and where it is worst."""
        measured = [finding for finding in self.findings if finding.error is not None]
        if not measured:
            return ""
        shown = max(measured, key=_off) if self.passed else measured[0]
        if self.passed and _off(shown) > 1:  # followed through; see follow.py
            return clean(shown.message)
        error = {0.0: "0", float("inf"): "not finite"}.get(shown.error, f"{shown.error:.1e}")
        text = f"error {error}, allowed {shown.tolerance:.0e}"
        if not self.passed and shown.where:
            text += f"; worst at {list(shown.where)} of shape {shown.shape}"
        return text

    @property
    def chart(self) -> tuple[str, ...]:
        """A picture of where it is wrong, in the first case."""
        return () if self.passed else self.findings[0].chart


def _off(finding: Finding) -> float:
    return finding.error / finding.tolerance


def rows(findings: Iterable[Finding]) -> list[Row]:
    """What failed first, core before edges, a row for each thing to say; then a row a case.

    Beside failures, the cases in which the same properties hold share a row.
    """
    groups: dict[tuple, list[Finding]] = {}
    findings = sorted(findings, key=lambda finding: (finding.passed, finding.edge))
    held: dict[str, list[str]] = {}
    for finding in findings:
        if finding.passed:
            held.setdefault(finding.case, []).append(finding.label)
    brief = not all(finding.passed for finding in findings)  # of a failure, the rest in brief
    for finding in findings:
        place = tuple(held[finding.case]) if brief and finding.passed else (finding.case,)
        key = (True, *place) if finding.passed else (False, *_kind(finding))
        groups.setdefault(key, []).append(finding)
    return [Row(tuple(group)) for group in groups.values()]


def _kind(finding: Finding) -> tuple[str, str]:
    """What two failures share if they say the same: figures and shapes may differ."""
    message = re.sub(r"every entry|a few entries|\d+% of the entries", "entries", finding.message)
    message = re.sub(r"\bare wrong$", "is wrong", message)
    about_one = finding.error is not None or message.startswith(f"{finding.label} ")
    own = finding.label if about_one else ""
    return own, re.sub(r"\d+", "#", message)


def text(outcome: Outcome, color: bool = False, width: int = 0) -> str:
    """The report as plain text: the verdict, what is wrong in words, then a line a row; broken
    between words after `width` columns, if that is given."""
    mark = {True: "ok  ", False: "FAIL"}
    lines = [f"{outcome.check}: {_score(outcome)}. {clean(outcome.summary)}"]
    for row in rows(outcome.findings):
        if row.passed:
            figures = f"  ({row.figures})" if row.figures else ""
            lines.append(f"  {mark[True]} {row.cases}: {row.properties}{figures}")
        else:
            named = "" if row.properties in row.said else f"{row.properties}: "
            lines.append(f"  {mark[False]} {named}{row.said}")
            lines += [f"         {line}" for line in (f"cases: {row.cases}", row.figures) if line]
        if row.chart:
            lines.append(f"         {_in_words(row.chart)}; 1 to 9: how far off, '.': right")
            lines += [f"         {line}" for line in row.chart]
    lines += [f"  note {clean(remark)}" for remark in outcome.remarks]
    for heading, said in _printed(outcome):
        lines += [f"  {heading}", *(f"    {line}" for line in said.split("\n")[:10])]
    held = _held(outcome)
    lines += [f"  {held}"] if held else []
    if width:
        lines = [_broken(line, width) for line in lines]
    painted = {"  ok  ": "  \x1b[32mok\x1b[0m  ", "  FAIL": "  \x1b[31mFAIL\x1b[0m"}
    if color:
        lines = [painted.get(line[:6], line[:6]) + line[6:] for line in lines]
    return "\n".join(lines)


def for_terminal(outcome: Outcome) -> str:
    """The report as standard output shows it best: coloured (but for NO_COLOR, see no-color.org)
    and broken where it is a terminal."""
    if not sys.stdout.isatty():
        return text(outcome)
    return text(outcome, not os.environ.get("NO_COLOR"), shutil.get_terminal_size().columns)


def _broken(line: str, width: int) -> str:
    """A line of a report in as many as it needs, the later ones further in than the first."""
    inset = 7 if line[:6] in ("  ok  ", "  FAIL") else len(line) - len(line.lstrip()) + 2
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * inset,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


def html(outcome: Outcome) -> str:
    """The report as an HTML table that needs no style sheet, in light and dark mode alike.

    Ticks and crosses have words beside them, for whoever cannot see colour or the screen.
    """
    passed = "passed" if outcome.passed else "not passed"
    body = "".join(map(_row, rows(outcome.findings)))
    head = "".join(
        f'<th scope="col" style="{_CELL}">{name}</th>'
        for name in ("", "property", "case", "what was found")
    )
    table = (
        f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        if body else ""
    )  # fmt: skip
    remarks = "".join(f"<div>Note: {_safe(remark)}</div>" for remark in outcome.remarks)
    printed = "".join(
        f'<div>{heading}</div><pre style="margin:0.2em 1em">{escape_html.escape(said)}</pre>'
        for heading, said in _printed(outcome)
    )
    return (
        f'<div role="group" aria-label="{outcome.check}: {passed}">'
        f'<strong style="color:{OK if outcome.passed else WRONG}">{_sign(outcome.passed)}</strong> '
        f"<strong>{outcome.check}: {_score(outcome)}.</strong> "
        f"{_summary(outcome)}{table}{remarks}{printed}<small>{_held(outcome)}</small></div>"
    )


def without_print(page: str) -> str:
    """A report without what the code printed, which may be the inputs that it was asked with."""
    headings = "|".join(map(re.escape, PRINTED.values()))
    return re.sub(rf"<div>({headings})</div><pre[^>]*>[^<]*</pre>", "", page)


def without_decimals(text: str) -> str:
    """Text without decimal numbers: an exception may say the inputs that it was raised at."""
    return re.sub(r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?", "#", text)


def without_inputs(page: str) -> str:
    """A report without what the code printed, and without decimals in what it raised."""
    return re.sub(OWN_WORDS, lambda own: without_decimals(own[0]), without_print(page))


def first_words(outcome: Outcome) -> str:
    """What is read first, for a table of all checks: as `without_inputs` has it."""
    said = clean(outcome.diagnosis or outcome.summary, 400)
    return without_decimals(said) if _raised(outcome) and not outcome.diagnosis else said


_TABLE = "border-collapse:collapse;font-size:90%;margin:0.3em 0"
_CELL = "text-align:left;vertical-align:top;padding:0.15em 0.7em;border-bottom:1px solid #8884"


def _safe(text: str, longest: int = MAX_TEXT) -> str:
    return escape_html.escape(clean(text, longest))


def _printed(outcome: Outcome) -> list[tuple[str, str]]:
    """What came out of code that failed, below its heading: warnings, and what it printed."""
    said: dict[str, list[str]] = {heading: [] for heading in PRINTED.values()}
    if not outcome.passed:
        for line in clean(outcome.output, 600, lines=True).rstrip("\n").split("\n"):
            who, warned, rest = line.partition(" warned: ")
            own = warned and who in PRINTED
            said[PRINTED[who if own else ""]].append(rest if own else line)
    return [(heading, "\n".join(lines)) for heading, lines in said.items() if any(lines)]


def _held(outcome: Outcome) -> str:
    """How the code was held, where a grade is at stake."""
    if outcome.level == "none" or outcome.entropy is None:
        return ""
    return f"Held at level {outcome.level}; {outcome.seconds:.2f} s."


def _score(outcome: Outcome) -> str:
    return f"{number(outcome.points)} of {number(outcome.max_points)} points"


def _sign(passed: bool) -> str:
    return "✓" if passed else "✗"


def _row(row: Row) -> str:
    color, word = (OK, "ok") if row.passed else (WRONG, "wrong")
    said = _safe(row.said)
    said = _own(said) if row.findings[0].raised else said
    found = [said, f"<small>{_safe(row.figures)}</small>" if row.figures else ""]
    return (
        f'<tr><td style="{_CELL};white-space:nowrap">'
        f'<span aria-hidden="true" style="color:{color}">{_sign(row.passed)}</span> {word}</td>'
        f'<td style="{_CELL}">{_safe(row.properties)}</td><td style="{_CELL}">{_safe(row.cases)}'
        f'</td><td style="{_CELL}">{"<br>".join(filter(None, found))}{_heat_map(row.chart)}</td>'
        "</tr>"
    )


def _summary(outcome: Outcome) -> str:
    """The summary, with the diagnosis that it starts with set apart."""
    said, rest = clean(outcome.diagnosis), clean(outcome.summary)
    mark = _own if _raised(outcome) else str
    if not said or not rest.startswith(said):
        return f" {mark(escape_html.escape(rest))}"
    rest = mark(escape_html.escape(rest[len(said) :].strip()))
    idea = SECTION.sub(_link, escape_html.escape(said))
    style = f"margin:0.4em 0;padding:0.1em 0.7em;border-left:3px solid {WRONG};font-size:110%"
    return f'<p style="{style}">{idea}</p><div>{rest}</div>'


def _raised(outcome: Outcome) -> bool:
    return any(finding.raised for finding in outcome.findings)


def _own(text: str) -> str:
    return f'<samp style="font:inherit">{text}</samp>'


def _link(section: re.Match[str]) -> str:
    """A link to a section of a notebook, as Jupyter names its headings."""
    title, notebook = section.groups()
    place = quote(escape_html.unescape(title).replace(" ", "-"))
    return f'See <a href="{notebook}.ipynb#{place}">{title}</a> in notebooks/{notebook}.ipynb'


def _in_words(chart: Sequence[str]) -> str:
    """Where an array is wrong, for whoever does not see the picture."""
    rows = [i for i, row in enumerate(chart) if row.strip(".")]
    columns = sorted({j for row in chart for j, mark in enumerate(row) if mark != "."})
    return (
        f"wrong in {_listed('row', rows, len(chart))}, "
        f"{_listed('column', columns, len(chart[0]))}"
    )


def _listed(name: str, places: list[int], count: int) -> str:
    if len(places) == count:
        return f"every {name}"
    return f"{name}{'s' * (len(places) > 1)} {', '.join(map(str, places))} of 0 to {count - 1}"


def _heat_map(chart: Sequence[str]) -> str:
    """A small table of where the array is wrong, redder for a larger error; in words as well."""
    if not chart:
        return ""
    words = f"{_in_words(chart)} (last two axes; redder: further off)"
    cell = "width:0.8em;height:0.8em;padding:0;border:1px solid #8886"
    body = "".join(
        # transparent: a notebook's stripes would look like a part of the picture
        '<tr style="background:transparent">'
        + "".join(f'<td style="{cell};background:{_heat(mark)}"></td>' for mark in row)
        + "</tr>"
        for row in chart
    )  # fmt: skip
    style = "border-collapse:collapse;margin:0.3em 0"
    return (
        f'<table role="img" aria-label="{words}" style="{style}">{body}</table>'
        f'<small aria-hidden="true">{words}</small>'
    )


def _heat(mark: str) -> str:
    return f"rgba(217,72,74,{0.25 + int(mark) / 12:.2f})" if mark.isdigit() else "transparent"
