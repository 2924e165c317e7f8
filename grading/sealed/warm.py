"""The grader's side of a zygote: start one for this process, and ask it for workers.

Where a zygote cannot be had (no user namespace may be made inside another, no /proc may be
mounted there), every worker is started by bubblewrap anew. Both hold a student's code alike.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from grading.sealed import isolation

ZYGOTE = Path(__file__).resolve().parent / "zygote.py"
START_SECONDS = 60.0  # for a zygote to import torch on a busy machine
CREDENTIALS = struct.Struct("iII")  # process, user, group: <sys/socket.h>


class NoWorker(OSError):
    """The zygote gave no worker; the text says why."""


class Forked:
    """A worker that a zygote forked: `process` is the first one of its namespaces."""

    def __init__(self, life: socket.socket) -> None:
        self._life = life
        life.settimeout(START_SECONDS)
        try:
            said, about, *_ = life.recvmsg(512, socket.CMSG_SPACE(CREDENTIALS.size))
            if said != b"here":
                raise NoWorker(said.decode("utf-8", "replace") or "the zygote has ended")
            self.pid, _, _ = CREDENTIALS.unpack(about[0][2])
            self._handle = os.pidfd_open(self.pid)
        except OSError:
            life.close()
            raise
        # It waits for its tree. Were it dead already, the number could be somebody else's.
        if select.select([life], [], [], 0)[0]:
            self._end()
            raise NoWorker("the worker ended at once")

    def kill(self) -> None:
        """End it, and with it all that runs in its namespaces."""
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        select.select([self._handle], [], [])  # the first process ends when no other is left
        self._end()

    def _end(self) -> None:
        os.close(self._handle)
        self._life.close()

    def wait(self, timeout: float) -> int:
        """The exit status of the worker, minus the number of a signal. TimeoutExpired."""
        self._life.settimeout(timeout)
        try:
            said = self._life.recv(512)
        except TimeoutError:
            raise subprocess.TimeoutExpired("worker", timeout) from None
        text = said.decode("utf-8", "replace")
        return int(text) if text.lstrip("-").isdigit() else -signal.SIGKILL


class Zygote:
    """A running zygote, with torch or without."""

    def __init__(self, torch: bool) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [*isolation.seal(None, torch), sys.executable, "-I", str(ZYGOTE)]
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(int(torch))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env=isolation.environment(),
                start_new_session=True,
            )

    def fork(self, requests: int, replies: int) -> Forked:
        """A worker that reads questions and writes replies there. NoWorker, OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            try:
                socket.send_fds(self._control, [b"fork"], [requests, replies, theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return Forked(ours)

    def close(self) -> None:
        """End the zygote and every worker that it has forked."""
        self._control.close()
        self._process.kill()
        self._process.wait()


_zygotes: dict[bool, Zygote] = {}
_refused: dict[bool, str] = {}
_lock = threading.Lock()


def fork(torch: bool, requests: int, replies: int) -> Forked | None:
    """A warm worker, or None where none can be had: `reason` then says why."""
    with _lock:
        fresh = torch not in _zygotes
        while torch not in _refused:
            try:
                if torch not in _zygotes:
                    _zygotes[torch] = Zygote(torch)
                return _zygotes[torch].fork(requests, replies)
            except OSError as problem:
                close(torch)
                if fresh:
                    _refused[torch] = str(problem)
                fresh = True  # one that has ended is started again, once
    return None


def reason(torch: bool = False) -> str:
    """Why this process has had no warm worker, or ''."""
    return _refused.get(torch, "")


def missing() -> str:
    """Why no worker can be warm here, or '': try it."""
    reads, writes = os.pipe()
    try:
        worker = fork(False, reads, writes)
        if worker is not None:
            worker.kill()
    finally:
        os.close(reads)
        os.close(writes)
    return reason()


def close(torch: bool) -> None:
    """End this process's zygote, if it has one."""
    zygote = _zygotes.pop(torch, None)
    if zygote is not None:
        zygote.close()


atexit.register(close, False)
atexit.register(close, True)
