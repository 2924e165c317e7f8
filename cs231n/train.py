"""Train ResNet-18 on CIFAR-10: python -m cs231n.train --budget 30m, or --width 64 --epochs 10"""

import argparse
import math
import sys
import time
from pathlib import Path

import torch

from cs231n import budget, distributed, training
from cs231n.classifiers.resnet import ResNet18
from cs231n.data_utils import cifar10_folder, is_stand_in
from cs231n.saving import precision_of, require_room, save_history


def number(kind, least, most=math.inf):
    """Return what reads an argument that is a finite number of a kind, from `least` to `most`."""

    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and math.isfinite(value)):
            what = "a whole number" if kind is int else "a number"
            end = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"it must be {what} {end}, but is {text}")
        return value

    return read


def arguments_of(arguments):
    """Parse the command's arguments; leave with a message where they do not fit together."""
    count, share = number(int, 1), number(float, 0, 1)
    parser = argparse.ArgumentParser(prog="python -m cs231n.train", description=__doc__)
    parser.add_argument("--width", type=count, help="channels of the stem (64)")
    parser.add_argument("--epochs", type=number(float, 1e-6), help="passes over the images (10)")
    parser.add_argument("--budget", help="such as 5m or 2h: chooses width and epochs to end in it")
    parser.add_argument("--batch-size", type=count, default=128, help="of all processes (128)")
    parser.add_argument("--lr", type=number(float, 0), help="highest rate (0.1; in a budget 0.2)")
    parser.add_argument("--schedule", choices=training.SCHEDULES, default="one_cycle")
    parser.add_argument("--weight-decay", type=number(float, 0), default=5e-4)
    parser.add_argument("--label-smoothing", type=share, default=0.1, help="from 0 to 1 (0.1)")
    parser.add_argument("--num-training", type=count, default=49000, help="training images (49000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=count, help="processor threads (all)")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/resnet18_cifar10.safetensors")
    )
    parser.add_argument(
        "--progressive", action=argparse.BooleanOptionalAction,
        help="begin with smaller images, which take less time (if the network takes them)",
    )  # fmt: skip
    parser.add_argument(
        "--ema", action=argparse.BooleanOptionalAction,
        help="hand in an average of the weights (in a budget it is kept unless refused)",
    )  # fmt: skip
    for name, text in (
        ("--flip", "at the end, test on images and mirror images together too"),
        ("--full-train", "train on all 50000 images, validate on none"),
        ("--tensorboard", "keep a TensorBoard log beside the checkpoint"),
        ("--compile", "let torch.compile make code for the network first"),
    ):
        parser.add_argument(name, action="store_true", help=text)
    args = parser.parse_args(arguments)
    if args.budget and args.epochs:
        parser.error("--budget chooses the epochs itself: give one of the two")
    if args.budget and distributed.expected() > 1:
        parser.error("--budget is for one process: under torchrun give --width and --epochs")
    if args.lr is None:  # what budgets expect is of runs with these
        args.lr = 0.2 if args.budget else 0.1
    if args.ema is None:
        args.ema = bool(args.budget)
    return args


def main(arguments=None):
    """Train as the arguments say; return the exit code."""
    start = time.monotonic()
    args = arguments_of(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        with distributed.processes():
            run(args, start)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError, NotImplementedError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    except torch.OutOfMemoryError:
        print("The graphics card has too little memory: choose a smaller --batch-size or --width, "
              "or end what else uses it", file=sys.stderr)  # fmt: skip
        return 1
    return 0


def run(args, start):
    """Train, test, and write down what came of it. A budget counts from `start`."""
    data = training.load_images(*((50000, 0) if args.full_train else (args.num_training,)))
    width, epochs, seconds = args.width or 64, args.epochs or 10, None
    if args.progressive is None:
        reason = training.only_whole(ResNet18(width=8), data["X_train"].shape[1])
        args.progressive = not reason
        if reason:
            print(f"Training would be faster with smaller images first, but {reason}.")
    name = "the stand-in data" if is_stand_in(cifar10_folder()) else "CIFAR-10"
    if args.budget:
        require_room(ResNet18(width=args.width or min(budget.REACHED)), args.checkpoint)
        widths = (args.width,) if args.width else None
        deadline = start + budget.seconds_of(args.budget)
        plan = budget.kept_plan(args.checkpoint, args.budget, lambda: budget.make_plan(
            data, deadline, args.batch_size, widths, 3 if args.flip else 1, args.progressive,
        ), args.width)  # fmt: skip
        width, epochs, seconds = plan.width, plan.epochs, plan.seconds
        print(plan)
        if plan.width < max(budget.REACHED):
            print(f"Only width {max(budget.REACHED)} can earn full points: add --width to insist.")
    torch.manual_seed(args.seed)
    model = ResNet18(width=width)
    history = training.train(
        model, data, epochs=epochs, batch_size=args.batch_size, lr=args.lr,
        weight_decay=args.weight_decay, label_smoothing=args.label_smoothing,
        progressive=args.progressive, schedule=args.schedule, ema=args.ema, seed=args.seed,
        seconds=seconds, compiled=args.compile, checkpoint=args.checkpoint,
        tensorboard=args.checkpoint.with_suffix("") if args.tensorboard else None,
    )  # fmt: skip
    if distributed.rank() > 0:
        return
    curves = args.checkpoint.with_suffix(".png")
    training.plot_curves(history, curves)
    found = {}
    for part in ("val", "test") if len(data["X_val"]) else ("test",):
        X, y = data[f"X_{part}"], data[f"y_{part}"]
        found[f"{part}_acc"] = training.accuracy(model, X, y)
        if args.flip:
            found[f"{part}_acc_flip"] = training.accuracy(model, X, y, flip=True)
    print(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in found.items()))
    chosen = {
        "width": width, "epochs": epochs, "threads": torch.get_num_threads(),
        "processes": distributed.size(), "precision": precision_of(args.checkpoint),
    }  # fmt: skip
    figures = save_history(vars(args) | chosen | {"history": history} | found, args.checkpoint)
    print(f"weights in {args.checkpoint}, curves in {curves}, figures in {figures}")


if __name__ == "__main__":
    sys.exit(main())
