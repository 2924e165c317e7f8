"""One machine of a cluster: `python -m grading.machine tcp://host:8786` grades for a scheduler.

What a grade depends on is part of the label under which the machine takes work, so that nothing
reaches a machine on which the checks, a package or the level are other than on that of the class.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import json
import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from datasets import cifar10_1
from grading import exam
from grading.graders import FULL, LONGEST, Grader, told
from grading.sealed import isolation
from grading.store import checks_version, content, key_of

INSTALL = "pip install dask distributed"
PAUSE = 5.0  # seconds of a machine that cannot grade: else it would take, and fail, the whole class
PACKAGES = ("numpy", "torch", "torchvision", "safetensors", "matplotlib", "tqdm", "distributed")


class ClusterError(RuntimeError):
    """The cluster cannot be used; the text says why, in one sentence."""


def distributed() -> Any:
    """The package of that name; ClusterError where it is not installed."""
    try:
        return importlib.import_module("distributed")
    except ModuleNotFoundError as problem:
        raise ClusterError(
            f"to grade on a cluster, {problem.name} is needed, which is not installed: {INSTALL}"
        ) from None


def versions() -> dict[str, str]:
    """What a grade depends on: the checks, the packages that grade, the data."""
    found = {"checks": checks_version()[:12], "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    found["the test images"] = exam.source()
    found["the new images"] = cifar10_1.version()[:12] or "none"
    return found


def label(level: str, found: Mapping[str, str]) -> str:
    """The name under which work is given out, the same on machines that grade the same."""
    text = json.dumps([level, sorted(found.items())])
    return f"cs231n-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def about() -> dict[str, Any]:
    """What this machine says of itself."""
    level = isolation.level()
    return {"versions": versions(), "level": level.name, "reason": level.reason}


def outcomes_of(
    folder: Path, entropy: int, level: str, names: Sequence[str] | None
) -> dict[str, str]:
    """The outcomes of a submission, by check and as JSON; runs in a process of its own."""
    from grading.grade import grade_submission  # imports torch

    found = grade_submission(folder, entropy=entropy, names=names, level=level)
    return {name: outcome.to_json() for name, outcome in found.items()}


_idle: SimpleQueue[Grader] = SimpleQueue()


def grade_sent(
    key: str, files: Mapping[str, bytes], entropy: int, level: str, names: Sequence[str] | None
) -> tuple[str, dict[str, str], str]:
    """The name of this worker, the outcomes of what was sent, by check and as JSON, and '' or, in
    their place, what this machine lacks to grade anything.

    RuntimeError where the files are not those of `key`, or grading them came to no end.
    """
    worker = distributed().get_worker().name
    try:
        with tempfile.TemporaryDirectory(prefix="sent-") as folder:
            for path, data in files.items():
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, path).write_bytes(data)
            if key_of(content(Path(folder)), entropy, level) != key:
                raise RuntimeError("it changed while it was read: run this again")
            return worker, _graded(Path(folder), entropy, level, names), ""
    except OSError as problem:
        time.sleep(PAUSE)
        return worker, {}, told(problem)
    except RuntimeError as problem:
        if str(problem) == FULL:
            time.sleep(PAUSE)
            return worker, {}, FULL
        raise RuntimeError(f"{problem} ({worker})") from problem


def _graded(*task: Any) -> dict[str, str]:
    """What a grader says, one that is idle or a new one; the one that fails is not used again."""
    try:
        grader = _idle.get_nowait()
    except Empty:
        grader = Grader(outcomes_of)
    grader.send("", *task)
    if not grader.connection.poll(LONGEST):
        grader.process.kill()
        grader.end()
        raise RuntimeError(f"it was not graded within {LONGEST:g} s")
    found, reason = grader.result()
    if reason != "":
        ended = grader.end()
        raise RuntimeError(ended if reason is None else reason)
    _idle.put(grader)
    return found


async def _serve(address: str, name: str, **options: Any) -> None:
    """Work for the scheduler at `address`, and where it goes away for the one that follows."""
    worker = distributed().Worker
    while True:
        try:
            async with worker(address, name=name, **options) as working:
                print(f"{name}: at work for {address}", flush=True)
                await working.finished()
            said = "the scheduler went away"
        except (OSError, RuntimeError, ValueError) as problem:
            said = problem.__cause__ or problem
        print(f"{name}: {said}: trying again", flush=True)
        await asyncio.sleep(1.0)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m grading.machine", description=__doc__)
    parser.add_argument("scheduler", help="its address, such as tcp://host:8786")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    arguments = parser.parse_args(argv)
    if "://" not in arguments.scheduler:
        parser.error("give the scheduler's address, such as tcp://host:8786")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        here = about()
    except ValueError as problem:  # CIFAR10_1_URL names nothing that can be used
        print(problem, file=sys.stderr)
        return 1
    print(f"{arguments.name}: level {here['level']!r} ({here['reason']})", flush=True)
    offered = isolation.LEVELS[1 : isolation.LEVELS.index(here["level"]) + 1]
    options = {
        "nthreads": arguments.at_once,
        "resources": {label(level, here["versions"]): arguments.at_once for level in offered},
        "memory_limit": None,  # a submission has its own limit, in its own process
    }
    try:
        asyncio.run(_serve(arguments.scheduler, arguments.name, **options))
    except ClusterError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
