"""What this machine can hold a student's code with: namespaces by bubblewrap, cgroups if any.

Levels: 'sealed' is bubblewrap with its own user, process, network, ipc and mount namespaces, a
read-only view of the system, no capability, and an outer user that is not root. 'process' is a
child process with limits and deadlines alone: it stops accidents, not intent. 'none' is no child
at all, where the system cannot set limits.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
COURSE = HERE.parents[1]
NOBODY = "65534"
SCRATCH = "/scratch"
TREE = "/tree"  # where a zygote's worker has its own
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
INSTALL = "apt-get install bubblewrap"
LEVELS = ("none", "process", "sealed")
GROUP = "cs231n"  # how names of control groups begin


@dataclass(frozen=True)
class Level:
    """How well this machine can hold a student's code, and what the next level needs."""

    name: str
    reason: str


class LevelError(RuntimeError):
    """This machine cannot hold a student's code as a grade needs it; the text says what to do."""


def chosen(said: str | None = None) -> str:
    """The level to grade at: 'sealed', or the one that somebody said by name.

    Raises ValueError for an unknown name, LevelError where nobody said one and this machine does
    not seal, or does not offer what was said.
    """
    if said and said not in LEVELS[1:]:
        raise ValueError(f"there is no level {said!r} to grade at: choose sealed or process")
    wanted, found = said or "sealed", level()
    if LEVELS.index(wanted) > LEVELS.index(found.name):
        raise LevelError(
            f"this machine does not offer the level {wanted!r}: {found.reason}. A class is graded "
            "sealed, or at the level that you say by name, such as LEVEL=process; `make doctor` "
            "says more."
        )
    return wanted


@cache
def level() -> Level:
    """Try the seal; a lower level and the reason where it does not hold."""
    if importlib.util.find_spec("resource") is None:
        return Level("none", "this system cannot limit a process")
    if not shutil.which("bwrap"):
        return Level("process", f"bubblewrap is not installed ({INSTALL})")
    seen = "import numpy, os, runpy, socket; assert os.getpid() < 9 and os.getuid() == 65534; "
    seen += f"open({str(HERE / 'worker.py')!r}).close(); "
    seen += f"runpy.run_path({str(HERE / 'calls.py')!r})['refuse']()"
    probe = [*seal(HERE, torch=False), sys.executable, "-I", "-c", seen]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return Level("process", f"bubblewrap cannot start: {problem}")
    if done.returncode == 0:
        return Level("sealed", "bubblewrap holds")
    last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    return Level("process", f"bubblewrap is installed, but what it must do is not allowed: {last}")


def seal(tree: Path | None, torch: bool) -> list[str]:
    """The command that seals what follows it. Without a tree it is for a zygote, whose workers
    bring theirs: it alone may make further user namespaces.

    Where we are root, a first bubblewrap makes a view that nobody may read (the interpreter can
    live under root's own home) and becomes nobody for good; with a root uid outside, the limit on
    processes would not bind.
    """
    view = _view(tree, torch)
    inner = ["bwrap", "--unshare-user", "--unshare-all", "--die-with-parent"]
    inner += ["--disable-userns", "--as-pid-1"] if tree else []
    inner += ["--new-session", "--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY]
    inner += ["--hostname", "worker", "--clearenv", "--tmpfs", "/", *view, "--proc", "/proc"]
    inner += ["--dev", "/dev", "--remount-ro", "/dev"]
    inner += ["--size", str(64 << 20), "--tmpfs", SCRATCH, "--chdir", SCRATCH]
    inner += [] if tree else ["--perms", "0755", "--dir", TREE]
    inner += [word for name, value in environment().items() for word in ("--setenv", name, value)]
    inner += ["--remount-ro", "/", "--"]
    if os.geteuid() != 0:
        return inner
    outer = ["bwrap", "--die-with-parent", *_view(tree, torch, _worker_for_all())]
    outer += ["--bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev"]
    outer += ["--perms", "0755", "--dir", "/tmp"]  # where the inner one begins its own view
    outer += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    return [*outer, "--", *become, *inner]


def _view(tree: Path | None, torch: bool, worker: Path = HERE) -> list[str]:
    """The system, the interpreter, this folder (from `worker`) and the tree, all read-only.

    A venv's python is a link, so its real prefix is there too. Without `torch`, it cannot be
    found: its folders are covered by empty ones.
    """
    view = ["--perms", "0755", "--dir", "/etc"]
    for folder in SYSTEM:
        view += ["--ro-bind-try", folder, folder]
    shown = [os.path.realpath(p) for p in (sys.base_prefix, sys.prefix)]
    # A course in a folder that is shown (/usr/local, conda's) is covered: its masters, its grades.
    covered = [COURSE] if any(COURSE.is_relative_to(p) for p in (*SYSTEM, *shown)) else []
    wanted = dict.fromkeys([*shown, *(os.path.realpath(p) for p in (HERE, tree) if p)])
    folders = [
        path
        for path in map(Path, wanted)
        if not path.is_relative_to("/usr") or covered and path.is_relative_to(COURSE)
    ]
    made: set[Path] = set()
    for folder in sorted([*folders, *covered]):
        for parent in [*reversed(folder.parents)][1:]:
            # bubblewrap would copy the parent's permissions: /root is closed to nobody.
            view += ["--perms", "0755", "--dir", str(parent)] if parent not in made else []
            made.add(parent)
        source = worker if folder == HERE else folder
        view += ["--tmpfs"] if folder in covered else ["--ro-bind", str(source)]
        view += [str(folder)]
    for folder in covered:
        view += ["--remount-ro", str(folder)]
    if not torch:
        for package in _torch_folders():
            # Closed: what one submission wrote there, the next one of a zygote would find.
            view += ["--tmpfs", package, "--remount-ro", package]
    return view


@cache
def _worker_for_all() -> Path:
    """This folder, or a copy where nobody may not read it: unpacked or cloned under umask 077."""
    files = list(HERE.glob("*.py"))
    if all(path.stat().st_mode & 0o004 for path in files):
        return HERE
    copy = Path(tempfile.mkdtemp(prefix="worker-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for path in files:
        shutil.copyfile(path, copy / path.name)
    readable_by_all(copy)
    return copy


def readable_by_all(folder: Path) -> None:
    """Let every user read the folder and what is in it, and nobody else write it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@cache
def _torch_folders() -> list[str]:
    """Where torch is, in this environment or in another one that the view shows."""
    places = [Path(p) for p in sys.path if p]
    for prefix in (sys.prefix, sys.base_prefix, "/usr", "/usr/local"):
        places += Path(prefix).glob("lib*/python3*/*-packages")
    folders = [place / name for place in places for name in ("torch", "torchvision")]
    return sorted({str(folder.resolve()) for folder in folders if folder.is_dir()})


def environment(home: str = SCRATCH) -> dict[str, str]:
    """The whole environment of a worker: one thread for BLAS, nothing of the grader's own."""
    one_thread = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    processor = {k: v for k, v in os.environ.items() if k.startswith("OPENBLAS_")}
    return {
        **processor,
        **dict.fromkeys(one_thread, "1"),
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": home,
        "MPLCONFIGDIR": home,
        "MPLBACKEND": "agg",
        "LANG": "C.UTF-8",
    }


class ControlGroup:
    """Limits of memory and processes for a child and all that it starts, where cgroups allow them,
    and no more of the processors than another child has, however many processes share it.

    Version 1 or 2 is found by trying; `folders` is empty where neither can be written. Groups are
    named by the grader's process, so that those of one that was killed are taken away by the next.
    """

    def __init__(self, memory: int, processes: int) -> None:
        self.folders: list[Path] = []
        name = f"{GROUP}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        root = Path("/sys/fs/cgroup")
        for parent, files in (
            (root, {"memory.max": memory, "memory.swap.max": 0, "pids.max": processes}),
            (root / "memory", {"memory.limit_in_bytes": memory}),
            (root / "pids", {"pids.max": processes}),
            (root / "cpu", {"cpu.shares": 1024}),
        ):
            self._make(parent / name, files)

    def _make(self, folder: Path, files: dict[str, int]) -> None:
        if not (folder.parent / "cgroup.procs").exists():
            return
        for left in folder.parent.glob(f"{GROUP}-*-*"):
            if not Path("/proc", left.name.split("-")[1]).exists():
                _take_away(left, tries=1)
        try:
            folder.mkdir()
        except OSError:
            return
        try:
            for file, value in files.items():
                if (folder / file).exists() or "swap" not in file:
                    (folder / file).write_text(str(value))
            self.folders.append(folder)
        except OSError:
            folder.rmdir()

    @cached_property
    def bounds_memory(self) -> bool:
        """Whether the kernel holds the memory of the whole group to its limit."""
        return self._bounds("memory.max", "memory.limit_in_bytes")

    @property
    def bounds_processes(self) -> bool:
        """Whether it holds the number of the group's processes and threads to its limit."""
        return self._bounds("pids.max")

    def _bounds(self, *files: str) -> bool:
        return any((folder / file).exists() for folder in self.folders for file in files)

    def add(self, process: int) -> None:
        """Put a process into the groups, and with it all that it will start."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(process))

    def enter(self) -> list[str]:
        """The command that enters the groups and becomes what follows it."""
        if not self.folders:
            return []
        enter = "".join(f'echo $$ > "{folder}/cgroup.procs" && ' for folder in self.folders)
        return ["/bin/sh", "-c", f'{enter} exec "$@"', "sh"]

    def remove(self) -> None:
        """Kill whoever is left in the groups, then take them away."""
        for folder in self.folders:
            _take_away(folder)
        self.folders = []


def _take_away(folder: Path, tries: int = 100) -> None:
    """Kill whoever is in a group, and remove it."""
    for _ in range(tries):
        try:
            for process in map(int, (folder / "cgroup.procs").read_text().split()):
                if process > 0:  # 0 stands for one that cannot be seen from here
                    os.kill(process, signal.SIGKILL)
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:  # somebody in it has just ended, or is still ending
            time.sleep(0.01)


def own_threads() -> int:
    """How many threads all processes of this user have, with room for those that it starts soon."""
    count = 256
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == os.getuid():
                count += process.num_threads()
    return count


def memory_used(process: int) -> int:
    """Bytes of memory that a process and its descendants hold, now."""
    return sum(family(process).values())


def family(process: int) -> dict[int, int]:
    """A process and its descendants, with the bytes of memory that each holds, now."""
    found = {}
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(process)
        for member in (first, *first.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
                found[member.pid] = member.memory_info().rss
    return found
