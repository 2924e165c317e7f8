"""Label images with a trained ResNet-18 in Kaggle's format: python -m cs231n.predict"""

import argparse
import csv
import math
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from cs231n.classifiers.resnet import ResNet18
from cs231n.data_utils import BatchUnpickler, cifar10_folder, is_stand_in, load_CIFAR_batch
from cs231n.evaluation import accuracy, folded, predict_scores
from cs231n.hardware import pick_device
from cs231n.saving import load_weights, read_weights

BATCH = 64  # at full width, 500 take 600 MB more and are hardly faster


def class_names(folder=None):
    """Return the ten class names in the order of the labels, from the data's batches.meta.

    Raises:
        ValueError: if that is damaged.
    """
    path = (cifar10_folder() if folder is None else Path(folder)) / "batches.meta"
    with open(path, "rb") as file:
        try:
            names = BatchUnpickler(file, encoding="latin1").load()["label_names"]
        except Exception as error:  # a damaged pickle can raise nearly anything
            raise ValueError(f"{path} is damaged ({error}): run `make cifar10` again") from None
    return [str(name) for name in names]


def write_submission(model, batches, path, names):
    """Write `id,label` rows, with ids from 1, for each image of an iterable of batches.

    One batch is in memory at a time, so the number of images does not matter. If something goes
    wrong on the way, a file that was at `path` stays as it was.

    Args:
        model: maps normalised images (N, 3, 32, 32) to scores (N, K).
        batches: iterable of uint8 arrays (N, 32, 32, 3).
        path: the CSV file. It appears when all rows are written.
        names: K class names in the order of the scores.

    Returns:
        How many images were labelled.

    Raises:
        ValueError: if the model's scores are not one for each name, or not finite.
    """
    part = Path(path).with_name(Path(path).name + ".part")
    count = 0
    try:
        with open(part, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "label"])
            for images in batches:
                if count == 0:
                    model = folded(model, images)
                for label in _labels(predict_scores(model, images), names):
                    count += 1
                    writer.writerow([count, label])
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _labels(scores, names):
    if scores.shape[1] != len(names):
        raise ValueError(f"names has {len(names)} entries, scores have {scores.shape[1]}")
    if not np.isfinite(scores).all():
        raise ValueError("the network's scores are not finite numbers: did training diverge?")
    return [names[i] for i in scores.argmax(1)]


def count_images(folder):
    """Return how many files 1.png, 2.png, ... there are; raise ValueError if there are none."""
    with os.scandir(folder) as entries:
        count = sum(name.isdigit() and end == ".png" for name, end in
                    (os.path.splitext(entry.name) for entry in entries))  # fmt: skip
    if count == 0:
        raise ValueError(f"{folder} has no 1.png, 2.png, ...")
    return count


def png_batches(folder, batch_size=BATCH):
    """Yield batches (N, 32, 32, 3) of the images 1.png, 2.png, ... in `folder`, in that order.

    Raises:
        ValueError: if the folder has no such files, one is missing in between, or one is not an
            image of 32x32 pixels.
    """
    count = count_images(folder)
    for start in range(1, count + 1, batch_size):
        numbers = range(start, min(start + batch_size, count + 1))
        yield np.stack([_read_image(Path(folder) / f"{number}.png") for number in numbers])


def _read_image(path):
    if not path.exists():
        raise ValueError(f"{path} is missing")
    try:
        with Image.open(path) as image:
            if image.size != (32, 32):
                width, height = image.size
                raise ValueError(f"{path} has {width}x{height} pixels, not 32x32")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:  # SyntaxError is how Pillow names a broken PNG
        raise ValueError(f"{path} is damaged: {error}") from None


def load_resnet18(path):
    """Build the ResNet18 whose width and classes fit the weights in `path`, and load them.

    Raises:
        ValueError: if they are not a ResNet18's, or are damaged.
    """
    weights = read_weights(path)
    if "conv1.weight" not in weights or "fc.weight" not in weights:
        raise ValueError(f"{path} holds no ResNet18: conv1.weight or fc.weight is missing")
    model = ResNet18(num_classes=len(weights["fc.weight"]), width=len(weights["conv1.weight"]))
    return load_weights(model, path).to(pick_device())


def main(arguments=None):
    """Predict as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cs231n.predict", description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/resnet18_cifar10.safetensors")
    )
    parser.add_argument(
        "--images", type=Path, help="folder with 1.png, 2.png, ..., unpacked (CIFAR-10's test set)"
    )
    parser.add_argument("--output", type=Path, default=Path("submission.csv"))
    args = parser.parse_args(arguments)
    try:
        model = load_resnet18(args.checkpoint)
        if is_stand_in(cifar10_folder()):
            print("stand-in data: its class names are not CIFAR-10's, nor is an accuracy on it")
        if args.images is not None:
            batches, count = png_batches(args.images), count_images(args.images)
        else:
            images, labels = load_CIFAR_batch(cifar10_folder() / "test_batch")
            batches, count = np.array_split(images, range(BATCH, len(images), BATCH)), len(images)
            print(f"test accuracy {accuracy(model, images, labels, BATCH):.4f}")
        bar = tqdm(batches, total=math.ceil(count / BATCH), unit=" batches")
        count = write_submission(model, bar, args.output, class_names())
    except (ValueError, OSError, NotImplementedError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} labels in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
