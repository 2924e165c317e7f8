"""Draw a stand-in for CIFAR-10 where there is no network: `python -m datasets.synthetic`.

Ten classes of drawn 32x32 images in the files and layout of CIFAR-10. Each image has its own
colours, position, size, angle and noise. Figure and ground take their colours from the same
distribution, so the mean image of each class is plain grey: no linear classifier can tell the
classes apart, while a small network can.
"""

import pickle
import struct
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cs231n.data_utils import STAND_IN_MARKER
from datasets import folder as folders

FOLDER = Path(__file__).parent / "synthetic" / folders.NAME
IMAGES_PER_BATCH = 10_000
SIZE = 32
NOTICE = """This is not CIFAR-10.

The images in this folder are drawn by datasets/synthetic.py, to stand in where CIFAR-10 cannot be
downloaded. No accuracy that is measured on them is an accuracy on CIFAR-10.
"""


def draw(seed, count):
    """Images (count, 3, 32, 32) as uint8 and labels (count,), the same for the same seed.

    All classes are equally frequent, up to one image, in random order.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    images = np.empty((count, 3, SIZE, SIZE), dtype=np.uint8)
    for label, figure in enumerate(CLASSES.values()):
        chosen = np.flatnonzero(labels == label)
        images[chosen] = _colour(rng, figure(rng, len(chosen)))
    return images, labels


def _colour(rng, coverage):
    """Images (n, 3, 32, 32): figure on ground where coverage (n, 32, 32) goes from 0 to 1."""
    n = len(coverage)
    middle = rng.uniform(70, 185, (n, 3, 1, 1))
    contrast = rng.choice([-1, 1], (n, 3, 1, 1)) * rng.uniform(10, 40, (n, 3, 1, 1))
    images = (middle + contrast * (2 * coverage[:, None] - 1)).astype(np.float32)
    images += rng.uniform(20, 60, (n, 1, 1, 1)).astype(np.float32) * rng.standard_normal(
        images.shape, dtype=np.float32
    )
    return np.clip(images, 0, 255).astype(np.uint8)


def _coordinates(rng, n, spread, angle):
    """Distances (n, 32, 32) right of and below a random centre, turned by up to `angle`."""
    centre = SIZE / 2 + rng.uniform(-spread, spread, (2, n, 1, 1))
    down, right = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    down, right = down - centre[0], right - centre[1]
    turn = rng.uniform(-angle, angle, (n, 1, 1))
    return (
        np.cos(turn) * right + np.sin(turn) * down,
        np.cos(turn) * down - np.sin(turn) * right,
    )


def _wave(distance, period):
    return 0.5 + 0.5 * np.clip(3 * np.sin(2 * np.pi * distance / period), -1, 1)


def _inside(distance):
    """1 where distance is negative, 0 where it is positive, with an edge one pixel wide."""
    return np.clip(0.5 - distance, 0, 1)


def _between(rng, n, low, high):
    return rng.uniform(low, high, (n, 1, 1))


def _stripes(rng, n, angle):
    right, down = _coordinates(rng, n, spread=8, angle=0.2)
    across = np.cos(angle) * down + np.sin(angle) * right
    return _wave(across, _between(rng, n, 6, 11))


def _horizontal(rng, n):
    return _stripes(rng, n, 0)


def _vertical(rng, n):
    return _stripes(rng, n, np.pi / 2)


def _rising(rng, n):
    return _stripes(rng, n, np.pi / 4)


def _falling(rng, n):
    return _stripes(rng, n, -np.pi / 4)


def _checkers(rng, n):
    right, down = _coordinates(rng, n, spread=8, angle=0.3)
    period = _between(rng, n, 9, 15)
    return 0.5 + 2 * (_wave(right, period) - 0.5) * (_wave(down, period) - 0.5)


def _rings(rng, n):
    right, down = _coordinates(rng, n, spread=5, angle=0)
    return _wave(np.hypot(right, down), _between(rng, n, 6, 10))


def _rays(rng, n):
    right, down = _coordinates(rng, n, spread=4, angle=np.pi)
    return _wave(np.arctan2(down, right), 2 * np.pi / rng.integers(4, 7, (n, 1, 1)))


def _disc(rng, n):
    right, down = _coordinates(rng, n, spread=6, angle=0)
    return _inside(np.hypot(right, down) - _between(rng, n, 7, 11))


def _frame(rng, n):
    right, down = _coordinates(rng, n, spread=4, angle=0.3)
    edge = np.maximum(np.abs(right), np.abs(down)) - _between(rng, n, 8, 12)
    return _inside(np.abs(edge) - _between(rng, n, 1.2, 2.2))


def _cross(rng, n):
    right, down = _coordinates(rng, n, spread=5, angle=0.3)
    bar = np.minimum(np.abs(right), np.abs(down)) - _between(rng, n, 1.5, 3)
    return _inside(np.maximum(bar, np.maximum(np.abs(right), np.abs(down)) - 13))


CLASSES = {
    "horizontal": _horizontal,
    "vertical": _vertical,
    "rising": _rising,
    "falling": _falling,
    "checkers": _checkers,
    "rings": _rings,
    "rays": _rays,
    "disc": _disc,
    "frame": _frame,
    "cross": _cross,
}


class _Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, so that a reader of CIFAR-10 sees no difference."""

    def save_string(self, text):
        raw = text.encode("ascii") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch = {**pickle._Pickler.dispatch, str: save_string, bytes: save_string}


def write(folder=FOLDER, images_per_batch=IMAGES_PER_BATCH):
    """Draw the stand-in into the folder, unless it is there and unchanged; returns the folder."""
    if folders.is_whole(folder):
        print(f"The stand-in is already in {folder}.")
        return folder
    with folders.replacing(folder) as new:
        for seed, name in enumerate(tqdm(folders.BATCHES, desc="drawing", disable=None)):
            images, labels = draw(seed, images_per_batch)
            batch = {
                "batch_label": f"stand-in, {name}",
                "labels": labels.tolist(),
                "data": images.reshape(len(images), -1),
                "filenames": _filenames(labels),
            }
            _dump(batch, new / name)
        names = {"num_cases_per_batch": images_per_batch, "label_names": list(CLASSES)}
        _dump({**names, "num_vis": 3 * SIZE * SIZE}, new / "batches.meta")
        (new / STAND_IN_MARKER).write_text(NOTICE)
    print(f"The stand-in for CIFAR-10 is in {folder}.")
    return folder


def _filenames(labels):
    names = list(CLASSES)
    return [f"{names[label]}_{n:06d}.png" for n, label in enumerate(labels)]


def _dump(content, path):
    with open(path, "wb") as file:
        _Python2Pickler(file, protocol=2).dump(content)


if __name__ == "__main__":
    write()
