"""`python -m tests.bench [SECTION ...] [--short]`; see the package."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from grading.overlay import ROOT, solved_tree
from tests.bench import SECTIONS, Figure, page, records

TRIES = 3  # of a short section that became worse: other work on the machine can do that too


def run(section: str, short: bool, solved: Path) -> list[Figure]:
    """The figures of a section, measured in a process that imports the solved package.

    Raises RuntimeError when it fails; what it said stands above, on stderr.
    """
    # Threads, and what makes BLAS take an older processor's code, are for tests, not for times.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_"))}
    path = os.pathsep.join([str(solved), str(ROOT)])
    environment = {**kept, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        into = Path(place, "figures.json")
        command = [sys.executable, "-m", "tests.bench", section, "--into", str(into)]
        command += ["--short"] if short else []
        if subprocess.run(command, cwd=ROOT, env=environment).returncode:
            raise RuntimeError(f"the section {section} failed")
        return [records.figure(found) for found in json.loads(into.read_text())]


def measure(sections: list[str], solved: Path) -> bool:
    """Measure sections, and write the page and its plot; whether each target was met.

    A section's figures are written as soon as they are there: what was measured is not lost.
    """
    met = True
    for section in sections:
        figures, short = run(section, False, solved), run(section, True, solved)
        show(figures, targets=True)
        met = met and all(figure.met for figure in figures)
        page.write(records.update(section, figures, short))
    return met


def check(sections: list[str], solved: Path) -> bool:
    """Measure the short form of sections; whether no ratio is worse by more than half."""
    committed, fine = records.load(), True
    for section in sections:
        for _ in range(TRIES):
            figures = run(section, True, solved)
            show(figures)
            worse = records.regressions(section, figures, committed)
            if not worse or section not in committed:
                break
        print("\n".join(worse or [f"{section}: no ratio is worse by more than half"]), flush=True)
        fine = fine and not worse
    return fine


def show(figures: list[Figure], targets: bool = False) -> None:
    """Print figures as lines of text, with the targets that are missed."""
    for figure in figures:
        low, high = figure.spread or (figure.value, figure.value)
        missed = "" if figure.met or not targets else f", the target is {figure.target:g}"
        said = f"{figure.name:44} {figure.value:10.3f} {figure.unit} ({low:.3f} to {high:.3f})"
        print(said + missed, flush=True)


def main() -> int:
    """Run what the command line asks for; 1 when a target is missed or a ratio became worse."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--short", action="store_true", help="fail where a ratio became worse")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sections = arguments.sections or list(SECTIONS)
    unknown = sorted(set(sections) - set(SECTIONS))
    if unknown:
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if arguments.into:
        module = importlib.import_module(f"tests.bench.{sections[0]}")
        figures = [dataclasses.asdict(figure) for figure in module.figures(arguments.short)]
        arguments.into.write_text(json.dumps(figures))
        return 0
    way = check if arguments.short else measure
    with tempfile.TemporaryDirectory(prefix="solved-") as place:
        try:
            return int(not way(sections, solved_tree(Path(place))))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
