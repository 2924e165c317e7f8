"""The command that trains, as a student starts it: killed, stopped, by several processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from cs231n import evaluation, saving, training
from cs231n.train import main
from datasets import synthetic

COMMAND = ["-m", "cs231n.train", "--width", "2", "--num-training", "128", "--batch-size", "32"]
IMAGES = 230  # in each of the six files: 128 train, 1,000 validate, and few are tested on


@pytest.fixture(scope="module")
def few_images(tmp_path_factory):
    """A folder of few images in CIFAR-10's files."""
    return synthetic.write(tmp_path_factory.mktemp("few") / "cifar-10-batches-py", IMAGES)


@pytest.fixture
def command(solved, few_images, tmp_path):
    """Starts Python with a command in an empty folder, on one thread."""
    env = os.environ | {"PYTHONPATH": str(solved), "CIFAR10_DIR": str(few_images)}
    env |= {"OMP_NUM_THREADS": "1"}

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=tmp_path, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    return start


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "checkpoints" / "resnet18_cifar10.safetensors"


@pytest.fixture
def on_one_thread(monkeypatch, few_images, tmp_path):
    """The command in this process, as `command` has it in others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("CIFAR10_DIR", str(few_images))
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(command, weights, monkeypatch, on_one_thread):
    """Does the same command, after kill -9, end with the weights of an unbroken run, bit by bit?"""
    arguments, state = [*COMMAND, "--epochs", "8"], weights.with_suffix(".state.pt")
    killed, end = command(*arguments), time.monotonic() + 60
    while not state.exists() and killed.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    killed.kill()
    said = killed.communicate()[0]
    assert state.exists() and "weights in" not in said, said
    run = torch.load(state, weights_only=True)["run"]
    assert 0 < run["step"] < 8 * 4
    again = command(*arguments)
    said = again.communicate()[0]
    assert again.returncode == 0 and "weights in" in said, said
    for module in (training, evaluation):  # what was measured there, as here it may be another
        monkeypatch.setattr(module, "pick_precision", lambda device: run["precision"])
    monkeypatch.setattr(training, "pick_winograd", lambda device, precision: run["winograd"])
    unbroken = weights.with_name("unbroken.safetensors")
    assert main([*arguments[2:], "--checkpoint", str(unbroken)]) == 0
    torch.testing.assert_close(
        saving.read_weights(weights), saving.read_weights(unbroken), rtol=0, atol=0
    )


def test_ctrl_c_says_that_the_same_command_goes_on(monkeypatch, capsys, on_one_thread, weights):
    """Does Ctrl-C end the command with status 130, what it can go on with, and a sentence? And is
    the precision that the record names the run's, whatever is measured when it goes on?"""
    step = training.take_step

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        return step(*args)

    monkeypatch.setattr(training, "take_step", interrupted)
    assert main([*COMMAND[2:], "--epochs", "1"]) == 130
    assert "The same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(training, "take_step", step)
    run = torch.load(weights.with_suffix(".state.pt"), weights_only=True)["run"]
    assert run["step"] == 1
    (other,) = {torch.float32, torch.bfloat16} - {run["precision"]}
    monkeypatch.setattr(training, "pick_precision", lambda device: other)
    assert main([*COMMAND[2:], "--epochs", "1"]) == 0
    record = json.loads(weights.with_suffix(".history.json").read_text())
    assert record["precision"] == str(run["precision"])


@pytest.mark.slow
def test_torchrun_trains_with_two_processes(command, weights):
    """Does torchrun's call leave one network of two processes, with its history?"""
    done = command("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                   *COMMAND, "--epochs", "1")  # fmt: skip
    said = done.communicate(timeout=120)[0]
    assert done.returncode == 0 and said.count("weights in") == 1, said
    record = json.loads(weights.with_suffix(".history.json").read_text())
    assert record["processes"] == 2 and record["history"]["steps"] == [4]
