"""Mistakes of the affine layer, ReLU and the softmax loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from grading import reference
from grading.checks.case import Case
from grading.misconceptions.bank import known
from grading.misconceptions.layers import FORMS, changed, layer

affine = partial(layer, "affine_forward")
relu = partial(layer, "relu_forward")


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


known(
    "affine: bias left out",
    "The bias does not reach the output: each output has its own bias, which is added.",
    "affine_forward",
    affine(lambda x, w, b: (lambda x, w, b: x.flatten(1) @ w, [x, w, b]), FORMS["affine_forward"]),
)
known(
    "affine: flattened across the examples",
    "Flattening keeps the first axis, that of the examples, and makes one of the others: a reshape "
    "to another first axis mixes the examples, and a transpose afterwards does not undo it.",
    "affine_forward",
    affine(
        lambda x, w, b: (lambda x, w, b: x.reshape(-1, len(x)).T @ w + b, [x, w, b]),
        FORMS["affine_forward"],
    ),
)
known(
    "affine: mean for sum in db",
    "The bias is added to every example, so its gradient adds up over the examples; "
    "it is no mean.",
    "affine_backward",
    affine(grads=changed(d2=lambda g, dout, inputs: g / len(dout))),
)
known(
    "affine: wrong axis in db",
    "The bias has an entry for each output: what is summed away is the axis of the examples.",
    "affine_backward",
    affine(grads=changed(d2=lambda g, dout, inputs: dout.sum(axis=1))),
)
known(
    "affine: db left out",
    "The bias has a gradient too: it is not 0.",
    "affine_backward",
    affine(grads=changed(d2=lambda g, dout, inputs: 0 * g)),
)
known(
    "affine: dw divided by N",
    "The loss has the mean in it already: a layer that divides by the number of examples "
    "again does so once too often.",
    "affine_backward",
    affine(grads=changed(d1=lambda g, dout, inputs: g / len(dout))),
)
known(
    "affine: dw transposed",
    "dw must have the shape of w: which of the two factors is transposed?",
    "affine_backward",
    affine(grads=changed(d1=lambda g, dout, inputs: g.T)),
)
known(
    "affine: dx left in rows",
    "The forward flattened every example; the backward must give dx the shape of x again.",
    "affine_backward",
    affine(grads=changed(d0=lambda g, dout, inputs: _rows(g))),
)
known(
    "ReLU: gate on the upstream gradient",
    "Where ReLU lets a gradient through is decided by its input in the forward, not by the "
    "sign of the gradient that arrives.",
    "relu_backward",
    relu(grads=changed(d0=lambda g, dout, inputs: dout * (dout > 0))),
)
known(
    "ReLU: no gate, or one on the output",
    "Where the input was negative, ReLU's output does not depend on it: nothing goes back there. A "
    "gate such as out >= 0 is always open, since no output is negative.",
    "relu_backward",
    relu(grads=changed(d0=lambda g, dout, inputs: dout)),
)
known(
    "ReLU: gate open at 0",
    "ReLU has no derivative at exactly 0, and 0 is what is taken there: only what is above 0 lets "
    "the gradient through.",
    "relu_backward",
    relu(grads=changed(d0=lambda g, dout, inputs: dout * (inputs[0] >= 0))),
)
known(
    "ReLU: value for indicator",
    "ReLU's derivative is 0 or 1. It says where the input was positive, not how large it was.",
    "relu_backward",
    relu(grads=changed(d0=lambda g, dout, inputs: dout * np.maximum(inputs[0], 0))),
)
known(
    "ReLU: gate turned round",
    "The gradient goes back where the input was positive; here it goes back everywhere else.",
    "relu_backward",
    relu(grads=changed(d0=lambda g, dout, inputs: dout - g)),
)
def _indicator(dtype: Any) -> dict[str, Callable[..., Any]]:
    """ReLU with a backward that is its own derivative alone, in `dtype` or that of x."""
    return {
        "layers:relu_forward": lambda x: (np.maximum(x, 0), x),
        "layers:relu_backward": lambda dout, x: (x > 0).astype(dtype or x.dtype),
    }


known(
    "ReLU: upstream gradient left out",
    "This is the derivative of ReLU by itself. By the chain rule it is multiplied by the gradient "
    "that arrives, dout.",
    "relu_backward",
    tuple(_indicator(dtype) for dtype in (None, bool, int)),
)
known(
    "ReLU: leaky",
    "What is negative becomes 0. This is a leaky ReLU, which lets a part of it through.",
    "relu_forward",
    relu(lambda x: (lambda x: torch.where(x > 0, x, 0.01 * x), [x])),
)
known(
    "ReLU: absolute value",
    "What is negative becomes 0, not positive.",
    ("relu_forward", "relu_backward"),
    relu(lambda x: (torch.abs, [x])),
)


# Softmax ------------------------------------------------------------------------------------------


def softmax(
    loss: Callable[..., Any],
    gradient: Callable[..., Any] | None = None,
    gradient_of: Callable[..., np.ndarray] | None = None,
) -> dict[str, Callable[..., Any]]:
    """softmax_loss with `loss(scores, y)` in torch, and its gradient or that of `gradient`;
    `gradient_of(x, y)` is one that no function has."""

    def function(x: np.ndarray, y: np.ndarray) -> Any:
        if gradient_of is None:
            found = reference.gradients(partial(gradient or loss, y=y), [x])[0]
        else:
            found = gradient_of(x, y)
        value = reference.value(partial(loss, y=y), [x])
        return x.dtype.type(value), found.astype(x.dtype)

    return {"layers:softmax_loss": function}


def _unshifted(scores: Any, y: np.ndarray) -> Any:
    powers = torch.exp(scores)
    return -torch.log((powers / powers.sum(1, keepdim=True))[range(len(y)), y]).mean()


def _overflows(case: Case, answers: Mapping[str, Any]) -> bool | None:
    """The loss of scores whose exp is too large for a float is not finite, and only that is."""
    large = case.calls[0].args[0].max() > 1000
    if np.isfinite(np.float64(answers["loss"])):
        return False
    return True if large else None


def _over_examples(scores: Any, y: np.ndarray) -> Any:
    return -torch.log_softmax(scores, 0)[range(len(y)), y].mean()


def _by_columns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The form of the right gradient, with these probabilities."""
    dx = torch.softmax(reference.tensor(x), 0).numpy().copy()
    dx[range(len(y)), y] -= 1
    return dx / len(y)


def _added(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    dx = torch.softmax(reference.tensor(x), 1).numpy().copy()
    dx[range(len(y)), y] += 1
    return dx / len(y)


def _by_classes(scores: Any, y: np.ndarray) -> Any:
    return reference.softmax_loss(scores, y) * len(y) / scores.shape[1]


def _without_target(scores: Any, y: np.ndarray) -> Any:
    return torch.logsumexp(scores, 1).mean()


def _guarded(guard: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The loss by the log of a probability that `guard` keeps from 0, with the right gradient."""

    def loss(scores: Any, y: np.ndarray) -> Any:
        return -torch.log(guard(torch.softmax(scores, 1)[range(len(y)), y])).mean()

    return softmax(loss, right)


right = reference.softmax_loss
_SMALL = (1e-8, 1e-7, 1e-9, 1e-10, 1e-12)

known(
    "softmax: a number inside the log",
    "A number that keeps the log from 0 changes the loss. Shift the scores instead: the log of "
    "a quotient is a difference, in which no log of 0 comes up.",
    "softmax_loss",
    (
        *(_guarded(partial(torch.add, other=small)) for small in _SMALL),
        *(_guarded(partial(torch.clamp, min=small)) for small in _SMALL),
    ),
)
known(
    "softmax: no shift",
    "exp of a large score is more than a float can hold. A shift of all the scores of an example "
    "changes no probability: which shift keeps exp small?",
    "softmax_loss",
    softmax(_unshifted),
    seen=_overflows,
)
known(
    "softmax: over the examples",
    "The probabilities of one example sum to 1 over the classes; here those of one class sum to 1 "
    "over the examples.",
    "softmax_loss",
    softmax(_over_examples, gradient_of=_by_columns),
)
known(
    "softmax: sum for mean",
    "The loss is the mean over the examples, not the sum, and so is its gradient.",
    "softmax_loss",
    softmax(lambda s, y: right(s, y) * len(y)),
)
known(
    "softmax: gradient not divided",
    "The loss is a mean over the examples: its gradient is divided by their number as well.",
    "softmax_loss",
    softmax(right, lambda s, y: right(s, y) * len(y)),
)
known(
    "softmax: loss not divided",
    "The gradient is that of the mean over the examples; the loss is their sum.",
    "softmax_loss",
    softmax(lambda s, y: right(s, y) * len(y), right),
)
known(
    "softmax: right class left out of the gradient",
    "The score of the right class is in the loss twice: in the sum of exponentials, and by "
    "itself. The second part of its gradient is missing.",
    "softmax_loss",
    softmax(right, _without_target),
)
known(
    "softmax: one added at the right class",
    "The higher the score of the right class, the lower the loss: at its place 1 is subtracted "
    "from the probability, not added.",
    "softmax_loss",
    softmax(right, gradient_of=_added),
)
known(
    "softmax: divided by the number of classes",
    "The mean is over the examples: what is divided by is their number, N, not that of the "
    "classes.",
    "softmax_loss",
    (
        softmax(_by_classes),
        softmax(right, _by_classes),
        softmax(_by_classes, right),
    ),
)
known(
    "softmax: sign of the gradient",
    "The gradient points to where the loss grows; here its sign is turned round.",
    "softmax_loss",
    softmax(right, lambda s, y: -right(s, y)),
)
known(
    "softmax: mean over the classes too",
    "The mean is over the examples alone: the number of classes is no divisor.",
    "softmax_loss",
    softmax(lambda s, y: right(s, y) / s.shape[1]),
)
