"""The child: imports the student's `cs231n`, answers calls into it, knows no reference value.

Run as a script (`python -I worker.py TREE REQUESTS REPLIES`) it reads tasks from one file
descriptor and writes one reply a case to another. A notebook imports it and calls `run_case`
in its own process. Nothing that this file does is trusted by the parent.
"""

from __future__ import annotations

import ast
import ctypes
import errno
import importlib
import importlib.util
import inspect
import io
import linecache
import os
import sys
import textwrap
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np


def beside(name: str) -> types.ModuleType:
    """The module of that name in this folder: by file, since -I keeps the folder off the path."""
    full_name = f"grading.sealed.{name}"
    if full_name not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location(full_name, path)
        sys.modules[full_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full_name])
    return sys.modules[full_name]


wire = beside("wire")

PACKAGE = "cs231n"
TOOL_CALLS = {"dropout_of": "dropout_forward"}  # tools that hand their arrays on to a function
UNWRITTEN = "not written yet"  # what a stub says
MAX_TEXT = 2000  # characters of a student's output or message that go on
_Function = tuple[types.CodeType, dict[int, int]]  # and the file's line for each that is another


class AnswerError(Exception):
    """An answer of the wrong kind: not the tuple that was asked for, or no such function."""


def run_case(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Run one case's calls in order; what they returned, what they changed, or the error.

    The reply has `answers` (name to value), `changed` (names of functions that wrote into an
    input array), `error` (None, or a dict with kind, type, message, where) and `seconds`.
    """
    kept: dict[str, Any] = {}
    reply: dict[str, Any] = {"answers": {}, "changed": [], "error": None}
    start = time.perf_counter()
    for call in calls:
        try:
            _run_call(call, kept, reply)
        except (Exception, SystemExit) as problem:
            reply["error"] = describe(problem)
            break
    reply["seconds"] = time.perf_counter() - start
    return reply


def _run_call(call: dict[str, Any], kept: dict[str, Any], reply: dict[str, Any]) -> None:
    function, name = find(call["function"], kept.get(call["of"]))
    args = tuple(_fill(arg, kept) for arg in call["args"])
    kwargs = {key: _fill(arg, kept) for key, arg in call["kwargs"].items()}
    if "dtype" in kwargs:  # a dtype crosses by its name
        kwargs["dtype"] = np.dtype(kwargs["dtype"]).type
    arrays = _arrays(args)
    before = [_fingerprint(array) for array in arrays]
    value = function(*args, **kwargs)
    if before != [_fingerprint(array) for array in arrays]:
        reply["changed"].append(TOOL_CALLS.get(name, name))
    values = _unpack(value, call["returns"], name)
    for key, item in zip(call["returns"], values, strict=True):
        if key in call["keep"]:
            kept[key] = item
        else:
            reply["answers"][key] = plain(item)
    for key, position in call["echo"].items():
        if key in call["keep"]:
            kept[key] = args[position]
        else:
            reply["answers"][key] = plain(args[position])


def find(path: str, owner: Any) -> tuple[Callable[..., Any], str]:
    """The function that a path names: "layers:affine_forward", ".loss" of `owner`, or a tool."""
    module_name, _, name = path.partition(":")
    if module_name == "tool":
        return getattr(beside("tools"), name), name
    if path.startswith("."):
        found = getattr(owner, path[1:])
        return (found if callable(found) else lambda: found), path[1:]
    module = importlib.import_module(f"{PACKAGE}.{module_name}")
    if not hasattr(module, name):
        raise AnswerError(f"{PACKAGE}/{module_name.replace('.', '/')}.py has no `{name}`")
    return getattr(module, name), name


def _fill(arg: Any, kept: Mapping[str, Any]) -> Any:
    """The argument as the function gets it: kept values in place, arrays its own to write to."""
    if isinstance(arg, wire.Handle):
        return kept[arg.name]
    if isinstance(arg, np.ndarray):
        return arg.copy()
    if isinstance(arg, dict):
        return {key: _fill(item, kept) for key, item in arg.items()}
    if type(arg) in (list, tuple):
        return type(arg)(_fill(item, kept) for item in arg)
    return arg


def _arrays(args: tuple[Any, ...]) -> list[np.ndarray]:
    """The arrays that are handed in, those in dictionaries too: what a call must leave alone."""
    inside = [item for arg in args if isinstance(arg, dict) for item in arg.values()]
    return [arg for arg in (*args, *inside) if isinstance(arg, np.ndarray)]


def _fingerprint(array: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return array.shape, array.tobytes()


def _unpack(value: Any, names: list[str], function: str) -> tuple[Any, ...]:
    if len(names) == 1:
        return (value,)
    wanted = f"{len(names)} values ({', '.join(names)})"
    if not isinstance(value, (tuple, list)):
        raise AnswerError(f"{function} must return {wanted}; it returned {kind(value)}")
    if len(value) != len(names):
        raise AnswerError(f"{function} must return {wanted}; it returned {len(value)}")
    return tuple(value)


def kind(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "None (is a return missing?)"
    if isinstance(value, np.ndarray):
        return f"one array of shape {value.shape}"
    return f"a {type(value).__name__}"


def plain(value: Any, depth: int = 0) -> Any:
    """A value as it can cross: tensors as arrays, the rest as the wire packs it."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        return value.detach().cpu().numpy()
    if depth < 8 and isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if depth < 8 and type(value) in (list, tuple):
        return type(value)(plain(item, depth + 1) for item in value)
    return value


def describe(problem: BaseException) -> dict[str, str]:
    """An exception as data: its kind, type, message, and the student's line that it came from."""
    if isinstance(problem, AnswerError):
        return {"kind": "answer", "type": "", "message": str(problem)[:MAX_TEXT], "where": ""}
    kind, places = "raised", _places(problem.__traceback__)
    if isinstance(problem, SyntaxError):  # the line that does not parse, not the import of it
        kind = "import"
        places = [_place(problem.filename or "", problem.lineno or 0) or places[-1]]
    try:
        message = problem.msg if isinstance(problem, SyntaxError) else str(problem)
    except Exception:
        message = "(the exception has no readable message)"
    if isinstance(problem, NotImplementedError) and (not message or UNWRITTEN in str(message)):
        kind, places = "stub", places[-1:]
    return {
        "kind": kind,
        "type": type(problem).__name__[:100],
        "message": str(message)[:MAX_TEXT],
        "where": "; in ".join(places),
    }


def _places(trace: types.TracebackType | None) -> list[str]:
    """The student's line that raised, after that of the function that was called where another
    one raised: a right layer, or a check of shapes, raises for what it was given."""
    traces = []
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == PACKAGE:
            traces.append(trace)
        trace = trace.tb_next
    if not traces:
        return [""]
    names = [trace.tb_frame.f_code.co_qualname.partition(".<locals>")[0] for trace in traces]
    own = traces[len(names) - 1 - names[::-1].index(names[0])]
    return [_place_of(trace) for trace in dict.fromkeys((own, traces[-1]))]


def _place_of(trace: types.TracebackType) -> str:
    """The line of a frame in the file as it is now, or the function where that cannot be known."""
    code, path = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__file__"))
    try:
        with open(path, "rb") as file:
            source = file.read()
        found = [pair for pair in _together(source) if _alike(code, pair[0])]
        found = found or [pair for pair in _alone(source) if _alike(code, pair[0])]
    except Exception:  # the file was changed since, or is one that nobody can read
        found = []
    found = [pair for pair in found if pair[0].co_firstlineno == code.co_firstlineno] or found
    if len(found) != 1:
        return f"{_short(path)}, in {code.co_qualname.partition('.<locals>')[0].split('.')[-1]}"
    ((other, lines),) = found
    line = next((n for a, b, n in other.co_lines() if a <= trace.tb_lasti < b), None)
    return _place(path, lines.get(line, line) or 0)


def _place(path: str, line: int) -> str:
    if f"/{PACKAGE}/" not in path.replace(os.sep, "/") or not line:
        return ""
    linecache.checkcache(path)
    return f"{_short(path)}, line {line}: {linecache.getline(path, line).strip()[:120]}"


def _short(path: str) -> str:
    """A path from the package on."""
    return f"{PACKAGE}/{path.replace(os.sep, '/').rpartition(f'/{PACKAGE}/')[2]}"


@lru_cache(maxsize=512)  # of whole files, and of functions alone
def compiled(source: bytes, path: str = "") -> types.CodeType:
    """The code of a file's content. SyntaxError or ValueError where it is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were given when it was imported
        return compile(source, path, "exec", dont_inherit=True)


@lru_cache(maxsize=8)
def _together(source: bytes) -> list[_Function]:
    """The code of each function of a file."""
    return [(code, {}) for code in _inside(compiled(source))]


@lru_cache(maxsize=8)
def _alone(source: bytes) -> list[_Function]:
    """The code of each function as autoreload compiles one that was changed: alone, from its
    syntax tree, so that lines count from 1 and a statement is on one of them."""
    found: list[_Function] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            alone = ast.unparse(node)
            method = "class __autoreload_class__:\n" + textwrap.indent(alone, "    ")
            for text in (alone, method):
                (copy,) = ast.parse(text).body
                copy = copy if text is alone else copy.body[0]
                lines: dict[int, int] = {}
                for there, here in zip(ast.walk(copy), ast.walk(node), strict=False):  # outer first
                    if hasattr(there, "lineno"):
                        lines.setdefault(there.lineno, here.lineno)
                found += [(code, lines) for code in _inside(compiled(text.encode()))]
    return found


def _inside(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object, and all that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _inside(constant)


def _alike(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two code objects do the same, wherever they stand in a file."""

    def said(code: types.CodeType) -> tuple[Any, ...]:
        constants = [repr(c) for c in code.co_consts if not isinstance(c, types.CodeType)]
        return code.co_qualname, code.co_code, code.co_names, constants

    return said(one) == said(other)


@contextmanager
def parts_provided(parts: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Put right functions in the place of the student's own, wherever they are bound by name."""
    swapped: list[tuple[types.ModuleType, str, Any]] = []
    for name, part in parts.items():
        for module in [m for key, m in sys.modules.items() if key.startswith(PACKAGE)]:
            if isinstance(getattr(module, name, None), types.FunctionType):
                own = getattr(module, name)
                swapped.append((module, name, own))
                setattr(module, name, positional(part, own))
    try:
        yield
    finally:
        for module, name, own in swapped:
            setattr(module, name, own)


def positional(part: Callable[..., Any], own: Callable[..., Any]) -> Callable[..., Any]:
    """The part, called by position where it is called by the names that `own` has for arguments."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            bound = inspect.signature(own).bind(*args, **kwargs)
            args, kwargs = bound.args, bound.kwargs
        return part(*args, **kwargs)

    return call


def _warned(
    message: Warning | str, category: type[Warning], path: str, line: int, source: str | None = None
) -> str:
    """A warning as a line of the report's own; see `report`."""
    said = " ".join(str(message).split())
    place = _short(path) if f"/{PACKAGE}/" in path else os.path.basename(path)
    who = "NumPy" if category is RuntimeWarning else "Python"
    return f"{who} warned: {place}, line {line}: {said}\n"


class _Output(io.TextIOBase):
    """What the student prints: the first part is kept for the report, the rest is dropped."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        if len(self.text) < MAX_TEXT:
            self.text += str(text)[: MAX_TEXT - len(self.text)]
        return len(text)


class _Line:
    """The two ends of the line to the parent."""

    def __init__(self, requests: int, replies: int) -> None:
        self.requests, self.replies = os.fdopen(requests, "rb"), os.fdopen(replies, "wb")

    def read(self) -> Any:
        def exactly(length: int) -> bytes:
            data = self.requests.read(length)
            if len(data) < length:
                raise EOFError
            return data

        return wire.read(exactly)

    def write(self, value: Any) -> None:
        self.replies.write(wire.encode(value, wire.MAX_ANSWER))
        self.replies.flush()

    def part(self, name: str) -> Callable[..., Any]:
        """A stand-in for a layer: the parent computes it, its cache stays there."""

        def ask(*args: Any, **kwargs: Any) -> Any:
            self.write({"part": name, "args": args, "kwargs": kwargs})
            answer = self.read()
            if "error" in answer:
                raise ValueError(answer["error"])
            for old, new in zip(args, answer["args"], strict=False):
                if isinstance(old, dict) and isinstance(new, dict):
                    old.update(new)  # running statistics are written back into bn_param
            return answer["value"]

        return ask


def serve(tree: str, requests: int, replies: int) -> None:
    """Answer tasks until the parent closes the line."""
    line = _Line(requests, replies)
    noted = beside("notes").watch(tree)
    sys.path.insert(0, tree)
    sys.dont_write_bytecode = True
    warnings.formatwarning = _warned
    line.write({"ready": True})
    while True:
        try:
            task = line.read()
        except EOFError:
            return
        for name in task["modules"]:  # before parts are put in their place
            try:
                importlib.import_module(f"{PACKAGE}.{name}")
            except (Exception, SystemExit):
                continue  # the call that needs it says why
        with parts_provided({name: line.part(name) for name in task["parts"]}):
            for number, calls in enumerate(task["cases"]):
                output = sys.stdout = sys.stderr = _Output()
                reply = run_case(calls)
                reply.update(task=task["task"], case=number, output=output.text)
                reply["noted"] = list(noted)
                noted.clear()
                try:
                    line.write(reply)
                except wire.WireError as problem:
                    error = {"kind": "answer", "type": "", "message": str(problem), "where": ""}
                    line.write({**reply, "answers": {}, "error": error})


def limit(
    address_space: int, cpu_seconds: int, file_size: int, open_files: int, processes: int
) -> None:
    """Bind this process, and all that it starts, before any line of the student's runs."""
    import resource

    limits = {
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: file_size,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in limits.items():
        if value >= 0:
            try:
                resource.setrlimit(name, (value, value))
            except ValueError:  # macOS, which cannot seal, knows no limit of address space
                if sys.platform == "linux":
                    raise


def leave_keyring() -> None:
    """Leave the session's keyring on Linux: a key in it would be seen by the next submission."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    number = 250 if os.uname().machine == "x86_64" else 219  # keyctl, which libc does not wrap
    if libc.syscall(number, 1, None) < 0:
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):  # no keyrings, for nobody
            raise OSError(ctypes.get_errno(), "no keyring of its own")


def stay_behind(line: tuple[int, int]) -> None:
    """Go on in a child. This process stays as number 1 of its namespaces, which that child can
    neither trace nor write to, has no end of the line, and ends with the child, as it ended."""
    libc = ctypes.CDLL(None)
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    child = os.fork()
    if child == 0:
        libc.prctl(4, 1, 0, 0, 0)  # it may look at itself, as any process may
        return
    for descriptor in line:
        os.close(descriptor)
    while True:
        ended, status = os.wait()  # orphans come to number 1
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    *numbers, torch_allowed, sealed = map(int, sys.argv[4:11])
    leave_keyring()
    if sealed:
        stay_behind((int(sys.argv[2]), int(sys.argv[3])))
    limit(*numbers)
    if sealed:
        beside("calls").refuse()
    sys.modules["torchvision"] = None  # as if it were not installed: it has a ResNet-18
    if not torch_allowed:
        sys.modules["torch"] = None
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
