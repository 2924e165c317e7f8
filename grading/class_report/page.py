"""The page about a class, as HTML that needs no network and nothing beside it."""

from __future__ import annotations

import io
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from grading.class_report.table import Student
from grading.evidence import one_line
from grading.report import number

TEMPLATES = Path(__file__).parents[1] / "templates"
INK = "#010203"  # a colour that stands for the page's own, light or dark
SHOWN = 4  # mistakes listed beside a check
MOST_KNOWN = 25  # mistakes listed for the course


def html(
    students: Sequence[Student], homes: Mapping[str, str], names: bool, tested: str = ""
) -> str:
    """The whole page; `homes` is exercise -> notebook, in order. Without `names` nobody is
    named. `tested` is what checkpoints were tested on."""
    graded = [student for student in students if student.found]
    totals = [student.total for student in graded]
    checks = list(dict.fromkeys([*homes, *(name for s in graded for name in s.found)]))
    checks = [name for name in checks if any(name in s.found for s in graded)]
    most = max((sum(s.most.values()) or _most_of_checks(s) for s in graded), default=0)
    accuracies = [s.accuracy for s in graded if s.accuracy is not None]
    times = sorted(s.seconds for s in graded)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters["number"] = number
    return environment.get_template("class_report.html.j2").render(
        students=len(students),
        not_graded=len(students) - len(graded),
        most=most,
        totals=_spread(totals),
        waits=sum(1 for s in graded if s.waits),
        answers=sum(len(s.waits) for s in graded),
        grades=histogram(totals, 0, most or 1, 20, "points so far", "students"),
        notebooks=_notebooks(graded, homes),
        checks=[_check(name, homes.get(name, ""), graded) for name in checks],
        known=_known(graded).most_common(MOST_KNOWN),
        kinds=len(_known(graded)),
        humans=_humans(students),
        named=_named(students) if names else [],
        names=names,
        tested=tested,
        accuracies=_spread(accuracies),
        measured=len(accuracies),
        stand_in=sum(s.stand_in for s in graded),
        accuracy=histogram(accuracies, 0, 1, 40, "accuracy of the checkpoint", "students"),
        times=_spread(times),
        late=times[int(0.95 * (len(times) - 1))] if times else 0,
        time=histogram(times, 0, max([*times, 1.0]), 20, "seconds to grade", "students"),
        slow=_slow(graded, checks),
    )


def _most_of_checks(student: Student) -> float:
    return sum(found.most for found in student.found.values())


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    middle = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {
        "mean": statistics.fmean(values), "least": min(values), "low": middle[0],
        "middle": middle[1], "high": middle[2], "most": max(values),
    }  # fmt: skip


def _notebooks(students: Sequence[Student], homes: Mapping[str, str]) -> list[tuple[str, float]]:
    """Notebook -> the share of its checks' points that the class earned."""
    earned: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for student in students:
        for name, found in student.found.items():
            earned[homes.get(name, "")] += found.points
            most[homes.get(name, "")] += found.most
    order = list(dict.fromkeys(homes.values())) or list(most)
    return [(name, earned[name] / most[name]) for name in order if most[name]]


def _check(name: str, notebook: str, students: Sequence[Student]) -> dict:
    found = [s.found[name] for s in students if name in s.found]
    failed = [f for f in found if not f.passed]
    known = Counter(mistake for f in failed for mistake in f.known)
    otherwise = Counter(f.otherwise for f in failed if f.otherwise)
    listed = known.most_common(SHOWN)
    rest = sum(known.values()) - sum(count for _, count in listed)
    return {
        "name": name, "notebook": notebook, "count": len(found),
        "passed": (len(found) - len(failed)) / len(found),
        "points": sum(f.points for f in found) / (sum(f.most for f in found) or 1),
        "known": listed + ([("other known mistakes", rest)] if rest else []),
        "otherwise": otherwise.most_common(SHOWN),
    }  # fmt: skip


def _known(students: Sequence[Student]) -> Counter[str]:
    """Mistake -> how many students made it, in whatever number of checks."""
    return Counter(
        mistake for s in students for mistake in {k for f in s.found.values() for k in f.known}
    )


def _reasons(student: Student, numbers: bool = False) -> list[str]:
    """Why a human should look at a submission; with `numbers`, which points disagree."""
    reasons = []
    if not student.found:
        reasons.append("not graded")
    if student.files or any(found.evidence for found in student.found.values()):
        reasons.append("something that may be tampering (`make grades` lists it: evidence.csv)")
    if student.nothing:
        reasons.append("nothing usable was handed in")
    elif student.repairs:
        reasons.append("repaired")
    if any(found.otherwise == "the grader failed" for found in student.found.values()):
        reasons.append("the grader itself failed on a check")
    if student.disagrees:
        told = "; ".join(
            f"{name}: {number(book)} in the gradebook, {number(stored)} stored"
            for name, (book, stored) in student.disagrees.items()
        )
        reasons.append(
            f"the gradebook and the stored outcome disagree{f' ({told})' if numbers else ''}"
        )
    return reasons


def _humans(students: Sequence[Student]) -> list[tuple[str, int]]:
    return Counter(reason for s in students for reason in _reasons(s)).most_common()


def _named(students: Sequence[Student]) -> list[tuple[str, str, float]]:
    rows = [(one_line(s.name, 80), "; ".join(_reasons(s, numbers=True)), s.total) for s in students]
    return [row for row in rows if row[1]]


def _slow(students: Sequence[Student], checks: Sequence[str]) -> list[tuple[str, float]]:
    """The five checks that take longest, with their mean seconds."""
    means = {
        name: statistics.fmean(s.found[name].seconds for s in students if name in s.found)
        for name in checks
    }
    return sorted(means.items(), key=lambda item: -item[1])[:5]


def histogram(
    values: Sequence[float], low: float, high: float, bins: int, x: str, y: str
) -> str:
    """A histogram as SVG that takes the page's own colour for its lines; '' of nothing."""
    if not values:
        return ""
    import matplotlib
    from matplotlib.figure import Figure  # without pyplot: no display, no global state
    from matplotlib.ticker import MaxNLocator

    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(5.6, 2.4))
        axes = figure.add_subplot()
        axes.hist(values, bins=bins, range=(low, high), color="#4a7fd4", edgecolor="#4a7fd4")
        axes.set_xlabel(x, color=INK)
        axes.set_ylabel(y, color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(colors=INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
        figure.tight_layout()
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    counts = f"{len(values)} values from {min(values):.3g} to {max(values):.3g}"
    return svg.replace("<svg ", f'<svg role="img" aria-label="{x}: {counts}" ', 1)
