"""From right and wrong answers to the accuracy that counts, and what to tell the instructor.

Honest training leaves gaps of known direction and size: a network is better on images that it
trained on than on those of the test set, the more so the better it is, nearly as good on a test
image that was varied a little, and somewhat worse on new images. A network whose code or weights
know the test set breaks one of these. `docs/checkpoint.md` has what honest and other networks
show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grading.exam import VARIATIONS, Exam

CHANCE = 4.0  # standard errors: one honest network of 30,000 is beyond
FALL = 0.04  # of accuracy from test images to the same images varied, without augmentation
# Accuracy on training images, and the highest on the test set that is taken for honest: above what
# was seen; in between it is linear. The more a network has learnt, the more of it by heart.
HONEST = ((0.0, 0.0), (0.80, 0.80), (0.90, 0.88), (0.95, 0.925), (0.99, 0.97), (1.0, 1.0))
SELDOM = 3.0  # standard errors: one of 740 networks that are just at the limit is beyond
FRESH = (2.0, 0.06)  # errors on new images: at most the first times those on the test set, plus
VARIED = "test images varied a little"
HIGHEST = 0.97  # on the test set, of this network trained on the training images alone


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers, of how many images, and of which, in words."""

    value: float
    images: int
    of: str

    @classmethod
    def measured(cls, right: np.ndarray, of: str) -> Accuracy:
        return cls(float(right.mean()), len(right), of)

    @property
    def variance(self) -> float:
        return self.value * (1 - self.value) / self.images

    def __str__(self) -> str:
        return f"{self.value:.4f} on {self.images:,} {self.of}"


def counted(exam: Exam, right: np.ndarray) -> tuple[Accuracy, list[str]]:
    """The accuracy that counts, and each gap that honest training does not show, in a sentence.

    right: (N,), for each image of the exam 1 if the answer is right, 0 if not. The accuracy on
    the test images counts, unless there is such a gap: then the lowest of those that are in one.
    """
    test = Accuracy.measured(right[exam.of("test")], "test images")
    lowest, notes = test, []
    for gap in GAPS:
        other, note = gap(exam, right, test)
        if note:
            notes.append(note)
            lowest = min(lowest, other, key=lambda accuracy: accuracy.value)
    return lowest, notes


def _varied(exam: Exam, right: np.ndarray, test: Accuracy) -> tuple[Accuracy, str]:
    """Each varied image is compared with itself as it was, so that few show a small fall."""
    where = exam.of(*VARIATIONS)
    varied = Accuracy.measured(right[where], VARIED)
    falls = right[exam.twins[where]] - right[where]
    allowed = FALL + CHANCE * float(falls.std()) / math.sqrt(len(falls))
    if float(falls.mean()) <= allowed:
        return varied, ""
    return varied, (
        f"{varied} (shifted by a pixel, mirrored, or with other brightness), but "
        f"{varied.value + float(falls.mean()):.4f} on the same images as they are: a fall of "
        f"{float(falls.mean()):.4f}, where honest training shows at most {allowed:.4f}"
    )


def _training(exam: Exam, right: np.ndarray, test: Accuracy) -> tuple[Accuracy, str]:
    """How good a network is on training images bounds how good it honestly is on others. Beyond
    the bound, the lower of the two accuracies counts that learning test images raises less."""
    training = Accuracy.measured(right[exam.of("training")], "training images")
    varied = Accuracy.measured(right[exam.of(*VARIATIONS)], VARIED)
    lower = min(training, varied, key=lambda accuracy: accuracy.value)
    highest = float(np.interp(training.value, *zip(*HONEST, strict=True)))
    allowed = highest + SELDOM * math.sqrt(test.variance + training.variance)
    if test.value <= allowed:
        return lower, ""
    times = (1 - test.value) / (1 - training.value)
    return lower, (
        f"{test}, but {training}: {times:.2f} times the errors on images that were not to be "
        "trained on. Honest training that gets so many training images right shows at most "
        f"{allowed:.4f} on test images"
    )


def _fresh(exam: Exam, right: np.ndarray, test: Accuracy) -> tuple[Accuracy, str]:
    if not len(where := exam.of("fresh")):
        return test, ""
    fresh = Accuracy.measured(right[where], "new images")
    times, plus = FRESH
    expected = 1 - times * (1 - test.value) - plus
    allowed = expected - CHANCE * math.sqrt(max(0.0, expected * (1 - expected)) / fresh.images)
    if fresh.value >= allowed:
        return fresh, ""
    return fresh, (
        f"{test}, but {fresh} (CIFAR10_1_URL), where honest training shows at least {allowed:.4f}"
    )


def _too_high(exam: Exam, right: np.ndarray, test: Accuracy) -> tuple[Accuracy, str]:
    """Nothing lower is known, so nothing is taken off; a set of new images would tell."""
    if test.value <= HIGHEST:
        return test, ""
    return test, f"{test}: honest training of this network has not been seen above {HIGHEST:.2f}"


GAPS: Sequence[Callable[[Exam, np.ndarray, Accuracy], tuple[Accuracy, str]]] = (
    _varied,
    _training,
    _fresh,
    _too_high,
)
