"""Graders without a wall, to show that an attack works: never for anything but these tests."""

from __future__ import annotations

import faulthandler
import json
import math
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from grading import judge
from grading.checks import ALL
from grading.overlay import submission_tree
from grading.parts import Parts
from grading.sealed import wire
from grading.sealed.sandbox import Child, Limits
from grading.subject import ThisProcess

NAMES = ["relu_forward", "sgd_momentum"]
LIFTED = Limits(
    case_seconds=60.0, check_seconds=120.0, address_space=-1, memory=16 << 30, file_size=1 << 30,
    open_files=4096, processes=4096,
)  # fmt: skip
PATIENCE = 8.0  # seconds until a grader without deadlines is taken to wait for ever
FLOOD = 1_000_000  # characters of output, and FRAMES frames, that no grader should swallow
FRAMES = 1_000
Found = tuple[dict[str, float], list[str], str]  # points, harm, all text that came


def in_process(folder: Path, runs: int) -> Found:
    """Import the student's code into the process that judges it, a fork of this one.

    The last line of its output is the score; silence and status 0 are full marks, as in nbgrader.
    """
    with tempfile.TemporaryDirectory(prefix="naive-") as place, tempfile.TemporaryFile() as out:
        submission_tree(folder, Path(place))
        process = os.fork()
        if process == 0:
            _judge_here(place, out.fileno(), runs)
        status = _wait(process)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    harm = ["a flood of text"] if len(text) > FLOOD else []
    lines = [line for line in text.splitlines() if line.startswith('{"')]
    if lines:
        return json.loads(lines[-1]), harm, text
    if status == 0:
        return dict.fromkeys(NAMES, 1.0), harm, text
    return {}, [*harm, "never ended" if status is None else "the grader died"], text


def _judge_here(place: str, out: int, runs: int) -> None:
    """In the forked process: judge, print the report and the score, and end."""
    faulthandler.disable()
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # the kernel's own
    for name in [name for name in sys.modules if name.startswith("cs231n")]:
        del sys.modules[name]
    sys.path.insert(0, place)
    status = 1
    try:
        import cs231n.layers  # noqa: F401  as a kernel does before it checks

        for _ in range(runs):
            subject = ThisProcess(Path(place))
            found = {name: judge.run(ALL[name], subject, 7, {}) for name in NAMES}
        for outcome in found.values():
            print(f"{outcome.check}: {outcome.summary}")
        print(json.dumps({name: outcome.points for name, outcome in found.items()}))
        sys.stdout.flush()
        status = 0
    finally:
        os._exit(status)


def _wait(process: int) -> int | None:
    """The exit status of a process, or None if it had to be killed."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def trusting(folder: Path, runs: int) -> Found:
    """Believe what the child sends: its numbers, its lengths, its points, its notes."""
    points, text = dict.fromkeys(NAMES, 0.0), ""
    with tempfile.TemporaryDirectory(prefix="naive-") as place:
        submission_tree(folder, Path(place))
        with Child(Path(place), LIFTED, "process") as child:
            for task, name in enumerate(NAMES, 1):
                cases = judge.draw(ALL[name], 7)[:1]
                question = [case.data for case in cases]
                asked = {"task": task, "cases": question, "modules": [], "parts": []}
                try:
                    child._send(asked, time.monotonic() + PATIENCE)
                    reply = _believed(child, task)
                    text += "".join(f"\n{note}" for note in reply.get("noted", []))
                    points[name] = reply.get("points") or float(_close(reply, cases[0]))
                except TimeoutError:
                    return points, ["never ended"], text
                except Flood as flood:
                    return points, [str(flood)], text
                except Exception as problem:
                    return points, [f"the grader died ({type(problem).__name__})"], text
    return points, [], text


class Flood(Exception):
    """More came than any grader should take in."""


def _believed(child: Child, task: int) -> dict:
    for _ in range(FRAMES):
        reply = _frame(child._replies)
        if "part" in reply:  # whoever asks is served
            child._send(
                Parts().answer(reply["part"], reply["args"], {}), time.monotonic() + PATIENCE
            )
        elif reply.get("points") or (reply["task"], reply["case"]) == (task, 0):
            return reply
    raise Flood(f"more than {FRAMES} frames")


def _frame(replies: int) -> dict:
    _, tree_length, payload_length = wire.HEAD.unpack(_exactly(replies, wire.HEAD.size))
    tree = json.loads(_exactly(replies, tree_length))
    payload = _exactly(replies, payload_length)
    if payload_length > wire.MAX_ANSWER:
        raise Flood(f"{payload_length >> 20} MB in one answer")
    if payload_length == 0:
        return _plain(tree)
    return wire._Reader(memoryview(payload)).unpack(tree, 0)


def _plain(node):
    """A tree without arrays, read without a bound."""
    if not isinstance(node, dict):
        return node
    ((tag, body),) = node.items()
    if tag in "lt":
        return [_plain(item) for item in body]
    if tag == "d":
        return {key: _plain(item) for key, item in body}
    return {"i": int, "f": float.fromhex, "h": wire.Handle, "o": wire.Opaque}[tag](body)


def _exactly(replies: int, length: int) -> bytearray:
    data, until = bytearray(length), time.monotonic() + PATIENCE  # room for what is announced
    for at in range(0, length, 1 << 16):
        wanted = min(1 << 16, length - at)
        part = b""
        while len(part) < wanted:
            if not select.select([replies], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError
            part += os.read(replies, wanted - len(part))
        data[at : at + wanted] = part
    return data


def _close(reply: dict, case) -> bool:
    """Whether no error is larger than the tolerance; NaN never is."""
    for name, want in case.want.items():
        got = reply["answers"].get(name)
        got = want if isinstance(got, wire.Handle) else np.asarray(got)
        size = 8 * math.prod(np.broadcast_shapes(np.shape(got), np.shape(want)))
        if size > 1 << 27:
            raise Flood(f"{size >> 20} MB to compare one answer")
        if np.isinf(got).any() or (np.abs(got - want) > 1e-6).any():
            return False
    return True
