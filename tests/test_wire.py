"""The wire: what goes in comes out, and nothing that comes can hurt the reader."""

import io
import json
import os
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from grading.sealed import wire
from tests import fuzz_wire

ARRAYS = st.sampled_from(["f8", "f4", "i8", "i4", "u1", "b1"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, max_side=5))
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=20)
    | ARRAYS
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def read(data):
    stream = io.BytesIO(data)

    def exactly(length):
        part = stream.read(length)
        if len(part) < length:
            raise EOFError
        return part

    return wire.read(exactly)


def frame(tree, payload=b"", length=None):
    text = json.dumps(tree).encode() if not isinstance(tree, bytes) else tree
    size = len(payload) if length is None else length
    return struct.pack("<4sIQ", b"c231", len(text), size) + text + payload


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or a != a)


@given(VALUES)
def test_values_come_back_as_they_were(value):
    """Does every value of the typed tree survive the way across?"""
    assert same(value, read(wire.encode(value)))


@given(VALUES, VALUES)
def test_a_part_that_was_packed_before_comes_back_in_its_place(one, other):
    """Is a value packed once, and sent twice, what it is when it is sent as it is?"""
    packed = wire.pack(one)
    assert same([one, (other, one)], read(wire.encode([packed, (other, packed)])))


def test_what_cannot_cross_arrives_as_a_description():
    """Is an object, a complex array or a text array named and not sent?"""
    for value in (object(), np.zeros(2, dtype=complex), np.array(["a"]), 10**40, {1, 2}):
        assert isinstance(read(wire.encode(value)), wire.Opaque)


@pytest.mark.parametrize(
    "data",
    [
        frame({"a": ["<f8", [1 << 40], 0]}),
        frame({"a": ["<f8", [3], 0]}, b"12345678"),
        frame({"a": ["|O", [1], 0]}, b"12345678"),
        frame({"a": ["<f8", [-1], 0]}),
        frame({"a": ["<f8", [1, 2, 3, 4, 5, 6, 7, 8, 9], 0]}),
        frame({"a": ["<f8", [1 << 27, 1 << 27, 1 << 27], 0]}),
        frame({"a": ["<f8", "3", 0]}),
        frame({"a": [["<f8"], [1], 0]}, b"12345678"),
        frame({"a": 5}),
        frame({"i": "9" * 10_000}),
        frame({"f": "0x" + "f" * 1000}),
        frame({"f": [1]}),
        frame({"d": [[1, 2]]}),
        frame({"d": {"a": 1}}),
        frame({"x": 1}),
        frame([1]),
        frame(5),
        frame(b"[" * 10_000),
        frame(b'{"l":[' * 40 + b"null" + b"]}" * 40),
        frame({"l": [None] * 150_000}),
        frame(None, b"left over"),
        frame(b"\xff\xfe"),
        b"nope" + bytes(12),
        struct.pack("<4sIQ", b"c231", 1 << 31, 0),
        struct.pack("<4sIQ", b"c231", 4, 1 << 43) + b"null",
    ],
)
def test_a_frame_that_lies_is_refused_in_words(data):
    """Is a lying header, a deep tree or a damaged node a WireError and nothing else?"""
    with pytest.raises(wire.WireError) as problem:
        read(data)
    assert str(problem.value)


def test_a_length_is_refused_before_it_is_read():
    """Is 8 TiB refused without an attempt to read or allocate it?"""
    asked = []

    def exactly(length):
        asked.append(length)
        return struct.pack("<4sIQ", b"c231", 4, 1 << 43)[:length]

    with pytest.raises(wire.WireError):
        wire.read(exactly)
    assert asked == [wire.HEAD.size]


@given(st.binary(max_size=300))
def test_noise_is_refused(noise):
    """Can any bytes at all raise something other than a WireError or an end of file?"""
    for data in (noise, frame(noise), frame({"a": ["<f8", [2], 0]}, noise)):
        try:
            read(data)
        except (wire.WireError, EOFError):
            continue


@given(VALUES, st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_byte_is_refused_or_changes_a_value(value, position, byte):
    """Does a flipped byte anywhere do no more than change the value or refuse the frame?"""
    data = bytearray(wire.encode(value))
    data[position % len(data)] = byte
    try:
        read(bytes(data))
    except (wire.WireError, EOFError):
        return


def test_an_answer_too_deep_or_too_large_is_not_sent():
    """Does the sender refuse what the reader would?"""
    deep = None
    for _ in range(100):
        deep = [deep]
    with pytest.raises(wire.WireError, match="deep"):
        wire.encode(deep)
    with pytest.raises(wire.WireError, match="large"):
        wire.encode(["x" * 100_000] * 20)


def test_what_no_file_could_hold_is_made_fit_for_one():
    """Is half a surrogate pair replaced, and a truth value of 7 true?"""
    assert read(frame({"l": ["\ud800", {"o": "\udfff"}]})) == ["?", wire.Opaque("?")]
    flags = read(frame({"a": ["|b1", [2], 0]}, b"\x07\x00"))
    assert flags.tobytes() == b"\x01\x00"


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64])
def test_numbers_beyond_64_bits_do_not_cross(number):
    """Is a number that would become an array of objects refused, and described when sent?"""
    with pytest.raises(wire.WireError, match="too many digits"):
        read(frame({"i": str(number)}))
    assert read(wire.encode(number)) == wire.Opaque("int of many digits")


def test_answers_are_shorter_than_questions():
    """Is a payload that may come with a question too long for an answer?"""
    data = wire.encode(np.zeros(wire.MAX_ANSWER + 1, dtype=np.uint8))
    with pytest.raises(wire.WireError, match="too large"):
        wire.read(io.BytesIO(data).read, wire.MAX_ANSWER)
    with pytest.raises(wire.WireError, match="too large"):
        wire.encode(np.zeros(wire.MAX_ANSWER + 1, dtype=np.uint8), wire.MAX_ANSWER)


def test_a_short_fuzz():
    """Does drawn nonsense of every kind end in a value or a refusal? (`make fuzz` draws more.)"""
    found = Counter()
    fuzz_wire.one_round(int.from_bytes(os.urandom(3), "big"), 300, found)
    assert sum(found.values()) >= 100
    assert {"read", "refused", "cut short"} <= set(found)
