"""The accuracy checkpoint: a trained ResNet-18 is sent test images and answers with logits.

Labels never cross to the side where the student's code runs. But the test set is public, and a
table of its labels is small: so some answers are held against those of the course's own network
with the student's weights. Which ones is drawn from the entropy and crosses to nobody: a network
that knew them would compute these, and look up the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cs231n.data_utils import cifar10_folder, is_stand_in
from cs231n.training import MEAN, STD
from grading import checkpoint, reference
from grading.checks.case import Call, Case, Check, Kept
from grading.outcome import Finding, Outcome

IMAGES = 10_000
BATCH = 1_000
HELD_AGAINST = 256  # answers; with 1 % of all looked up, 92 of 100 such submissions are found
AGREES = 1e-3  # largest difference relative to a logit's usual size; float32 makes 1e-5 of it


def accuracy(check: Check, subject: Any, entropy: int) -> Outcome:
    """Points for the accuracy of the student's network, with the student's weights, on the test
    set; no points and a sentence where there is nothing to measure."""
    path = checkpoint.find_checkpoint(subject.folder)
    if path is None:
        wanted = f"checkpoints/{checkpoint.NAMES[0]}"
        return _none(check, f"There is no {wanted}. Train the network, and save its weights there.")
    try:
        weights = checkpoint.read_weights(path)
    except checkpoint.CheckpointError as problem:
        return _none(check, str(problem))
    try:
        images, labels = checkpoint.evaluation_images(IMAGES, entropy)
        stand_in = is_stand_in(cifar10_folder())
    except (OSError, ValueError) as problem:
        return _none(check, f"The accuracy was not measured: {problem}")
    batches = [images[i : i + BATCH] for i in range(0, IMAGES, BATCH)]
    (reply,) = subject.replies(check, [_case(weights, batches)], False)
    if reply["error"]:
        return _none(check, f"The network gave no answer: {reply['error']['message']}")
    logits = [reply["answers"].get(f"logits{i}") for i in range(len(batches))]
    problem = _wrong(logits, reply["answers"].get("again"))
    if problem:
        return _none(check, problem)
    logits = np.concatenate(logits)
    seed = [entropy, *b"held against"]
    held = np.random.default_rng(seed).choice(IMAGES, HELD_AGAINST, replace=False)
    if not _answers_of(weights, images[held], logits[held]):
        if note := getattr(subject, "note", None):
            note("its network does not answer as ResNet-18 with its weights does")
        return _none(
            check,
            "Your network does not answer as ResNet-18 does with your weights. Make the check "
            "ResNet18 pass first, then train and save anew.",
        )
    reached = float(np.mean(logits.argmax(axis=1) == labels))
    full = checkpoint.parameter_count(weights) >= checkpoint.FULL_WIDTH_PARAMETERS
    points = checkpoint.points_for(reached, check.points, full)
    data = "the stand-in's test images (not CIFAR-10)" if stand_in else "CIFAR-10's test images"
    return Outcome(
        check=check.name,
        points=round(points, 4),
        max_points=check.points,
        summary=f"Accuracy {reached:.4f} on {IMAGES:,} of {data}.",
        findings=(
            Finding("accuracy", "test images", points >= check.points, message=_wanted(full)),
        ),
        remarks=() if full else (
            "A network narrower than the full width earns at most "
            f"{checkpoint.NARROW_CEILING:.0%} of the points.",
        ),
    )


def _case(weights: dict[str, np.ndarray], batches: list[np.ndarray]) -> Case:
    width = int(weights["conv1.weight"].shape[0])
    calls = [
        Call(
            "classifiers.resnet:ResNet18",
            kwargs={"num_classes": 10, "width": width},
            returns=("module",),
            keep=("module",),
        ),
        Call(
            "tool:Evaluator",
            (Kept("module"), weights, list(MEAN), list(STD)),
            returns=("evaluator",),
            keep=("evaluator",),
        ),
    ]
    for i, batch in enumerate(batches):
        calls.append(Call(".logits", (batch,), of="evaluator", returns=(f"logits{i}",)))
    calls.append(Call(".logits", (batches[0],), of="evaluator", returns=("again",)))
    return Case("test images", calls)


def _answers_of(weights: dict[str, np.ndarray], images: np.ndarray, logits: np.ndarray) -> bool:
    """Whether the logits are those of the course's network with these weights.

    Their usual size is a median, since a mean or a maximum is what the weights make it: a bias of
    1e4 on all classes, or on one that is given up, leaves the accuracy and would excuse any lie.
    """
    with torch.no_grad():  # in float32, as the network itself; float64 takes five times as long
        x = torch.from_numpy(checkpoint.network_input(images))
        parts = [reference.resnet18(part, weights, False).numpy() for part in x.split(64)]
    right = np.concatenate(parts)
    usual = np.median(np.abs(right - np.median(right, axis=1, keepdims=True)))
    return bool(np.abs(logits - right).max() <= AGREES * usual)


def _wrong(logits: list[Any], again: Any) -> str:
    for got in [*logits, again]:
        if not isinstance(got, np.ndarray) or got.shape != (BATCH, 10):
            return f"For {BATCH} images the network must answer with logits of shape ({BATCH}, 10)."
        if got.dtype.kind != "f" or not np.isfinite(got).all():
            return "The network's logits must be finite numbers."
    if not np.array_equal(logits[0], again):
        return "In eval mode the same images must get the same logits."
    return ""


def _wanted(full: bool) -> str:
    best, _ = checkpoint.SCALE[-1]
    width = "" if full else ", with the full width"
    return f"full points need {best:.2f}{width}"


def _none(check: Check, message: str) -> Outcome:
    finding = Finding("accuracy", "test images", passed=False, message=message)
    return Outcome(check.name, 0.0, check.points, message, (finding,), error=message)
