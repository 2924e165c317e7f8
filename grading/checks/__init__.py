"""The checks of the course, one module a notebook; `ALL` maps each name to its check."""

from grading.checks import fully_connected  # noqa: F401
from grading.checks.case import ALL, Check

NOTEBOOKS = ("FullyConnectedNets", "BatchNorm", "Dropout", "ConvNets", "PyTorch")

__all__ = ["ALL", "NOTEBOOKS", "Check"]
