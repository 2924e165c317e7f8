"""How wide a network, and for how long, so that training ends in time on this machine.

    python -m cs231n.train --budget 30m

Images a second are measured for each width. With the time that is left they say how many images a
network would see, and `REACHED`, from runs that were measured, which accuracy that makes.
"""

import json
import math
import re
import time
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch

from cs231n.classifiers.resnet import ResNet18
from cs231n.evaluation import predict_scores
from cs231n.hardware import (
    keep_freed_memory,
    pick_device,
    pick_layout,
    pick_precision,
    pick_winograd,
)
from cs231n.images import GROWTH, augment, normalize, shrink, to_tensor
from cs231n.saving import replace_file
from cs231n.step import make_optimizer, take_step

# width: (images seen in training, accuracy on CIFAR-10's test set), rising. Commands and logs of
# the runs are in docs/training.md, or in tests/data of what the tests keep the weights of.
REACHED = {
    16: ((590_000, 0.8751), (1_225_000, 0.9006)),
    64: ((479_000, 0.9074), (873_000, 0.9276), (1_023_000, 0.9319)),
}
CHANCE = 0.1  # accuracy before the first image
RESERVE = 0.05  # of the time, for what is not foreseen
MEASURING = 0.06  # of the time, for the speed of all widths,
ENOUGH = 60.0  # and no more seconds than this: longer, they would not be known any better
HOPELESS = 0.2  # of the time for three steps: such a width is too slow to be measured or trained
UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Plan:
    """What a budget allows: the network, the length of the run, and what to expect of it."""

    width: int
    epochs: float
    seconds: float  # of training, with its validation and checkpoints
    images_per_second: float
    expected: float  # accuracy on CIFAR-10's test set

    def __str__(self):
        return (
            f"width {self.width}: {self.images_per_second:,.0f} images a second, "
            f"{self.epochs:.2f} epochs in {self.seconds / 60:.1f} minutes; "
            f"expect a test accuracy of about {self.expected:.2f}"
        )


def seconds_of(text):
    """Return the seconds in a text such as "90s", "5m" or "1.5h".

    Raises:
        ValueError: if it is another text, or no time at all.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match or float(match[1]) == 0:
        raise ValueError(f"a budget is a time such as 90s, 5m or 2h, not {text!r}")
    return float(match[1]) * UNITS[match[2]]


def expected_accuracy(width, images):
    """Return the test accuracy that so many training images make of a network of this width.

    Between runs that were measured it is linear in the logarithm of the images. Beyond the last
    one it stays, so it is too low there rather than too high.
    """
    seen, reached = zip((1, CHANCE), *REACHED[width], strict=True)
    return float(np.interp(math.log(max(1, images)), np.log(seen), reached))


def images_per_second(width, data, batch_size, seconds, progressive=False):
    """Measure images a second of a network of this width, in training and in evaluation.

    Training has three quarters of the `seconds`, evaluation the last one. At least two steps and
    one batch are timed, however long they take, after one to warm up. Of a progressive run it is
    the mean over all its sizes.
    """
    keep_freed_memory()
    device = pick_device()
    precision = pick_precision(device)
    winograd = pick_winograd(device, precision)
    model = ResNet18(width=width)
    layout = pick_layout(model, device)
    model.to(device, memory_format=layout)
    optimizer = make_optimizer(model, 0.9, 5e-4)
    batch = data["X_train"][:batch_size]
    images = to_tensor(batch).to(device)
    labels = torch.as_tensor(data["y_train"][:batch_size]).long().to(device)

    def step(part):
        side = round(part * batch.shape[1])
        x = shrink(normalize(augment(images), layout), side, layout)
        take_step(model, optimizer, x, labels, 0.1, precision, winograd).tolist()

    def seconds_of_one(work, times, seconds):
        work()
        done, start = 0, time.monotonic()
        while done < times or time.monotonic() - start < seconds:
            work()
            done += 1
        return (time.monotonic() - start) / (done * len(batch))

    model.train()
    growth = GROWTH if progressive else ((1.0, 1.0),)
    trained = sum(
        share * seconds_of_one(partial(step, part), 2, share * 0.75 * seconds)
        for share, part in growth
    )
    return 1 / trained, 1 / seconds_of_one(lambda: predict_scores(model, batch), 1, seconds / 4)


def make_plan(data, deadline, batch_size=128, widths=None, passes=1, progressive=False):
    """Return the plan of the highest expected accuracy that ends by `deadline`.

    Each width is measured, all of them in `MEASURING` of the time, or `ENOUGH`.

    Args:
        data: dict as `load_images` returns it.
        deadline: the end, on the clock of `time.monotonic`, with the evaluation on test images.
        widths: the widths to choose from, by default those that runs were measured of.
        passes: evaluations of each image at the end, 2 with mirror images.
        progressive: whether the run begins with smaller images.

    Raises:
        ValueError: if the time is too short for any training.
    """
    budget = deadline - time.monotonic()
    widths = sorted(REACHED if widths is None else widths)
    plans = {}
    for width in widths:
        if width not in REACHED:
            raise ValueError(
                f"width {width} has no measured run to expect anything from: choose "
                f"one of {', '.join(map(str, sorted(REACHED)))}"
            )
        if plans:  # work grows by the square of the width, at most
            narrower, (_, (trained, _)) = max(plans.items())
            if 3 * batch_size / trained * (width / narrower) ** 2 > HOPELESS * budget:
                break
        seconds = min(MEASURING * budget, ENOUGH) / len(widths)
        speeds = images_per_second(width, data, batch_size, seconds, progressive)
        plans[width] = _plan(width, *speeds, data, deadline - RESERVE * budget, passes), speeds
    width = max(plans, key=lambda width: plans[width][0].expected)
    best = _plan(width, *plans[width][1], data, deadline - RESERVE * budget, passes)
    if best.seconds <= 0:
        raise ValueError(f"{budget:.0f} seconds are too short for any training on this machine")
    return best


def _plan(width, trained, evaluated, data, deadline, passes):
    """Return the plan for one width, whose images a second are known, from now on."""
    N, held_out = len(data["X_train"]), len(data["X_val"])
    at_the_end = passes * (len(data["X_test"]) + held_out) / evaluated
    seconds = deadline - time.monotonic() - at_the_end
    epochs = max(0.0, seconds / (N / trained + held_out / evaluated))
    return Plan(width, epochs, seconds, trained, expected_accuracy(width, epochs * N))


def kept_plan(checkpoint, budget, make, width=None):
    """Return the plan of a run that was interrupted, or else `make()`, and keep it for the next.

    It lies beside the checkpoint in `*.budget.json`, with the budget that it was made for.

    Raises:
        ValueError: if that file is damaged, or has another width than the one that is insisted on.
    """
    path = checkpoint.with_suffix(".budget.json")
    if all(file.exists() for file in (path, checkpoint, checkpoint.with_suffix(".state.pt"))):
        try:
            record = json.loads(path.read_text())
            before, plan = record["budget"], Plan(**record["plan"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} is damaged: delete it, and the run is planned anew") from None
        if before == budget:
            if width not in (None, plan.width):
                raise ValueError(
                    f"{checkpoint} is of a run that chose width {plan.width}: go on without "
                    "--width, delete the file, or choose another checkpoint"
                )
            return plan
    plan = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"budget": budget, "plan": asdict(plan)}, indent=1) + "\n"
    replace_file(path, lambda part: part.write_text(text))
    return plan
