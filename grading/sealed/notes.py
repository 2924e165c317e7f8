"""What a student's code does besides computing, noted in words. Runs in the child.

The kernel refuses what must not be; this only says what was tried. The notes come from the
student's own process, so that they may be suppressed or invented: they are a hint for a human.
"""

from __future__ import annotations

import os
import sys
from typing import Any

MOST = 20  # notes that are kept between two answers
LONGEST = 200  # characters of one
QUIET = ("/usr/", "/lib", "/dev/", "/etc/", "/proc/", "/sys/", "/bin/")  # may be read unnoted
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo")
PROGRAMS = ("os.exec", "os.posix_spawn", "os.system", "subprocess.Popen")
INNOCENT = ("fc-list", "gcc", "ld", "ldconfig")  # what matplotlib and torch look for
CHANGES = (
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.symlink", "os.truncate", "shutil.rmtree",
)  # fmt: skip


def watch(tree: str) -> dict[str, None]:
    """Note from now on what this process does; the notes are the keys of what is returned."""
    noted: dict[str, None] = {}
    scratch = os.getcwd()
    here = os.path.dirname(os.path.abspath(__file__))
    readable = (*QUIET, tree, here, scratch, *map(os.path.realpath, (sys.prefix, sys.base_prefix)))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        try:
            text = _telling(event, args, scratch, readable)
        except Exception:  # of an odd argument; a hook that raises would stop the student's call
            return
        if text and len(noted) < MOST:
            noted[text[:LONGEST]] = None

    sys.addaudithook(hook)
    return noted


def _telling(event: str, args: tuple[Any, ...], scratch: str, readable: tuple[str, ...]) -> str:
    """The note on an event, or ''."""
    if event == "open" and isinstance(args[0], (str, bytes)):
        return _opened(*args[:3], scratch, readable)
    if event == "import" and args[0].partition(".")[0] == "grading":
        return f"imported {args[0]}"
    if event in NETWORK:
        return f"used the network ({event} {args[1:] if event != 'socket.getaddrinfo' else args})"
    if event in ("os.fork", "os.forkpty"):
        return "started another process (fork)"
    if event in PROGRAMS:
        program = str(args[0])
        return "" if os.path.basename(program) in INNOCENT else f"started the program {program}"
    if event in ("os.kill", "os.killpg"):
        return f"sent signal {args[1]} to process {args[0]}"
    if event in CHANGES and not _path(args[0]).startswith(scratch):
        return f"changed files outside its folder ({event} {_path(args[0])})"
    if event.startswith(("gc.get_", "ctypes.string_at", "ctypes.wstring_at")):
        return f"searched the memory of its process ({event})"
    return ""


def _opened(path: Any, mode: Any, flags: Any, scratch: str, readable: tuple[str, ...]) -> str:
    place = _path(path)
    writes = any(c in "wax+" for c in mode) if isinstance(mode, str) else bool(flags & WRITING)
    if writes and not place.startswith((scratch, "/dev/null")):
        return f"opened {place} for writing"
    return "" if writes or place.startswith(readable) else f"opened {place}"


def _path(path: Any) -> str:
    return os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes)) else str(path)
