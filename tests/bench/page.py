"""docs/benchmarks.md and its plot, from what is recorded."""

from __future__ import annotations

import importlib
from pathlib import Path

from matplotlib.figure import Figure as Plot

from tests.bench import Figure, records

PAGE = records.FILE.with_name("benchmarks.md")
HEAD = """# Benchmarks

```
make bench                               # all of them: writes this page
make bench ARGS="layers network"         # these sections; the figures of others stay
make bench ARGS=--short                  # short forms; fails where a ratio became 1.5 times worse
```

Ratios are of two things run side by side in one process, each after a pause and a warm-up call.
A target is a bound: at most, unless it says at least. The spread is from the lowest to the highest
of the repetitions.

![Each figure as a share of its target](benchmarks.png)
"""


def write(found: records.Records, page: Path = PAGE) -> None:
    """Write the page and, beside it, the plot."""
    page.write_text(text(found))
    plot(found).savefig(page.with_suffix(".png"), dpi=100)


def text(found: records.Records) -> str:
    """The page: a table for each section, with what its module says of how it measures."""
    parts = [HEAD]
    for section, record in found.items():
        title, _, method = importlib.import_module(f"tests.bench.{section}").__doc__.partition("\n")
        parts.append(
            f"\n## {title.rstrip('.')}\n{method.rstrip()}\n\n{table(record['figures'])}\n"
            f"`python -m tests.bench {section}`, on: {record['machine']}. {record['versions']}.\n"
        )
    return "".join(parts)


def table(figures: list[Figure]) -> str:
    """The Markdown table of a section's figures."""
    lines = ["| figure | value | spread | target | met | how |", "|---|---|---|---|---|---|"]
    for figure in figures:
        spread = " to ".join(_short(value) for value in figure.spread or ())
        target, met = "", ""
        if figure.target is not None:
            target = f"{'at least' if figure.more_is_better else 'at most'} {figure.target:g}"
            met = "yes" if figure.met else "**no**"
        value = f"{_short(figure.value)} {figure.unit}"
        lines.append(f"| {figure.name} | {value} | {spread} | {target} | {met} | {figure.text} |")
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def plot(found: records.Records) -> Plot:
    """Each figure that has a target, as how many times of the allowed it takes."""
    figures = [figure for record in found.values() for figure in record["figures"]]
    figures = [figure for figure in figures if figure.target is not None][::-1]
    drawing = Plot(figsize=(9, 1.5 + 0.32 * len(figures)), layout="constrained")
    axes = drawing.subplots()
    for place, figure in enumerate(figures):
        low, high = sorted(_share(value, figure) for value in figure.spread or [figure.value] * 2)
        color = "tab:blue" if figure.met else "tab:red"
        axes.plot([low, high], [place, place], color=color, alpha=0.4, linewidth=6)
        axes.plot(_share(figure.value, figure), place, "o", color=color)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(figures)), [figure.name for figure in figures])
    axes.set_xlabel("share of what the target allows: left of 1 it is met (bars: spread)")
    axes.grid(alpha=0.3, axis="x", which="both")
    return drawing


def _share(value: float, figure: Figure) -> float:
    return figure.target / value if figure.more_is_better else value / figure.target
