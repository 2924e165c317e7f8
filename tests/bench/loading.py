"""Loading CIFAR-10.

Each call runs in a new process, its files in the page cache; memory is the highest of the whole
process, Python and NumPy included. Beside `get_CIFAR10_data` stands a loader as the assignment had
it, that turns every image into float64.
"""

import json
import pickle
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cs231n import data_utils
from tests.bench import Figure


def figures(short):
    """Seconds and memory, and their ratios to those of the plain loader."""
    rounds = 2 if short else 5
    found = {way: [_measure(way) for _ in range(rounds)] for way in WAYS}
    out = []
    for index, what in enumerate(("seconds", "memory")):
        pairs = zip(found["split"], found["plain"], strict=True)
        ratios = [ours[index] / plain[index] for ours, plain in pairs]
        out.append(_figure(f"split and centred, {what}", ratios, "times the plain loader", None))
    if short:
        return out
    targets = {"all": (0.4, 350), "split": (0.7, 800), "plain": (None, None)}
    for way, (time_target, memory_target) in targets.items():
        times, peaks = zip(*found[way], strict=True)
        out.append(_figure(NAMES[way], times, "s", time_target))
        out.append(_figure(f"{NAMES[way]}, memory", peaks, "MB", memory_target))
    return out


def _figure(name, values, unit, target):
    spread, text = (min(values), max(values)), f"{len(values)} processes"
    return Figure(name, statistics.median(values), unit, target, spread, text)


def _measure(way):
    """(seconds, MB) of one way, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.loading", way]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _plain():
    folder = Path(data_utils.cifar10_folder())
    images, labels = [], []
    for name in data_utils.TRAINING_BATCHES:
        with open(folder / name, "rb") as file:
            batch = pickle.load(file, encoding="latin1")
        images.append(batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(float))
        labels.append(batch["labels"])
    X, y = np.concatenate(images), np.concatenate(labels)
    X_train, X_val = X[:49000], X[49000:50000]
    mean = X_train.mean(axis=0)
    X_train -= mean
    X_val -= mean
    return X_train.transpose(0, 3, 1, 2).copy(), X_val.transpose(0, 3, 1, 2).copy(), y


def _all():
    return data_utils.load_CIFAR10(data_utils.cifar10_folder())


WAYS = {"all": _all, "split": data_utils.get_CIFAR10_data, "plain": _plain}
NAMES = {"all": "all images, uint8", "split": "split and centred, float32", "plain": "plain loader"}


if __name__ == "__main__":
    start = time.perf_counter()
    data = WAYS[sys.argv[1]]()
    elapsed = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on a Mac, else kilobytes
    print(json.dumps([elapsed, peak / (1e6 if sys.platform == "darwin" else 1e3)]))
