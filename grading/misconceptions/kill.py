"""The kill table: which checks notice each misconception, and what they say.

Run by `python -m grading.misconceptions`, with a solved package on the path.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import secrets
import sys
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from grading import follow, judge
from grading.checks import ALL, Check
from grading.checks.case import Case
from grading.misconceptions import BANK
from grading.misconceptions.bank import Functions, Misconception
from grading.outcome import Outcome
from grading.overlay import ROOT
from grading.subject import Reply, ThisProcess

ALTERNATIVES = ROOT / "tests" / "data" / "alternatives"  # right solutions written otherwise
MODULES = (
    "layers",
    "layer_utils",
    "optim",
    "classifiers.fc_net",
    "classifiers.cnn",
    "classifiers.pytorch_nets",
    "classifiers.resnet",
)


@dataclass(frozen=True)
class Row:
    """One misconception against all checks: which failed, which should, what was named.

    A backward that was judged right for its own forward need not fail: the forward did.
    """

    name: str
    wanted: frozenset[str]
    failed: frozenset[str]
    named: Mapping[str, tuple[str, ...]]

    @property
    def killed(self) -> bool:
        return bool(self.wanted) and self.wanted <= self.failed

    @property
    def others(self) -> frozenset[str]:
        return self.failed - self.wanted

    @property
    def diagnosed(self) -> bool:
        return all(self.named.get(check) == (self.name,) for check in self.wanted)

    @property
    def well(self) -> bool:
        return self.killed and self.diagnosed and not self.others and not self.wrongly

    @property
    def wrongly(self) -> list[str]:
        """Names given that are not this one's."""
        return sorted({n for found in self.named.values() for n in found if n != self.name})


class InPlace(ThisProcess):
    """The solved package of this process with a misconception in the place of its functions."""

    def __init__(self, functions: Functions) -> None:
        super().__init__(Path.cwd())
        self.functions = functions

    def replies(self, check: Check, cases: Sequence[Case], parts: bool) -> Iterator[Reply]:
        with in_place(self.functions):
            yield from super().replies(check, cases, parts)


@contextmanager
def in_place(functions: Functions) -> Iterator[None]:
    """Put functions and classes in the place of the package's own, wherever they are bound."""
    modules = [importlib.import_module(f"cs231n.{name}") for name in MODULES]
    swapped: list[tuple[Any, str, Any]] = []
    for path, made in functions.items():
        home, _, name = path.partition(":")
        own = getattr(sys.modules[f"cs231n.{home}"], name)
        for module in modules:
            if getattr(module, name, None) is own:
                swapped.append((module, name, own))
                setattr(module, name, made)
    try:
        yield
    finally:
        for module, name, own in swapped:
            setattr(module, name, own)


class Table:
    """Runs misconceptions against the checks that call what they replace."""

    def __init__(self, entropy: int) -> None:
        self.entropy = entropy
        self.checks = [check for check in ALL.values() if not check.procedure]
        self.cases = {check.name: judge.draw(check, entropy) for check in self.checks}
        self.reach = {check.name: self._reached(check) for check in self.checks}

    def _reached(self, check: Check) -> set[str]:
        """The functions of `cs231n` that the check's questions call, by name."""
        found: set[str] = set()

        def note(frame: Any, event: str, argument: Any) -> None:
            if event == "call" and "/cs231n/" in frame.f_code.co_filename:
                found.update(frame.f_code.co_qualname.split("."))

        subject = InPlace({})
        sys.setprofile(note)
        try:
            list(subject.replies(check, self.cases[check.name], False))
        finally:
            sys.setprofile(None)
        return found

    def row(self, known: Misconception, form: Functions) -> Row:
        """Every check that can notice; the others are passed by the solved tree as before."""
        outcomes = self.outcomes(form)
        forgiven = {
            name
            for name, found in outcomes.items()
            if found.passed and any(f.message == follow.RIGHT for f in found.findings)
        }
        return Row(
            name=known.name,
            wanted=frozenset(known.fails) - forgiven,
            failed=frozenset(name for name, found in outcomes.items() if not found.passed),
            named={name: found.known for name, found in outcomes.items() if found.known},
        )

    def outcomes(self, functions: Functions) -> dict[str, Outcome]:
        """The outcomes of the checks that call one of these functions, in the course's order."""
        names = {path.partition(":")[2] for path in functions}
        subject, found = InPlace(functions), {}
        for check in self.checks:
            if names & self.reach[check.name]:
                cases = self.cases[check.name]
                found[check.name] = judge.run(check, subject, self.entropy, found, cases)
        return found


def replaced(module: types.ModuleType) -> Functions:
    """What a module defines that stands in `cs231n` too, by path."""
    found = {}
    for home in MODULES:
        own = importlib.import_module(f"cs231n.{home}")
        for name, value in vars(module).items():
            here = getattr(own, name, None)
            if getattr(here, "__module__", "") == own.__name__ and not name.startswith("_"):
                if getattr(value, "__module__", "") == module.__name__:
                    found[f"{home}:{name}"] = value
    return found


def alternative(path: Path) -> Functions:
    """The functions of a right solution that is written otherwise, from its file."""
    spec = importlib.util.spec_from_file_location(f"alternative_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return replaced(module)


_TABLE: list[Table] = []  # one a process


def _start(entropy: int) -> None:
    torch.set_num_threads(1)
    _TABLE.append(Table(entropy))


def _rows(name: str) -> list[Row]:
    return [_TABLE[0].row(BANK[name], form) for form in BANK[name].forms]


def _failing(path: Path) -> list[str]:
    outcomes = _TABLE[0].outcomes(alternative(path))
    return [f"{name}: {found.summary}" for name, found in outcomes.items() if not found.passed]


def run(
    names: Sequence[str], right: Sequence[Path], entropy: int
) -> tuple[list[Row], list[list[str]]]:
    """The rows of these misconceptions, and what fails of these right solutions; in parallel."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(2, os.cpu_count() or 1), _start, (entropy,)) as pool:
        found = pool.imap(_rows, names, chunksize=4)
        forms = list(tqdm(found, total=len(names), unit="mistake", leave=False))
        return [row for rows in forms for row in rows], pool.map(_failing, right)


def lines(row: Row) -> list[str]:
    """A row in words: its own checks, then whatever is not as it must be."""
    mark = "ok  " if row.well else "FAIL"
    said = [f"{mark} {row.name}: {', '.join(sorted(row.failed & row.wanted)) or 'unnoticed'}"]
    if not row.killed:
        said.append(f"     passes {', '.join(sorted(row.wanted - row.failed))}")
    if row.others:
        said.append(f"     fails others: {', '.join(sorted(row.others))}")
    if not row.diagnosed:
        said.append(f"     not named in every check: {dict(row.named)}")
    if row.wrongly:
        said.append(f"     wrongly named {', '.join(row.wrongly)}")
    return said


def main(word: str = "") -> int:
    """Print the kill table; 0 if all is well."""
    start, entropy = time.monotonic(), secrets.randbits(32)
    names = [name for name in BANK if word.lower() in name.lower()]
    right = [] if word else sorted(ALTERNATIVES.glob("*.py"))
    table, failing = run(names, right, entropy)
    for row in table:
        print("\n".join(lines(row)))
    for path, failed in zip(right, failing, strict=True):
        print("\n     ".join([f"{'FAIL' if failed else 'ok  '} right: {path.stem}", *failed]))
    print(
        f"{len(names)} misconceptions in {len(table)} forms: "
        f"{sum(row.killed for row in table)} killed, "
        f"{sum(row.diagnosed for row in table)} diagnosed by name, "
        f"{sum(bool(row.wrongly) for row in table)} wrongly named, "
        f"{sum(bool(row.others) for row in table)} with another check failed.\n"
        f"{len(right)} right solutions written otherwise: {sum(map(bool, failing))} fail.\n"
        f"{time.monotonic() - start:.0f} s, entropy {entropy}."
    )
    return 0 if table and all(row.well for row in table) and not any(failing) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
