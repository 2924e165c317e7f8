"""Right functions, by the definitions: what a misconception does not replace."""

from __future__ import annotations

from functools import cache

from grading import reference
from grading.misconceptions import dropout, fully_connected, layers, networks, optim, pytorch
from grading.misconceptions.bank import Functions


@cache
def table() -> Functions:
    """Every function that a check can call."""
    made = {}
    for name in layers.FORMS:
        if "_forward" in name and name != "dropout_forward":
            made.update(layers.layer(name))
    made.update(dropout.dropout())
    made.update(fully_connected.softmax(reference.softmax_loss))
    for rule in reference.RULE_DEFAULTS:
        made.update(optim.rule(rule, getattr(reference, rule)))
    made["classifiers.fc_net:FullyConnectedNet"] = networks.FullyConnectedNet
    made["classifiers.cnn:ThreeLayerConvNet"] = networks.ThreeLayerConvNet
    return {**made, **pytorch.RIGHT}
