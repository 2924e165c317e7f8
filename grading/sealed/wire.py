"""Values across the wall: a typed tree with arrays as raw bytes, and nothing that can run.

A frame is a fixed head (magic, length of the tree, length of the payload), the tree as JSON, and
the payload: the bytes of all arrays, one after another. Whoever reads a frame trusts nothing in
it: lengths are capped before anything is allocated, dtypes are on a list, and each array's shape
times its item size must be exactly the bytes that it names. Needs NumPy and the standard library
alone, since the child has nothing else.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"c231"
HEAD = struct.Struct("<4sIQ")
MAX_TREE = 1 << 20  # bytes of JSON
MAX_PAYLOAD = 1 << 27  # bytes of arrays in a question: weights and test images
MAX_ANSWER = 1 << 24  # bytes of arrays in an answer: what a student's code may send
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_DIMENSIONS = 8
_quoted = json.encoder.encode_basestring_ascii
DTYPES = {
    name: np.dtype(name) for name in "|b1 |u1 |i1 <u2 <i2 <u4 <i4 <u8 <i8 <f2 <f4 <f8".split()
}


class WireError(ValueError):
    """A frame or a value that must not cross; the text says why, in words."""


class Handle(NamedTuple):
    """A value that stays on the other side, by name."""

    name: str


class Opaque(NamedTuple):
    """A value of a type that cannot cross; only its description does."""

    description: str


class Packed(NamedTuple):
    """A value as a frame holds it: packed once, it can be a part of many."""

    text: str
    payload: bytes


def pack(value: Any) -> Packed:
    """The value as it is in a frame. Raises WireError where it is too deep."""
    arrays: list[bytes] = []
    return Packed(_pack(value, arrays, 0), b"".join(arrays))


def encode(value: Any, most: int = MAX_PAYLOAD) -> bytes:
    """The frame of `value`. Raises WireError where it is too large or too deep."""
    packed = pack(value)
    tree, payload = packed.text.encode(), packed.payload
    if len(tree) > MAX_TREE or len(payload) > most:
        raise WireError(f"an answer of {len(tree) + len(payload):,} bytes is too large")
    return HEAD.pack(MAGIC, len(tree), len(payload)) + tree + payload


def read(read_exactly: Callable[[int], bytes], most: int = MAX_PAYLOAD) -> Any:
    """The next value from `read_exactly(n)`, which returns n bytes or raises.

    `most` is the longest payload that is read. Raises WireError for anything but a whole frame.
    """
    magic, tree_length, payload_length = HEAD.unpack(read_exactly(HEAD.size))
    if magic != MAGIC:
        raise WireError("what came is not a frame")
    if tree_length > MAX_TREE or payload_length > most:
        raise WireError(f"a frame of {tree_length + payload_length:,} bytes is too large")
    text = read_exactly(tree_length)
    payload = memoryview(read_exactly(payload_length))
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise WireError("the frame's tree cannot be read") from problem
    reader = _Reader(payload)
    value = reader.unpack(tree, 0)
    if reader.offset != len(payload):
        raise WireError("the frame carries bytes that no array names")
    return value


def _pack(value: Any, arrays: list[bytes], depth: int) -> str:
    """The JSON of a value; the bytes of its arrays are added to `arrays`."""
    if depth > MAX_DEPTH:
        raise WireError(f"an answer is nested more than {MAX_DEPTH} deep")
    if value is None:
        return "null"
    if type(value) is str:
        return _quoted(value)
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return f'{{"i":"{value}"}}' if -(2**63) <= value < 2**64 else _opaque("int of many digits")
    if type(value) is float:
        return f'{{"f":"{value.hex()}"}}'
    if isinstance(value, (np.ndarray, np.generic)):
        return _pack_array(np.asarray(value), isinstance(value, np.generic), arrays)
    if isinstance(value, Packed):
        arrays.append(value.payload)
        return value.text
    if isinstance(value, Handle):
        return f'{{"h":{_quoted(value.name)}}}'
    if isinstance(value, Opaque):
        return _opaque(value.description)
    if type(value) in (list, tuple):
        tag = "l" if type(value) is list else "t"
        items = ",".join([_pack(item, arrays, depth + 1) for item in value])
        return f'{{"{tag}":[{items}]}}'
    if isinstance(value, dict):
        pairs = [(_quoted(str(k)), _pack(item, arrays, depth + 1)) for k, item in value.items()]
        items = ",".join([f"[{key},{item}]" for key, item in pairs])
        return f'{{"d":[{items}]}}'
    return _opaque(type(value).__name__)


def _opaque(description: str) -> str:
    return f'{{"o":{_quoted(description[:500])}}}'


def _pack_array(array: np.ndarray, scalar: bool, arrays: list[bytes]) -> str:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if little.dtype.str not in DTYPES:
        return _opaque(f"array of dtype {str(array.dtype)[:100]} and shape {array.shape}")
    arrays.append(little.tobytes())
    shape = ",".join(map(str, little.shape))
    return f'{{"a":["{little.dtype.str}",[{shape}],{int(scalar)}]}}'


class _Reader:
    def __init__(self, payload: memoryview) -> None:
        self.payload, self.offset, self.nodes = payload, 0, 0

    def unpack(self, node: Any, depth: int) -> Any:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise WireError("the frame's tree is too deep or too large")
        if type(node) is str:
            return _text(node, MAX_TREE)
        if node is None or type(node) is bool:
            return node
        if type(node) is not dict or len(node) != 1:
            raise WireError("the frame's tree has a node of no known kind")
        ((tag, body),) = node.items()
        try:
            return self._unpack_tagged(tag, body, depth)
        except (TypeError, ValueError, KeyError, OverflowError) as problem:
            raise problem if isinstance(problem, WireError) else WireError(
                f"the frame's tree has a damaged node of kind {str(tag)[:10]!r}"
            ) from problem

    def _unpack_tagged(self, tag: str, body: Any, depth: int) -> Any:
        if tag == "a":
            return self._array(*body)
        if tag == "d":
            return {_text(key, 1000): self.unpack(item, depth + 1) for key, item in _list(body)}
        if tag == "l":
            return [self.unpack(item, depth + 1) for item in _list(body)]
        if tag == "t":
            return tuple([self.unpack(item, depth + 1) for item in _list(body)])
        if tag == "i":
            return _whole(int(_text(body, 21)))
        if tag == "f":
            return float.fromhex(_text(body, 40))
        if tag == "h":
            return Handle(_text(body, 100))
        if tag == "o":
            return Opaque(_text(body, 500))
        raise WireError("the frame's tree has a node of no known kind")

    def _array(self, name: str, shape: list[int], scalar: int) -> Any:
        if name not in DTYPES:
            raise WireError("an array of a dtype that is not allowed")
        if len(_list(shape)) > MAX_DIMENSIONS:
            raise WireError("an array of too many dimensions")
        for size in shape:
            if type(size) is not int or not 0 <= size <= MAX_PAYLOAD:
                raise WireError("an array of an impossible shape")
        dtype, offset = DTYPES[name], self.offset
        length = math.prod(shape) * dtype.itemsize
        if length > len(self.payload) - offset:
            raise WireError("an array names more bytes than the frame carries")
        self.offset += length
        if name == "|b1":  # a byte of 7 is no truth value
            array = np.ndarray(shape, np.uint8, self.payload, offset) != 0
        else:
            array = np.ndarray(shape, dtype, self.payload, offset).copy()
        return array[()] if scalar and array.ndim == 0 else array


def _text(value: Any, longest: int) -> str:
    if type(value) is not str or len(value) > longest:
        raise WireError("the frame's tree has a text where none, or a shorter one, may be")
    if value.isascii():
        return value
    return value.encode("utf-8", "replace").decode()  # half a surrogate pair fits no file


def _whole(value: int) -> int:
    if not -(2**63) <= value < 2**64:
        raise WireError("the frame's tree has a whole number of too many digits")
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise WireError("the frame's tree has no list where one must be")
    return value
