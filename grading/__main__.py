"""`python -m grading [CHECK ...]`: the checks on this folder's `cs231n`, points, what is next."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
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
    try:
        judge.by_name(chosen.names)
    except ValueError as problem:
        parser.error(str(problem))
    entropy = secrets.randbits(64) if chosen.entropy is None else chosen.entropy
    count = len(chosen.names or ALL)
    with tqdm(total=count, disable=count < 5, unit="check", leave=False) as bar:

        def progress(name: str) -> None:
            bar.set_description(name)
            bar.update()

        outcomes = _followed(chosen.folder, chosen.names, entropy, progress)
    if chosen.names:
        for outcome in outcomes.values():
            print(report.for_terminal(outcome))
    else:
        _table(outcomes)
    print(f"entropy {entropy} (--entropy draws the same inputs again)")
    return 0 if all(outcome.passed for outcome in outcomes.values()) else 1


def _followed(
    folder: Path, names: list[str], entropy: int, progress: Callable[[str], None]
) -> dict[str, Outcome]:
    """As in a notebook: where a check that is named fails, with what it builds on checked too."""
    outcomes = _outcomes(folder, names, entropy, progress)
    failed = [ALL[name] for name in names if not outcomes[name].passed]
    below = [check.name for check in judge.below(failed) if check.name not in names]
    if below:
        outcomes = _outcomes(folder, [*names, *below], entropy, lambda name: None)
    return {name: found for name, found in outcomes.items() if name not in below}


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
    """By notebook: what is passed and what is not written in a line each, what is wrong in words;
    then the points so far, and what is next."""
    console = Console(highlight=False)
    for notebook in NOTEBOOKS:
        found = {n: o for n, o in outcomes.items() if ALL[n].notebook == notebook}
        console.print(f"\n[bold]{notebook}[/]  {_points(found.values())}")
        passed = [name for name, outcome in found.items() if outcome.passed]
        unwritten = [name for name, outcome in found.items() if _unwritten(outcome)]
        table = Table.grid(padding=(0, 1))
        if passed:
            table.add_row(" ", "[green]✓[/]", f"passed: {', '.join(passed)}")
        for name, outcome in found.items():
            if not outcome.passed and not _unwritten(outcome):
                said = escape(report.clean(outcome.diagnosis or outcome.summary, 300))
                table.add_row(" ", "[red]✗[/]", f"[bold]{name}[/] {_points([outcome])}: {said}")
        if unwritten:
            table.add_row(" ", "·", f"not written yet: {', '.join(unwritten)}")
        console.print(table)
    console.print(
        f"\n{_points(outcomes.values())} points by checks so far. Written answers are marked by "
        "hand, and not counted here."
    )
    next_one = next((name for name, found in outcomes.items() if not found.passed), None)
    if next_one:
        console.print(
            f"Next: [bold]{next_one}[/], in notebooks/{ALL[next_one].notebook}.ipynb. "
            f"All about it: make check NAME={next_one}"
        )


def _points(outcomes: Iterable[Outcome]) -> str:
    outcomes = list(outcomes)
    earned, most = sum(o.points for o in outcomes), sum(o.max_points for o in outcomes)
    return f"{report.number(earned)} of {report.number(most)}"


def _unwritten(outcome: Outcome) -> bool:
    return not outcome.points and outcome.summary.startswith("Not written yet")


if __name__ == "__main__":
    raise SystemExit(main())
