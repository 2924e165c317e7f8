"""Train ResNet-18 on CIFAR-10: python -m cs231n.train --width 64 --epochs 10"""

import argparse
import sys
from pathlib import Path

import torch

from cs231n import training
from cs231n.classifiers.resnet import ResNet18
from cs231n.data_utils import cifar10_folder, is_stand_in


def main(arguments=None):
    """Train as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cs231n.train", description=__doc__)
    parser.add_argument("--width", type=int, default=64, help="channels of the stem (64)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1, help="highest learning rate (0.1)")
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--num-training", type=int, default=49000, help="training images (49000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/resnet18_cifar10.safetensors")
    )
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        data = training.load_images(args.num_training)
        torch.manual_seed(args.seed)
        model = ResNet18(width=args.width)
        history = training.train(
            model, data, epochs=args.epochs, batch_size=args.batch_size, lr=args.lr,
            weight_decay=args.weight_decay, seed=args.seed, checkpoint=args.checkpoint,
        )  # fmt: skip
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError, NotImplementedError) as error:
        print(error, file=sys.stderr)
        return 1
    curves = args.checkpoint.with_suffix(".png")
    training.plot_curves(history, curves)
    name = "the stand-in data" if is_stand_in(cifar10_folder()) else "CIFAR-10"
    test = training.accuracy(model, data["X_test"], data["y_test"])
    print(f"{name}: validation accuracy {history['val_acc'][-1]:.4f}, test accuracy {test:.4f}")
    print(f"weights in {args.checkpoint}, curves in {curves}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
