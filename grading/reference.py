"""Each layer's definition in torch, and its gradients by autograd.

These are definitions, not implementations to learn from: one formula each, in float64 whenever
the inputs are. A check compares a student's answer with them; nothing of theirs is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def tensor(value: np.ndarray | float, grad: bool = False) -> Tensor:
    """A float64 tensor of its own; with `grad`, one that autograd follows."""
    return torch.tensor(np.asarray(value, dtype=np.float64), requires_grad=grad)


def value(function: Callable[..., Tensor], inputs: Sequence[np.ndarray]) -> np.ndarray:
    """function(*inputs) in float64."""
    with torch.no_grad():
        return function(*[tensor(x) for x in inputs]).numpy()


def gradients(
    function: Callable[..., Tensor], inputs: Sequence[np.ndarray], dout: np.ndarray | float = 1.0
) -> list[np.ndarray]:
    """Gradients of sum(function(*inputs) * dout) by each input, by autograd in float64."""
    leaves = [tensor(x, grad=True) for x in inputs]
    (function(*leaves) * tensor(dout)).sum().backward()
    return [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in leaves]


# Layers on rows -----------------------------------------------------------------------------------


def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return x.flatten(1) @ w + b


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def softmax_loss(scores: Tensor, y: np.ndarray) -> Tensor:
    """Mean cross-entropy of softmax(scores) against the labels y."""
    return F.cross_entropy(scores, torch.as_tensor(np.asarray(y)).long())


def normalize(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    """(x - mean) / sqrt(var + eps) over `axes`, with the biased variance."""
    mean = x.mean(dim=tuple(axes), keepdim=True)
    var = ((x - mean) ** 2).mean(dim=tuple(axes), keepdim=True)
    return (x - mean) / torch.sqrt(var + eps)


def batchnorm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Training mode (Ioffe & Szegedy 2015, Algorithm 1)."""
    return gamma * normalize(x, [0], eps) + beta


def batchnorm_test(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: np.ndarray, var: np.ndarray, eps: float = 1e-5
) -> Tensor:
    """Test mode: the running statistics instead of the batch's."""
    return gamma * (x - tensor(mean)) / torch.sqrt(tensor(var) + eps) + beta


def layernorm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Per row (Ba et al. 2016, section 3)."""
    return gamma * normalize(x, [1], eps) + beta


def masked(x: Tensor, mask: np.ndarray, p: float) -> Tensor:
    """Inverted dropout with a known mask and keep probability p (Srivastava et al. 2014)."""
    return x * tensor(mask) / p


# Layers on images ---------------------------------------------------------------------------------


def conv(x: Tensor, w: Tensor, b: Tensor, stride: int = 1, pad: int = 0) -> Tensor:
    return F.conv2d(x, w, b, stride=stride, padding=pad)


def max_pool(x: Tensor, pool_height: int, pool_width: int, stride: int) -> Tensor:
    return F.max_pool2d(x, (pool_height, pool_width), stride=stride)


def _per_channel(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return gamma.reshape(1, -1, 1, 1) * x + beta.reshape(1, -1, 1, 1)


def spatial_batchnorm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Per channel over (N, H, W) (Ioffe & Szegedy 2015, section 3.2)."""
    return _per_channel(normalize(x, [0, 2, 3], eps), gamma, beta)


def spatial_batchnorm_test(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: np.ndarray, var: np.ndarray, eps: float = 1e-5
) -> Tensor:
    mean, var = tensor(mean).reshape(1, -1, 1, 1), tensor(var).reshape(1, -1, 1, 1)
    return _per_channel((x - mean) / torch.sqrt(var + eps), gamma, beta)


def spatial_groupnorm(
    x: Tensor, gamma: Tensor, beta: Tensor, G: int, eps: float = 1e-5
) -> Tensor:
    """Per image and group of channels (Wu & He 2018, section 3)."""
    N, C, H, W = x.shape
    grouped = normalize(x.reshape(N, G, C // G, H, W), [2, 3, 4], eps)
    return _per_channel(grouped.reshape(N, C, H, W), gamma, beta)


def spatial_instancenorm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Per image and channel over (H, W) (Ulyanov et al. 2016)."""
    return _per_channel(normalize(x, [2, 3], eps), gamma, beta)


def switchable_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    lambda_mean: Tensor,
    lambda_var: Tensor,
    eps: float = 1e-5,
    running: tuple[np.ndarray, np.ndarray] | None = None,
) -> Tensor:
    """Statistics of IN, LN and BN mixed by softmax weights (Luo et al. 2018, equation 3).

    `running`, the mean and variance (C,) gathered in training, stand for the batch's own.
    """
    means, variances = [], []
    for axes in ([2, 3], [1, 2, 3], [0, 2, 3]):
        mean = x.mean(dim=axes, keepdim=True)
        means.append(mean)
        variances.append(((x - mean) ** 2).mean(dim=axes, keepdim=True))
    if running is not None:
        means[2], variances[2] = (tensor(r).reshape(1, -1, 1, 1) for r in running)
    w_mean, w_var = torch.softmax(lambda_mean, 0), torch.softmax(lambda_var, 0)
    mean = sum(w * m for w, m in zip(w_mean, means, strict=True))
    var = sum(w * v for w, v in zip(w_var, variances, strict=True))
    return _per_channel((x - mean) / torch.sqrt(var + eps), gamma, beta)


# Networks -----------------------------------------------------------------------------------------


def fully_connected_scores(
    params: Mapping[str, Tensor],
    X: Tensor,
    normalization: str | None = None,
    running: Sequence[Mapping[str, np.ndarray]] | None = None,
    masks: Sequence[np.ndarray] | None = None,
) -> Tensor:
    """affine - [norm] - relu - [dropout], repeated, then affine.

    `running` are batch norm's statistics in test mode, `masks` dropout's scaled masks.
    """
    last = len([name for name in params if name.startswith("W")])
    hidden = X
    for i in range(1, last):
        hidden = affine(hidden, params[f"W{i}"], params[f"b{i}"])
        if normalization == "batchnorm" and running is not None:
            stats = running[i - 1]
            hidden = batchnorm_test(
                hidden,
                params[f"gamma{i}"],
                params[f"beta{i}"],
                stats["running_mean"],
                stats["running_var"],
            )
        elif normalization == "batchnorm":
            hidden = batchnorm(hidden, params[f"gamma{i}"], params[f"beta{i}"])
        elif normalization == "layernorm":
            hidden = layernorm(hidden, params[f"gamma{i}"], params[f"beta{i}"])
        hidden = relu(hidden)
        hidden = hidden * tensor(masks[i - 1]) if masks else hidden
    return affine(hidden, params[f"W{last}"], params[f"b{last}"])


def three_layer_scores(params: Mapping[str, Tensor], X: Tensor) -> Tensor:
    """conv - relu - 2x2 max pool - affine - relu - affine, same-size padding."""
    pad = (params["W1"].shape[2] - 1) // 2
    hidden = max_pool(relu(conv(X, params["W1"], params["b1"], 1, pad)), 2, 2, 2)
    hidden = relu(affine(hidden, params["W2"], params["b2"]))
    return affine(hidden, params["W3"], params["b3"])


def regularized_loss(
    scores: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    params: Mapping[str, np.ndarray],
    X: np.ndarray,
    y: np.ndarray,
    reg: float,
) -> tuple[float, dict[str, np.ndarray]]:
    """Softmax loss of scores(params, X) plus 0.5 * reg * sum(W**2) on the W alone; gradients."""
    leaves = {name: tensor(array, grad=True) for name, array in params.items()}
    loss = softmax_loss(scores(leaves, tensor(X)), y)
    loss = loss + sum(0.5 * reg * (w**2).sum() for n, w in leaves.items() if n.startswith("W"))
    loss.backward()
    return float(loss.detach()), {name: leaf.grad.numpy() for name, leaf in leaves.items()}


# Update rules, in NumPy: a step each, float64 -----------------------------------------------------

# Settings and state of each rule, as the course's optim.py has them; None is an array of zeros.
RULE_DEFAULTS: dict[str, dict[str, Any]] = {
    "sgd_momentum": {"learning_rate": 1e-2, "momentum": 0.9, "velocity": None},
    "nesterov": {"learning_rate": 1e-2, "momentum": 0.9, "velocity": None},
    "adagrad": {"learning_rate": 1e-2, "epsilon": 1e-8, "cache": None},
    "rmsprop": {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8, "cache": None},
    "adam": {
        "learning_rate": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "m": None,
        "v": None,
        "t": 0,
    },
}


def sgd_momentum(
    w: np.ndarray, dw: np.ndarray, learning_rate: float, momentum: float, velocity: np.ndarray
) -> dict[str, Any]:
    velocity = momentum * velocity - learning_rate * dw
    return {"next_w": w + velocity, "velocity": velocity}


def nesterov(
    w: np.ndarray, dw: np.ndarray, learning_rate: float, momentum: float, velocity: np.ndarray
) -> dict[str, Any]:
    """Sutskever et al. 2013, in the variables of the look-ahead point (CS231n notes)."""
    after = momentum * velocity - learning_rate * dw
    return {"next_w": w - momentum * velocity + (1 + momentum) * after, "velocity": after}


def scaled(step: np.ndarray, square: np.ndarray, epsilon: float) -> dict[str, np.ndarray]:
    """A step divided by the root of a mean or sum of squares, in both forms that are in use."""
    return {
        "epsilon outside the root": step / (np.sqrt(square) + epsilon),
        "epsilon inside the root": step / np.sqrt(square + epsilon),
    }


def adagrad(
    w: np.ndarray, dw: np.ndarray, learning_rate: float, epsilon: float, cache: np.ndarray
) -> dict[str, Any]:
    """Duchi et al. 2011: the state is the sum of all squared gradients."""
    cache = cache + dw**2
    steps = scaled(learning_rate * dw, cache, epsilon)
    return {"next_w": {name: w - step for name, step in steps.items()}, "cache": cache}


def rmsprop(
    w: np.ndarray,
    dw: np.ndarray,
    learning_rate: float,
    decay_rate: float,
    epsilon: float,
    cache: np.ndarray,
) -> dict[str, Any]:
    """Tieleman & Hinton 2012, lecture 6.5: a decaying mean of squared gradients."""
    cache = decay_rate * cache + (1 - decay_rate) * dw**2
    steps = scaled(learning_rate * dw, cache, epsilon)
    return {"next_w": {name: w - step for name, step in steps.items()}, "cache": cache}


def adam(
    w: np.ndarray,
    dw: np.ndarray,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
) -> dict[str, Any]:
    """Kingma & Ba 2015, Algorithm 1, and the other order at the end of their Section 2: t is
    incremented before use."""
    t = t + 1
    m = beta1 * m + (1 - beta1) * dw
    v = beta2 * v + (1 - beta2) * dw**2
    steps = scaled(learning_rate * m / (1 - beta1**t), v / (1 - beta2**t), epsilon)
    rate = learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    steps["the correction in the learning rate"] = rate * m / (np.sqrt(v) + epsilon)
    return {"next_w": {name: w - step for name, step in steps.items()}, "m": m, "v": v, "t": t}


# Networks in the style of torch ---------------------------------------------------------------


def torch_convnet(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, fc_w: Tensor, fc_b: Tensor
) -> Tensor:
    """conv 5x5 - relu - conv 3x3 - relu - affine, same-size padding."""
    hidden = relu(conv(x, w1, b1, pad=2))
    return affine(relu(conv(hidden, w2, b2, pad=1)), fc_w, fc_b)


def _torch_norm(x: Tensor, state: Mapping[str, np.ndarray], name: str, training: bool) -> Tensor:
    gamma, beta = tensor(state[f"{name}.weight"]), tensor(state[f"{name}.bias"])
    if training:
        return spatial_batchnorm(x, gamma, beta)
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return spatial_batchnorm_test(x, gamma, beta, mean, var)


def basic_block(
    x: Tensor, state: Mapping[str, np.ndarray], stride: int, training: bool, at: str = ""
) -> Tensor:
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)) (He et al. 2016, figure 2)."""

    def conv_norm(x: Tensor, conv_name: str, norm: str, stride: int, pad: int) -> Tensor:
        hidden = F.conv2d(x, tensor(state[f"{at}{conv_name}.weight"]), stride=stride, padding=pad)
        return _torch_norm(hidden, state, f"{at}{norm}", training)

    hidden = relu(conv_norm(x, "conv1", "bn1", stride, 1))
    hidden = conv_norm(hidden, "conv2", "bn2", 1, 1)
    if f"{at}shortcut.0.weight" in state:
        x = conv_norm(x, "shortcut.0", "shortcut.1", stride, 0)
    return relu(hidden + x)


def resnet18(x: Tensor, state: Mapping[str, np.ndarray], training: bool) -> Tensor:
    """3x3 stem, four stages of two blocks, global average pool, affine (He et al. 2016)."""
    hidden = F.conv2d(x, tensor(state["conv1.weight"]), padding=1)
    hidden = relu(_torch_norm(hidden, state, "bn1", training))
    for stage in range(1, 5):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            hidden = basic_block(hidden, state, stride, training, f"layer{stage}.{block}.")
    pooled = hidden.mean(dim=(2, 3))
    return pooled @ tensor(state["fc.weight"]).T + tensor(state["fc.bias"])
