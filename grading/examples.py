"""A class of example students for the demo and the tests: what they hand in, and why.

Every example is the solved package, or the unwritten one, with small substitutions. They are
declared in `CLASS` and nowhere else.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from grading.overlay import ROOT, SOLUTIONS, TASK_FILES, pristine_stub

LAYERS = "cs231n/layers.py"
OPTIM = "cs231n/optim.py"
CHECKPOINT = "checkpoints/resnet18_cifar10.safetensors"
SMALL_CHECKPOINT = ROOT / "tests" / "data" / "resnet18_width16.safetensors"
ANSWER = "*Your answer here.*"
SAID = "Because the gradient passes through the statistics of the batch as well."

Notebooks = dict[str, str]  # file name -> text


@dataclass(frozen=True)
class Example:
    """One student. `written`: the task files that are solved, the rest being unwritten.

    `replace` holds (file, old, new), each `old` standing exactly once in the file. `notebooks`
    changes the notebooks that are handed in. `answers`: whether the questions are answered.
    """

    what: str
    written: tuple[str, ...] = TASK_FILES
    replace: tuple[tuple[str, str, str], ...] = ()
    notebooks: Callable[[Notebooks], Notebooks] = lambda notebooks: notebooks
    answers: bool = True
    checkpoint: bool = False


def _without(name: str) -> Callable[[Notebooks], Notebooks]:
    return lambda notebooks: {k: v for k, v in notebooks.items() if k != name}


def _renamed(name: str, new: str) -> Callable[[Notebooks], Notebooks]:
    return lambda notebooks: {new if k == name else k: v for k, v in notebooks.items()}


def _cut(name: str) -> Callable[[Notebooks], Notebooks]:
    return lambda notebooks: {
        k: v[: len(v) * 2 // 3] if k == name else v for k, v in notebooks.items()
    }


RELU = "    return np.maximum(x, 0), x\n"

CLASS: dict[str, Example] = {
    "complete": Example(
        "everything solved, with a narrow ResNet-18, which earns at most 7 of its 10 points",
        checkpoint=True,
    ),
    "partly right": Example(
        "layers and optimisers written, the networks not",
        written=(LAYERS, OPTIM, "cs231n/layer_utils.py"),
    ),
    "wrong": Example(
        "known mistakes: loss and gradient not averaged, epsilon outside the root, keep and "
        "drop swapped, the sign of the velocity",
        replace=(
            (LAYERS, "loss = -log_p[examples, y].mean()", "loss = -log_p[examples, y].sum()"),
            (LAYERS, "    dx /= x.shape[0]\n    return loss, dx", "    return loss, dx"),
            (LAYERS, "    std = np.sqrt(var + eps)\n    x_hat = centred / std\n    out = gamma",
             "    std = np.sqrt(var) + eps\n    x_hat = centred / std\n    out = gamma"),
            (LAYERS, "(rng.random_sample(x.shape) < p)", "(rng.random_sample(x.shape) >= p)"),
            (OPTIM, 'v = config["momentum"] * config["velocity"] - config["learning_rate"] * dw',
             'v = config["momentum"] * config["velocity"] + config["learning_rate"] * dw'),
        ),
    ),
    "untouched": Example("nothing written", written=(), answers=False),
    "endless loop": Example(
        "relu_forward never returns",
        replace=((LAYERS, RELU, "    while True:\n        pass\n"),),
    ),
    "exit": Example(
        "relu_forward ends the process",
        replace=((LAYERS, RELU, "    import os\n    os._exit(0)\n"),),
    ),
    "crash": Example(
        "relu_forward reads memory that is not its own",
        replace=((LAYERS, RELU, "    import ctypes\n    return ctypes.string_at(0)\n"),),
    ),
    "syntax error": Example(
        "layers.py does not parse",
        replace=((LAYERS, RELU, "    return np.maximum(x, 0), x)\n"),),
    ),
    "missing notebook": Example("Dropout.ipynb not handed in", notebooks=_without("Dropout.ipynb")),
    "Renée Müller-Łoś": Example(
        "a notebook renamed by the browser",
        notebooks=_renamed("FullyConnectedNets.ipynb", "FullyConnectedNets (1).ipynb"),
    ),
    "王小明": Example("a notebook cut short", notebooks=_cut("BatchNorm.ipynb")),
}  # fmt: skip


def write_class(archive: Path, released: Path) -> dict[str, str]:
    """Write one `<student>_hw.zip` an example into `archive`; student -> what is special."""
    archive.mkdir(parents=True, exist_ok=True)
    for student, example in CLASS.items():
        with zipfile.ZipFile(archive / f"{student}_hw.zip", "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in handed_in(example, released).items():
                made.writestr(name, data)
    return {student: example.what for student, example in CLASS.items()}


def handed_in(example: Example, released: Path) -> dict[str, bytes]:
    """The files of an example. ValueError if a substitution does not fit the masters."""
    files = {name: _task_file(example, name).encode() for name in TASK_FILES}
    notebooks = {
        path.name: _filled_in(path, example.answers) for path in sorted(released.glob("*.ipynb"))
    }
    files |= {name: text.encode() for name, text in example.notebooks(notebooks).items()}
    if example.checkpoint and SMALL_CHECKPOINT.is_file():
        files[CHECKPOINT] = SMALL_CHECKPOINT.read_bytes()
    return files


def _task_file(example: Example, name: str) -> str:
    if name not in example.written:
        return pristine_stub(name).decode()
    text = (SOLUTIONS / name).read_text("utf-8")
    for file, old, new in example.replace:
        if file == name:
            if text.count(old) != 1:
                raise ValueError(f"{name} holds {text.count(old)} times: {old!r}")
            text = text.replace(old, new)
    return text


def _filled_in(path: Path, answers: bool) -> str:
    """A released notebook as a student hands it in: questions answered, one plot drawn."""
    notebook = json.loads(path.read_text("utf-8"))
    if not answers:
        return json.dumps(notebook)
    plots = [plot()]
    for cell in notebook["cells"]:
        if "".join(cell["source"]) == ANSWER:
            cell["source"] = SAID
        elif cell["cell_type"] == "code" and "plt." in "".join(cell["source"]) and plots:
            data = {"image/png": plots.pop(), "text/plain": "<Figure size 400x250>"}
            cell["outputs"] = [{"output_type": "display_data", "data": data, "metadata": {}}]
    return json.dumps(notebook)


@cache
def plot() -> str:
    """A small curve as base64 PNG: what a student's training loss may look like."""
    import numpy as np
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=(4, 2.5))
    axes = figure.add_subplot()
    steps = np.arange(200)
    axes.plot(steps, 2.3 * np.exp(-steps / 60) + 0.1 * np.cos(steps))
    axes.set(xlabel="iteration", ylabel="loss", title="Training loss")
    figure.tight_layout()
    data = io.BytesIO()
    figure.savefig(data, dpi=80)
    return base64.b64encode(data.getvalue()).decode()
