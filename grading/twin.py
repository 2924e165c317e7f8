"""The course's own ResNet-18 with a student's weights: what their network must answer.

An implementation of its own, in eval mode alone: each batch norm, which is a line there, is folded
into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from cs231n.hardware import autocast
from cs231n.images import normalize, to_tensor

BATCH = 250
EPS = 1e-5  # of torch's batch norm


def scores(
    images: np.ndarray, weights: Mapping[str, np.ndarray], precision: torch.dtype
) -> np.ndarray:
    """Scores (N, K) of uint8 images (N, 32, 32, 3), computed in float32 or in bfloat16."""
    folded = _folded(weights)
    with torch.inference_mode(), autocast(torch.device("cpu"), precision):
        found = [_forward(normalize(x), folded) for x in to_tensor(images).split(BATCH)]
    return torch.cat(found).float().numpy() if found else np.empty((0, len(weights["fc.bias"])))


def _folded(weights: Mapping[str, np.ndarray]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Each convolution's filters and bias, with its batch norm in them; and those of fc.

    gamma (w x - mean) / sqrt(var + eps) + beta is a convolution with gamma w / sqrt(var + eps).
    """
    found = {"fc": tuple(torch.from_numpy(weights[f"fc.{part}"]) for part in ("weight", "bias"))}
    for name in weights:
        conv, _, part = name.rpartition(".")
        if part == "weight" and weights[name].ndim == 4:
            norm = conv.replace("conv", "bn").replace("shortcut.0", "shortcut.1")
            scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPS)
            bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
            filters = torch.from_numpy(weights[name] * scale[:, None, None, None])
            filters = filters.contiguous(memory_format=torch.channels_last)
            found[conv] = filters, torch.from_numpy(bias)
    return found


def _forward(x: torch.Tensor, folded: Mapping[str, tuple[torch.Tensor, torch.Tensor]]):
    def convolve(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        filters, bias = folded[name]
        return F.conv2d(x, filters, bias, stride, padding=filters.shape[2] // 2)

    x = F.relu(convolve(x, "conv1"))
    for block in (f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in (0, 1)):
        stride = 2 if block in ("layer2.0", "layer3.0", "layer4.0") else 1
        out = F.relu(convolve(x, f"{block}.conv1", stride))
        out = convolve(out, f"{block}.conv2")
        if f"{block}.shortcut.0" in folded:
            x = convolve(x, f"{block}.shortcut.0", stride)
        x = F.relu(out + x)
    return F.linear(x.mean(dim=(2, 3)), *folded["fc"])
