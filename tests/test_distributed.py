import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchrun_job as job
from torch import nn

from cs231n import distributed, saving

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def put_back(monkeypatch):
    """Keep what `job.fit` sets from the tests that follow."""
    threads = torch.get_num_threads()
    for module in (job.training, job.evaluation):
        monkeypatch.setattr(module, "pick_precision", module.pick_precision)
    monkeypatch.setattr(job.training, "pick_winograd", job.training.pick_winograd)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def two_processes(solved, tmp_path_factory):
    """The folder where two processes, which torchrun has started, have left their files."""
    folder = tmp_path_factory.mktemp("torchrun")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               Path(job.__file__), folder]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(solved), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def history(checkpoint):
    state = torch.load(checkpoint.with_suffix(".state.pt"), weights_only=True)
    return state["run"]["history"]


def test_two_processes_make_the_curve_of_one(two_processes, tmp_path):
    """Are loss, accuracies and weights, batch norm's statistics among them, those of one process
    with the same whole batch?"""
    model = job.net()
    expected = job.fit(model, tmp_path / "w.safetensors")
    found = history(two_processes / "whole.safetensors")
    for key in ("loss", "train_acc", "val_acc", "lr"):
        assert found[key] == pytest.approx(expected[key], rel=1e-3), key
    torch.testing.assert_close(
        saving.read_weights(two_processes / "whole.safetensors"),
        dict(model.state_dict()), rtol=1e-3, atol=1e-4,
    )  # fmt: skip


def test_all_processes_have_the_same_weights(two_processes):
    """Have both processes the same weights at the end, to the last bit?"""
    first, second = (torch.load(two_processes / f"rank{i}.pt") for i in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_signal_to_one_process_stops_all_at_the_same_step(two_processes):
    """Do both stop after the step in which one of them got SIGTERM?"""
    for i in (0, 1):
        assert (two_processes / f"rank{i}.txt").read_text() == f"stopped after step {job.STOP_AT}"


def test_one_process_goes_on_where_two_were_stopped(two_processes):
    """Does a run of two processes that was stopped end in one process as if it were unbroken?"""
    path = two_processes / "stopped.safetensors"
    assert history(path)["loss"] == pytest.approx(
        history(two_processes / "whole.safetensors")["loss"][:1]
    )
    job.fit(job.net(), path)
    unbroken = history(two_processes / "whole.safetensors")
    assert history(path)["loss"] == pytest.approx(unbroken["loss"], rel=1e-3)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch):
    """Is a batch of 15 for two processes an error that says so, and one of 16 halved?"""
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert distributed.part(16) == slice(8, 16)
    with pytest.raises(ValueError, match="multiple of 2"):
        distributed.part(15)


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm1d(8), nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8, momentum=None),
     nn.BatchNorm2d(8, track_running_stats=False)],
)  # fmt: skip
def test_a_norm_that_cannot_be_shared_is_refused(monkeypatch, norm):
    """Is a batch norm that each process would have of its own named before training?"""
    monkeypatch.setattr(distributed, "size", lambda: 2)
    with pytest.raises(ValueError, match="1 is BatchNorm.*cannot share"):
        distributed.shared(nn.Sequential(nn.Linear(8, 8), norm))
