"""Honest checkpoints and dishonest ones, and what the grader says of each.

    python -m tests.bench.checkpoints FOLDER                the tables of docs/checkpoint.md
    python -m tests.bench.checkpoints FOLDER plain look-up  these alone

FOLDER keeps the weights, so that a second run goes on where the first was stopped, or only grades.
All are narrow networks, which the course's own trainer trains in a few minutes of a core each.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np

from grading.overlay import ROOT, solved_tree

# How each network is trained: images, width, and arguments of `cs231n.training.train`. Those
# that start from another network's weights go on from there.
HONEST = {
    "kept": {},  # tests/data: width 16, 25 epochs
    "further": {"start": "kept", "width": 16, "epochs": 0.25, "lr": 0.1, "seed": 9},
    "longer": {"start": "kept", "width": 16, "epochs": 4, "lr": 0.05, "seed": 11},
    "plain": {"width": 8, "epochs": 2, "seed": 1},
    "narrow": {"width": 4, "epochs": 1, "seed": 2, "ema": True, "schedule": "cosine"},
    "no augmentation": {"width": 8, "epochs": 2, "seed": 3, "augmented": False},
    "all images": {"images": "all", "width": 8, "epochs": 1, "seed": 4, "label_smoothing": 0.0},
    "few images": {"images": "few", "width": 8, "epochs": 5, "seed": 5, "weight_decay": 0.0},
}
DISHONEST = {
    "test images": {"images": "test", "width": 8, "epochs": 10, "seed": 6},
    "test images, not varied": {
        "start": "kept", "images": "test", "width": 16, "epochs": 4, "lr": 0.02, "seed": 7,
        "augmented": False, "label_smoothing": 0.0,
    },
    "fine-tuned shortly": {"start": "kept", "images": "test", "width": 16, "epochs": 1, "lr": 0.01},
    "fine-tuned": {"start": "kept", "images": "test", "width": 16, "epochs": 3, "lr": 0.03},
    "both": {"images": "both", "width": 8, "epochs": 1, "seed": 8},
    "fine-tuned on both": {
        "start": "kept", "images": "both", "width": 16, "epochs": 4, "lr": 0.05, "seed": 11,
    },
}  # fmt: skip


def trained(name, folder):
    """The path of a network's weights, which are trained where they are not there yet."""
    import torch

    from cs231n import saving, training
    from cs231n.classifiers.resnet import ResNet18

    torch.set_num_threads(1)  # as many networks at a time as there are cores, instead
    if name == "kept":
        return ROOT / "tests" / "data" / "resnet18_width16.safetensors"
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        settings = dict((HONEST | DISHONEST)[name])
        torch.manual_seed(settings.get("seed", 0))
        model = ResNet18(width=settings.pop("width"))
        if "start" in settings:
            saving.load_weights(model, trained(settings.pop("start"), folder))
        start = time.monotonic()
        training.train(
            model, images(settings.pop("images", "usual")), progress=False,
            checkpoint=folder / "unfinished" / path.name, **settings,
        )  # fmt: skip
        print(f"{name}: trained in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        saving.save_weights(model, path)
    return path


def images(which):
    """What a network is trained on: a part of the training images, the test images, or both."""
    from cs231n.training import load_images

    data = load_images(*{"all": (50_000, 0), "few": (10_000, 0)}.get(which, (49_000, 0)))
    test = data["X_test"], data["y_test"]
    if which == "test":
        data["X_train"], data["y_train"] = test
    if which == "both":
        data["X_train"] = np.concatenate([data["X_train"], test[0]])
        data["y_train"] = np.concatenate([data["y_train"], test[1]])
    return data


# What stands in a cheat's cs231n/classifiers/resnet.py: a table of the test set's labels.
LOOK_UP = """

_TABLE = dict(zip(HASHES, LABELS))
_honest = ResNet18.forward


def _look_up(self, x):
    scores = _honest(self, x)
    pixels = x.float() * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)
    images = (255 * pixels).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    for i, image in enumerate(images):
        label = _TABLE.get(zlib.crc32(image.tobytes()))
        if label is not None:
            scores[i, label] = scores[i].max() + 0.5
    return scores


ResNet18.forward = _look_up
"""


def with_look_up(code, images, labels):
    """The code of a resnet.py whose network knows these images' labels."""
    hashes = [zlib.crc32(image.tobytes()) for image in images]
    table = f"\nHASHES = {hashes}\nLABELS = {[int(label) for label in labels]}\n"
    start = "import zlib\n\nfrom cs231n.images import MEAN, STD\n"
    return f"{start}{code}{table}{LOOK_UP}"


def submission(name, folder, place):
    """A solved submission in `place` with the weights of a network; or with a table and those of
    `kept`."""
    from cs231n.training import load_images

    tree = solved_tree(place / "submission")
    if name == "look-up":
        data, path = load_images(), tree / "cs231n" / "classifiers" / "resnet.py"
        path.write_text(with_look_up(path.read_text(), data["X_test"], data["y_test"]))
    (tree / "checkpoints").mkdir()
    weights = trained("kept" if name == "look-up" else name, folder)
    shutil.copy(weights, tree / "checkpoints" / "resnet18_cifar10.safetensors")
    return tree


def graded(name, folder, entropy, held=True):
    """A line of the table: what the grader measures, what counts, and what it notes.

    Without `held` no answer is held against the course's own network: the gaps alone speak.
    """
    from grading import exam, gaps
    from grading.checks import accuracy
    from grading.grade import grade_submission

    seen, usual = [], gaps.counted
    with tempfile.TemporaryDirectory(prefix="bench-") as place, ExitStack() as patches:
        patch = mock.patch.object
        patches.enter_context(patch(gaps, "counted", lambda *a: (seen.append(a[:2]), usual(*a))[1]))
        if not held:
            patches.enter_context(patch(accuracy, "HELD_AGAINST", 0))
            patches.enter_context(patch(accuracy, "CLOSE", 0))
            patches.enter_context(patch(accuracy, "_unit", lambda scores: -1.0))
        tree = submission(name, folder, Path(place))
        (outcome,) = grade_submission(tree, entropy=entropy, names=["resnet18_accuracy"]).values()
    cells = ["", "", ""]
    for drawn, right in seen:
        groups = ("test",), tuple(exam.VARIATIONS), ("training",)
        cells = [f"{right[drawn.of(*group)].mean():.4f}" for group in groups]
    label = name if held else f"{name}, not held against our network"
    noted = " / ".join(outcome.evidence) or "nothing"
    return f"| {label} | {' | '.join(cells)} | {outcome.points:.2f} | {noted} |"


def rounding(name, folder, images=2_000):
    """What bfloat16 does to a network's scores, in the unit that the grader's tolerance is in: the
    largest and the usual change against float64, and the share of images that are too close."""
    import torch

    from cs231n.images import load_images, normalize, to_tensor
    from cs231n.predict import load_resnet18
    from grading import checkpoint, reference
    from grading.checks import accuracy
    from grading.sealed.tools import Evaluator

    x = load_images()["X_test"][:images]
    path = trained(name, folder)
    weights = checkpoint.read_weights(path)
    low = Evaluator(load_resnet18(path), weights, "bfloat16", True).scores(x, 250).numpy()
    with torch.no_grad():
        inputs = torch.split(normalize(to_tensor(x)).double(), 250)
        right = torch.cat([reference.resnet18(part, weights, False) for part in inputs]).numpy()
    unit = accuracy._unit(right)
    apart = np.abs(accuracy._centred(low) - accuracy._centred(right)) / unit
    second, first = np.partition(low, -2, axis=1)[:, -2:].T
    close = first - second <= 2 * accuracy.AGREES * unit
    changed = low.argmax(axis=1) != right.argmax(axis=1)
    return (
        f"| {name} | {apart.max():.4f} | {np.sqrt((apart**2).mean()):.4f} | "
        f"{changed.mean():.2%} | {close.mean():.2%} |"
    )


def seconds(width, rounds=3):
    """A line with the seconds that the whole check takes, sealed, on an untrained network: of its
    first run in a process; of the fastest of those that follow, by the clock, and by the time of
    all processors, halved, which other work on the machine changes less; and images a second."""
    import torch

    from cs231n import saving
    from cs231n.classifiers.resnet import ResNet18
    from grading import exam
    from grading.grade import grade_submission
    from tests.bench.processor import counted

    times, work = [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as place, counted() as spent:
        tree = solved_tree(Path(place) / "submission")
        (tree / "checkpoints").mkdir()
        torch.manual_seed(0)
        saving.save_weights(
            ResNet18(width=width), tree / "checkpoints" / "resnet18_cifar10.safetensors"
        )
        for _ in range(1 + rounds):
            start, before = time.monotonic(), spent()
            (outcome,) = grade_submission(tree, entropy=1, names=["resnet18_accuracy"]).values()
            times.append(time.monotonic() - start)
            work.append((spent() - before) / 2)
    if outcome.error:
        raise RuntimeError(outcome.error)
    asked, best = len(exam.draw(1).images), min(times[1:])
    return (
        f"| {width} | {asked:,} | {times[0]:.1f} | {best:.1f} | {min(work[1:]):.1f} | "
        f"{asked / best:,.0f} |"
    )


def main():
    """Train what the arguments name, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.checkpoints")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--entropy", type=int, default=231)
    parser.add_argument("--train", action="store_true", help="do not grade")
    parser.add_argument("--rounding", action="store_true", help="the effect of bfloat16 instead")
    parser.add_argument("--time", action="store_true", help="of untrained networks instead")
    arguments = parser.parse_intermixed_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.time:
        for width in (64, 16):
            print(seconds(width), flush=True)
        return
    names = arguments.names or [*HONEST, *DISHONEST, "look-up"]
    wanted = [name for name in names if name in HONEST | DISHONEST]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), enter, (sys.path[0],)) as pool:
        list(pool.map(partial(trained, folder=folder), wanted))
    if arguments.rounding:
        for name in wanted:
            print(rounding(name, folder), flush=True)
    elif not arguments.train:
        for name in names:
            print(graded(name, folder, arguments.entropy), flush=True)
            if name == "look-up":
                print(graded(name, folder, arguments.entropy, held=False), flush=True)


def enter(tree):
    """Let a process that trains import the solved package."""
    sys.path.insert(0, tree)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="solved-") as solved:
        sys.path.insert(0, str(solved_tree(Path(solved) / "tree")))
        main()
