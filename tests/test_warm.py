"""Warm workers: forked from a process that has imported NumPy, and walled in like any other."""

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
from needed import SEALED

from grading.checks.case import Call, Case
from grading.grade import grade_submission
from grading.sealed import isolation, sandbox, warm

pytestmark = SEALED
LIMITS = sandbox.Limits()

LOOKS = """
import ctypes, os, socket, sys
import numpy as np

libc = ctypes.CDLL(None, use_errno=True)

def tried(action):
    try:
        return str(action())
    except OSError as problem:
        return type(problem).__name__

def write(path):
    with open(path, "w") as file:
        return file.write("1")

def look():
    # What this process is, what it sees, and what it may do.
    libc.ptrace.restype = ctypes.c_long
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    return {
        "processes": sorted(int(n) for n in os.listdir("/proc") if n.isdigit()),
        "me": os.getpid(), "user": os.getuid(), "folders": sorted(os.listdir("/")),
        "capabilities": [status[n].strip() for n in ("CapInh", "CapPrm", "CapEff", "CapBnd",
                                                     "CapAmb")],
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "open": sorted(os.readlink(f"/proc/self/fd/{n}") for n in descriptors
                       if os.path.lexists(f"/proc/self/fd/{n}")),
        "namespace": libc.unshare(0x10000000), "mount": libc.mount(b"x", b"/", b"tmpfs", 0, b""),
        "unmount": libc.umount2(b"/tree", 2), "trace": libc.ptrace(16, 1, 0, 0),
        "kill": tried(lambda: os.kill(1, 9)),
        "memory_of_init": tried(lambda: open("/proc/1/mem", "rb")),
        "files_of_init": tried(lambda: os.listdir("/proc/1/fd")),
        "allow": tried(lambda: write("/proc/sys/user/max_user_namespaces")),
        "tree": tried(lambda: write(__file__)), "pty": tried(lambda: os.openpty()),
        "shared": [line for line in open("/proc/self/maps") if line.split()[1][1::2] == "ws"],
        "interfaces": [name for _, name in socket.if_nameindex()],
        "modules": sorted({name.split(".")[0] for name in sys.modules}),
        "writable": sorted(place for place in {line.split()[1] for line in open("/proc/mounts")}
                           if tried(lambda: write(place + "/x")) == "1"),
        "filtered": status["Seccomp"].strip(),
        "torch": tried(lambda: sys.modules.get("torch")),
    }
"""

LEAVES = LOOKS + """
HOME = os.environ["HOME"]
NUMBER = 248 if os.uname().machine == "x86_64" else 217

def key(ring, add):
    if add:
        return libc.syscall(NUMBER, b"user", b"left", b"here", 4, ring) > 0
    find = 250 if NUMBER == 248 else 219
    return libc.syscall(find, 10, ring, b"user", b"left", 0) > 0

def leave(add):
    # With `add`, leave something everywhere; without, say what is there.
    found = []
    for ring in (-3, -4, -5):
        if key(ring, add):
            found.append(f"key {ring}")
    if add:
        np.left = np.ndarray
        np.random.seed(0)
        tried(lambda: write(HOME + "/left"))
        tried(lambda: write("/dev/shm/left"))
        libc.shmget(77, 4096, 0o1666)
        socket.left = socket.socket(socket.AF_UNIX)
        socket.left.bind("\\0left")
        socket.left.listen()
        os.putenv("LEFT", "1")
    else:
        found += ["a name in numpy"] * hasattr(np, "left")
        found += [path for path in (HOME + "/left", "/dev/shm/left") if os.path.exists(path)]
        found += ["shared memory"] * (libc.shmget(77, 4096, 0) >= 0)
        found += ["a socket"] * (tried(lambda: socket.socket(socket.AF_UNIX).connect("\\0left"))
                                 == "None")
        found += [name for name in os.environ if name == "LEFT"]
    return found

def draw():
    import random
    return [float(np.random.rand()), random.random()]
"""


@pytest.fixture
def tree(solved, tmp_path):
    """The solved tree, with what looks around at the end of layers.py."""
    for path in solved.rglob("cs231n/**/*.py"):
        place = tmp_path / path.relative_to(solved)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    layers = tmp_path / "cs231n" / "layers.py"
    layers.write_text(layers.read_text() + textwrap.dedent(LEAVES))
    isolation.readable_by_all(tmp_path)
    return tmp_path


@pytest.fixture
def cold(monkeypatch):
    monkeypatch.setattr(warm, "fork", lambda *_: None)


def ask(child, function, *args):
    """What a function of layers.py returns in the child."""
    case = Case("a", [Call(f"layers:{function}", args, returns=("found",))])
    (reply,) = child.ask([case.data], [])
    assert reply["error"] is None
    return reply["answers"]["found"]


def test_a_warm_worker_may_do_nothing_more(tree):
    """Is a forked worker alone, without a capability, and unable to reach who forked it?"""
    with sandbox.Child(tree, LIMITS, "sealed") as child:
        assert child.warm is not None, warm.reason()
        seen = SimpleNamespace(**ask(child, "look"))
    assert seen.processes == [1, seen.me] and seen.user == 65534
    assert set(seen.capabilities) == {"0" * 16} and seen.no_new_privileges == "1"
    refused = (seen.namespace, seen.mount, seen.unmount, seen.trace)
    assert refused == (-1, -1, -1, -1)
    assert seen.memory_of_init == seen.files_of_init == "PermissionError"
    assert {seen.allow, seen.tree, seen.pty} <= {"OSError", "PermissionError", "FileNotFoundError"}
    assert [name.split(":")[0] for name in seen.open if name.startswith("pipe:")] == ["pipe"] * 2
    assert not [name for name in seen.open if name.startswith(("socket:", "anon_inode:"))]
    assert not seen.shared and "lo" in seen.interfaces
    assert seen.torch == "None" and "grading" not in seen.folders


def test_a_warm_worker_sees_what_a_cold_one_sees(tree, monkeypatch):
    """Is the view the same, but for where the tree lies?"""
    views = []
    for fork in (warm.fork, lambda *_: None):
        monkeypatch.setattr(warm, "fork", fork)
        with sandbox.Child(tree, LIMITS, "sealed") as child:
            views.append(ask(child, "look"))
    of_trees = {"tree", tree.resolve().parts[1]}
    assert len({tuple(sorted({*view["folders"]} - of_trees)) for view in views}) == 1
    assert views[0]["writable"] == views[1]["writable"] == ["/scratch"]
    assert views[0]["filtered"] == views[1]["filtered"] == "2"
    for name in ("memory_of_init", "files_of_init"):
        assert views[0][name] == views[1][name] == "PermissionError"
    for name in ("capabilities", "no_new_privileges", "user", "interfaces", "namespace", "shared"):
        assert views[0][name] == views[1][name]


def test_workers_share_nothing(tree):
    """Does a worker find nothing of what another one left, before it or beside it?"""
    with sandbox.Child(tree, LIMITS, "sealed") as first:
        ask(first, "leave", True)
        with sandbox.Child(tree, LIMITS, "sealed") as second:
            assert ask(second, "leave", False) == []
    with sandbox.Child(tree, LIMITS, "sealed") as third:
        assert ask(third, "leave", False) == []


def test_what_is_left_would_be_found(tree):
    """Does the probe of the test above find its own traces?"""
    with sandbox.Child(tree, LIMITS, "sealed") as child:
        ask(child, "leave", True)
        found = ask(child, "leave", False)
    assert {"a name in numpy", "a socket"} <= set(found)


def test_random_numbers_are_each_workers_own(tree):
    """Do two workers of one zygote draw different numbers without a seed?"""
    drawn = []
    for _ in range(2):
        with sandbox.Child(tree, LIMITS, "sealed") as child:
            drawn += ask(child, "draw")
    assert len(set(drawn)) == 4


def test_a_zygote_that_ends_is_started_again(tree):
    """Is a killed zygote replaced by another one, without a word?"""
    for _ in range(2):
        with sandbox.Child(tree, LIMITS, "sealed") as child:
            assert child.warm is not None and ask(child, "draw")
        warm._zygotes[False]._process.kill()


def test_without_a_zygote_the_wall_is_built_anew(solved, monkeypatch):
    """Is a submission graded as well, and sealed, where no zygote can be had?"""
    monkeypatch.setattr(warm, "_zygotes", {})
    monkeypatch.setattr(warm, "_refused", {})
    monkeypatch.setattr(warm, "ZYGOTE", isolation.HERE / "no such file")
    outcome = grade_submission(solved, entropy=7, names=["relu_forward"])["relu_forward"]
    assert outcome.passed and outcome.level == "sealed"
    assert "zygote" in warm.reason()


def test_a_killed_grader_leaves_no_worker(tree):
    """Are a zygote and a worker in an endless loop gone when their grader is killed?"""
    layers = tree / "cs231n" / "layers.py"
    layers.write_text("while True: pass\n")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from grading.sealed import sandbox\n"
        f"child = sandbox.Child(Path({str(tree)!r}), sandbox.Limits(), 'sealed').__enter__()\n"
        "print(child.warm.pid, flush=True)\n"
        "call = {'function': 'layers:look', 'args': (), 'kwargs': {}, 'returns': ['found'],\n"
        "        'keep': [], 'echo': {}, 'of': ''}\n"
        "print(list(child.ask([[call]], [])))\n"
    )
    grader = subprocess.Popen(
        [sys.executable, "-c", code], cwd=isolation.HERE.parents[1], stdout=subprocess.PIPE
    )
    process = os.pidfd_open(int(grader.stdout.readline()))
    time.sleep(0.3)
    assert not select.select([process], [], [], 0)[0]
    grader.send_signal(signal.SIGKILL)
    grader.communicate()
    assert select.select([process], [], [], 10)[0]
    os.close(process)
