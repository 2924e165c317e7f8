"""Weights and interrupted runs on disk. A file is there as a whole, or not at all."""

import json
import os
import shutil
import signal
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch

from cs231n.distributed import from_first, rank

# What readers raise for a damaged file.
DAMAGE = (
    safetensors.SafetensorError, UnpicklingError, EOFError, RuntimeError, LookupError, TypeError,
    ValueError, AttributeError,
)  # fmt: skip


def save_weights(model, path, dtype=None):
    """Write the model's weights to `path` (`*.safetensors`), all of the file or nothing.

    With `dtype` (such as `torch.float16`) floating-point weights are stored in it.
    """
    weights = {}
    for name, value in model.state_dict().items():
        weights[name] = value.detach().cpu().contiguous()
        if dtype is not None and value.is_floating_point():
            weights[name] = weights[name].to(dtype)
    replace_file(path, lambda part: safetensors.torch.save_file(weights, part))


def read_weights(path):
    """Return the tensors in `path`, `*.safetensors` or `*.pt`, by name. No code in it is run.

    Raises:
        ValueError: if it is damaged, or holds something else.
    """
    try:
        if Path(path).suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged, or holds no weights: {reason}") from None
    if not isinstance(weights, dict):
        raise ValueError(f"{path} holds no weights by name, but a {type(weights).__name__}")
    return weights


def load_weights(model, path):
    """Fill `model` with the weights in `path`, `*.safetensors` or `*.pt`; return the model.

    Raises:
        ValueError: if names or shapes differ from the model's.
    """
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise ValueError(f"{path} holds the weights of another network: {error}") from None
    return model


def save_run(run, model, result, optimizer, checkpoint):
    """Write the weights of `result`, then all that is needed to go on, beside each other.

    `result` is the model itself, or the one that has the average of its weights.
    """
    state = {"run": run, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    if result is not model:
        state["average"] = result.state_dict()
    save_weights(result, checkpoint)
    replace_file(checkpoint.with_suffix(".state.pt"), lambda part: torch.save(state, part))
    record = run["settings"] | {"precision": str(run["precision"]), "history": run["history"]}
    save_history(record, checkpoint)


def save_history(record, checkpoint):
    """Write the record to `*.history.json` beside the checkpoint; return its path."""
    path = checkpoint.with_suffix(".history.json")
    text = json.dumps(record, indent=1, default=str) + "\n"
    replace_file(path, lambda part: part.write_text(text))
    return path


def precision_of(checkpoint):
    """Return the precision of the run whose state is beside the checkpoint."""
    return _read_state(checkpoint.with_suffix(".state.pt"))["run"]["precision"]


def resume(run, model, result, optimizer, checkpoint):
    """Fill run, networks and optimizer from the state beside the checkpoint, if both are there.

    Raises:
        ValueError: if it is damaged, or is that of another run.
    """
    path = checkpoint.with_suffix(".state.pt")
    there = rank() == 0 and path.exists() and checkpoint.exists()
    if (state := from_first(_read_state(path) if there else None)) is None:
        return
    for name, value in run["settings"].items():
        if (before := state["run"]["settings"].get(name)) != value:
            raise ValueError(
                f"{path} was made with {name}={before}, not {value}: use that, delete the file, "
                "or choose another checkpoint"
            )
    try:
        model.load_state_dict(state["model"])
        if result is not model:
            result.load_state_dict(state["average"])
    except RuntimeError as error:
        raise ValueError(f"{path} was made with another network: {error}") from None
    optimizer.load_state_dict(state["optimizer"])
    run.update(state["run"])


def _read_state(path):
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state["run"]["settings"], state["model"], state["optimizer"]
    except DAMAGE:
        raise ValueError(f"{path} is damaged: delete it to begin anew") from None
    return state


def require_room(model, checkpoint):
    """Raise OSError if the folder of `checkpoint` cannot be written to, or has no room; make it.

    That is three times the weights, of which one is their average, and once the momentum, and as
    much for the files they replace.
    """
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    needed = 8 * sum(v.numel() * v.element_size() for v in model.state_dict().values())
    try:
        tempfile.TemporaryFile(dir=checkpoint.parent).close()
    except OSError as error:
        raise OSError(f"{checkpoint.parent} cannot be written to: {error.strerror}") from None
    free = shutil.disk_usage(checkpoint.parent).free
    if free < needed:
        raise OSError(f"{checkpoint.parent} has {free:,} bytes left; training needs {needed:,}")


@contextmanager
def stop_requests():
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


def replace_file(path, write):
    """Let `write` make a file beside `path`, then put it in its place in one step.

    Raises:
        OSError: if it cannot be written. What was at `path` is as it was.
    """
    part = Path(path).with_name(Path(path).name + ".part")
    try:
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())  # a power cut must not find the new name and not what is in it
        os.replace(part, path)
    except (safetensors.SafetensorError, RuntimeError) as error:  # theirs and torch's full disk
        free, reason = shutil.disk_usage(part.parent).free, str(error).partition("\n")[0]
        raise OSError(
            f"{path} cannot be written ({reason}); its disk has {free:,} bytes left. What was "
            "there before is unchanged"
        ) from None
    finally:
        part.unlink(missing_ok=True)  # it would keep room on a full disk
