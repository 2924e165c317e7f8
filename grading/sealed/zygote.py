"""A child that is kept warm: it has imported what students' code needs, and forks workers.

Run as a script in the view that `isolation.seal` makes, before any submission is there. It is asked
for a worker over a socket; the worker's own line to the grader comes with the question, so that
nothing of a submission ever passes through this process. What it forks moves into namespaces of
its own, takes its tree into a folder that nobody else sees, gives up whatever it still may do,
and is then what `worker.py` is anywhere else. A student's first line runs after all of that.

    zygote -> first, which enters the namespaces and ends -> init, process 1 in there -> worker
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import importlib
import importlib.util
import os
import random
import select
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

SPEC = importlib.util.spec_from_file_location(
    "grading.sealed.worker", Path(__file__).resolve().parent / "worker.py"
)
worker = sys.modules[SPEC.name] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(worker)
calls = worker.beside("calls")

# What a right submission imports besides NumPy, by the given modules, and what the worker needs.
IMPORTED = ("concurrent.futures.thread", "numpy.random", "threadpoolctl")
NEEDED = ("notes", "tools")

NOBODY = 65534
TREE, SCRATCH = "/tree", "/scratch"
REAP = 200  # milliseconds between two looks for orphans that have ended
# <sched.h>: new namespaces of control groups, uts, ipc, user, pid, net, mount
NAMESPACES = 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x20000
# <sys/mount.h>
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 1 << 14, 1 << 18
# <linux/prctl.h>
DUMPABLE, DROP_BOUNDING, NO_NEW_PRIVILEGES, AMBIENT, CLEAR_ALL = 4, 24, 38, 47, 4
CAPABILITIES_V3 = 0x20080522  # <linux/capability.h>
UP = 1  # <linux/if.h>

libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: Any) -> None:
    """A function of libc that says 0 when it worked. OSError where it did not."""
    if getattr(libc, name)(*args):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(kind: str, place: str, flags: int, options: str = "") -> None:
    _call(
        "mount", kind.encode(), place.encode(), kind.encode(), ctypes.c_ulong(flags),
        options.encode(),
    )  # fmt: skip


def main(control: int, torch: bool) -> None:
    """Import, and fork a worker for each question until the grader closes the socket."""
    sys.modules["torchvision"] = None  # as if it were not installed: it has a ResNet-18
    if torch:
        import torch as _  # noqa: F401
    else:
        sys.modules["torch"] = None
    sys.dont_write_bytecode = True
    for name in IMPORTED:
        importlib.import_module(name)
    for name in NEEDED:
        worker.beside(name)
    os.umask(0o022)
    gc.collect()
    gc.freeze()  # what is here stays: no page of it is copied for the collector's marks
    with socket.socket(fileno=control) as asked:
        while True:
            message, line, *_ = socket.recv_fds(asked, 16, 3)
            if not message:
                return
            first = os.fork() if len(line) == 3 else None
            if first == 0:
                _move_in(*line)
            if first is not None:
                os.waitpid(first, 0)
            for descriptor in line:
                os.close(descriptor)


def _move_in(requests: int, replies: int, life: int) -> NoReturn:
    """Enter new namespaces and start their first process; does not return."""
    status = 1
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in (requests, replies, life):
                try:
                    os.close(int(name))
                except OSError:  # the one that this list was read from
                    continue
        _call("unshare", NAMESPACES)
        user = f"{NOBODY} {NOBODY} 1"
        for name, text in (("setgroups", "deny"), ("uid_map", user), ("gid_map", user)):
            Path("/proc/self", name).write_text(text)
        if os.fork() == 0:
            _init(requests, replies, life)
        status = 0
    except BaseException as problem:
        os.write(life, f"no worker: {problem}".encode()[:500])
    finally:
        os._exit(status)


def _init(requests: int, replies: int, life: int) -> NoReturn:
    """Process 1 of the new namespaces: make the view, start the worker, and outlive it.

    When this process ends, the kernel ends all others in here. The grader sees it as process
    number so and so in the credentials of its first message, puts it under limits, and only then
    sends the tree. A closed line means that the grader is gone.
    """
    try:
        _furnish()
        os.write(life, b"here")
        given = worker.wire.read(lambda length: _exactly(requests, length))
        _write_tree(given["files"])
        _call("prctl", DUMPABLE, 0, 0, 0, 0)  # the worker cannot trace it, nor read its memory
        _give_up()
        child = os.fork()
        if child == 0:
            os.close(life)
            _work(requests, replies, given["limits"])
        os.close(requests)
        os.close(replies)
        os.write(life, str(_wait_for(child, life)).encode())
    except BaseException as problem:
        os.write(life, f"no worker: {problem}".encode()[:500])
    finally:
        os._exit(0)


def _furnish() -> None:
    """The view of this process and its children: everything that could be shared is its own."""
    _mount("none", "/", RECURSIVE | PRIVATE)
    _mount("proc", "/proc", NO_SUID | NO_DEV | NO_EXEC)
    _mount("tmpfs", "/dev/pts", NO_SUID | NO_DEV | NO_EXEC | READ_ONLY, "mode=0755")
    _mount("tmpfs", SCRATCH, NO_SUID | NO_DEV, f"size={64 << 20},nr_inodes=4096,mode=0755")
    _mount("tmpfs", TREE, NO_SUID | NO_DEV, "mode=0755")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = struct.pack("16sH14x", b"lo", UP)
        fcntl.ioctl(any_socket, 0x8914, flags)  # SIOCSIFFLAGS
    worker.leave_keyring()


def _exactly(descriptor: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = os.read(descriptor, length - len(data))
        if not part:
            raise EOFError("the grader closed the line")
        data += part
    return bytes(data)


def _write_tree(files: dict[str, np.ndarray]) -> None:
    """Write the files of the tree, and let nobody change them."""
    for name, data in files.items():
        path = Path(TREE, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _mount("tmpfs", TREE, NO_SUID | NO_DEV | READ_ONLY | REMOUNT, "mode=0755")


def _give_up() -> None:
    """No further user namespace, no capability, and no way to have one again."""
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call("prctl", AMBIENT, CLEAR_ALL, 0, 0, 0)
    for capability in range(64):
        if libc.prctl(DROP_BOUNDING, capability, 0, 0, 0):
            if ctypes.get_errno() != errno.EINVAL:  # past the kernel's last one
                raise OSError(ctypes.get_errno(), "a capability cannot be dropped")
            break
    head, none = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)()
    _call("capset", head, none)


def _work(requests: int, replies: int, limits: list[int]) -> NoReturn:
    """Be the worker: from here on it is as if `worker.py` had been started."""
    status = 1
    try:
        _call("prctl", DUMPABLE, 1, 0, 0, 0)  # it may look at itself, as any process may
        os.setsid()
        os.chdir(SCRATCH)
        sys.argv[:] = [worker.__file__, TREE, str(requests), str(replies)]
        worker.limit(*limits)
        calls.refuse()
        _draw_anew()
        worker.serve(TREE, requests, replies)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os._exit(status & 0xFF)


def _draw_anew() -> None:
    """Random numbers of its own: those of the zygote would be the same for everybody."""
    random.seed()
    np.random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.seed()


def _wait_for(child: int, life: int) -> int:
    """The exit status of the worker (minus the signal that ended it); reaps orphans meanwhile."""
    waiting = select.poll()
    process = os.pidfd_open(child)
    waiting.register(process, select.POLLIN)
    waiting.register(life, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in waiting.poll(REAP)]
        if life in ready:
            os._exit(0)
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if ended == child:
                return os.waitstatus_to_exitcode(status)
            if not ended:
                break


if __name__ == "__main__":
    main(int(sys.argv[1]), bool(int(sys.argv[2])))
