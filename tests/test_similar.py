"""Pairs of submissions that are closer than the starter code explains."""

from __future__ import annotations

import csv
import random
import re

import pytest
import small_course

from grading import similar
from grading.overlay import SOLUTIONS, TASK_FILES

pytestmark = pytest.mark.fast
SOLVED = "\n".join((SOLUTIONS / name).read_text("utf-8") for name in TASK_FILES)


def own(seed: int) -> str:
    """A solution of somebody's own: the starter code, and code that nobody else has."""
    rng, lines = random.Random(seed), []
    for i in range(60):
        a, b, c = (rng.choice(["+", "-", "*", "@", "//", "%"]) for _ in range(3))
        call = rng.choice(["(x, axis=0)", "[x]", ".T", "(x)(y)", "[0][1:]", "()"])
        lines.append(f"def f{i}(x, y):\n    z = x {a} y{call} {b} {rng.random()}\n"
                     f"    return z {c} {rng.randrange(9)}")  # fmt: skip
    return similar.starter() + "\n".join(lines)


def test_a_copy_with_other_names_is_found():
    """Is a copy close whose names, comments and blanks were changed, and nobody else?"""
    copied = re.sub(r"\b([xyz])\b", r"\1_of_mine", own(1)).replace("    z", "    # mine\n\n    z")
    (pair,) = similar.pairs({"a": own(1), "b": copied, "c": own(2), "d": own(3)}, "")[:1]
    assert {pair.first, pair.second} == {"a", "b"} and pair.share > 0.9
    found = similar.pairs({"a": own(1), "b": copied, "c": own(2)}, similar.starter())
    assert [{pair.first, pair.second} for pair in found] == [{"a", "b"}]


def test_the_starter_code_is_nobodys_own():
    """Are two submissions with nothing written no pair?"""
    assert similar.pairs({"a": similar.starter(), "b": similar.starter()}, similar.starter()) == []


def test_what_many_write_is_nobodys_own():
    """Is a passage that the whole class has (from a lecture, say) no likeness of two?"""
    assert similar.pairs({f"s{i}": SOLVED for i in range(10)}, similar.starter()) == []
    assert len(similar.pairs({"a": SOLVED, "b": SOLVED}, similar.starter())) == 1


def test_the_list_of_a_course(tmp_path, capsys):
    """Is the list written as a table, with a sentence that it is no verdict?"""
    assert similar.main(["--course", str(tmp_path)]) == 1
    for name in ("=ann", "bob"):
        folder = tmp_path / "submitted" / name / "assignment2"
        for file in small_course.TASK_FILES:
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text((SOLUTIONS / file).read_text("utf-8"))
    assert similar.main(["--course", str(tmp_path)]) == 0
    with (tmp_path / "similar.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["first"] == "'=ann" and float(row["share"]) > 0.9
    assert "not a verdict" in capsys.readouterr().out
