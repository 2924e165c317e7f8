"""Known wrong answers, to say which mistake a student made; importing this fills the bank."""

from grading.misconceptions import (  # noqa: F401
    batchnorm,
    convnets,
    dropout,
    fully_connected,
    networks,
    optim,
    precision,
    pytorch,
)
from grading.misconceptions.bank import BANK, Misconception

__all__ = ["BANK", "Misconception"]
