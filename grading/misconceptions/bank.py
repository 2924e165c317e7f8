"""The bank: known wrong answers, each with a name and a sentence about the idea behind it.

A misconception is written as the functions of `cs231n` that it replaces, in terms of the torch
definitions of `reference`. So it can answer a check's questions beside a student, to be compared
with, and it can stand in a solved tree, to see which checks notice it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from grading.checks import ALL
from grading.checks.case import Case

Functions = Mapping[str, Callable[..., Any]]  # "module:name" below cs231n -> what stands there
Recogniser = Callable[[Case, Mapping[str, Any]], bool | None]


@dataclass(frozen=True)
class Misconception:
    """A known mistake.

    `says` points at the idea, not at the code to type. `fails` are the checks that must notice
    it, and no other may. `forms` are the ways in which people write it, the usual one first.
    `seen(case, answers)` recognises it where no two arrays can be compared, because the answers
    are random or not finite; None where the answers speak against it.
    """

    name: str
    says: str
    fails: tuple[str, ...]
    forms: tuple[Functions, ...]
    seen: Recogniser | None = None

    @property
    def functions(self) -> Functions:
        return self.forms[0]


# Where the notebooks explain what a check asks for: the heading of the section.
SECTIONS = {
    "affine_forward": "Affine layer, forward",
    "affine_backward": "Affine layer, backward",
    "relu_forward": "ReLU, forward",
    "relu_backward": "ReLU, backward",
    "softmax_loss": "Softmax loss",
    "sgd_momentum": "SGD with momentum",
    "nesterov": "Nesterov momentum",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "FullyConnectedNet": "3. The network",
    "batchnorm_forward": "2. Forward pass",
    "batchnorm_backward": "3. Backward pass",
    "batchnorm_backward_alt": "4. The backward pass in one line",
    "affine_bn_relu": "5. The affine - batch norm - ReLU sandwich",
    "layernorm_forward": "6. Layer normalisation",
    "layernorm_backward": "6. Layer normalisation",
    "affine_ln_relu": "The sandwich with layer norm",
    "FullyConnectedNet_batchnorm": "7. A net with normalisation",
    "FullyConnectedNet_layernorm": "7. A net with normalisation",
    "dropout_forward": "Forward",
    "dropout_backward": "Backward",
    "FullyConnectedNet_dropout": "2. The network",
    "conv_forward_naive": "1. Convolution",
    "conv_backward_naive": "1. Convolution",
    "max_pool_forward_naive": "2. Max pooling",
    "max_pool_backward_naive": "2. Max pooling",
    "ThreeLayerConvNet": "4. A three-layer convolutional net",
    "spatial_batchnorm_forward": "6. Spatial batch norm",
    "spatial_batchnorm_backward": "6. Spatial batch norm",
    "spatial_groupnorm_forward": "7. Group norm",
    "spatial_groupnorm_backward": "7. Group norm",
    "spatial_instancenorm_forward": "8. Instance norm",
    "spatial_instancenorm_backward": "8. Instance norm",
    "switchable_norm_forward": "9. Switchable norm",
    "switchable_norm_backward": "9. Switchable norm",
    "convnet_functional": "1.1 Bare tensors and functions",
    "ConvNetModule": "1.2 A module",
    "convnet_sequential": "1.3 A sequence",
    "BasicBlock": "2.1 The block",
    "ResNet18": "2.2 ResNet-18",
}

BANK: dict[str, Misconception] = {}


def known(
    name: str,
    says: str,
    fails: str | tuple[str, ...],
    functions: Functions | tuple[Functions, ...],
    seen: Recogniser | None = None,
) -> None:
    """Add a misconception to the bank; ValueError for a name or a check that cannot be."""
    fails = (fails,) if isinstance(fails, str) else fails
    unknown = [check for check in fails if check not in ALL]
    if name in BANK or unknown:
        raise ValueError(f"misconception {name!r}: a second one, or no such check: {unknown}")
    forms = functions if isinstance(functions, tuple) else (functions,)
    BANK[name] = Misconception(name, says, fails, forms, seen)


def where(check: str) -> str:
    """The sentence that sends a student to the notebook's section on this check."""
    return f'See "{SECTIONS[check]}" in notebooks/{ALL[check].notebook}.ipynb.'
