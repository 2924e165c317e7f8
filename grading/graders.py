"""Processes that grade one submission after another, and what is told of one that is lost.

Each is a fork of a server that has imported torch. It keeps its warm children (`sealed/warm.py`)
and the cases that it has drawn from one submission to the next, and nothing of a submission.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from grading.outcome import NO_ROOM
from grading.store import Changed

LONGEST = 900.0  # seconds for one submission, should the engine's own deadlines fail
FULL = "the disk is full: make room, and run this again"


class Grader:
    """A process that calls `one` on what it is sent; `key` is what it is at, since when."""

    def __init__(self, one: Callable[..., Any]):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["grading.grade"])
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, one), daemon=True)
        self.process.start()
        theirs.close()
        self.key, self.since = "", 0.0

    def send(self, key: str, *task: Any) -> None:
        self.key, self.since = key, time.monotonic()
        try:
            self.connection.send(task)
        except OSError:  # it has ended: `result` says so
            return

    def result(self) -> tuple[Any, str | None]:
        """What `one` returned, and why it failed: '' if it did not, None if the process ended."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None, None

    def end(self) -> str:
        """Wait for its end, and say with which exit code."""
        self.connection.close()
        self.process.join()
        return f"its grading process ended with code {self.process.exitcode}"


def run(
    course: Path,
    folders: Mapping[str, Path],
    workers: int,
    one: Callable[[Path, Path], None],
    longest: float,
) -> Iterator[tuple[str, str]]:
    """Grade each folder with `one(course, folder)`; yields its key as it ends, and why there is no
    outcome ('' if there is one). What takes more than `longest` seconds is ended."""
    waiting = [(key, course, folder) for key, folder in reversed(folders.items())]
    busy: dict[Connection, Grader] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                grader = Grader(one)
                busy[grader.connection] = grader
                grader.send(*waiting.pop())
            for connection in wait(list(busy), timeout=1.0):
                grader, key = busy[connection], busy[connection].key
                _, reason = grader.result()
                if reason is not None and waiting:
                    grader.send(*waiting.pop())
                else:
                    del busy[connection]
                    ended = grader.end()
                    reason = ended if reason is None else reason
                yield key, reason
            for grader in busy.values():
                if time.monotonic() - grader.since > longest:
                    grader.process.kill()
    finally:
        for grader in busy.values():
            grader.process.kill()
            grader.end()


def _serve(connection: Connection, one: Callable[..., Any]) -> None:
    """Grade until the other side closes the line. A failure is told, and the next one comes."""
    try:
        while True:
            task = connection.recv()
            try:
                answer = one(*task), ""
            except Exception as problem:
                answer = None, told(problem)
            connection.send(answer)
    except (EOFError, BrokenPipeError):
        return


def told(problem: Exception) -> str:
    """Why a submission has no outcome, in words."""
    if isinstance(problem, Changed):
        return str(problem)
    if isinstance(problem, OSError) and problem.errno in NO_ROOM:
        return FULL
    return f"{type(problem).__name__}: {problem}"
