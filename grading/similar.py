"""`python -m grading.similar`: pairs of submissions that are closer than the starter code explains.

The task files are compared by fingerprints of their tokens (winnowing; Schleimer, Wilkerson,
Aiken, "Winnowing: local algorithms for document fingerprinting", 2003), with the unwritten files
and whatever a quarter of the class writes taken out. Exercises of one line look alike in every
solution. So this is a list to look at, and not a verdict.
"""

from __future__ import annotations

import argparse
import csv
import io
import logging
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from copydetect import CodeFingerprint, compare_files
from copydetect.utils import get_token_coverage
from tqdm import tqdm

from grading import overlay
from grading.evidence import one_line
from grading.grades import harmless
from grading.store import write_atomically

TOKENS = 25  # characters of filtered code below which a match means nothing
WINDOW = 5
COMMON = 0.25  # what this share of a class has in common is nobody's own
FEW = 8  # in a smaller class nothing is common
LEAST = 200  # characters of filtered code that are somebody's own, or there is nothing to compare
CLOSE = 0.6  # share of the smaller one's own code


@dataclass(frozen=True)
class Pair:
    """Two submissions: the share of the smaller one's own code that both have, and how much."""

    first: str
    second: str
    share: float
    characters: int


def own_code(folder: Path) -> str:
    """The task files and helpers of a submission, one after another."""
    found = overlay.collect(folder).content
    texts = (found[name].decode("utf-8", "replace") for name in sorted(found))
    return "\n".join(texts)


def starter() -> str:
    """The unwritten task files."""
    return "\n".join(overlay.pristine_stub(name).decode() for name in overlay.TASK_FILES)


def fingerprint(code: str, window: int = WINDOW) -> CodeFingerprint:
    """The fingerprint of Python code."""
    return CodeFingerprint("own.py", TOKENS, window, fp=io.StringIO(code))


def take_out(known: set[int], of: CodeFingerprint) -> None:
    """Leave in a fingerprint what is not `known`."""
    of.hash_idx = {h: places for h, places in of.hash_idx.items() if h not in known}
    of.hashes = set(of.hash_idx)
    of.token_coverage = get_token_coverage(of.hash_idx, TOKENS, len(of.filtered_code))


def pairs(codes: Mapping[str, str], given: str) -> list[Pair]:
    """Pairs that are close, the closest first; `given` is what everybody was given."""
    bar = tqdm(codes.items(), unit="submission", leave=False, disable=None)
    prints = {name: fingerprint(code) for name, code in bar}
    # A window of 1 has every hash of the starter code, wherever another file is cut.
    known = set(fingerprint(given, window=1).hashes)
    counts = Counter(h for each in prints.values() for h in each.hashes)
    if len(prints) >= FEW:
        known |= {h for h, count in counts.items() if count > max(2, COMMON * len(prints))}
    for each in prints.values():
        take_out(known, each)
    own = {name: each for name, each in prints.items() if each.token_coverage >= LEAST}
    hashes = {name: each.hashes for name, each in own.items()}
    found = []
    for one, other in tqdm(list(combinations(own, 2)), unit="pair", leave=False, disable=None):
        smaller = min(len(hashes[one]), len(hashes[other]))
        if not smaller or len(hashes[one] & hashes[other]) < 0.5 * CLOSE * smaller:
            continue  # quick, and never more than a rough bound
        characters, shares, _ = compare_files(own[one], own[other])
        share = min(float(max(shares)), 1.0)
        if share >= CLOSE:
            found.append(Pair(one, other, share, int(characters)))
    return sorted(found, key=lambda pair: (-pair.share, -pair.characters))


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    from grading.classroom import COURSE, submissions

    parser = argparse.ArgumentParser(prog="python -m grading.similar", description=__doc__)
    parser.add_argument("--course", type=Path, default=COURSE, help="the course folder")
    course = parser.parse_args(argv).course.resolve()
    logging.getLogger().setLevel(logging.ERROR)  # of copydetect: empty files
    folders = submissions(course)
    if not folders:
        print(f"nothing was collected in {course}: `make collect` comes first", file=sys.stderr)
        return 1
    codes = {name: own_code(folder) for name, folder in folders.items()}
    found = pairs(codes, starter())
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["first", "second", "share", "characters"])
    for pair in found:
        names = [harmless(one_line(name, 80)) for name in (pair.first, pair.second)]
        out.writerow([*names, f"{pair.share:.3f}", pair.characters])
    write_atomically(course / "similar.csv", text.getvalue())
    for pair in found[:30]:
        names = f"{one_line(pair.first, 80)}  {one_line(pair.second, 80)}"
        print(f"{pair.share:4.0%}  {pair.characters:6d} characters  {names}")
    print(f"{len(found)} pairs of {len(codes)} submissions to look at: {course / 'similar.csv'}")
    print("A list to look at, and not a verdict: short exercises have few different solutions.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
