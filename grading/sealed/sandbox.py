"""The parent's side of the wall: start a child, ask it within a deadline, kill it for sure."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grading.sealed import isolation, wire

WORKER = Path(__file__).resolve().parent / "worker.py"


@dataclass(frozen=True)
class Limits:
    """What a child may use. Seconds for a case, to start, and of CPU; bytes of address space
    (-1: no limit), of memory for all its processes where cgroups allow it, and of a file."""

    case_seconds: float = 10.0
    start_seconds: float = 60.0
    cpu_seconds: int = 300
    address_space: int = 2 << 30
    memory: int = 1 << 30
    file_size: int = 16 << 20
    open_files: int = 256
    processes: int = 64
    torch: bool = False


def torch_limits(limits: Limits) -> Limits:
    """The same for code that imports torch, which reserves far more memory than it uses."""
    return replace(
        limits,
        address_space=-1,
        memory=4 << 30,
        case_seconds=12 * limits.case_seconds,
        cpu_seconds=4 * limits.cpu_seconds,
        torch=True,
    )


class ChildLost(Exception):
    """The child gave no answer; the text says why, in words for its student."""


class Child:
    """One worker process on one tree. Use as a context manager: leaving it kills the child."""

    def __init__(self, tree: Path, limits: Limits, level: str) -> None:
        self.limits = limits
        self.group = isolation.ControlGroup(limits.memory, limits.processes)
        self.scratch = None if level == "sealed" else tempfile.mkdtemp(prefix="scratch-")
        request_out, self._requests = os.pipe()
        self._replies, reply_in = os.pipe()
        tree = Path(tree).resolve()
        seal = isolation.seal(tree, limits.torch) if level == "sealed" else []
        command = [*self.group.enter(), *seal, sys.executable, "-I", str(WORKER), str(tree)]
        command += [str(request_out), str(reply_in)]
        numbers = ("address_space", "cpu_seconds", "file_size", "open_files", "processes", "torch")
        command += [str(int(getattr(limits, name))) for name in numbers]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(request_out, reply_in),
                cwd=self.scratch or "/",
                env=isolation.environment(self.scratch or isolation.SCRATCH),
                start_new_session=True,
            )
        finally:
            os.close(request_out)
            os.close(reply_in)
        os.set_blocking(self._requests, False)
        self._task = 0

    def __enter__(self) -> Child:
        try:
            self._read(time.monotonic() + self.limits.start_seconds)
        except (ChildLost, wire.WireError):
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the child and whatever it started; safe to call again."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for descriptor in (self._requests, self._replies):
            os.close(descriptor)
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.group.remove()

    def ask(
        self, cases: list[Any], modules: list[str], parts: Any = None, names: tuple[str, ...] = ()
    ) -> Iterator[dict[str, Any]]:
        """Send cases, yield a reply to each in order. `parts.answer(name, args, kwargs)` serves
        the functions `names` when the child asks for them. Raises ChildLost, WireError."""
        self._task += 1
        task = {"task": self._task, "cases": cases, "modules": modules, "parts": list(names)}
        self._send(task, time.monotonic() + self.limits.case_seconds)
        for number in range(len(cases)):
            deadline = time.monotonic() + self.limits.case_seconds
            reply = self._read(deadline)
            while isinstance(reply, dict) and reply.get("part") in names:
                args, kwargs = reply.get("args", ()), reply.get("kwargs", {})
                self._send(parts.answer(reply["part"], args, kwargs), deadline)
                reply = self._read(deadline)
            asked = (self._task, number)
            if not isinstance(reply, dict) or (reply.get("task"), reply.get("case")) != asked:
                raise ChildLost("the answer that came is not one to the question that was asked")
            yield reply

    def _send(self, value: Any, deadline: float) -> None:
        data = memoryview(wire.encode(value))
        while data:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._requests], [], left)[1]:
                raise ChildLost(self._too_slow())
            try:
                data = data[os.write(self._requests, data[: 1 << 16]) :]
            except BrokenPipeError as problem:
                raise ChildLost(self._ended()) from problem

    def _read(self, deadline: float) -> Any:
        def exactly(length: int) -> bytearray:
            data = bytearray()
            while len(data) < length:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self._replies], [], [], left)[0]:
                    raise ChildLost(self._too_slow())
                chunk = os.read(self._replies, min(length - len(data), 1 << 20))
                if not chunk:
                    raise ChildLost(self._ended())
                data += chunk
            return data

        return wire.read(exactly)

    def _too_slow(self) -> str:
        return (
            f"no answer within {self.limits.case_seconds:g} seconds: is there a loop that does "
            "not end, or one over every single number?"
        )

    def _ended(self) -> str:
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return "the program closed its line to the grader"
        if code > 128:  # how bubblewrap says that its child was ended by a signal
            code = 128 - code
        if -code == signal.SIGKILL:
            limit = f"{self.limits.memory / 2**30:g} GB of memory or {self.limits.cpu_seconds} s"
            return f"the program was killed, as happens to one that takes more than {limit}"
        if code < 0:
            return f"the program was ended by {signal.Signals(-code).name}"
        return f"the program ended itself (exit status {code}) instead of returning an answer"
