"""What this machine offers to grade with: `python -m grading.doctor` (`make doctor`).

Ends with 0 where it can seal a student's code, with 1 where it cannot.
"""

from __future__ import annotations

import os
import shutil
import sys

from grading.sealed import isolation, warm
from grading.sealed.sandbox import Limits

MEANING = {
    "none": "no child with limits: nothing can be graded here, only checked in a notebook",
    "process": "a child process with limits and deadlines: it stops accidents, not intent",
    "sealed": "namespaces of its own, nothing of the system to write to, no network, no root",
}
NEXT = {
    "none": ["grade on Linux: a virtual machine or WSL 2 will do"],
    "bubblewrap": [
        f"install the Debian package: sudo {isolation.INSTALL}",
        "without root: a rootless container (podman run --rm -it, with bubblewrap in the image)",
    ],
    "namespaces": [
        "allow user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1 (Debian) or",
        "  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 24.04)",
        "in a container: docker run --privileged, or podman run --security-opt unmask=ALL",
        "as root, keep the interpreter (and the environment) where the user nobody may read it",
    ],
}


def advice(level: isolation.Level, installed: bool) -> list[str]:
    """How to get from this level to the next one, in lines."""
    if level.name == "sealed":
        return []
    if level.name == "none":
        return NEXT["none"]
    return NEXT["namespaces" if installed else "bubblewrap"]


def main() -> int:
    """Print the level, what it means, what bounds memory, and how to get the next level."""
    level = isolation.level()
    print(f"level: {level.name} ({level.reason})\n  {MEANING[level.name]}")
    limits = Limits()
    group = isolation.ControlGroup(limits.memory, limits.processes)
    kernel, count = group.bounds_memory, group.bounds_processes
    group.remove()
    how = "a control group" if kernel else "the grader, which looks every 0.2 s"
    print(f"memory of a submission ({limits.memory >> 20} MB): bounded by {how}")
    forks = "a control group" if count else "the limit of its own user"
    if os.geteuid() == 0 and not count and level.name != "sealed":
        forks = "nothing (root has no limit of processes)"
    print(f"processes of a submission ({limits.processes}): bounded by {forks}")
    if level.name == "sealed":
        why = warm.missing()
        print(f"workers: {f'started anew each time ({why})' if why else 'forked from a warm one'}")
    print(f"processors: {os.cpu_count()}; free disk: {shutil.disk_usage('.').free >> 30} GB")
    for line in advice(level, bool(shutil.which("bwrap"))):
        print(f"to get the next level: {line}" if not line.startswith(" ") else f"  {line}")
    if level.name == "process":
        print("to grade at this level all the same, say so by name: make grade LEVEL=process")
    return int(level.name != "sealed")


if __name__ == "__main__":
    sys.exit(main())
