"""One step of training: its learning rate, its optimizer, and from a batch to new weights."""

import math
import os
import shutil
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from cs231n.hardware import autocast
from cs231n.winograd import Winograd


def one_cycle(step, steps, lr, warm_up=0.25):
    """Learning rate: up to `lr` in a line, down to 0 along a cosine (Smith, Topin, 1708.07120)."""
    done = (step + 1) / steps
    if done < warm_up:
        return lr * done / warm_up
    return lr * 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def cosine(step, steps, lr):
    """Learning rate: from `lr` down to 0 along a cosine (Loshchilov, Hutter, 1608.03983)."""
    return one_cycle(step, steps, lr, warm_up=0.0)


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine}


def make_optimizer(model, momentum, weight_decay):
    """SGD with Nesterov momentum; norms and biases, which are vectors, do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD([g for g in groups if g["params"]], 0.1, momentum, nesterov=True)


def take_step(forward, optimizer, x, y, label_smoothing, precision, winograd=False):
    """Take one step on a batch; return its loss, share of right answers and gradient norm."""
    with autocast(x.device, precision), Winograd() if winograd else nullcontext():
        scores = forward(x)
    loss = F.cross_entropy(scores.float(), y, label_smoothing=label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    figures = torch.stack((loss.detach(), (scores.argmax(1) == y).float().mean(), norm))
    if x.device.type == "cpu":
        require_finite(figures, optimizer.param_groups[0]["lr"])  # before the weights are spoilt
    optimizer.step()
    return figures


def require_finite(figures, lr):
    """Raise FloatingPointError if loss or gradient norm, or the sum of many, is not finite."""
    if not figures.isfinite().all():
        loss, _, norm = figures.tolist()
        raise FloatingPointError(
            f"training diverged: loss {loss:g}, gradient norm {norm:g}, learning rate {lr:.3g}; "
            "start again with a smaller lr"
        )


def compile_model(model):
    """Return `model` as `torch.compile` makes it; raise OSError if there is no C++ compiler."""
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "c++", "cl"]
    if not any(map(shutil.which, names)):
        raise OSError(
            f"torch.compile needs a C++ compiler, but there is no {' or '.join(names)}; install "
            "one, or train without compiling"
        )
    return torch.compile(model)
