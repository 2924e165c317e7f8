"""Label images with a trained ResNet-18 in Kaggle's format: python -m cs231n.predict"""

import argparse
import csv
import os
import pickle
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from cs231n.classifiers.resnet import ResNet18
from cs231n.data_utils import cifar10_folder, load_CIFAR_batch
from cs231n.hardware import pick_device
from cs231n.saving import load_weights, read_weights
from cs231n.training import accuracy, predict_scores


def class_names(folder=None):
    """Return the ten class names in the order of the labels, from the data's batches.meta."""
    path = (cifar10_folder() if folder is None else Path(folder)) / "batches.meta"
    with open(path, "rb") as file:
        return [str(name) for name in pickle.load(file, encoding="latin1")["label_names"]]


def write_submission(model, batches, path, names):
    """Write `id,label` rows, with ids from 1, for each image of an iterable of batches.

    One batch is in memory at a time, so the number of images does not matter.

    Args:
        model: maps normalised images (N, 3, 32, 32) to scores (N, K).
        batches: iterable of uint8 arrays (N, 32, 32, 3).
        path: the CSV file. It appears when all rows are written.
        names: K class names in the order of the scores.

    Returns:
        How many images were labelled.

    Raises:
        ValueError: if the model's scores are not one for each name.
    """
    part = Path(path).with_name(Path(path).name + ".part")
    count = 0
    with open(part, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label"])
        for images in batches:
            scores = predict_scores(model, images)
            if scores.shape[1] != len(names):
                raise ValueError(f"names has {len(names)} entries, scores have {scores.shape[1]}")
            for label in scores.argmax(1):
                count += 1
                writer.writerow([count, names[label]])
    os.replace(part, path)
    return count


def png_batches(folder, batch_size=500):
    """Yield batches (N, 32, 32, 3) of the images 1.png, 2.png, ... in `folder`, in that order.

    Raises:
        ValueError: if the folder has no such files, or one is missing in between.
    """
    count = sum(1 for path in Path(folder).glob("*.png") if path.stem.isdigit())
    if count == 0:
        raise ValueError(f"{folder} has no 1.png, 2.png, ...")
    for start in range(1, count + 1, batch_size):
        batch = []
        for number in range(start, min(start + batch_size, count + 1)):
            path = Path(folder) / f"{number}.png"
            if not path.exists():
                raise ValueError(f"{path} is missing")
            with Image.open(path) as image:
                batch.append(np.asarray(image.convert("RGB")))
        yield np.stack(batch)


def load_resnet18(path):
    """Build the ResNet18 whose width and classes fit the weights in `path`, and load them.

    Raises:
        ValueError: if they are not a ResNet18's.
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
    parser.add_argument("--images", type=Path, help="folder with 1.png, 2.png, ... (CIFAR-10 test)")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"))
    args = parser.parse_args(arguments)
    try:
        model = load_resnet18(args.checkpoint)
        if args.images is not None:
            batches = png_batches(args.images)
        else:
            images, labels = load_CIFAR_batch(cifar10_folder() / "test_batch")
            batches = np.array_split(images, range(500, len(images), 500))
            print(f"test accuracy {accuracy(model, images, labels):.4f}")
        count = write_submission(model, tqdm(batches, unit=" batches"), args.output, class_names())
    except (ValueError, OSError, NotImplementedError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} labels in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
