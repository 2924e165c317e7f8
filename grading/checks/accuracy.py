"""The accuracy checkpoint: a trained ResNet-18 is sent images and answers with scores.

Labels never cross to the side where the student's code runs. But the test set is public, and a
table of its labels is small. So answers at places that only the grader knows are held against the
course's own network with the student's weights, which also decides wherever an answer is closer
than rounding; and what the network knows of other images is compared (`grading/gaps.py`).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from cs231n.hardware import pick_precision, pick_winograd
from grading import checkpoint, exam, gaps, twin
from grading.checks.case import Call, Case, Check, Kept
from grading.outcome import Finding, Outcome

PARTS = 3  # questions that the images are sent in; each has a deadline of its own
BATCH = 250
HELD_AGAINST = 384  # answers, at random, that are compared with the course's own network's
AGREES = 0.1  # how far rounding may move a score, in units of `_unit`: four times what was seen
CLOSE = 1_500  # answers within rounding that the course's own network decides, at most

Weights = dict[str, np.ndarray]


class NotMeasured(Exception):
    """There is no accuracy to score; the text says why, in a sentence for the student."""


def accuracy(check: Check, subject: Any, entropy: int) -> Outcome:
    """Points for the accuracy of the student's network, with the student's weights, on the test
    set, or for a lower one where there is a gap that honest training does not show; no points and
    a sentence where there is nothing to measure."""
    note = getattr(subject, "note", lambda text: None)
    try:
        path = checkpoint.find_checkpoint(subject.folder)
        if path is None:
            raise NotMeasured(
                f"There is no checkpoints/{checkpoint.NAMES[0]}. Train the network, and save its "
                "weights there."
            )
        weights = checkpoint.read_weights(path)
        drawn, data = _drawn(entropy)
        scores = _scores(check, subject, weights, drawn.images)
        right = _right(drawn, scores, weights, np.random.default_rng([entropy, 1]), note)
    except (checkpoint.CheckpointError, NotMeasured) as problem:
        finding = Finding("accuracy", "test images", passed=False, message=str(problem))
        return Outcome(check.name, 0.0, check.points, str(problem), (finding,), error=str(problem))
    counts, odd = gaps.counted(drawn, right)
    for text in odd:
        note(f"{text}. The accuracy {counts.value:.4f} counts")
    full = checkpoint.is_full_width(weights)
    points = checkpoint.points_for(counts.value, check.points, full)
    said = f"Accuracy {counts.value:.4f} on {counts.images:,} of {data} {counts.of}."
    if points < checkpoint.points_for(counts.value, check.points, full_width=True):
        said += f" A network of another width earns at most {checkpoint.NARROW_CEILING:.0%}."
    remarks = []
    if odd:
        remarks.append(f"The accuracy on {counts.of} counts: {'; '.join(odd)}.")
    if not full:
        remarks.append(
            f"A network of another width than the full one ({checkpoint.FULL_WIDTH_PARAMETERS:,} "
            "parameters, most of them not zero) earns at most "
            f"{checkpoint.NARROW_CEILING:.0%} of the points."
        )
    if checkpoint.in_half_precision(weights):
        remarks.append("The weights are stored in half precision. They were used as they are.")
    passed = points >= check.points
    return Outcome(
        check=check.name,
        points=round(points, 4),
        max_points=check.points,
        summary=said,
        findings=(Finding("accuracy", "test images", passed, message=_wanted(full)),),
        remarks=tuple(remarks),
    )


def _drawn(entropy: int) -> tuple[exam.Exam, str]:
    """The exam, and the name of the data that it is of."""
    try:
        stand_in = exam.source() == "a stand-in"
        return exam.draw(entropy), "the stand-in's (not CIFAR-10's)" if stand_in else "CIFAR-10's"
    except (OSError, ValueError) as problem:
        raise NotMeasured(f"The accuracy was not measured: {problem}") from problem


def _scores(check: Check, subject: Any, weights: Weights, images: np.ndarray) -> np.ndarray:
    """The student's network's scores (N, 10), which were checked to be such."""
    precision = pick_precision(torch.device("cpu"))
    winograd = pick_winograd(torch.device("cpu"), precision, backward=False)
    how = str(precision).removeprefix("torch."), winograd
    found = []
    for part in np.array_split(images, PARTS):
        start = time.monotonic()
        (reply,) = subject.replies(check, [_case(weights, part, *how)], False)
        if reply.get("hung"):
            raise NotMeasured(_too_slow(weights, part, time.monotonic() - start))
        if reply["error"]:
            named = filter(None, (reply["error"]["type"], reply["error"]["message"]))
            raise NotMeasured(f"The network gave no answer: {': '.join(named)}")
        scores, again = reply["answers"].get("scores"), reply["answers"].get("again")
        _require_scores(scores, len(part))
        if not np.array_equal(scores[:BATCH], again):
            raise NotMeasured("In eval mode the same images must get the same scores.")
        found.append(scores)
    return np.concatenate(found)


def _too_slow(weights: Weights, images: np.ndarray, waited: float) -> str:
    """Whose fault it is that there was no answer to these images in that many seconds."""
    start, some = time.monotonic(), images[:BATCH]
    twin.scores(some, weights, pick_precision(torch.device("cpu")))
    needed = (time.monotonic() - start) * len(images) / len(some)
    said = f"The network was too slow: no answer for {len(images):,} images in {waited:.0f} seconds"
    if needed > waited / 2:
        return (
            f"{said}. But the course's own needs {needed:.0f} on this machine, which is slow or "
            "busy: please show your instructor this line"
        )
    return (
        f"{said}, where the course's own needs {needed:.1f}. Is there a loop over images or pixels "
        "in its forward?"
    )


def _case(weights: Weights, images: np.ndarray, precision: str, winograd: bool) -> Case:
    settings = {"num_classes": 10, "width": int(weights["conv1.weight"].shape[0])}
    build = Call(
        "classifiers.resnet:ResNet18", kwargs=settings, returns=("module",), keep=("module",)
    )
    load = Call(
        "tool:Evaluator",
        (Kept("module"), weights, precision, winograd),
        returns=("evaluator",),
        keep=("evaluator",),
    )
    asks = [
        Call(".scores", (sent, BATCH), of="evaluator", returns=(name,))
        for name, sent in (("scores", images), ("again", images[:BATCH]))
    ]
    return Case("test images", [build, load, *asks])


def _require_scores(scores: Any, count: int) -> None:
    if not isinstance(scores, np.ndarray) or scores.shape != (count, 10):
        got = f"an array of shape {scores.shape}" if isinstance(scores, np.ndarray) else "none"
        raise NotMeasured(
            f"For {count:,} images the network must answer with scores of shape ({count}, 10), but "
            f"the answer is {got}."
        )
    if scores.dtype.kind != "f":
        raise NotMeasured(
            f"The network's scores must be real numbers, but are {scores.dtype}: return what the "
            "last layer computes, not a class."
        )
    if bad := int(len(scores) - np.isfinite(scores).all(axis=1).sum()):
        raise NotMeasured(f"For {bad:,} of {count:,} images the network's scores are not finite.")


def _right(
    drawn: exam.Exam, scores: np.ndarray, weights: Weights, rng: np.random.Generator, note: Any
) -> np.ndarray:
    """For each image (N,) 1 if the highest score is at its label, else 0.

    Where two scores are so close that rounding could exchange them, the course's own network
    decides, so that nothing is gained by moving scores a little; and in float32, so that nothing
    depends on what the grader's machine is fast in. If there are too many of these, it decides a
    sample, and the others are as often right as that.
    """
    held = rng.permutation(len(scores))[:HELD_AGAINST]
    own = twin.scores(drawn.images[held], weights, pick_precision(torch.device("cpu")))
    moved = AGREES * _unit(own)
    right = (scores.argmax(axis=1) == drawn.labels).astype(np.float64)
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    close = rng.permutation(np.flatnonzero(first - second <= 2 * moved))
    decided, others = close[:CLOSE], close[CLOSE:]
    decision = twin.scores(drawn.images[decided], weights, torch.float32)
    for places, answers in ((held, own), (decided, decision)):
        apart = np.abs(_centred(scores[places]) - _centred(answers))
        if not (apart <= moved).all():
            note("its network does not answer as ResNet-18 with its weights does")
            raise NotMeasured(
                "Your network does not answer as ResNet-18 does with your weights. Make the check "
                "ResNet18 pass first, then train and save anew."
            )
    right[decided] = decision.argmax(axis=1) == drawn.labels[decided]
    right[others] = right[decided].mean() if len(others) else 0.0
    return right


def _centred(scores: np.ndarray) -> np.ndarray:
    """Scores around their median: a number added to all of an image's scores decides nothing."""
    return scores - np.median(scores, axis=1, keepdims=True)


def _unit(scores: np.ndarray) -> float:
    """How far the highest score usually is above the middle one."""
    return float(np.median(_centred(scores).max(axis=1)))


def _wanted(full: bool) -> str:
    best, _ = checkpoint.SCALE[-1]
    width = "" if full else ", with the full width"
    return f"full points need {best:.2f}{width}"
