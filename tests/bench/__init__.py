"""Measurements of the whole package, as ratios wherever something else can be run beside it.

    python -m tests.bench                    every section: docs/benchmarks.md and its plot
    python -m tests.bench layers grading     these sections; the others' figures are kept
    python -m tests.bench --short            less of it, and fail where a ratio became worse

A section is a module of this package with a docstring that says how it measures and a function
`figures(short: bool) -> list[Figure]`, which runs in a process of its own. With short=True it
takes some seconds, and returns those ratios only that any machine should give.
"""

from dataclasses import dataclass

SECTIONS = ("layers", "network", "loading", "grading", "class_", "train")


@dataclass(frozen=True)
class Figure:
    """One number that was measured."""

    name: str  # what it is of; the same in the short form and in the long one
    value: float
    unit: str  # "times torch", "s", "MB"
    target: float | None = None  # at most; or at least, when more_is_better
    spread: tuple[float, float] | None = None  # lowest and highest of the repetitions
    text: str = ""  # how it was measured: sizes, repetitions
    more_is_better: bool = False

    @property
    def met(self) -> bool:
        """Whether the target was met; true when there is none."""
        if self.target is None:
            return True
        return self.value >= self.target if self.more_is_better else self.value <= self.target
