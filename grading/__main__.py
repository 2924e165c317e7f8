"""`python -m grading [CHECK ...]`: the checks on this folder's `cs231n`, points, what is next."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from grading import judge, report
from grading.checks import ALL, NOTEBOOKS
from grading.grade import grade_submission
from grading.outcome import Outcome
from grading.sealed import isolation
from grading.subject import ThisProcess


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m grading", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CHECK", help="checks to run; all if none")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where cs231n/ is")
    parser.add_argument("--entropy", type=int, help="replay the draw of an earlier run")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in ALL]
    if unknown:
        parser.error(f"no check is named {', '.join(unknown)}; there are {', '.join(ALL)}")
    entropy = secrets.randbits(64) if chosen.entropy is None else chosen.entropy
    count = len(chosen.names or ALL)
    with tqdm(total=count, disable=count < 5, unit="check", leave=False) as bar:

        def progress(name: str) -> None:
            bar.set_description(name)
            bar.update()

        outcomes = _outcomes(chosen.folder, chosen.names, entropy, progress)
    if chosen.names:
        for outcome in outcomes.values():
            print(report.text(outcome, color=sys.stdout.isatty()))
    else:
        _table(outcomes)
    print(f"entropy {entropy}")
    return 0 if all(outcome.passed for outcome in outcomes.values()) else 1


def _outcomes(
    folder: Path, names: list[str], entropy: int, progress: Callable[[str], None]
) -> dict[str, Outcome]:
    """In a child where this machine can start and stop one, else in this process: it is the
    user's own code, so any level will do."""
    level = isolation.level().name
    if level != "none":
        return grade_submission(
            folder, entropy=entropy, names=names, level=level, progress=progress
        )
    sys.path.insert(0, str(folder))
    subject, outcomes = ThisProcess(folder), {}
    for check in judge.by_name(names):
        progress(check.name)
        outcomes[check.name] = judge.run(check, subject, entropy, outcomes)
    return outcomes


def _table(outcomes: dict[str, Outcome]) -> None:
    console = Console()
    table = Table("notebook", "check", "points", "what it says", box=None, pad_edge=False)
    for notebook in NOTEBOOKS:
        for name in [n for n in outcomes if ALL[n].notebook == notebook]:
            found = outcomes[name]
            mark = "[green]✓[/]" if found.passed else "[red]✗[/]"
            score = f"{mark} {report.number(found.points)}/{report.number(found.max_points)}"
            said = "" if found.passed else report.clean(found.summary, 160).replace("[", r"\[")
            table.add_row(notebook, name, score, said)
    console.print(table)
    points = sum(outcome.points for outcome in outcomes.values())
    total = sum(outcome.max_points for outcome in outcomes.values())
    console.print(f"{report.number(points)} of {report.number(total)} points by checks.")
    next_one = next((name for name, found in outcomes.items() if not found.passed), None)
    if next_one:
        console.print(f"Next: {next_one}, in notebooks/{ALL[next_one].notebook}.ipynb.")


if __name__ == "__main__":
    raise SystemExit(main())
