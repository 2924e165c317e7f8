"""What was measured last, kept in docs/benchmarks.json, and what became worse since."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from grading.overlay import ROOT
from tests.bench import SECTIONS, Figure

FILE = ROOT / "docs" / "benchmarks.json"
UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # of processors, which decide on speed
PACKAGES = ("numpy", "torch", "nbgrader", "dask")
WORSE = 1.5  # how many times worse a ratio may be before that is a regression

Records = dict[str, dict[str, Any]]  # by section: figures, short, machine, versions


def figure(found: dict[str, Any]) -> Figure:
    """A figure that was written as JSON, which knows no tuples."""
    return Figure(**{**found, "spread": found["spread"] and tuple(found["spread"])})


def load(file: Path = FILE) -> Records:
    """What is recorded, by section; nothing when there is no file yet."""
    if not file.exists():
        return {}
    records = json.loads(file.read_text())
    for record in records.values():
        for form in ("figures", "short"):
            record[form] = [figure(found) for found in record[form]]
    return records


def update(section: str, figures: list[Figure], short: list[Figure], file: Path = FILE) -> Records:
    """Record a section's figures beside those of the others; returns all of them."""
    record = {"machine": machine(), "versions": versions(), "figures": figures, "short": short}
    found = {**load(file), section: record}
    found = {name: found[name] for name in SECTIONS if name in found}
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(found, indent=1, default=dataclasses.asdict) + "\n")
    os.replace(part, file)
    return found


def regressions(section: str, short: list[Figure], committed: Records) -> list[str]:
    """A sentence for each figure of the short form that is worse by more than half, or new."""
    before = {figure.name: figure.value for figure in committed.get(section, {}).get("short", [])}
    worse = []
    for now in short:
        if now.name not in before:
            worse.append(f"{section}: {now.name} is not recorded: run python -m tests.bench")
            continue
        was = before[now.name]
        times = was / now.value if now.more_is_better else now.value / was
        if not times <= WORSE:
            worse.append(
                f"{section}: {now.name} is {now.value:.3g} {now.unit}, and was {was:.3g}: "
                f"{times:.2g} times worse"
            )
    gone = sorted(before.keys() - {now.name for now in short})
    return worse + [f"{section}: {name} is recorded, but not measured any more" for name in gone]


def machine() -> str:
    """The processor, how many cores of it, and the memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{_processor()}, {cores} cores, {gigabytes:.0f} GB, {platform.system()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    found = {key.strip(): value.strip() for key, value in pairs}
    can = [unit for unit in UNITS if unit in found.get("flags", "").split()]
    return " with ".join([found.get("model name", "processor"), *filter(None, [", ".join(can)])])


def versions() -> str:
    """Python and the packages that the times depend on."""
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", *packages])
