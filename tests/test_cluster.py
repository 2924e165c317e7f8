"""A class on a cluster: a scheduler and workers on this machine, killed, late, refused."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_course
from needed import SEALS
from test_gradebook import FOUND, hand_in, points, released

from grading import classroom, cluster, graders, machine
from grading.overlay import ROOT
from grading.store import Store, content, key_of
from tests import faults

fast = pytest.mark.fast
STUDENTS = 10
SILENCE = "10s"  # of a worker, until the scheduler takes it for lost
PATIENCE = 180.0  # seconds until something that must happen has not


class Cluster:
    """Processes of a cluster, ended at the end; each one's messages in a file of its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: dict[str, subprocess.Popen] = {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.started:
            self.kill(name)

    def start(self, name: str, *command: str, where: Path = ROOT, **environment: str) -> None:
        with (self.folder / f"{name}.log").open("a") as log:
            self.started[name] = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=where, env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def scheduler(self) -> None:
        """Started where there is no course: it needs none."""
        host, port = self.address.removeprefix("tcp://").split(":")
        options = ("--host", host, "--port", port, "--no-dashboard")
        self.start("scheduler", "dask", "scheduler", *options, where=self.folder,
                   DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=SILENCE)  # fmt: skip

    def worker(self, name: str, **environment: str) -> None:
        options = ("--at-once", "1", "--name", name)
        environment["NOTES"] = str(self.folder / "notes")
        self.start(name, "tests.noting_machine", self.address, *options, **environment)

    def noted(self, what: str) -> list[str]:
        """The keys that workers began, or ended, to grade, in that order."""
        lines = (self.folder / "notes").read_text().splitlines()
        return [key for word, key in map(str.split, lines) if word == what]

    def grade(self, name: str, course: Path, address: str) -> None:
        level = os.environ["LEVEL"]
        self.start(name, "tests.quick_run", str(course), LEVEL=level, ENTROPY=faults.ENTROPY,
                   DASK_SCHEDULER=address)  # fmt: skip

    def kill(self, name: str) -> None:
        self.started[name].kill()
        self.started[name].wait()

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def until(holds: Callable[[], bool], made: Cluster) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, made.said("class")
        time.sleep(0.1)


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_graded_twice(tmp_path):
    """Is a class graded as on one machine where workers die, come late or are others, and the
    scheduler starts anew?"""
    course = faults.make_class(tmp_path, STUDENTS)
    alone = faults.copied(course, tmp_path / "alone")
    # Another numpy by what it says of itself, and no bubblewrap on the PATH.
    odd = tmp_path / "odd" / "numpy-9.9.9.dist-info"
    odd.mkdir(parents=True)
    (odd / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")

    def stored() -> set[str]:
        return {path.stem for path in course.glob("outcomes/*.json")}

    def in_flight() -> set[str]:
        """What was begun, and is not in the store."""
        return set(made.noted("begin")) - stored()

    with Cluster(tmp_path) as made:
        made.scheduler()
        made.worker("unlike", PYTHONPATH=str(odd.parent))
        made.worker("unsealed", PATH="")
        made.worker("dies", PAUSE="1")
        made.grade("class", course, made.address)
        until(lambda: len(stored()) >= 2, made)
        time.sleep(0.5)  # what is in the store, the scheduler must have forgotten by then
        made.kill("dies")
        lost = in_flight()
        for name in ("late", "later", "latest"):
            made.worker(name)
        until(lambda: len(stored()) >= STUDENTS // 2, made)
        made.kill("scheduler")
        time.sleep(0.5)  # until each worker has noticed: it begins nothing more
        lost |= in_flight()
        made.scheduler()
        assert made.started["class"].wait(PATIENCE) == 0, made.said("class")
        said, ended = made.said("class"), Counter(made.noted("end"))
    assert faults.run(alone) == 0
    assert faults.gradebook(course) == faults.gradebook(alone)
    graded = dict(re.findall(r"(\w+) graded (\d+)", said))
    assert "dies" in graded and graded.keys() <= {"dies", "late", "later", "latest"}
    assert sum(map(int, graded.values())) == len(stored()) == STUDENTS
    assert ended.keys() == stored()
    assert {key for key, times in ended.items() if times > 1} <= lost
    assert re.search(r"refused: unlike .*numpy is 9\.9\.9 there, ", said)
    if SEALS:
        assert re.search(r"refused: unsealed .*bubblewrap is not installed", said)
    assert "went away: waiting for it" in said and "Traceback" not in said


@pytest.mark.slow
def test_a_frozen_worker_is_passed_over(tmp_path):
    """Are submissions of a worker that says nothing any more graded by another one?"""
    course = faults.make_class(tmp_path, 3)
    with Cluster(tmp_path) as made:
        made.scheduler()
        made.worker("freezes")
        made.grade("class", course, made.address)
        until(lambda: "takes part: freezes" in made.said("class"), made)
        made.started["freezes"].send_signal(signal.SIGSTOP)
        made.worker("other")
        assert made.started["class"].wait(PATIENCE) == 0, made.said("class")
        graded = dict(re.findall(r"(\w+) graded (\d+)", made.said("class")))
    assert int(graded["other"]) >= 2
    assert len(list(course.glob("outcomes/*.json"))) == 3


def submission(folder: Path, **files: str) -> Path:
    """A submission below `folder`, of files whose names have __ for / and no ending."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@fast
def test_what_is_sent_is_what_is_graded(tmp_path):
    """Has a submission the same content on the machine that it is sent to, wherever its package
    is, and with its checkpoint?"""
    folder = submission(tmp_path / "s", assignment2__cs231n__layers="x = 1", cs231n__more="y = 2",
                        assignment2__cs231n__own__helper="z = 3", notes="no")  # fmt: skip
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "resnet18_cifar10.safetensors").write_bytes(b"weights")
    files = cluster.packed(folder)
    for name, data in files.items():
        path = tmp_path / "sent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert content(tmp_path / "sent") == content(folder)
    assert "notes.py" not in files and len(files) >= 3


@fast
def test_what_changed_on_the_way_is_not_graded(monkeypatch):
    """Is a submission refused, and the machine named, where its files are not those of its key?"""
    worker = SimpleNamespace(name="lab7")
    library = SimpleNamespace(get_worker=lambda: worker)
    monkeypatch.setattr(machine, "distributed", lambda: library)
    with pytest.raises(RuntimeError, match=r"changed while it was read.*lab7"):
        machine.grade_sent("another key", {"cs231n/layers.py": b"x = 1"}, 1, "sealed", None)


@fast
@pytest.mark.parametrize("failing", ["write_bytes", "grader"])
def test_a_machine_without_room_says_so(monkeypatch, failing):
    """Is it no failure of the submission where a worker's disk is full, or its grader's?"""
    def full(*_):
        if failing == "grader":
            raise RuntimeError(graders.FULL)
        raise OSError(errno.ENOSPC, "No space left on device")

    library = SimpleNamespace(get_worker=lambda: SimpleNamespace(name="lab7"))
    monkeypatch.setattr(machine, "distributed", lambda: library)
    monkeypatch.setattr(machine, "PAUSE", 0.0)
    monkeypatch.setattr(machine, "content", lambda folder: "content")
    monkeypatch.setattr(machine, "_graded", full)
    if failing == "write_bytes":
        monkeypatch.setattr(Path, "write_bytes", full)
    key = key_of("content", 1, "sealed")
    found = machine.grade_sent(key, {"cs231n/layers.py": b"x = 1"}, 1, "sealed", None)
    assert found == ("lab7", {}, graders.FULL)


@fast
def test_what_a_machine_had_no_room_for_is_sent_again(tmp_path):
    """Is it graded elsewhere; and told, after three times and of a failure without words too?"""
    class Answer(SimpleNamespace):
        def result(self, timeout):
            return self.answer

        def exception(self):
            return MemoryError()

    said = []
    crew = SimpleNamespace(say=said.append)
    people = {"a": {"ann": tmp_path}, "b": {"bob": tmp_path}, "c": {"cid": tmp_path}}
    run = cluster._Run(Store(tmp_path), 1, crew, people, None)
    full = Answer(status="finished", answer=("lab7", {}, graders.FULL))
    assert [run._take("a", full), run._take("a", full)] == [False, False]
    assert run._take("a", Answer(status="finished", answer=("lab8", {}, ""))) is True
    assert [run._take("b", full) for _ in range(3)] == [False, False, True]
    assert run._take("c", Answer(status="error")) is True
    assert run.failed == {"bob": f"{graders.FULL} (lab7)", "cid": "MemoryError"}
    assert run.graded == {"lab8": 1} and len(said) == 4 and "lab7" in said[0]


@fast
def test_differences_are_named():
    """Is it said what is different on a machine, for packages, checks, data and level?"""
    mine = machine.versions()
    same = {"versions": mine, "level": "sealed", "reason": "bubblewrap holds"}
    assert cluster.differences("sealed", mine, same) == ""
    other = {**same, "versions": {**mine, "torch": "1.0"}, "level": "process", "reason": "no bwrap"}
    said = cluster.differences("sealed", mine, other)
    assert said == (
        f"torch is 1.0 there, {mine['torch']} here; "
        "it does not offer the level 'sealed': no bwrap"
    )
    assert "bwrap" not in cluster.differences("process", mine, other)
    assert "grading" in cluster.differences("sealed", mine, ModuleNotFoundError("no grading"))


@fast
def test_labels_keep_machines_apart():
    """Is work given out under another name for another level, and for any other version?"""
    mine = machine.versions()
    labels = {machine.label(level, {**mine, "numpy": numpy})
              for level in ("sealed", "process") for numpy in (mine["numpy"], "9.9.9")}  # fmt: skip
    assert len(labels) == 4 and machine.label("sealed", dict(sorted(mine.items()))) in labels


@fast
def test_no_scheduler(tmp_path, monkeypatch):
    """Is one sentence said where no scheduler answers, and where its address is none?"""
    monkeypatch.setattr(cluster, "FIRST", 0.3)
    pending = {"key": {"ann": tmp_path}}
    for address in ("tcp://127.0.0.1:1", "nowhere at all"):
        with pytest.raises(machine.ClusterError, match="cannot be reached.*run the same command"):
            cluster.grade_on(address, tmp_path, pending)


@pytest.mark.slow
def test_what_is_graded_is_written_without_a_scheduler(tmp_path, monkeypatch, capsys):
    """Where the scheduler cannot be reached, are stored outcomes written to the gradebook, before
    the sentence and status 1; and is nothing done where none is new?"""
    monkeypatch.setenv(cluster.SCHEDULER, "tcp://127.0.0.1:1")
    monkeypatch.setattr(cluster, "FIRST", 0.3)
    course = released(tmp_path / "course")
    hand_in(course, "ann")
    for name, text in small_course.files(layers="# bob\n").items():
        path = course / "submitted" / "bob" / "assignment2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert classroom.main(["grade", "--course", str(course), "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert "cannot be reached" in said.err.splitlines()[-1]
    assert "not graded: bob: no machine of the cluster graded it" in said.out
    assert "not graded: ann" not in said.out
    assert points(course)["ann"] == FOUND
    monkeypatch.setattr(classroom, "autograde", lambda *_: pytest.fail("nothing is new"))
    assert classroom.main(["grade", "--course", str(course), "--workers", "1"]) == 1
    assert "cannot be reached" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_frozen_scheduler(tmp_path, monkeypatch):
    """Is a scheduler that holds its connections and says nothing taken for one that went away?"""
    monkeypatch.setattr(cluster, "ANSWERS", 1.0)
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    said: list[str] = []
    with Cluster(tmp_path) as made:
        made.scheduler()
        scheduler = made.started["scheduler"]

        def frozen(_, text, **__):
            said.append(text)
            if "no machine takes part" in text:
                scheduler.send_signal(signal.SIGSTOP)

        monkeypatch.setattr(cluster.tqdm, "write", frozen)
        monkeypatch.setattr(cluster, "FIRST", 15.0)
        with pytest.raises(machine.ClusterError, match="cannot be reached.*run the same command"):
            cluster.grade_on(made.address, tmp_path, {"key": {"ann": tmp_path}})
    assert any("went away: waiting for it" in text for text in said)


@fast
def test_no_dask(tmp_path, monkeypatch):
    """Is it said how to install what a cluster needs?"""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(machine.ClusterError, match="distributed is needed.*pip install"):
        cluster.grade_on("tcp://127.0.0.1:1", tmp_path, {"key": {"ann": tmp_path}})
