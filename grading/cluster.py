"""A class on many machines: `DASK_SCHEDULER=tcp://host:8786 make grade`.

Submissions and outcomes travel through the Dask scheduler under the hash of their content. The
machine that runs the class is the only one that writes, and gives work to machines of its own
label alone (`grading.machine`); each other one is named, with what is different there.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from grading import machine, overlay
from grading.machine import ClusterError
from grading.outcome import Outcome
from grading.sealed import isolation
from grading.store import Store, weights

SCHEDULER = "DASK_SCHEDULER"  # environment variable: the address of a cluster's scheduler
FIRST = 5.0  # seconds in which the scheduler must answer at first
PATIENCE = 300.0  # and those to wait for one that went away, or for a machine that may grade
ANSWERS = 60.0  # seconds in which a scheduler that is at work answers, however busy it is
GLANCE = 0.05  # seconds between two looks at what is done
IN_FLIGHT = 1 << 29  # bytes of submissions that the scheduler holds at once
TRIES = 3  # of a submission, on machines that have no room for it
KEPT = "What was graded is kept: run the same command again"


def grade_on(
    address: str,
    course: Path,
    pending: Mapping[str, Mapping[str, Path]],
    names: Sequence[str] | None = None,
) -> dict[str, str]:
    """Fill the outcome store from the cluster at `address`; student -> why there is no outcome.

    `pending` has, by key, the students with that content and their folders. ClusterError where
    the scheduler cannot be reached, or stays away, or no machine may take part.
    """
    if not pending:
        return {}
    store, patience = Store(course), FIRST
    with tqdm(total=len(pending), unit="submission", desc="grading") as bar:
        say = partial(bar.write, file=sys.stderr)
        run = _Run(store, store.entropy, _Crew(store.level, say), dict(pending), names)
        while run.waiting:
            with _client(address, patience) as client:
                run.until_lost(client, bar)
            patience = PATIENCE
            if run.waiting:
                say(f"the scheduler at {address} went away: waiting for it, {PATIENCE:g} s at most")
    if run.graded:
        print(", ".join(f"{name} graded {count}" for name, count in sorted(run.graded.items())))
    return run.failed


@contextmanager
def _client(address: str, patience: float) -> Iterator[Any]:
    """A connection to the scheduler; ClusterError where there is none within `patience` seconds."""
    library, client = machine.distributed(), None
    for name in ("distributed", "distributed.client"):  # what is lost, we say
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Sending large graph")  # a checkpoint of 45 MB
    end = time.monotonic() + patience
    while client is None:
        try:
            asyncio.run(asyncio.wait_for(_answer(address), FIRST))
            client = library.Client(address, timeout=FIRST, set_as_default=False)
        except (OSError, ValueError) as problem:
            if isinstance(problem, ValueError) or time.monotonic() > end:
                raise ClusterError(
                    f"the scheduler of {SCHEDULER}={address} cannot be reached "
                    f"({type(problem).__name__}). {KEPT} once it answers."
                ) from None
            time.sleep(0.5)
    try:
        yield client
    finally:
        with suppress(Exception):  # its connection may be lost
            client.close(timeout=2)


async def _answer(address: str) -> None:
    """Ask the scheduler for a word: a client waits for one that is frozen for ever."""
    library = machine.distributed()
    security = library.security.Security().get_connection_args("client")
    async with library.rpc(address, connection_args=security) as scheduler:
        await scheduler.identity(n_workers=0)


@dataclass
class _Crew:
    """The machines that may take part in grading at `level`, by address, with their threads."""

    level: str
    say: Callable[[str], None]
    threads: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    seen: float = field(default_factory=time.monotonic)  # when there was a machine last
    looked: float = 0.0
    told: bool = False

    def __post_init__(self) -> None:
        self.mine = machine.versions()
        self.label = machine.label(self.level, self.mine)

    def look(self, client: Any) -> None:
        """Once a second, ask the machines that are new; say who takes part and who may not."""
        if time.monotonic() < self.looked + 1.0:
            return
        # One that is frozen keeps its connections: TimeoutError, as if it had gone.
        asked = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ANSWERS)
        there = asked["workers"]
        self.threads = {place: n for place, n in self.threads.items() if place in there}
        new = [place for place in there if place not in {*self.threads, *self.refused}]
        answers = client.run(on_machine, "about", workers=new, on_error="return") if new else {}
        for place, answer in answers.items():
            if isinstance(answer, OSError):  # it has gone again
                continue
            who = f"{there[place]['name']} ({place})"
            if why := differences(self.level, self.mine, answer):
                self.refused[place] = why
                self.say(f"refused: {who}: {why}")
            else:
                self.threads[place] = there[place]["nthreads"]
                self.say(f"takes part: {who}")
        self.looked = time.monotonic()
        if self.threads:
            self.seen = self.looked
        elif not self.told:
            self.told = True
            self.say("no machine takes part yet: start `python -m grading.machine` on some")
        elif self.looked > self.seen + PATIENCE:
            raise ClusterError(
                f"no machine took part for {PATIENCE:g} s, {len(self.refused)} were refused. "
                f"{KEPT} when there is one."
            )


def differences(level: str, mine: Mapping[str, str], answer: Any) -> str:
    """Why a machine that gave this `answer` may not grade for this one, or ''."""
    if isinstance(answer, BaseException):
        return f"this course is not there ({type(answer).__name__}: {answer})"
    theirs = answer["versions"]
    found = [
        f"{name} is {theirs.get(name, 'missing')} there, {version} here"
        for name, version in mine.items()
        if theirs.get(name) != version
    ]
    if isolation.LEVELS.index(answer["level"]) < isolation.LEVELS.index(level):
        found.append(f"it does not offer the level {level!r}: {answer['reason']}")
    return "; ".join(found)


@dataclass
class _Run:
    """A class on its way: the submissions that wait, by key, and what became of the others."""

    store: Store
    entropy: int
    crew: _Crew
    waiting: dict[str, Mapping[str, Path]]
    names: Sequence[str] | None
    failed: dict[str, str] = field(default_factory=dict)
    graded: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)  # by key: on machines that could not grade

    def until_lost(self, client: Any, bar: tqdm) -> None:
        """Send and take in, until nothing waits or the scheduler is lost."""
        queue, sent = list(self.waiting), {}  # future -> key and bytes
        try:
            while self.waiting and client.status == "running":
                self.crew.look(client)
                most = 2 * sum(self.crew.threads.values())
                while queue and len(sent) < most and sum(n for _, n in sent.values()) < IN_FLIGHT:
                    key = queue.pop(0)
                    if (files := self._packed(key)) is not None:
                        sent[self._send(client, key, files)] = key, sum(map(len, files.values()))
                    else:
                        bar.update()
                for future in [future for future in sent if future.status != "pending"]:
                    key, _ = sent.pop(future)
                    if self._take(key, future):
                        bar.update()
                    else:
                        queue.append(key)
                    future.release()  # one that is held is graded again where its machine dies
                time.sleep(GLANCE)
        except (OSError, CancelledError):
            return

    def _packed(self, key: str) -> dict[str, bytes] | None:
        """The files of a submission; None, and a failure, where they cannot be read."""
        try:
            return packed(next(iter(self.waiting[key].values())))
        except OSError as problem:
            self._fail(key, f"it could not be read: {problem}")
            return None

    def _send(self, client: Any, key: str, files: dict[str, bytes]) -> Any:
        task = ("grade_sent", key, files, self.entropy, self.store.level, self.names)
        return client.submit(
            on_machine, *task, key=f"grade-{key}-{self.tries[key]}", pure=False,
            resources={self.crew.label: 1},
        )  # fmt: skip

    def _take(self, key: str, future: Any) -> bool:
        """Keep what came of a submission; False if it was lost on the way, and is to be sent
        again."""
        if future.status == "finished":
            try:
                name, found, lacks = future.result(timeout=FIRST)
            except (OSError, CancelledError):  # the machine has gone, and took it along
                return False
            if lacks:
                self.tries[key] += 1
                if self.tries[key] < TRIES:
                    self.crew.say(f"{name}: {lacks}; what it was sent is sent again")
                    return False
                self._fail(key, f"{lacks} ({name})")
                return True
            try:
                outcomes = {check: Outcome.from_json(text) for check, text in found.items()}
                self.store.write(key, outcomes)
            except (OSError, ValueError) as problem:
                self._fail(key, f"its outcome could not be kept: {problem}")
                return True
            self.graded[name] += 1
            del self.waiting[key]
        elif future.status == "error":
            problem = future.exception()
            self._fail(key, next(iter(str(problem).splitlines()), type(problem).__name__))
        else:
            return False
        return True

    def _fail(self, key: str, reason: str) -> None:
        self.failed |= dict.fromkeys(self.waiting.pop(key), reason)


def packed(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all that is graded of a submission."""
    files = dict(overlay.collect(folder).content)
    for path in weights(folder):
        files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


def on_machine(function: str, *arguments: Any) -> Any:
    """Call a function of `grading.machine` on a worker."""
    import importlib

    return getattr(importlib.import_module("grading.machine"), function)(*arguments)


# So it is sent by value, and passed on by schedulers that have no copy of the course.
on_machine.__module__ = "__main__"
