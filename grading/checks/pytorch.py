"""Checks of notebooks/PyTorch.ipynb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from grading import reference
from grading.checkpoint import FULL_WIDTH_PARAMETERS, expected_shapes
from grading.checks.accuracy import accuracy
from grading.checks.case import Call, Case, Kept, Law, check
from grading.checks.laws import entries
from grading.checks.layer import size
from grading.sealed.tools import LAYERS

on_notebook = partial(check, notebook="PyTorch", torch=True)

NETS = "classifiers.pytorch_nets"
RESNET = "classifiers.resnet"
MODULE = Kept("module")


PARAMS = ("conv_w1", "conv_b1", "conv_w2", "conv_b2", "fc_w", "fc_b")


def _convnet(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """A batch, the six parameters of the three-layer net, and an upstream gradient."""
    C1, C2, classes = size(rng, 4, 6), size(rng, 3, 5), 7
    x = rng.normal(size=(2, 3, 32, 32))
    params = [
        rng.normal(size=(C1, 3, 5, 5)) / np.sqrt(75),
        rng.normal(scale=0.3, size=C1),
        rng.normal(size=(C2, C1, 3, 3)) / np.sqrt(9 * C1),
        rng.normal(scale=0.3, size=C2),
        rng.normal(size=(C2 * 1024, classes)) / 32,
        rng.normal(scale=0.3, size=classes),
    ]
    return x, params, rng.normal(size=(2, classes))


def _convnet_case(
    label: str,
    calls: list[Call],
    inputs: list[np.ndarray],
    dout: np.ndarray,
    names: Sequence[str],
) -> Case:
    """The scores, and a gradient for each parameter: what gets none is never trained."""
    _, *found = reference.gradients(reference.torch_convnet, inputs, dout)
    grads = dict(zip(names, found, strict=True))
    if "fc.weight" in grads:
        grads["fc.weight"] = grads["fc.weight"].T  # nn.Linear holds (out, in)
    return Case(
        label,
        calls,
        {"scores": reference.value(reference.torch_convnet, inputs)},
        entries("grads", grads, "float64", gradient=True),
    )


@on_notebook(1)
def convnet_functional(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label in ("scores", "scores of another net"):
        x, params, dout = _convnet(rng)
        args = (f"{NETS}:convnet_functional", x, dict(zip(PARAMS, params, strict=True)), dout)
        call = Call("tool:call_with_tensors", args, returns=("scores", "grads"))
        cases.append(_convnet_case(label, [call], [x, *params], dout, PARAMS))
    return cases


def _module_cases(rng: np.random.Generator, name: str) -> list[Case]:
    cases = []
    for label in ("scores", "scores of another net"):
        x, params, dout = _convnet(rng)
        sizes = (3, params[0].shape[0], params[2].shape[0], params[4].shape[1])
        arrays = [*params[:4], params[4].T.copy(), params[5]]  # nn.Linear holds (out, in)
        calls = [
            Call(f"{NETS}:{name}", sizes, returns=("module",), keep=("module",)),
            Call("tool:load_in_order", (MODULE, arrays), returns=("_done",)),
            Call("tool:forward_and_back", (MODULE, x, dout), returns=("scores", "grads")),
        ]
        cases.append(_convnet_case(label, calls, [x, *params], dout, LAYERS))
    return cases


@on_notebook(1)
def ConvNetModule(rng: np.random.Generator) -> list[Case]:
    return _module_cases(rng, "ConvNetModule")


@on_notebook(1)
def convnet_sequential(rng: np.random.Generator) -> list[Case]:
    return _module_cases(rng, "convnet_sequential")


def _draw_state(
    rng: np.random.Generator, shapes: dict[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Weights and running statistics for a torch module's state, by what the names say."""
    state: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(3)
        elif len(shape) > 1:
            state[name] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        elif name.endswith("running_var") or name.endswith("weight"):
            state[name] = rng.uniform(0.5, 1.5, size=shape)
        else:
            state[name] = rng.normal(scale=0.3, size=shape)
    return state


def _same_state(want: dict[str, tuple[int, ...]], what: str) -> Law:
    """The module's state has the right names and shapes."""

    def broken(answers: dict[str, object]) -> str:
        got = answers.get("shapes")
        if not isinstance(got, dict):
            return f"{what} is no torch module"
        missing, extra = sorted(set(want) - set(got)), sorted(set(got) - set(want))
        if missing or extra:
            lacks = f"it lacks {', '.join(missing[:4])}" if missing else ""
            has = f"it should not have {', '.join(extra[:4])}" if extra else ""
            return f"{what}: {' and '.join(filter(None, (lacks, has)))}"
        for name, shape in want.items():
            if tuple(got[name]) != shape:
                return f"{what}: {name} has shape {tuple(got[name])}; it must have {shape}"
        return ""

    return Law("names and shapes", broken, of="shapes")


def block_shapes(C: int, F: int, stride: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of everything in the state of a BasicBlock."""
    layers = [("conv1", "bn1", C, 3), ("conv2", "bn2", F, 3)]
    if stride != 1 or C != F:
        layers.append(("shortcut.0", "shortcut.1", C, 1))
    shapes: dict[str, tuple[int, ...]] = {}
    for conv, norm, channels, window in layers:
        shapes[f"{conv}.weight"] = (F, channels, window, window)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (F,)
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def _block_case(
    rng: np.random.Generator, label: str, sizes: tuple[int, int, int], training: bool
) -> Case:
    state = _draw_state(rng, block_shapes(*sizes))
    x = rng.normal(size=(3, sizes[0], 6, 6))
    block = partial(reference.basic_block, state=state, stride=sizes[2], training=training)
    out = reference.value(block, [x])
    calls = [
        Call(f"{RESNET}:BasicBlock", sizes, returns=("module",), keep=("module",)),
        Call("tool:state_shapes", (MODULE,), returns=("shapes",)),
        Call("tool:load", (MODULE, state), returns=("_done",)),
        Call("tool:forward", (MODULE, x, training), returns=("out",)),
    ]
    law = _same_state(block_shapes(*sizes), "BasicBlock")
    laws = [replace(law, weight=0.25)]
    want = {"out": out}
    if training:
        dout = rng.normal(size=out.shape)
        calls.append(Call("tool:gradients", (MODULE, x, dout), returns=("grads",)))
        laws += entries(
            "grads", {"x": reference.gradients(block, [x], dout)[0]}, "float64", gradient=True
        )
    return Case(label, calls, want, laws, edge=False)


@on_notebook(2)
def BasicBlock(rng: np.random.Generator) -> list[Case]:
    return [
        _block_case(rng, "same shape, training", (4, 4, 1), True),
        _block_case(rng, "stride 2 and more channels, training", (4, 6, 2), True),
        _block_case(rng, "eval mode", (3, 5, 2), False),
        _block_case(rng, "more channels, stride 1", (3, 5, 1), False),
    ]


@on_notebook(2, forward="BasicBlock")
def ResNet18(rng: np.random.Generator) -> list[Case]:
    def counted(answers: dict[str, object]) -> str:
        count = sum(int(np.prod(shape)) for shape in answers["parameters"])
        if count == FULL_WIDTH_PARAMETERS:
            return ""
        return f"the network has {count:,} parameters, not {FULL_WIDTH_PARAMETERS:,}"

    full = expected_shapes()
    build = Call(f"{RESNET}:ResNet18", returns=("module",), keep=("module",))
    calls = [
        build,
        Call("tool:state_shapes", (MODULE,), returns=("shapes",)),
        Call("tool:parameter_shapes", (MODULE,), returns=("parameters",)),
    ]
    structure = Case(
        "the network as it is built",
        calls,
        laws=[_same_state(full, "ResNet18"), Law("parameters", counted, of="parameters")],
    )
    return [structure, *(_resnet_case(rng, mode) for mode in (False, True))]


def _resnet_case(rng: np.random.Generator, training: bool) -> Case:
    """A narrow net's scores, so that the check is quick."""
    width, classes = 4, 6
    state = _draw_state(rng, expected_shapes(width, classes))
    x = rng.normal(size=(2, 3, 32, 32))
    scores = reference.value(partial(reference.resnet18, state=state, training=training), [x])
    build = Call(
        f"{RESNET}:ResNet18",
        kwargs={"num_classes": classes, "width": width},
        returns=("module",),
        keep=("module",),
    )
    calls = [
        build,
        Call("tool:load", (MODULE, state), returns=("_done",)),
        Call("tool:forward", (MODULE, x, training), returns=("scores",)),
    ]
    label = "a narrow net in train mode" if training else "a narrow net in eval mode"
    return Case(label, calls, {"scores": scores})


@on_notebook(10, exercises=("ResNet18",), procedure=accuracy)
def resnet18_accuracy(rng: np.random.Generator) -> list[Case]:
    return []  # its questions are the test images: see accuracy.py
