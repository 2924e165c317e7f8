"""One small convolutional network, written in three styles of PyTorch.

The network is always the same, for 32x32 images:

    conv 5x5, padding 2 -> relu -> conv 3x3, padding 1 -> relu -> fully connected

Both convolutions have stride 1 and a bias, and keep height and width.
"""

import torch.nn.functional as F
from torch import nn


def convnet_functional(x, params):
    """Compute the network's scores from a list of tensors.

    scores = flatten(relu(relu(x * conv_w1 + conv_b1) * conv_w2 + conv_b2)) @ fc_w + fc_b,
    where * is convolution.

    Args:
        x: images (N, C, 32, 32).
        params: list [conv_w1, conv_b1, conv_w2, conv_b2, fc_w, fc_b] of tensors with shapes
            (F1, C, 5, 5), (F1,), (F2, F1, 3, 3), (F2,), (F2 * 32 * 32, K), (K,).

    Returns:
        Scores (N, K).

    Raises:
        ValueError: if x is not 4-D or params does not hold six tensors.
    """
    if x.dim() != 4:
        raise ValueError(f"x must have shape (N, C, H, W), but has {tuple(x.shape)}")
    if len(params) != 6:
        raise ValueError(f"params must hold six tensors, but holds {len(params)}")
    raise NotImplementedError(
        "convnet_functional: not written yet. "
        "Write it in cs231n/classifiers/pytorch_nets.py; "
        "notebooks/PyTorch.ipynb explains it."
    )


class ConvNetModule(nn.Module):
    """The network as a class, with layers `conv1`, `conv2` and `fc`.

    Args:
        in_channels: C, channels of the images.
        channels_1: F1, channels after the first convolution.
        channels_2: F2, channels after the second convolution.
        num_classes: K, number of scores for each image.
    """

    def __init__(self, in_channels, channels_1, channels_2, num_classes):
        super().__init__()
        raise NotImplementedError(
            "ConvNetModule.__init__: not written yet. "
            "Write it in cs231n/classifiers/pytorch_nets.py; "
            "notebooks/PyTorch.ipynb explains it."
        )

    def forward(self, x):
        """Map images x (N, C, 32, 32) to scores (N, K)."""
        raise NotImplementedError(
            "ConvNetModule.forward: not written yet. "
            "Write it in cs231n/classifiers/pytorch_nets.py; "
            "notebooks/PyTorch.ipynb explains it."
        )


def convnet_sequential(in_channels, channels_1, channels_2, num_classes):
    """Return the network as an `nn.Sequential` of six layers.

    conv, relu, conv, relu, flatten, linear; the arguments are those of `ConvNetModule`.
    """
    raise NotImplementedError(
        "convnet_sequential: not written yet. "
        "Write it in cs231n/classifiers/pytorch_nets.py; "
        "notebooks/PyTorch.ipynb explains it."
    )
