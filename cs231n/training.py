"""Train any PyTorch image classifier on CIFAR-10, fast, and able to stop and go on.

One step is in `cs231n/step.py`. Images come from `cs231n/images.py`, files go through
`cs231n/saving.py`, and where torchrun has started several processes `cs231n/distributed.py` makes
one batch of their parts.
"""

import functools
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm

from cs231n.averaging import WeightAverage
from cs231n.curves import open_log, plot_curves  # noqa: F401
from cs231n.distributed import any_of, from_first, mean, part, rank, shared
from cs231n.evaluation import accuracy, predict_scores  # noqa: F401
from cs231n.hardware import (
    keep_freed_memory,
    pick_device,
    pick_layout,
    pick_precision,
    pick_winograd,
)
from cs231n.images import (  # noqa: F401
    MEAN,
    STD,
    augment,
    load_images,
    mirrored_in,
    normalize,
    shrink,
    shuffled,
    side_at,
    to_tensor,
)
from cs231n.saving import (  # noqa: F401
    load_weights,
    require_room,
    resume,
    save_run,
    save_weights,
    stop_requests,
)
from cs231n.step import (  # noqa: F401
    SCHEDULES,
    compile_model,
    cosine,
    make_optimizer,
    one_cycle,
    require_finite,
    take_step,
)

SAVE_EVERY = 60.0  # seconds of training that a power cut may cost
LOOK_EVERY = 20  # steps between two looks at the loss, for which a graphics card has to wait


def train(model, data, *, epochs, batch_size=128, lr=0.1, momentum=0.9, weight_decay=5e-4,
          label_smoothing=0.1, augmented=True, progressive=False, schedule="one_cycle",
          ema=False, seed=0, seconds=None, compiled=False, checkpoint=None, tensorboard=None,
          progress=True):  # fmt: skip
    """Train `model` in place and return its history.

    Args:
        model: maps float32 images (N, 3, H, W) to scores (N, K).
        data: dict with X_train, y_train, X_val, y_val, as `load_images` returns it.
        epochs: passes over the training images, such as 15 or 2.5. The last incomplete batch of
            each is left out.
        batch_size: of all processes together.
        lr: the highest learning rate of the schedule.
        label_smoothing: share of each target spread over all classes (Szegedy, 1512.00567).
        augmented: whether to shift and mirror the training images.
        progressive: whether the first part of the run has smaller images, as `side_at` says.
        schedule: "one_cycle" or "cosine".
        ema: whether validation, the checkpoint and, at the end, `model` get the moving average of
            the weights instead of the last ones.
        seconds: when to be at the end. If the steps take too long for it, there will be fewer,
            and the schedule falls to 0 sooner.
        compiled: whether `torch.compile` makes code for this network first.
        checkpoint: path of the weights, `*.safetensors`, saved after each epoch, each minute and
            at Ctrl-C or SIGTERM. Beside it, `*.state.pt` holds what is needed to go on: where it
            is there, the same call goes on from it to the same result as without the break.
            `*.history.json` has the settings and the history for other programs.
        tensorboard: folder for a TensorBoard log.

    Returns:
        dict of lists with an entry for each epoch: loss, train_acc, val_acc (empty without
        validation images), lr, seconds (of the epoch's steps), and of the run from its start to
        the end of the epoch: steps, elapsed (breaks left out) and cpu_seconds (of all threads).

    Raises:
        ValueError: if the checkpoint was made with other settings, a setting cannot be, or the
            network does not take the smaller images of `progressive`.
        ImportError: if a TensorBoard log is wanted and the package is not installed.
        FloatingPointError: if the loss or the gradient is no longer finite.
        OSError: if there is no room for the checkpoint, or no compiler for `compiled`.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once the checkpoint is written.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, but is {schedule!r}")
    if checkpoint is not None and Path(checkpoint).suffix != ".safetensors":
        raise ValueError(f"the checkpoint must be a *.safetensors, but is {checkpoint}")
    start = time.monotonic(), time.process_time()
    keep_freed_memory()
    device = pick_device()
    layout = pick_layout(model, device)
    model.to(device, memory_format=layout)
    optimizer = make_optimizer(model, momentum, weight_decay)
    images, labels = to_tensor(data["X_train"]), torch.as_tensor(data["y_train"]).long()
    images, labels = images.to(device), labels.to(device)
    if progressive and (reason := only_whole(model, images.shape[-1])):
        raise ValueError(f"progressive training is not possible: {reason}")
    batch_size = min(batch_size, len(images))
    mine = part(batch_size)
    per_epoch = len(images) // batch_size
    run = {
        "settings": {"epochs": epochs, "batch_size": batch_size, "lr": lr, "momentum": momentum,
                     "weight_decay": weight_decay, "label_smoothing": label_smoothing,
                     "augmented": augmented, "progressive": progressive,
                     "schedule": schedule, "ema": ema, "seed": seed, "images": len(images)},
        "precision": from_first(pick_precision(device)), "step": 0,
        "steps": max(1, round(epochs * per_epoch)), "sums": torch.zeros(3), "seconds": 0.0,
        "spent": [0.0, 0.0],
        "history": {key: [] for key in ("loss", "train_acc", "val_acc", "lr", "seconds",
                                        "steps", "elapsed", "cpu_seconds")},
    }  # fmt: skip
    run["winograd"] = from_first(not compiled and pick_winograd(device, run["precision"]))
    average = WeightAverage(model, run["steps"]) if ema else None
    result = average.model if ema else model  # what is validated and saved
    writes = checkpoint is not None and rank() == 0
    if checkpoint is not None:
        checkpoint = Path(checkpoint)
        if writes:
            require_room(model, checkpoint)
        resume(run, model, result, optimizer, checkpoint)
        history = run["history"]  # of a run that is older than this entry
        history.setdefault("steps", [per_epoch * (k + 1) for k in range(len(history["loss"]))])
    run["sums"] = torch.as_tensor(run["sums"], device=device)
    forward = compile_model(shared(model)) if compiled else shared(model)
    log = open_log(tensorboard, run["step"]) if tensorboard is not None and rank() == 0 else None
    bar = tqdm(total=run["steps"] * batch_size, initial=run["step"] * batch_size,
               unit=" images", unit_scale=True, disable=not progress or rank() > 0)  # fmt: skip
    start = start[0] - run["spent"][0], start[1] - run["spent"][1]  # of earlier sessions
    saved, side, opened = time.monotonic(), None, None
    with bar, stop_requests() as requests:
        while run["step"] < run["steps"]:
            begun = time.monotonic()
            rate = SCHEDULES[schedule](run["step"], run["steps"], lr)
            for group in optimizer.param_groups:
                group["lr"] = rate
            x, y = _batch(images, labels, run, mine, layout)
            model.train()
            run["sums"] += mean(take_step(forward, optimizer, x, y, label_smoothing,
                                          run["precision"], run["winograd"]))  # fmt: skip
            run["step"] += 1
            if ema:
                average.update(model, run["step"])
            run["seconds"] += time.monotonic() - begun
            if x.shape[-1] != side:
                side, opened = x.shape[-1], (begun, run["step"] - 1)
                if compiled:  # which takes longer than many steps
                    opened = time.monotonic(), run["step"]
            bar.update(batch_size)
            if seconds is not None:
                run["steps"] = from_first(_fitting_steps(run, seconds, start, opened))
                bar.total = run["steps"] * batch_size
            ends = run["step"] % per_epoch == 0 or run["step"] == run["steps"]
            if device.type != "cpu" and run["step"] % LOOK_EVERY and not ends:
                continue
            require_finite(run["sums"], rate)
            if ends:
                last = _end_epoch(run, result, data, per_epoch, rate, start)
                bar.set_postfix({k: f"{last[k]:.3f}" for k in ("loss", "val_acc") if k in last})
                for key, value in last.items() if log else ():
                    log.add_scalar(key, value, run["step"])
            stop = any_of(bool(requests), device)
            if writes and (stop or ends or time.monotonic() - saved > SAVE_EVERY):
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


def only_whole(model, side):
    """Return why the network does not take the smaller images of a progressive run, or ""."""
    small = side_at(0, side)
    images = torch.zeros(1, 3, small, small, device=next(model.parameters()).device)
    try:
        with torch.no_grad():
            model.eval()(images)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        return (
            f"this network does not take images of {small}x{small} "
            f"({str(error).splitlines()[0]}); before the last layer, let it average over all "
            "positions, however many there are"
        )
    return ""


def _batch(images, labels, run, mine, layout):
    """Return this process's part of the next batch, as the network sees it, and its labels."""
    step, settings = run["step"], run["settings"]
    size, seed = settings["batch_size"], settings["seed"]
    epoch, i = divmod(step, len(images) // size)
    order, mirrored = _drawn(len(images), seed, epoch, images.device)
    rows = order[i * size : (i + 1) * size]
    torch.manual_seed(1_000_003 * seed + step)  # a resumed run draws the same
    batch = images[rows]
    if settings["augmented"]:
        batch = augment(batch, mirrored=mirrored[rows])
    if rank() > 0:
        torch.manual_seed(1_000_003 * seed + step + 2**40 * rank())  # dropout of its own
    x = normalize(batch[mine], layout)
    if settings["progressive"]:
        x = shrink(x, side_at(step / run["steps"], x.shape[-1]), layout)
    return x, labels[rows[mine]]


@functools.lru_cache(maxsize=1)
def _drawn(N, seed, epoch, device):
    """The order of an epoch's images, and which are mirrored: once, for a copy halts a card."""
    return shuffled(N, seed, epoch).to(device), mirrored_in(epoch, N, seed).to(device)


def _fitting_steps(run, seconds, start, opened):
    """Return how many steps the run can have to end in time, at the pace since `opened`.

    That is when this session's images got their size, or when code was compiled for it. With
    larger ones to come there will be fewer steps; that is seen once they are there.
    """
    opened_at, first = opened
    session, elapsed = time.monotonic() - opened_at, time.monotonic() - start[0]
    if elapsed >= seconds:
        return run["step"]
    if session < 0.1 * seconds:
        return run["steps"]  # too early to tell
    left = (seconds - elapsed) * (run["step"] - first) / session
    return min(run["steps"], run["step"] + int(left))


def _end_epoch(run, model, data, per_epoch, lr, start):
    """Add the epoch to the history; return what was added."""
    steps = run["step"] - per_epoch * len(run["history"]["loss"])
    loss, train_acc, _ = (run["sums"] / steps).tolist()
    last = {"loss": loss, "train_acc": train_acc, "lr": lr, "seconds": run["seconds"],
            "steps": run["step"]}  # fmt: skip
    run["sums"], run["seconds"] = torch.zeros_like(run["sums"]), 0.0
    if len(data["X_val"]) and rank() == 0:
        last["val_acc"] = accuracy(
            model, data["X_val"], data["y_val"], precision=run["precision"]
        )
    last["elapsed"], last["cpu_seconds"] = _spent(start)
    for key, value in last.items():
        run["history"][key].append(value)
    return last


def _spent(start):
    """Return the seconds by the clock and of all threads since `start`."""
    return [time.monotonic() - start[0], time.process_time() - start[1]]
