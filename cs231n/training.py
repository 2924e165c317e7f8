"""Train any PyTorch image classifier on CIFAR-10, fast, and able to stop and go on.

Images travel as uint8, (N, 32, 32, 3) in NumPy as `load_CIFAR10` gives them. `normalize` is the
one place where they become what a network sees, in training, in prediction and in grading.
"""

import math
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn
from tqdm.auto import tqdm

from cs231n.averaging import EVERY, WeightAverage
from cs231n.data_utils import cifar10_folder, load_CIFAR10
from cs231n.hardware import (
    autocast,
    keep_freed_memory,
    pick_device,
    pick_precision,
    pick_winograd,
)
from cs231n.saving import load_weights, require_room, resume, save_run, save_weights  # noqa: F401
from cs231n.winograd import Winograd

MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's training pixels, for red, green, blue
STD = (0.2470, 0.2435, 0.2616)
SAVE_EVERY = 60.0  # seconds of training that a power cut may cost


def load_images(num_training=49000, num_validation=1000):
    """Load CIFAR-10 as integers: X_train, y_train, X_val, y_val, X_test, y_test in a dict.

    X is uint8 (N, 32, 32, 3), y an integer array (N,). The validation images are those that
    follow the first `num_training`, as in `get_CIFAR10_data`; there may be none.
    """
    X, y, X_test, y_test = load_CIFAR10(cifar10_folder())
    end = num_training + num_validation
    if not 0 < num_training <= end <= len(X):
        raise ValueError(f"num_training + num_validation must be at most {len(X)}, but is {end}")
    return {
        "X_train": X[:num_training], "y_train": y[:num_training],
        "X_val": X[num_training:end], "y_val": y[num_training:end],
        "X_test": X_test, "y_test": y_test,
    }  # fmt: skip


def to_tensor(images):
    """View uint8 images (N, H, W, 3) as a tensor (N, 3, H, W)."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 (N, H, W, 3), but are {images.dtype} {tuple(images.shape)}"
        )
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def normalize(images):
    """Map a uint8 tensor (N, 3, H, W) to float32: (images / 255 - MEAN) / STD in each channel."""
    mean = torch.tensor(MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(1, 3, 1, 1)
    images = images.to(torch.float32, memory_format=torch.channels_last)
    return (images / 255 - mean) / std


def augment(images, padding=4):
    """Shift each image by up to `padding` pixels, and mirror half of them.

    The whole batch at once, so no worker processes are needed: nothing can hang, and memory
    stays flat. Shape and dtype are kept; pixels from outside are black.
    """
    N, _, H, W = images.shape
    windows = F.pad(images, (padding,) * 4).unfold(2, H, 1).unfold(3, W, 1)  # a view, no copy
    top, left = torch.randint(2 * padding + 1, (2, N), device=images.device)
    images = windows[torch.arange(N, device=images.device), :, top, left]  # (N, 3, H, W)
    mirrored = torch.rand(N, 1, 1, 1, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def one_cycle(step, steps, lr, warm_up=0.25):
    """Learning rate: up to `lr` in a line, then down to 0 along a cosine (Smith, 1708.07120)."""
    done = (step + 1) / steps
    if done < warm_up:
        return lr * done / warm_up
    return lr * 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def cosine(step, steps, lr):
    """Learning rate: from `lr` down to 0 along a cosine (Loshchilov, Hutter, 1608.03983)."""
    return one_cycle(step, steps, lr, warm_up=0.0)


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine}


def make_optimizer(model, momentum, weight_decay):
    """SGD with Nesterov momentum; norms and biases, which are vectors, do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD([g for g in groups if g["params"]], 0.1, momentum, nesterov=True)


def train(model, data, *, epochs, batch_size=128, lr=0.1, momentum=0.9, weight_decay=5e-4,
          label_smoothing=0.1, augmented=True, schedule="one_cycle", ema=False, seed=0,
          checkpoint=None, tensorboard=None, progress=True):  # fmt: skip
    """Train `model` in place and return its history.

    Args:
        model: maps float32 images (N, 3, H, W) to scores (N, K).
        data: dict with X_train, y_train, X_val, y_val, as `load_images` returns it.
        epochs: passes over the training images. The last incomplete batch of each is left out.
        lr: the highest learning rate of the schedule.
        label_smoothing: share of each target spread over all classes (Szegedy, 1512.00567).
        augmented: whether to shift and mirror the training images.
        schedule: "one_cycle" or "cosine".
        ema: whether validation, the checkpoint and, at the end, `model` get the moving average of
            the weights instead of the last ones.
        checkpoint: path of the weights, `*.safetensors`, saved after each epoch, each minute and
            at Ctrl-C or SIGTERM. Beside it, `*.state.pt` holds what is needed to go on: where it
            is there, the same call goes on from it to the same result as without the break.
            `*.history.json` has the settings and the history for other programs.
        tensorboard: folder for a TensorBoard log.

    Returns:
        dict of lists with an entry for each epoch: loss, train_acc, val_acc (empty without
        validation images), lr, seconds (of the epoch's steps), and what was spent from the start
        to the end of the epoch, breaks left out: elapsed and cpu_seconds (of all threads).

    Raises:
        ValueError: if the checkpoint was made with other settings, or there is no such schedule.
        ImportError: if a TensorBoard log is wanted and the package is not installed.
        FloatingPointError: if the loss or the gradient is no longer finite.
        OSError: if there is no room for the checkpoint.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once the checkpoint is written.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, but is {schedule!r}")
    start = time.monotonic(), time.process_time()
    keep_freed_memory()
    device = pick_device()
    model.to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, momentum, weight_decay)
    images, labels = to_tensor(data["X_train"]), torch.as_tensor(data["y_train"]).long()
    images, labels = images.to(device), labels.to(device)
    batch_size = min(batch_size, len(images))
    per_epoch = len(images) // batch_size
    run = {
        "settings": {"epochs": epochs, "batch_size": batch_size, "lr": lr, "momentum": momentum,
                     "weight_decay": weight_decay, "label_smoothing": label_smoothing,
                     "augmented": augmented, "schedule": schedule, "ema": ema, "seed": seed,
                     "images": len(images)},
        "precision": pick_precision(device), "step": 0, "sums": [0.0, 0, 0.0], "spent": [0.0, 0.0],
        "history": {key: [] for key in ("loss", "train_acc", "val_acc", "lr", "seconds",
                                        "elapsed", "cpu_seconds")},
    }  # fmt: skip
    run["winograd"] = pick_winograd(device, run["precision"])
    average = WeightAverage(model, epochs * per_epoch) if ema else None
    result = average.model if ema else model  # what is validated and saved
    if checkpoint is not None:
        checkpoint = Path(checkpoint)
        require_room(model, checkpoint)
        resume(run, model, result, optimizer, checkpoint)
    start = start[0] - run["spent"][0], start[1] - run["spent"][1]  # of earlier sessions
    log = open_log(tensorboard, run["step"]) if tensorboard is not None else None
    bar = tqdm(total=epochs * per_epoch * batch_size, initial=run["step"] * batch_size,
               unit=" images", unit_scale=True, disable=not progress)  # fmt: skip
    saved = time.monotonic()
    with bar, _stop_requests() as stop:
        while run["step"] < epochs * per_epoch:
            step_start = time.monotonic()
            epoch, i = divmod(run["step"], per_epoch)
            rows = _shuffled(len(images), seed, epoch)[i * batch_size : (i + 1) * batch_size]
            rows = rows.to(device)
            torch.manual_seed(1_000_003 * seed + run["step"])  # a resumed run draws the same
            for group in optimizer.param_groups:
                group["lr"] = SCHEDULES[schedule](run["step"], epochs * per_epoch, lr)
            batch = augment(images[rows]) if augmented else images[rows]
            loss, correct = _step(model, optimizer, normalize(batch), labels[rows],
                                  label_smoothing, run["precision"], run["winograd"])  # fmt: skip
            run["step"] += 1
            if ema and (run["step"] % EVERY == 0 or i + 1 == per_epoch):
                average.update(model, run["step"])
            run["sums"][0] += loss
            run["sums"][1] += correct
            run["sums"][2] += time.monotonic() - step_start
            bar.update(batch_size)
            if i + 1 == per_epoch:
                last = _end_epoch(run, result, data, per_epoch, batch_size, group["lr"], start)
                bar.set_postfix({k: f"{last[k]:.3f}" for k in ("loss", "val_acc") if k in last})
                for key, value in last.items() if log else ():
                    log.add_scalar(key, value, run["step"])
            if checkpoint is not None:
                if stop or i + 1 == per_epoch or time.monotonic() - saved > SAVE_EVERY:
                    run["spent"] = _spent(start)
                    save_run(run, model, result, optimizer, checkpoint)
                    saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt(f"stopped after step {run['step']}")
    if log:
        log.close()
    if ema:
        model.load_state_dict(result.state_dict())
    return run["history"]


def _step(model, optimizer, x, y, label_smoothing, precision, winograd=False):
    """Take one step on a batch; return its loss and the number of right answers."""
    model.train()
    with autocast(x.device, precision), Winograd() if winograd else nullcontext():
        scores = model(x)
    loss = F.cross_entropy(scores.float(), y, label_smoothing=label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
        raise FloatingPointError(
            f"training diverged: loss {loss.item():g}, gradient norm {norm.item():g}, learning "
            f"rate {optimizer.param_groups[0]['lr']:.3g}; start again with a smaller lr"
        )
    optimizer.step()
    return loss.item(), (scores.argmax(1) == y).sum().item()


def _end_epoch(run, model, data, per_epoch, batch_size, lr, start):
    """Add the epoch to the history; return what was added."""
    loss, correct, seconds = run["sums"]
    run["sums"] = [0.0, 0, 0.0]
    last = {"loss": loss / per_epoch, "train_acc": correct / (per_epoch * batch_size)}
    if len(data["X_val"]):
        last["val_acc"] = accuracy(model, data["X_val"], data["y_val"])
    last |= {"lr": lr, "seconds": seconds}
    last["elapsed"], last["cpu_seconds"] = _spent(start)
    for key, value in last.items():
        run["history"][key].append(value)
    return last


def _spent(start):
    """Return the seconds by the clock and of all threads since `start`."""
    return [time.monotonic() - start[0], time.process_time() - start[1]]


def predict_scores(model, images, batch_size=500, flip=False):
    """Return the scores (N, K), float32, of uint8 images (N, H, W, 3).

    With `flip` they are the mean of the scores of each image and of its mirror image.
    """
    device = next(model.parameters()).device
    model.eval()
    scores = []
    with torch.no_grad(), autocast(device, pick_precision(device)):
        for batch in to_tensor(images).split(batch_size):
            x = normalize(batch.to(device))
            out = model(x).float()
            if flip:
                out = (out + model(x.flip(3)).float()) / 2
            scores.append(out.cpu())
    return torch.cat(scores).numpy()


def accuracy(model, images, labels, batch_size=500, flip=False):
    """Return the share of uint8 images (N, H, W, 3) whose highest score is at their label."""
    return float((predict_scores(model, images, batch_size, flip).argmax(1) == labels).mean())


def plot_curves(history, path=None):
    """Draw loss and accuracy by epoch; return the figure, and save it to `path` if there is one."""
    epochs = range(1, len(history["loss"]) + 1)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, history["loss"], "o-")
    left.set(xlabel="epoch", ylabel="training loss")
    right.plot(epochs, history["train_acc"], "o-", label="training, shifted and mirrored")
    if history["val_acc"]:
        right.plot(epochs, history["val_acc"], "o-", label="validation")
    right.set(xlabel="epoch", ylabel="accuracy")
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def open_log(folder, step):
    """Open a TensorBoard log in `folder`; what an earlier session wrote after `step` is dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            "a TensorBoard log needs a package that is not here: pip install tensorboard"
        ) from None
    return SummaryWriter(folder, purge_step=step + 1)


def _shuffled(N, seed, epoch):
    return torch.randperm(N, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))


@contextmanager
def _stop_requests():
    """Collect Ctrl-C and SIGTERM in a list, so that a step ends first; the second acts at once."""
    requests = []

    def handle(signum, frame):
        if requests:
            raise KeyboardInterrupt
        requests.append(signum)

    if threading.current_thread() is not threading.main_thread():
        yield requests  # only the main thread may catch signals
        return
    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
