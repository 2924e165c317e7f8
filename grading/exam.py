"""The images that a checkpoint is asked about: the test set, and what tells memory from learning.

They are sent in one random order, so that nothing in an image's place says what it is. A network
that has learnt is as good on an image that was shifted by a pixel as on the image; one whose
weights or code know the test set is not, or is better there than on the images it trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cs231n.data_utils import (
    TEST_BATCH,
    TRAINING_BATCHES,
    cifar10_folder,
    is_stand_in,
    load_CIFAR_batch,
)
from datasets import cifar10_1

# How many of each are drawn. All test images count; of the others, samples that a full-width
# network has time for (docs/checkpoint.md).
TEST, VARIED, TRAINING, FRESH = 10_000, 900, 4_000, 800
RELIT = (0.8, 1.2)  # factors of brightness


@dataclass(frozen=True)
class Exam:
    """Images in a random order, and what the grader alone knows of each.

    images: uint8 (N, 32, 32, 3). labels: (N,). groups: (N,), "test", a key of VARIATIONS,
    "training" or "fresh". twins: (N,), for a varied image the place of the plain one, else -1.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    twins: np.ndarray

    def of(self, *groups: str) -> np.ndarray:
        """Where the images of these groups are."""
        return np.flatnonzero(np.isin(self.groups, groups))


def source() -> str:
    """What there is to draw from: "CIFAR-10", "a stand-in" or "missing"."""
    try:
        return "a stand-in" if is_stand_in(cifar10_folder()) else "CIFAR-10"
    except FileNotFoundError:
        return "missing"


def draw(entropy: int) -> Exam:
    """The exam of this entropy; the same entropy draws the same one.

    Where there are fewer images than are wanted, all are taken; without CIFAR10_1_URL there are no
    fresh ones. Raises OSError or ValueError where the data cannot be had or are damaged.
    """
    rng, folder = np.random.default_rng(entropy), cifar10_folder()
    plain, labels = _some(load_CIFAR_batch(folder / TEST_BATCH), TEST, rng)
    parts = [("test", plain, labels, np.full(len(plain), -1))]
    varied = rng.permutation(len(plain))[:VARIED]
    for (name, vary), twins in zip(
        VARIATIONS.items(), np.array_split(varied, len(VARIATIONS)), strict=True
    ):
        parts.append((name, vary(plain[twins], rng), labels[twins], twins))
    share = TRAINING // len(TRAINING_BATCHES)  # of each file: some may have kept one to validate
    others = [("training", load_CIFAR_batch(folder / name), share) for name in TRAINING_BATCHES]
    if (fresh := cifar10_1.load()) is not None:
        others.append(("fresh", fresh, FRESH))
    for name, found, wanted in others:
        images, right = _some(found, wanted, rng)
        parts.append((name, images, right, np.full(len(images), -1)))
    groups = np.repeat([name for name, *_ in parts], [len(part[1]) for part in parts])
    images, labels, twins = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
    order = rng.permutation(len(images))
    places = np.argsort(order)  # places[i]: where the image i has come to
    twins = np.where(twins < 0, -1, places[twins])
    return Exam(images[order], labels[order], groups[order], twins[order])


def _some(
    found: tuple[np.ndarray, np.ndarray], n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = found
    chosen = rng.permutation(len(images))[:n]
    return images[chosen], labels[chosen]


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by a pixel in one of eight directions; what comes in is its edge again."""
    _, H, W, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    corners = np.array([(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)])
    chosen = rng.choice(corners, len(images))
    return np.stack([padded[i, y : y + H, x : x + W] for i, (y, x) in enumerate(chosen)])


def mirrored(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image with left and right exchanged."""
    return images[:, :, ::-1]


def relit(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image made darker or brighter."""
    factors = rng.choice(RELIT, (len(images), 1, 1, 1))
    return np.clip(np.rint(images * factors), 0, 255).astype(np.uint8)


VARIATIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "shifted": shifted,
    "mirrored": mirrored,
    "relit": relit,
}
