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
from functools import cache
from pathlib import Path
from typing import Any

from grading.sealed import wire

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Limits:
    """What a child may use: seconds a case and to start, bytes of memory and of a file."""

    case_seconds: float = 10.0
    start_seconds: float = 30.0
    memory: int = 4 << 30
    file_size: int = 16 << 20
    open_files: int = 256


def torch_limits(limits: Limits) -> Limits:
    """The same for code that imports torch, which reserves far more memory than it uses."""
    return replace(limits, memory=-1, case_seconds=12 * limits.case_seconds)


class ChildLost(Exception):
    """The child gave no answer; the text says why, in words for its student."""


@cache
def level() -> str:
    """How well this machine can hold a student's code: 'sealed' (bubblewrap) or 'process'."""
    if not shutil.which("bwrap"):
        return "process"
    probe = [*_bubblewrap(HERE, HERE), sys.executable, "-I", "-c", "import numpy"]
    try:
        done = subprocess.run(probe, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "process"
    return "sealed" if done.returncode == 0 else "process"


def _bubblewrap(tree: Path, scratch: Path) -> list[str]:
    """bubblewrap's part of the command: own namespaces, everything read-only but the scratch."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--uid", "65534", "--gid", "65534", "--hostname", "worker"]
    for folder in ("/usr", "/lib", "/lib64", "/bin"):
        command += ["--ro-bind-try", folder, folder]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    # A venv's python is a link: its real prefix must be there too.
    for folder in dict.fromkeys(map(os.path.realpath, (sys.base_prefix, sys.prefix, HERE, tree))):
        command += ["--ro-bind", folder, folder]
    return [*command, "--bind", str(scratch), str(scratch), "--chdir", str(scratch)]


class Child:
    """One worker process on one tree. Use as a context manager: leaving it kills the child."""

    def __init__(self, tree: Path, limits: Limits, level: str) -> None:
        self.tree, self.limits, self.level = Path(tree).resolve(), limits, level
        self.scratch = tempfile.mkdtemp(prefix="scratch-")
        os.chmod(self.scratch, 0o777)
        request_out, self._requests = os.pipe()
        self._replies, reply_in = os.pipe()
        command = [sys.executable, "-I", str(HERE / "worker.py"), str(self.tree)]
        command += [str(request_out), str(reply_in), str(limits.memory), str(limits.file_size)]
        command += [str(limits.open_files)]
        if level == "sealed":
            command = [*_bubblewrap(self.tree, Path(self.scratch)), *command]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(request_out, reply_in),
                cwd=self.scratch,
                env=self._environment(),
                start_new_session=True,
            )
        finally:
            os.close(request_out)
            os.close(reply_in)
        os.set_blocking(self._requests, False)
        self._task = 0

    def _environment(self) -> dict[str, str]:
        one_thread = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        processor = {k: v for k, v in os.environ.items() if k.startswith("OPENBLAS_")}
        return {
            **processor,
            **dict.fromkeys(one_thread, "1"),
            "PATH": "/usr/bin:/bin",
            "HOME": self.scratch,
            "TMPDIR": self.scratch,
            "MPLCONFIGDIR": self.scratch,
            "MPLBACKEND": "agg",
            "LANG": "C.UTF-8",
        }

    def __enter__(self) -> Child:
        try:
            self._read(time.monotonic() + self.limits.start_seconds)
        except ChildLost:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for descriptor in (self._requests, self._replies):
            os.close(descriptor)
        shutil.rmtree(self.scratch, ignore_errors=True)

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
            if not isinstance(reply, dict) or (reply.get("task"), reply.get("case")) != (
                self._task,
                number,
            ):
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
        def exactly(length: int) -> bytes:
            data = bytearray()
            while len(data) < length:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self._replies], [], [], left)[0]:
                    raise ChildLost(self._too_slow())
                chunk = os.read(self._replies, min(length - len(data), 1 << 20))
                if not chunk:
                    raise ChildLost(self._ended())
                data += chunk
            return bytes(data)

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
        if code > 128:  # bubblewrap's way to say that its child was ended by a signal
            code = 128 - code
        if code < 0:
            return f"the program was ended by {signal.Signals(-code).name}"
        return f"the program ended itself (exit status {code}) instead of returning an answer"
