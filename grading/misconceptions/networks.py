"""Mistakes of the networks: the definitions as classes, of which each changes one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from grading import reference
from grading.misconceptions.bank import known

Params = Mapping[str, torch.Tensor]


class Network:
    """What both networks share: a loss from scores and an L2 term, gradients by autograd.

    `path` and `penalty_path` are what the gradient is taken of, where that is not what the loss
    is made of.
    """

    params: dict[str, np.ndarray]
    reg: float

    def scores(self, p: Params, X: torch.Tensor, training: bool) -> torch.Tensor:
        raise NotImplementedError("a network says how its scores are made")

    def path(self, p: Params, X: torch.Tensor) -> torch.Tensor:
        return self.scores(p, X, True)

    def penalized(self, p: Params) -> list[str]:
        return [name for name in p if name.startswith("W")]

    def penalty(self, p: Params) -> Any:
        return sum(0.5 * self.reg * (p[name] ** 2).sum() for name in self.penalized(p))

    def penalty_path(self, p: Params) -> Any:
        return self.penalty(p)

    def loss(self, X: np.ndarray, y: np.ndarray | None = None) -> Any:
        """Scores, or the loss and the gradients, in the dtype of the parameters."""
        dtype = self.params["W1"].dtype
        leaves = {name: reference.tensor(a, grad=True) for name, a in self.params.items()}
        X = reference.tensor(X)
        if y is None:
            return self.scores(leaves, X, False).detach().numpy().astype(dtype)
        data = reference.softmax_loss(self.scores(leaves, X, True), y)
        loss = float((data + self.penalty(leaves)).detach())
        goal = reference.softmax_loss(self.path(leaves, X), y) + self.penalty_path(leaves)
        goal.backward()
        found = {n: leaf.grad for n, leaf in leaves.items() if leaf.grad is not None}
        return dtype.type(loss), {n: g.numpy().astype(dtype) for n, g in found.items()}


class FullyConnectedNet(Network):
    """The fully connected network, right."""

    start = {"gamma": 1.0, "beta": 0.0, "b": 0.0}

    def __init__(
        self,
        hidden_dims: list[int],
        input_dim: int = 3072,
        num_classes: int = 10,
        dropout_keep_ratio: float = 1,
        normalization: str | None = None,
        reg: float = 0.0,
        weight_scale: float = 1e-2,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        self.normalization, self.reg, self.keep = normalization, reg, dropout_keep_ratio
        self.dropout_param = {"mode": "train", "p": dropout_keep_ratio, "seed": seed}
        self.bn_params: list[dict[str, Any]] = [{} for _ in hidden_dims if normalization]
        self.masks: list[np.ndarray] = []
        rng, self.params = np.random.RandomState(0), {}
        dims = [input_dim, *hidden_dims, num_classes]
        for i, shape in enumerate(zip(dims[:-1], dims[1:], strict=True), 1):
            self.params[f"W{i}"] = weight_scale * rng.normal(size=shape)
            last = i == len(dims) - 1
            for name in ("b", "gamma", "beta"):
                if name == "b" or (normalization and not last):
                    self.params[f"{name}{i}"] = np.full(shape[1], self.start[name])
        self.params = {name: array.astype(dtype) for name, array in self.params.items()}

    def scores(self, p: Params, X: torch.Tensor, training: bool) -> torch.Tensor:
        last = len([name for name in p if name.startswith("W")])
        hidden = X
        for i in range(1, last):
            hidden = reference.affine(hidden, p[f"W{i}"], p[f"b{i}"])
            hidden = self.block(hidden, p, i, training)
        return reference.affine(hidden, p[f"W{last}"], p[f"b{last}"])

    def block(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        """What follows the i-th affine layer."""
        return self.dropout(reference.relu(self.norm(x, p, i, training)), i, training)

    def norm(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        if not self.normalization:
            return x
        gamma, beta = p[f"gamma{i}"], p[f"beta{i}"]
        if self.normalization == "layernorm":
            return reference.layernorm(x, gamma, beta)
        if training:
            return reference.batchnorm(x, gamma, beta)
        found = self.bn_params[i - 1]
        return reference.batchnorm_test(
            x, gamma, beta, found["running_mean"], found["running_var"]
        )

    def dropout(self, x: torch.Tensor, i: int, training: bool) -> torch.Tensor:
        if self.keep == 1 or not training:
            return x
        if len(self.masks) >= i:
            return x * reference.tensor(self.masks[i - 1])
        rng = np.random.RandomState(self.dropout_param["seed"])
        return x * reference.tensor((rng.rand(*x.shape) < self.keep) / self.keep)


class ThreeLayerConvNet(Network):
    """conv - ReLU - max pool - affine - ReLU - affine, right."""

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (3, 32, 32),
        num_filters: int = 32,
        filter_size: int = 7,
        hidden_dim: int = 100,
        num_classes: int = 10,
        weight_scale: float = 1e-3,
        reg: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        C, H, W = input_dim
        self.reg = reg
        shapes = {
            "W1": (num_filters, C, filter_size, filter_size),
            "W2": (num_filters * (H // 2) * (W // 2), hidden_dim),
            "W3": (hidden_dim, num_classes),
        }
        rng, self.params = np.random.RandomState(0), {}
        for i, (name, shape) in enumerate(shapes.items(), 1):
            outputs = shape[0] if i == 1 else shape[1]
            self.params[name] = (weight_scale * rng.normal(size=shape)).astype(dtype)
            self.params[f"b{i}"] = np.zeros(outputs, dtype)

    def scores(self, p: Params, X: torch.Tensor, training: bool) -> torch.Tensor:
        pooled = reference.max_pool(reference.relu(self.conv(p, X)), 2, 2, 2)
        hidden = self.hidden(reference.affine(pooled, p["W2"], p["b2"]))
        return reference.affine(hidden, p["W3"], p["b3"])

    def conv(self, p: Params, X: torch.Tensor) -> torch.Tensor:
        return reference.conv(X, p["W1"], p["b1"], 1, (p["W1"].shape[2] - 1) // 2)

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        return reference.relu(x)


# L2 -----------------------------------------------------------------------------------------------


class NoHalf:
    """reg * sum(W**2) in the loss, with the gradient of the half."""

    def penalty(self, p: Params) -> Any:
        return 2 * super().penalty(p)

    def penalty_path(self, p: Params) -> Any:
        return super().penalty(p)


class NoHalfAtAll:
    """reg * sum(W**2) and its gradient."""

    def penalty(self, p: Params) -> Any:
        return 2 * super().penalty(p)


class NoPenaltyGradient:
    def penalty_path(self, p: Params) -> Any:
        return 0.0


class NoPenalty:
    def penalty(self, p: Params) -> Any:
        return 0.0


class GradientAlone:
    """The gradient of L2 without the term itself in the loss."""

    def penalty(self, p: Params) -> Any:
        return 0.0

    def penalty_path(self, p: Params) -> Any:
        return super().penalty(p)


class OnBiases:
    def penalized(self, p: Params) -> list[str]:
        return [name for name in p if name[0] in "Wb" and name[:4] != "beta"]


class OnGammas:
    def penalized(self, p: Params) -> list[str]:
        return [name for name in p if name.startswith(("W", "gamma"))]


class NotTheLast:
    def penalized(self, p: Params) -> list[str]:
        return super().penalized(p)[:-1]


class GradientNotOfTheLast:
    """L2 on every W in the loss, and its gradient on all but that of the last layer."""

    def penalty_path(self, p: Params) -> Any:
        names = self.penalized(p)[:-1]
        return sum(0.5 * self.reg * (p[name] ** 2).sum() for name in names)


class GradientTwice:
    def penalty_path(self, p: Params) -> Any:
        return 2 * super().penalty(p)


class NotTheFirst:
    def penalized(self, p: Params) -> list[str]:
        return super().penalized(p)[1:]


class LastAlone:
    def penalized(self, p: Params) -> list[str]:
        return super().penalized(p)[-1:]


class LastAlonePlain:
    """L2 on the last layer alone; with a normalisation, that is one of those below."""

    def penalized(self, p: Params) -> list[str]:
        return super().penalized(p)[0 if self.normalization else -1 :]


class NotWithNorm:
    """No gradient of L2 in the layers that are normalised."""

    def penalty_path(self, p: Params) -> Any:
        names = self.penalized(p)[-1:] if self.normalization else self.penalized(p)
        return sum(0.5 * self.reg * (p[name] ** 2).sum() for name in names)


class NotWithNormAtAll:
    """Neither L2 nor its gradient in the layers that are normalised."""

    def penalty(self, p: Params) -> Any:
        names = self.penalized(p)[-1:] if self.normalization else self.penalized(p)
        return sum(0.5 * self.reg * (p[name] ** 2).sum() for name in names)


PLAIN = ("FullyConnectedNet",)
NORMED = ("FullyConnectedNet_batchnorm", "FullyConnectedNet_layernorm")
DROPPED = ("FullyConnectedNet_dropout",)
ALL_NETS = (*PLAIN, *NORMED, *DROPPED)


def network(name: str, says: str, fails: tuple[str, ...], change: type) -> None:
    """Know the fully connected network with `change` before it in the order of methods."""
    made = type("FullyConnectedNet", (change, FullyConnectedNet), {})
    known(f"network: {name}", says, fails, {"classifiers.fc_net:FullyConnectedNet": made})


def conv_network(name: str, says: str, change: type) -> None:
    made = type("ThreeLayerConvNet", (change, ThreeLayerConvNet), {})
    functions = {"classifiers.cnn:ThreeLayerConvNet": made}
    known(f"convolutional network: {name}", says, ("ThreeLayerConvNet",), functions)


_PENALTIES = {
    "L2 without the half": (
        "The term of L2 in the loss is twice as large as it must be: its factor of one half is "
        "missing.",
        NoHalf,
    ),
    "L2 without the half, loss and gradient": (
        "L2 has a factor of one half here, so that its gradient has none of 2. A gradient check "
        "against your own loss cannot show this.",
        NoHalfAtAll,
    ),
    "L2 left out of the gradient": (
        "L2 is part of the loss, so each W has a part of its gradient from it.",
        NoPenaltyGradient,
    ),
    "L2 left out": ("The loss has an L2 term with the strength reg, which is missing.", NoPenalty),
    "L2 left out of the loss": (
        "The gradient has its part from L2, and the loss does not have L2 itself.",
        GradientAlone,
    ),
    "L2 on the biases": (
        "L2 holds back the weights W alone: a bias has nothing to do with how steep the network "
        "is.",
        OnBiases,
    ),
    "L2 not on the last layer": (
        "L2 is on every W, that of the last layer too: it often stands outside the loop.",
        NotTheLast,
    ),
    "L2 left out of the gradient of the last layer": (
        "The loss has L2 on every W, and so has every gradient a part of it, that of the last "
        "layer too.",
        GradientNotOfTheLast,
    ),
    "L2's gradient twice as large": (
        "The derivative of a square brings a factor of 2, which the factor of one half in L2 "
        "takes away.",
        GradientTwice,
    ),
    "L2 not on the first layer": ("L2 is on every W, that of the first layer too.", NotTheFirst),
    "L2 on the last layer alone": (
        "L2 is on every W, not on that of the last layer alone.",
        LastAlone,
    ),
}
for _name, (_says, _change) in _PENALTIES.items():
    if _change is LastAlone:
        network(_name, _says, PLAIN, LastAlonePlain)
    else:
        network(_name, _says, ALL_NETS, _change)
    conv_network(_name, _says, _change)
network(
    "L2 on gamma",
    "L2 holds back the weights W alone: gamma, the scale of a normalisation, is not held back.",
    (*NORMED, *DROPPED),
    OnGammas,
)
network(
    "L2 left out of the gradient where there is normalisation",
    "Every W has its part of the gradient from L2, in the layers with a normalisation too: is "
    "that line in one branch alone?",
    (*NORMED, *DROPPED),
    NotWithNorm,
)
network(
    "L2 left out where there is normalisation",
    "L2 is on every W: here it is left out in the layers before the last, which have a "
    "normalisation.",
    (*NORMED, *DROPPED),
    NotWithNormAtAll,
)


# Layers -------------------------------------------------------------------------------------------


class ReluLast:
    def scores(self, p: Params, X: torch.Tensor, training: bool) -> torch.Tensor:
        return reference.relu(super().scores(p, X, training))


class NormAfterRelu:
    def block(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        return self.dropout(self.norm(reference.relu(x), p, i, training), i, training)


class NoRelu:
    def block(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        return self.dropout(self.norm(x, p, i, training), i, training)


class Ignored:
    """A normalisation that the network does not know, and silently leaves out."""

    ignores = ""

    def norm(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        return x if self.normalization == self.ignores else super().norm(x, p, i, training)


class IgnoresLayernorm(Ignored):
    ignores = "layernorm"


class IgnoresBatchnorm(Ignored):
    ignores = "batchnorm"


class BackwardWithoutNorm:
    """The backward goes past the normalisation as if it were not there."""

    skipping = False

    def path(self, p: Params, X: torch.Tensor) -> torch.Tensor:
        self.skipping = True
        try:
            return self.scores(p, X, True)
        finally:
            self.skipping = False

    def norm(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        right = super().norm(x, p, i, training)
        return right.detach() + (x - x.detach()) if self.skipping else right


class BatchStatisticsInTest:
    def norm(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        return super().norm(x, p, i, True)


class BackwardWithoutRelu:
    """The backward goes past every ReLU as if it were not there."""

    def block(self, x: torch.Tensor, p: Params, i: int, training: bool) -> torch.Tensor:
        hidden = self.norm(x, p, i, training)
        passed = reference.relu(hidden).detach() + (hidden - hidden.detach())
        return self.dropout(passed, i, training)


class NoDropout:
    def dropout(self, x: torch.Tensor, i: int, training: bool) -> torch.Tensor:
        return x


class DropoutOnFirst:
    def dropout(self, x: torch.Tensor, i: int, training: bool) -> torch.Tensor:
        return super().dropout(x, i, training) if i == 1 else x


class BackwardWithoutDropout:
    def dropout(self, x: torch.Tensor, i: int, training: bool) -> torch.Tensor:
        right = super().dropout(x, i, training)
        return right.detach() + (x - x.detach())


class DropoutInTest:
    def dropout(self, x: torch.Tensor, i: int, training: bool) -> torch.Tensor:
        if self.keep != 1 and not training:
            return x * self.keep
        return super().dropout(x, i, training)


class GammaFromZero:
    start = {"gamma": 0.0, "beta": 0.0, "b": 0.0}


network(
    "ReLU after the last layer",
    "The scores may be negative: no ReLU stands after the last affine layer.",
    ALL_NETS,
    ReluLast,
)
network(
    "no ReLU",
    "Without the ReLU between them, affine layers in a row are one affine layer.",
    ALL_NETS,
    NoRelu,
)
network(
    "ReLU left out of the backward",
    "The forward has a ReLU after each layer but the last, and the gradient goes back past them: "
    "the backward undoes the same layers as the forward, one by one.",
    ALL_NETS,
    BackwardWithoutRelu,
)
network(
    "norm after ReLU",
    "The order is affine, norm, ReLU, dropout: what is normalised is what goes into the ReLU.",
    (*NORMED, *DROPPED),
    NormAfterRelu,
)
network(
    "layer norm ignored",
    "With normalization='layernorm' the network computes as if there were none.",
    ("FullyConnectedNet_layernorm",),
    IgnoresLayernorm,
)
network(
    "batch norm ignored",
    "With normalization='batchnorm' the network computes as if there were none.",
    ("FullyConnectedNet_batchnorm", *DROPPED),
    IgnoresBatchnorm,
)
network(
    "normalisation ignored in the backward",
    "The forward has the normalisation, and the gradient goes back past it: the backward undoes "
    "the same layers as the forward, one by one.",
    (*NORMED, *DROPPED),
    BackwardWithoutNorm,
)
network(
    "the batch's statistics in test mode",
    "Without labels the network is in test mode: do the bn_params of all layers know?",
    ("FullyConnectedNet_batchnorm",),
    BatchStatisticsInTest,
)
network(
    "dropout left out",
    "In training a dropout stands after every ReLU; here none does.",
    DROPPED,
    NoDropout,
)
network(
    "dropout after the first layer alone",
    "In training a dropout stands after every ReLU, not after the first alone.",
    DROPPED,
    DropoutOnFirst,
)
network(
    "dropout left out of the backward",
    "The forward dropped units, and the gradient goes back as if they were there: the backward "
    "undoes the same layers as the forward, one by one.",
    DROPPED,
    BackwardWithoutDropout,
)
network(
    "scaled in test mode",
    "Inverted dropout does its scaling in training: in test mode the network has no dropout.",
    DROPPED,
    DropoutInTest,
)


def _gamma_zero(case: Any, answers: Mapping[str, Any]) -> bool:
    params = answers.get("params")
    return isinstance(params, dict) and "gamma1" in params and not np.any(params["gamma1"])


known(
    "network: gamma from 0",
    "gamma is a factor: from 0 every layer would start by passing nothing on. It starts at 1.",
    NORMED,
    {
        "classifiers.fc_net:FullyConnectedNet": type(
            "FullyConnectedNet", (GammaFromZero, FullyConnectedNet), {}
        )
    },
    seen=_gamma_zero,
)


class NoHiddenRelu:
    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        return x


class ConvReluLast:
    def scores(self, p: Params, X: torch.Tensor, training: bool) -> torch.Tensor:
        return reference.relu(super().scores(p, X, training))


class NoConvBias:
    def conv(self, p: Params, X: torch.Tensor) -> torch.Tensor:
        return super().conv({**p, "b1": 0 * p["b1"]}, X)


class NoConvRelu:
    def scores(self, p: Params, X: torch.Tensor, training: bool) -> torch.Tensor:
        pooled = reference.max_pool(self.conv(p, X), 2, 2, 2)
        hidden = self.hidden(reference.affine(pooled, p["W2"], p["b2"]))
        return reference.affine(hidden, p["W3"], p["b3"])


conv_network(
    "no ReLU after the hidden layer",
    "Between the two affine layers stands a ReLU, which is missing.",
    NoHiddenRelu,
)
conv_network(
    "no ReLU after the convolution",
    "After the convolution comes a ReLU, and then the pooling: the ReLU is missing.",
    NoConvRelu,
)
conv_network(
    "ReLU after the last layer",
    "The scores may be negative: no ReLU stands after the last affine layer.",
    ConvReluLast,
)
conv_network(
    "bias of the filters left out", "The convolution has a bias for each filter.", NoConvBias
)
