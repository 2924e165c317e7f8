"""Mistakes of the PyTorch networks: modules whose forward is a definition, and changes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from grading import reference
from grading.checkpoint import expected_shapes
from grading.checks.pytorch import block_shapes
from grading.misconceptions.bank import known

NETS = "classifiers.pytorch_nets"
RESNET = "classifiers.resnet"
STYLES = ("convnet_functional", "ConvNetModule", "convnet_sequential")

Definition = Callable[..., Any]


def styles(scores: Definition) -> dict[str, Callable[..., Any]]:
    """The three styles of the net whose scores(x, w1, b1, w2, b2, fc_w, fc_b) are given."""

    def functional(x: Any, params: Any) -> Any:
        return scores(x, *params)

    class Net(nn.Module):
        def __init__(self, channels: int, C1: int, C2: int, classes: int) -> None:
            super().__init__()
            shapes = ((C1, channels, 5, 5), (C1,), (C2, C1, 3, 3), (C2,))
            shapes += ((classes, C2 * 1024), (classes,))
            self.held = nn.ParameterList([nn.Parameter(torch.zeros(shape)) for shape in shapes])

        def forward(self, x: Any) -> Any:
            w1, b1, w2, b2, fc_w, fc_b = self.held
            return scores(x, w1, b1, w2, b2, fc_w.T, fc_b)

    return {
        f"{NETS}:convnet_functional": functional,
        f"{NETS}:ConvNetModule": Net,
        f"{NETS}:convnet_sequential": lambda *sizes: Net(*sizes),
    }


def _scores(
    relu1: Definition = F.relu, relu2: Definition = F.relu, last: Definition = lambda s: s
) -> Definition:
    def scores(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, fc_w: Any, fc_b: Any) -> Any:
        hidden = relu1(F.conv2d(x, w1, b1, padding=2))
        return last(relu2(F.conv2d(hidden, w2, b2, padding=1)).flatten(1) @ fc_w + fc_b)

    return scores


def _same(x: Any) -> Any:
    return x


for _name, _says, _change in (
    (
        "no ReLU after the first convolution",
        "Two convolutions in a row are one: the ReLU between them is missing.",
        {"relu1": _same},
    ),
    (
        "no ReLU after the second convolution",
        "After each convolution stands a ReLU, after the second too.",
        {"relu2": _same},
    ),
    (
        "ReLU after the last layer",
        "The scores may be negative: no ReLU stands after the last layer.",
        {"last": F.relu},
    ),
    (
        "softmax in the network",
        "The network ends with scores: the softmax is part of the loss.",
        {"last": lambda s: torch.softmax(s, 1)},
    ),
):
    known(f"three styles: {_name}", _says, STYLES, styles(_scores(**_change)))


known(
    "three styles: cut from the graph",
    "No gradient reaches what stands before a tensor that is detached, made by NumPy or computed "
    "without gradients: those weights are never trained.",
    STYLES,
    tuple(
        styles(_scores(**{place: lambda h, after=after: after(h).detach()}))
        for place, after in (("relu2", F.relu), ("relu1", F.relu), ("last", _same))
    ),
)


class _Held(nn.Module):
    """A module whose state has the given names and shapes."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            *folders, leaf = name.split(".")
            owner: nn.Module = self
            for folder in folders:
                if folder not in owner._modules:
                    owner.add_module(folder, nn.Module())
                owner = owner._modules[folder]
            if leaf in ("weight", "bias"):
                setattr(owner, leaf, nn.Parameter(torch.zeros(shape)))
            else:
                kind = torch.int64 if leaf == "num_batches_tracked" else torch.float32
                owner.register_buffer(leaf, torch.zeros(shape, dtype=kind))


def block(definition: Definition, resnet: Definition) -> dict[str, Callable[..., Any]]:
    """BasicBlock and ResNet18 by definition(x, state, stride, training, at)."""

    class Block(_Held):
        def __init__(self, C: int, out_channels: int, stride: int = 1) -> None:
            super().__init__(block_shapes(C, out_channels, stride))
            self.stride = stride

        def forward(self, x: Any) -> Any:
            return definition(x, dict(self.state_dict()), self.stride, self.training)

    class Net(_Held):
        def __init__(self, num_classes: int = 10, width: int = 64) -> None:
            super().__init__(expected_shapes(width, num_classes))

        def forward(self, x: Any) -> Any:
            return resnet(x, dict(self.state_dict()), self.training, definition)

    return {f"{RESNET}:BasicBlock": Block, f"{RESNET}:ResNet18": Net}


def _block(
    inner: Definition = reference.relu,
    outer: Definition = reference.relu,
    shortcut: Definition = lambda out, x: out + x,
    second: bool = True,
    last_first: bool = False,
) -> Definition:
    def definition(x: Any, state: Any, stride: int, training: bool, at: str = "") -> Any:
        def conv_norm(x: Any, conv: str, norm: str, stride: int, pad: int) -> Any:
            weight = reference.tensor(state[f"{at}{conv}.weight"])
            hidden = F.conv2d(x, weight, stride=stride, padding=pad)
            if norm == "bn2" and not second:
                return hidden
            gamma, beta, mean, var = (
                state[f"{at}{norm}.{part}"]
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            gamma, beta = reference.tensor(gamma), reference.tensor(beta)
            if training:
                return reference.spatial_batchnorm(hidden, gamma, beta)
            return reference.spatial_batchnorm_test(hidden, gamma, beta, mean, var)

        hidden = inner(conv_norm(x, "conv1", "bn1", stride, 1))
        hidden = conv_norm(hidden, "conv2", "bn2", 1, 1)
        if f"{at}shortcut.0.weight" in state:
            x = conv_norm(x, "shortcut.0", "shortcut.1", stride, 0)
        return shortcut(outer(hidden), x) if last_first else outer(shortcut(hidden, x))

    return definition


def _resnet(last_relu: bool = True, pool: Definition = lambda h: h.mean(dim=(2, 3))) -> Definition:
    def definition(x: Any, state: Any, training: bool, block: Definition) -> Any:
        hidden = F.conv2d(x, reference.tensor(state["conv1.weight"]), padding=1)
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, var = (reference.tensor(state[f"bn1.{part}"]) for part in parts)
        if training:
            hidden = reference.spatial_batchnorm(hidden, gamma, beta)
        else:
            hidden = reference.spatial_batchnorm_test(hidden, gamma, beta, mean, var)
        hidden = reference.relu(hidden) if last_relu else hidden
        for stage in range(1, 5):
            for k in range(2):
                stride = 2 if stage > 1 and k == 0 else 1
                hidden = block(hidden, state, stride, training, f"layer{stage}.{k}.")
        fc = reference.tensor(state["fc.weight"])
        return pool(hidden) @ fc.T + reference.tensor(state["fc.bias"])

    return definition


for _name, _says, _change in (
    (
        "no ReLU inside",
        "Between the two convolutions of the block stands a ReLU, which is missing.",
        {"inner": _same},
    ),
    (
        "no ReLU at the end",
        "The block ends with a ReLU, after the shortcut is added.",
        {"outer": _same},
    ),
    (
        "ReLU before the sum",
        "The last ReLU of the block comes after the shortcut is added, not before.",
        {"last_first": True},
    ),
    (
        "shortcut left out",
        "What makes the block residual is the shortcut that is added at the end: it is missing.",
        {"shortcut": lambda out, x: out},
    ),
    (
        "second batch norm left out",
        "Both convolutions of the block are followed by a batch norm, the second too.",
        {"second": False},
    ),
):
    known(
        f"residual block: {_name}", _says, ("BasicBlock", "ResNet18"),
        block(_block(**_change), _resnet()),
    )
for _name, _says, _change in (
    (
        "no ReLU after the stem",
        "The stem is a convolution, a batch norm and a ReLU: the ReLU is missing.",
        {"last_relu": False},
    ),
    (
        "maximum for mean in the last pooling",
        "The last pooling is a mean over all places, not the maximum.",
        {"pool": lambda h: h.amax(dim=(2, 3))},
    ),
    (
        "sum for mean in the last pooling",
        "The last pooling is a mean over all places, not the sum.",
        {"pool": lambda h: h.sum(dim=(2, 3))},
    ),
):
    known(f"ResNet-18: {_name}", _says, ("ResNet18",), block(_block(), _resnet(**_change)))
RIGHT = {**styles(_scores()), **block(_block(), _resnet())}
