"""Fuzz the wire: `python -m tests.fuzz_wire --minutes 10` (`make fuzz`).

Frames are drawn by hypothesis: noise, trees that lie, whole frames with bytes changed, cut short
or joined. Whatever comes, the reader returns a value or raises WireError (or the end of the file),
and the whole process stays below 256 MB.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

MOST_MEGABYTES = 256
EXAMPLES = 2_000  # of one round


def _wire():
    """The module by its file, as the worker loads it: without torch, whose memory is not meant."""
    path = Path(__file__).resolve().parents[1] / "grading" / "sealed" / "wire.py"
    spec = importlib.util.spec_from_file_location("wire", path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


wire = _wire()

NUMBERS = st.integers(-5, 9) | st.integers() | st.sampled_from([1 << 24, 1 << 31, 1 << 43, 1 << 63])
DTYPES = st.sampled_from([*sorted(wire.DTYPES), "|O", "<c16", "<U4", ">f8", "f8", ""])
SMALL = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | SMALL,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(SMALL, inner, max_size=3),
    max_leaves=20,
)


def _tagged(inner):
    body = {
        "a": st.tuples(DTYPES, st.lists(NUMBERS, max_size=9), st.integers(0, 2)).map(list),
        "i": NUMBERS.map(str) | SMALL,
        "f": st.floats().map(float.hex) | SMALL,
        "h": SMALL,
        "o": SMALL,
        "l": st.lists(inner, max_size=4),
        "t": st.lists(inner, max_size=4),
        "d": st.lists(st.tuples(SMALL, inner).map(list), max_size=4),
    }
    return st.one_of(*[b.map(lambda b, t=t: {t: b}) for t, b in body.items()])


TREES = st.recursive(_tagged(JSON) | SMALL | st.none(), _tagged, max_leaves=15) | JSON
ARRAYS = hnp.arrays(
    st.sampled_from(["f8", "f4", "i8", "u1", "b1"]), hnp.array_shapes(min_dims=0, max_side=4)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | SMALL | ARRAYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SMALL, inner, max_size=4),
    max_leaves=10,
)
# A repeated text and its count: hypothesis keeps what it draws, so that only this is drawn.
LONG = st.tuples(
    st.sampled_from(["[", '{"l":[', '{"a":', "9", '"', " ", '[{"i":"1"},']),
    st.sampled_from([20, 40, 5_000, 100_000, wire.MAX_TREE]),
)


class Frame(NamedTuple):
    """A frame before it is written out: `zeros` more bytes follow the payload."""

    tree: bytes
    payload: bytes = b""
    zeros: int = 0
    lies: tuple[int | None, int | None] = (None, None)

    def data(self) -> bytes:
        true = (len(self.tree), len(self.payload) + self.zeros)
        lengths = [said if said is not None else n for said, n in zip(self.lies, true, strict=True)]
        return wire.HEAD.pack(b"c231", *lengths) + self.tree + self.payload + bytes(self.zeros)


@st.composite
def frames(draw) -> Frame | bytes:
    """What may come from a child that lies."""
    kind = draw(st.sampled_from(["noise", "tree", "value", "large"]))
    if kind == "noise":
        return draw(st.binary(max_size=400))
    if kind == "value":
        data = bytearray(wire.encode(draw(VALUES)))
        for _ in range(draw(st.integers(0, 4))):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        kept = draw(st.integers(0, len(data))) if draw(st.booleans()) else len(data)
        return bytes(data[:kept])
    if kind == "large":
        size = draw(st.sampled_from([1 << 20, wire.MAX_ANSWER, wire.MAX_ANSWER + 1]))
        return Frame(json.dumps({"a": ["|u1", [size], 0]}).encode(), zeros=size)
    lies = (None, None)
    if draw(st.integers(0, 9)) == 0:
        said = st.none() | st.integers(0, 2**32 - 1)
        lies = (draw(said), draw(said))
    tree = json.dumps(draw(TREES)).encode()
    return Frame(tree, draw(st.binary(max_size=200)), lies=lies)


def read(data: bytes) -> str:
    """What became of a frame, in a word. Anything but these is a fault of the wire."""
    stream = io.BytesIO(data)

    def exactly(length: int) -> bytes:
        assert length <= max(wire.MAX_ANSWER, wire.MAX_TREE), "it would wait for too much"
        part = stream.read(length)
        if len(part) < length:
            raise EOFError
        return part

    try:
        value = wire.read(exactly, wire.MAX_ANSWER)
    except wire.WireError:
        return "refused"
    except EOFError:
        return "cut short"
    try:
        wire.encode(value)
    except wire.WireError:  # a sender has stricter bounds on what it makes
        return "read, not sent on"
    return "read"


def one_round(number: int, examples: int, found: Counter) -> None:
    """Draw and read `examples` frames; raises what a frame made the reader raise."""

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(frames() | LONG)
    def fuzz(drawn: Frame | bytes | tuple[str, int]) -> None:
        if type(drawn) is tuple:
            text, count = drawn
            drawn = Frame((text * (count // len(text))).encode())
        found[read(drawn if isinstance(drawn, bytes) else drawn.data())] += 1

    fuzz()


def prepare() -> None:
    """Let another process draw first: on a fresh clone hypothesis makes a table of all characters
    with 200 MB, which is kept in a file and is not the wire's."""
    code = "from tests.fuzz_wire import Counter, one_round; one_round(0, 20, Counter())"
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def megabytes() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: list[str] | None = None) -> int:
    """Fuzz for some minutes; 1 if the memory went above the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments = parser.parse_args(argv)
    prepare()
    found: Counter = Counter()
    before, start, number = megabytes(), time.monotonic(), arguments.seed
    while time.monotonic() - start < 60 * arguments.minutes:
        one_round(number, EXAMPLES, found)
        number += 1
        print(f"{time.monotonic() - start:5.0f} s, {megabytes():.0f} MB: {dict(found)}", flush=True)
    print(
        f"{sum(found.values()):,} frames in {number - arguments.seed} rounds from seed "
        f"{arguments.seed}: no crash; {megabytes():.0f} MB at most ({before:.0f} MB before)"
    )
    return int(megabytes() > MOST_MEGABYTES)


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
