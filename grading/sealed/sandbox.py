"""The parent's side of the wall: start a child, ask it within a deadline, kill it for sure."""

from __future__ import annotations

import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from grading.sealed import isolation, warm, wire

WORKER = Path(__file__).resolve().parent / "worker.py"
LARGEST_TREE = 32 << 20  # bytes that are sent to a warm worker; a larger tree is mounted
GLANCE = 0.2  # seconds between two looks at a child's memory, where no control group bounds it
SIGNALS = {number.value: number.name for number in signal.Signals}


@dataclass(frozen=True)
class Limits:
    """What a child may use. Seconds for a case, a check, to start, and of CPU; bytes of address
    space (-1: no limit), of memory for all its processes together, of a file, and of all answers
    to one check; questions that one case may put to the parent."""

    case_seconds: float = 10.0
    check_seconds: float = 40.0
    start_seconds: float = 60.0
    cpu_seconds: int = 300
    address_space: int = 2 << 30
    memory: int = 1 << 30
    file_size: int = 16 << 20
    answers: int = 64 << 20
    questions: int = 1000
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
        check_seconds=6 * limits.check_seconds,
        cpu_seconds=4 * limits.cpu_seconds,
        torch=True,
    )


def too_slow(seconds: float) -> str:
    """What a student reads of a deadline that passed."""
    return (
        f"no answer within {seconds:g} seconds: is there a loop that does not end, or one over "
        "every single number?"
    )


class ChildLost(Exception):
    """The child gave no answer; the text says why, in words for its student.

    `evidence` is the same for the instructor; `hung` says that a deadline passed.
    """

    def __init__(self, message: str, evidence: str, hung: bool = False) -> None:
        super().__init__(message)
        self.evidence, self.hung = evidence, hung


class Session(subprocess.Popen):
    """A process whose `kill` ends all that it has started in its session, and waits for it."""

    def kill(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.wait()


class Child:
    """One worker process on one tree: a folder, or the files that one would hold, by name.

    Use as a context manager: leaving it kills the child.
    """

    def __init__(self, tree: Path | Mapping[str, bytes], limits: Limits, level: str) -> None:
        self.limits = limits
        self.group = isolation.ControlGroup(limits.memory, limits.processes)
        self.scratch = None if level == "sealed" else tempfile.mkdtemp(prefix="scratch-")
        request_out, self._requests = os.pipe()
        self._replies, reply_in = os.pipe()
        self.tree, self._written = tree, None
        line = request_out, reply_in
        try:
            self.files = _files(tree) if level == "sealed" else {}
            self.warm = warm.fork(limits.torch, *line) if self.files else None
            self.process = self.warm or self._started(*line)
        except BaseException:
            self._clear()
            raise
        finally:
            os.close(request_out)
            os.close(reply_in)
        os.set_blocking(self._requests, False)
        self._task, self._closed = 0, False

    def _started(self, requests: int, replies: int) -> Session:
        """A worker from the beginning, in a view of its own where there is a wall."""
        tree = self._folder()
        seal = [] if self.scratch else isolation.seal(tree, self.limits.torch)
        command = [*self.group.enter(), *seal, sys.executable, "-I", str(WORKER), str(tree)]
        sealed = int(not self.scratch)
        numbers = [requests, replies, *self._numbers(), int(self.limits.torch), sealed]
        return Session(
            [*command, *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(requests, replies),
            cwd=self.scratch or "/",
            env=isolation.environment(self.scratch or isolation.SCRATCH),
            start_new_session=True,
        )

    def _folder(self) -> Path:
        """The tree as a folder that another user can read."""
        if isinstance(self.tree, Path):
            return self.tree.resolve()
        self._written = tempfile.mkdtemp(prefix="tree-")
        folder = Path(self._written).resolve()
        for name, data in self.tree.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        isolation.readable_by_all(folder)
        return folder

    def _numbers(self) -> list[int]:
        limits = self.limits
        # Without a wall the child is one of the user's own processes, all of which count.
        processes = limits.processes + (isolation.own_threads() if self.scratch else 0)
        return [limits.address_space, limits.cpu_seconds, limits.file_size, limits.open_files,
                processes]  # fmt: skip

    def __enter__(self) -> Child:
        deadline = self._deadline(self.limits.start_seconds)
        try:
            if self.warm is not None:
                self.group.add(self.warm.pid)
                self._send({"files": self.files, "limits": self._numbers()}, deadline)
            self._read(deadline)
        except (ChildLost, wire.WireError):
            self.close()
            raise
        except OSError as problem:
            self.close()
            message = f"the program could not be started ({problem.strerror})"
            raise ChildLost(message, "could not be started") from problem
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the child and whatever it started; safe to call again."""
        if self._closed:
            return  # its numbers may be those of another child by now
        self._closed = True
        self.process.kill()
        self._clear()

    def _clear(self) -> None:
        for descriptor in (self._requests, self._replies):
            os.close(descriptor)
        for folder in filter(None, (self.scratch, self._written)):
            shutil.rmtree(folder, ignore_errors=True)
        self.group.remove()

    def ask(
        self,
        cases: list[Any],
        modules: list[str],
        parts: Any = None,
        names: tuple[str, ...] = (),
        until: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Send cases, yield a reply to each in order. `parts.answer(name, args, kwargs)` serves
        the functions `names` when the child asks for them. No case goes on after the time
        `until`. Raises ChildLost, WireError."""
        self._task += 1
        task = {"task": self._task, "cases": cases, "modules": modules, "parts": list(names)}
        until = math.inf if until is None else until
        self._send(task, self._deadline(self.limits.case_seconds, until))
        received = 0
        for number in range(len(cases)):
            deadline = self._deadline(self.limits.case_seconds, until)
            for _ in range(self.limits.questions):
                reply, size = self._read(deadline)
                received += size
                if received > self.limits.answers:
                    raise ChildLost(
                        f"the answers are larger than {self.limits.answers >> 20} MB together",
                        "sent more data than any answer needs",
                    )
                reply = reply if type(reply) is dict else {}
                name = reply.get("part")
                if type(name) is not str or name not in names:
                    break
                args, kwargs = reply.get("args", ()), reply.get("kwargs", {})
                self._send(parts.answer(name, args, kwargs), deadline)
            # Exact types: an array compared with a number has no truth value.
            numbers = [reply.get("task"), reply.get("case")]
            if [type(n) for n in numbers] != [int, int] or numbers != [self._task, number]:
                raise ChildLost(
                    "the answer that came is not one to the question that was asked",
                    "sent an answer to a question that had not been asked",
                )
            yield reply

    def _deadline(self, seconds: float, until: float = math.inf) -> float:
        """When an answer is given up that is waited for so long, and not after `until`."""
        now = time.monotonic()
        self._patience = max(0.0, min(seconds, until - now))
        return now + self._patience

    def _send(self, value: Any, deadline: float) -> None:
        data = memoryview(wire.encode(value))
        while data:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._requests], [], left)[1]:
                raise self._too_slow()
            try:
                data = data[os.write(self._requests, data[: 1 << 16]) :]
            except BrokenPipeError as problem:
                raise self._ended() from problem

    def _read(self, deadline: float) -> tuple[Any, int]:
        """The next value from the child, and how many bytes it took."""
        size = 0

        def exactly(length: int) -> bytearray:
            nonlocal size
            data = bytearray()
            while len(data) < length:
                self._wait(deadline)
                chunk = os.read(self._replies, min(length - len(data), 1 << 20))
                if not chunk:
                    raise self._ended()
                data += chunk
            size += length
            return data

        return wire.read(exactly, wire.MAX_ANSWER), size

    def _wait(self, deadline: float) -> None:
        """Wait until the child says something, with an eye on its memory if nobody else has one."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._too_slow()
            if self.group.bounds_memory:
                if select.select([self._replies], [], [], left)[0]:
                    return
                continue
            if select.select([self._replies], [], [], min(left, GLANCE))[0]:
                return
            if isolation.memory_used(self.process.pid) > self.limits.memory:
                raise self._killed()

    def _too_slow(self) -> ChildLost:
        message = too_slow(round(self._patience, 1))
        return ChildLost(message, "gave no answer before the deadline", hung=True)

    def _killed(self) -> ChildLost:
        limit = f"{self.limits.memory / 2**30:g} GB of memory or {self.limits.cpu_seconds} s"
        return ChildLost(
            f"the program was killed, as happens to one that takes more than {limit}",
            f"was killed at a limit ({limit})",
        )

    def _ended(self) -> ChildLost:
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            message = "the program closed its line to the grader"
            return ChildLost(message, "closed its line to the grader")
        if code - 128 in SIGNALS:  # how bubblewrap says that its child was ended by a signal
            code = 128 - code
        if -code == signal.SIGKILL:
            return self._killed()
        if code < 0:
            name = SIGNALS.get(-code, f"signal {-code}")
            return ChildLost(
                f"the program was ended by {name}", f"its process was ended by {name}"
            )
        return ChildLost(
            f"the program ended itself (exit status {code}) instead of returning an answer",
            f"ended its own process (exit status {code})",
        )


def _files(tree: Path | Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """The files of a tree as they cross the wall, by name; none where they are too large."""
    if isinstance(tree, Path):
        paths = {p.relative_to(tree).as_posix(): p for p in tree.rglob("*") if p.is_file()}
        small = sum(path.stat().st_size for path in paths.values()) <= LARGEST_TREE
        tree = {name: path.read_bytes() for name, path in paths.items()} if small else {}
    if sum(map(len, tree.values())) > LARGEST_TREE:
        return {}
    return {name: np.frombuffer(data, dtype=np.uint8) for name, data in tree.items()}
