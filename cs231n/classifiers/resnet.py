"""ResNet-18 for 32x32 images, in PyTorch."""

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them.

    out = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))

    Neither convolution has a bias, because the batch norm after it would cancel it. `conv1` has
    the stride. `shortcut` is an empty `nn.Sequential` where input and output agree in shape, else
    a 1x1 convolution with the same stride followed by batch norm.

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
    figure 2 and section 3.3 (option B).

    Args:
        in_channels: C, channels of the input.
        out_channels: F, channels of the output.
        stride: step of the first convolution, 1 or more.

    Raises:
        ValueError: if an argument is not a positive integer.
    """

    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        _require_positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
        raise NotImplementedError(
            "BasicBlock.__init__: not written yet. "
            "Write it in cs231n/classifiers/resnet.py; "
            "notebooks/PyTorch.ipynb explains it."
        )

    def forward(self, x):
        """Map x (N, C, H, W) to (N, F, ceil(H / stride), ceil(W / stride))."""
        raise NotImplementedError(
            "BasicBlock.forward: not written yet. "
            "Write it in cs231n/classifiers/resnet.py; "
            "notebooks/PyTorch.ipynb explains it."
        )


class ResNet18(nn.Module):
    """Stem, four stages of two BasicBlocks, global average pool, one fully connected layer.

    Stage       output (width 64)   what
    conv1, bn1  (N, 64, 32, 32)     3x3 convolution, stride 1, no bias; batch norm; relu; no pool
    layer1      (N, 64, 32, 32)     two blocks, stride 1
    layer2      (N, 128, 16, 16)    two blocks, the first with stride 2
    layer3      (N, 256, 8, 8)      two blocks, the first with stride 2
    layer4      (N, 512, 4, 4)      two blocks, the first with stride 2
    pool, fc    (N, 10)             mean over H and W; (512, num_classes) weights and a bias

    Each layerK is an `nn.Sequential` of two BasicBlocks. With width 64 and ten classes there are
    11,173,962 parameters.

    Source: He et al., CVPR 2016, table 1 (18 layers), with the stem of section 4.2 for CIFAR-10.

    Args:
        num_classes: number of scores for each image.
        width: channels of the stem and of layer1; the other stages have 2, 4 and 8 times as many.

    Raises:
        ValueError: if an argument is not a positive integer.
    """

    def __init__(self, num_classes=10, width=64):
        super().__init__()
        _require_positive(num_classes=num_classes, width=width)
        raise NotImplementedError(
            "ResNet18.__init__: not written yet. "
            "Write it in cs231n/classifiers/resnet.py; "
            "notebooks/PyTorch.ipynb explains it."
        )

    def forward(self, x):
        """Map images x (N, 3, H, W) to scores (N, num_classes)."""
        raise NotImplementedError(
            "ResNet18.forward: not written yet. "
            "Write it in cs231n/classifiers/resnet.py; "
            "notebooks/PyTorch.ipynb explains it."
        )


def _require_positive(**arguments):
    for name, value in arguments.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, but is {value!r}")
