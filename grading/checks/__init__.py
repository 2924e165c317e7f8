"""The checks of the course, one module a notebook; `ALL` maps each name to its check."""

# In the order of the course: importing a module registers its checks.
from grading.checks import fully_connected, batchnorm, dropout, convnets, pytorch  # noqa: F401, I001, isort: skip
from grading.checks.case import ALL, Check

NOTEBOOKS = ("FullyConnectedNets", "BatchNorm", "Dropout", "ConvNets", "PyTorch")

__all__ = ["ALL", "NOTEBOOKS", "Check"]
