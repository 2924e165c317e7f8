"""An epoch of ThreeLayerConvNet beside torch.

`Solver` trains the network (default sizes, float32) with Adam and batches of 50 on 49,000 images,
then the same network, batches and accuracy measurements in a plain torch loop, in turn and on two
cores. (The short form: 500 images, processor time on one core.)
"""

import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from cs231n.classifiers.cnn import ThreeLayerConvNet
from cs231n.solver import Solver
from tests.bench import Figure
from tests.bench.timing import Others, use_cores

BATCH, RATE = 50, 1e-3


def figures(short):
    """The ratio of an epoch's seconds."""
    use_cores(1 if short else 2)
    clock = time.process_time if short else time.perf_counter
    images, measured, rounds = (500, 100, 3) if short else (49000, 1000, 3)
    data = _drawn(images, measured)
    _solver(_first(data, 500)).train()  # warms up
    _Torch(_first(data, 500), measured).epoch()
    found, others = [], Others()
    for _ in range(rounds):
        solver, plain = _solver(data, measured), _Torch(data, measured)
        found.append((_seconds(solver.train, clock), _seconds(plain.epoch, clock)))
    ratios = [ours / theirs for ours, theirs in found]
    text = f"{images:,} images, {rounds} rounds{others.text()}"
    out = [_figure("epoch of a network", ratios, "times torch", 2.5, text)]
    if not short:
        for whose, times in zip(("NumPy", "torch"), zip(*found, strict=True), strict=True):
            out.append(_figure(f"epoch in {whose}", times, "s", None, text))
    return out


def _figure(name, values, unit, target, text):
    return Figure(name, statistics.median(values), unit, target, (min(values), max(values)), text)


def _drawn(images, measured):
    rng = np.random.default_rng(0)

    def part(count):
        x = rng.standard_normal((count, 3, 32, 32), dtype=np.float32)
        return 64 * x, rng.integers(0, 10, count)

    (X_train, y_train), (X_val, y_val) = part(images), part(measured)
    return {"X_train": X_train, "y_train": y_train, "X_val": X_val, "y_val": y_val}


def _first(data, count):
    return {name: value[:count] for name, value in data.items()}


def _solver(data, measured=100):
    return Solver(
        ThreeLayerConvNet(), data, update_rule="adam", optim_config={"learning_rate": RATE},
        batch_size=BATCH, num_epochs=1, num_train_samples=measured, verbose=False,
    )  # fmt: skip


def _seconds(work, clock):
    time.sleep(0.2)  # threads of what ran before come to rest
    start = clock()
    work()
    return clock() - start


class _Torch:
    """The same training as a plain loop."""

    def __init__(self, data, measured):
        self.data = {name: torch.from_numpy(value) for name, value in data.items()}
        self.measured = measured
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 7, padding=3), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Flatten(), torch.nn.Linear(32 * 16 * 16, 100), torch.nn.ReLU(),
            torch.nn.Linear(100, 10),
        )  # fmt: skip
        self.optimizer = torch.optim.Adam(self.net.parameters(), RATE)

    def epoch(self):
        X, y = self.data["X_train"], self.data["y_train"]
        steps = len(X) // BATCH
        for step in range(steps):
            batch = torch.randint(0, len(X), (BATCH,))
            loss = F.cross_entropy(self.net(X[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()
            if step in (0, steps - 1):
                self.accuracy(X[: self.measured], y[: self.measured])
                self.accuracy(self.data["X_val"], self.data["y_val"])

    @torch.no_grad()
    def accuracy(self, X, y):
        labels = [self.net(images).argmax(1) for images in X.split(100)]
        return (torch.cat(labels) == y).float().mean().item()
