"""Loading CIFAR-10.

Each call runs in a new process. Its files are in the page cache, and are checked against the sums
that `make cifar10` leaves beside them. Memory is the highest of the whole process, Python and NumPy
included. Beside ours stands a loader as the assignment had it, that turns every image into float64;
of one batch, processor time is compared.
"""

import json
import os
import pickle
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

from cs231n import data_utils
from datasets import folder as folders
from tests.bench import Figure

PROCESSES = 11  # a machine that has to find memory first makes one of three twice as slow


def figures(short):
    """The ratio for one batch of 10,000 images; seconds and memory for all of them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place, mock.patch.dict(os.environ):
        os.environ["CIFAR10_DIR"] = str(_with_sums(data_utils.cifar10_folder(), Path(place)))
        return _figures(short)


def _with_sums(folder, place):
    """The files of `folder` as `make cifar10` leaves them, with their checksums, in `place`."""
    with folders.replacing(place / folders.NAME) as new:
        for path in folder.resolve().iterdir():
            if path.name != data_utils.MANIFEST:
                (new / path.name).symlink_to(path)
    return place / folders.NAME


def _figures(short):
    from tests.bench.timing import Others, seconds  # with torch: not for the processes below

    batch = Path(data_utils.cifar10_folder(), data_utils.TEST_BATCH)
    both = (lambda: data_utils.load_CIFAR_batch(batch), lambda: _plain_batch(batch))
    rounds = [[seconds(work, time.process_time) for work in both] for _ in range(5)]
    ratios = [ours / plain for ours, plain in rounds]
    out = [_figure("one batch", ratios, "times the plain loader", None, "5 rounds")]
    if short:
        return out
    for way, (time_target, memory_target) in TARGETS.items():
        others = Others()
        times, peaks = zip(*(_measure(way) for _ in range(PROCESSES)), strict=True)
        text = f"{PROCESSES} processes{others.text()}"
        out.append(_figure(NAMES[way], times, "s", time_target, text))
        out.append(_figure(f"{NAMES[way]}, memory", peaks, "MB", memory_target, text))
    return out


def _figure(name, values, unit, target, text):
    return Figure(name, statistics.median(values), unit, target, (min(values), max(values)), text)


def _measure(way):
    """(seconds, MB) of one way, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.loading", way]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _plain_batch(path):
    with open(path, "rb") as file:
        batch = pickle.load(file, encoding="latin1")
    images = batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(float)
    return images, np.array(batch["labels"])


def _plain():
    folder = data_utils.cifar10_folder()
    batches = [_plain_batch(folder / name) for name in data_utils.TRAINING_BATCHES]
    X, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    X_train, X_val = X[:49000], X[49000:50000]
    mean = X_train.mean(axis=0)
    X_train -= mean
    X_val -= mean
    return X_train.transpose(0, 3, 1, 2).copy(), X_val.transpose(0, 3, 1, 2).copy(), y


def _all():
    return data_utils.load_CIFAR10(data_utils.cifar10_folder())


WAYS = {"all": _all, "split": data_utils.get_CIFAR10_data, "plain": _plain}
TARGETS = {"all": (0.4, 350), "split": (0.7, 800), "plain": (None, None)}
NAMES = {"all": "all images, uint8", "split": "split and centred, float32", "plain": "plain loader"}


def _peak():
    """Highest memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had, too
        return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    start = time.perf_counter()
    data = WAYS[sys.argv[1]]()
    elapsed = time.perf_counter() - start
    print(json.dumps([elapsed, _peak() / 1e6]))
