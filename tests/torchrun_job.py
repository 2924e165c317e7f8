"""What test_distributed.py has two processes do: torchrun ... tests/torchrun_job.py FOLDER"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cs231n import distributed, evaluation, training

STOP_AT = 5


def images(N, seed):
    """Two classes that brightness tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, N)
    X = rng.integers(0, 128, (N, 32, 32, 3)) + 127 * y[:, None, None, None]
    return X.astype(np.uint8), y


def data():
    (X_train, y_train), (X_val, y_val) = images(64, 0), images(32, 1)
    return {"X_train": X_train, "y_train": y_train, "X_val": X_val, "y_val": y_val}


def net():
    """A network whose batch norm matters: a part of a batch has other statistics than all of it."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 2),
    )  # fmt: skip


def fit(model, checkpoint):
    """Train on one thread in float32, so that only the number of processes differs."""
    torch.set_num_threads(1)
    for module in (training, evaluation):
        module.pick_precision = lambda device: torch.float32
    training.pick_winograd = lambda device, precision: False
    return training.train(
        model, data(), epochs=3, batch_size=16, lr=0.05, progress=False, checkpoint=checkpoint
    )


def main(folder):
    """Train to the end, then train and be stopped by a signal that one process alone gets."""
    with distributed.processes():
        model = net()
        fit(model, folder / "whole.safetensors")
        torch.save(model.state_dict(), folder / f"rank{distributed.rank()}.pt")
        model, steps = net(), []

        def stop(*_):
            steps.append(1)
            if len(steps) == STOP_AT and distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        model[0].register_forward_pre_hook(stop)
        try:
            fit(model, folder / "stopped.safetensors")
        except KeyboardInterrupt as stopped:
            (folder / f"rank{distributed.rank()}.txt").write_text(str(stopped))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
