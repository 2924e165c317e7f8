"""Train ResNet-18 on CIFAR-10: python -m cs231n.train --width 64 --epochs 10"""

import argparse
import sys
from pathlib import Path

import torch

from cs231n import training
from cs231n.classifiers.resnet import ResNet18
from cs231n.data_utils import cifar10_folder, is_stand_in
from cs231n.hardware import pick_device, pick_precision
from cs231n.saving import save_history


def main(arguments=None):
    """Train as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cs231n.train", description=__doc__)
    parser.add_argument("--width", type=int, default=64, help="channels of the stem (64)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1, help="highest learning rate (0.1)")
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--label-smoothing", type=float, default=0.1, help="from 0 to 1 (0.1)")
    parser.add_argument("--schedule", choices=training.SCHEDULES, default="one_cycle")
    parser.add_argument("--ema", action="store_true", help="keep an average of the weights")
    parser.add_argument(
        "--flip", action="store_true", help="at the end, test on images and mirror images together"
    )
    parser.add_argument("--num-training", type=int, default=49000, help="training images (49000)")
    parser.add_argument(
        "--full-train", action="store_true", help="train on all 50000 images, validate on none"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/resnet18_cifar10.safetensors")
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="keep a TensorBoard log beside the checkpoint"
    )
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        data = training.load_images(*((50000, 0) if args.full_train else (args.num_training,)))
        torch.manual_seed(args.seed)
        model = ResNet18(width=args.width)
        history = training.train(
            model, data, epochs=args.epochs, batch_size=args.batch_size, lr=args.lr,
            weight_decay=args.weight_decay, label_smoothing=args.label_smoothing,
            schedule=args.schedule, ema=args.ema, seed=args.seed, checkpoint=args.checkpoint,
            tensorboard=args.checkpoint.with_suffix("") if args.tensorboard else None,
        )  # fmt: skip
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError, NotImplementedError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    curves = args.checkpoint.with_suffix(".png")
    training.plot_curves(history, curves)
    found = {}
    for part in ("val", "test") if len(data["X_val"]) else ("test",):
        X, y = data[f"X_{part}"], data[f"y_{part}"]
        found[f"{part}_acc"] = training.accuracy(model, X, y)
        if args.flip:
            found[f"{part}_acc_flip"] = training.accuracy(model, X, y, flip=True)
    name = "the stand-in data" if is_stand_in(cifar10_folder()) else "CIFAR-10"
    print(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in found.items()))
    threads, precision = torch.get_num_threads(), pick_precision(pick_device())
    record = vars(args) | {"threads": threads, "precision": precision, "history": history} | found
    figures = save_history(record, args.checkpoint)
    print(f"weights in {args.checkpoint}, curves in {curves}, figures in {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
