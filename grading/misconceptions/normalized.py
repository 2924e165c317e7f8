"""Normalisation with one step done otherwise: what all norms' mistakes are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from grading.misconceptions.layers import Form, scaled, write_back
from grading.reference import batchnorm_test, spatial_batchnorm_test

Step = Callable[[Any, int], Any]  # a statistic and how many numbers it is of -> what is used


def as_it_is(statistic: Any, count: int) -> Any:
    return statistic


def constant(statistic: Any, count: int) -> Any:
    """The statistic as if it did not depend on x: its way into the gradient is cut."""
    return statistic.detach()


def times(factor: float) -> Step:
    """The statistic with so many times its gradient."""
    return lambda statistic, count: scaled(statistic, factor)


def summed(statistic: Any, count: int) -> Any:
    """The statistic with the gradient of a sum in the place of a mean."""
    return scaled(statistic, count)


def unbiased(statistic: Any, count: int) -> Any:
    return statistic * (count / max(count - 1, 1))


def normalize(
    x: Any,
    axes: Sequence[int],
    eps: float,
    mean: Step = as_it_is,
    var: Step = as_it_is,
    root: Callable[[Any, float], Any] = lambda var, eps: torch.sqrt(var + eps),
) -> Any:
    """(x - mean) / root(var, eps) over `axes`, with `mean` and `var` as they are used."""
    count = int(np.prod([x.shape[axis] for axis in axes]))
    centred = x - mean(x.mean(dim=tuple(axes), keepdim=True), count)
    spread = (centred**2).mean(dim=tuple(axes), keepdim=True)
    return centred / root(var(spread, count), eps)


def eps_outside(var: Any, eps: float) -> Any:
    return torch.sqrt(var) + eps


def no_eps(var: Any, eps: float) -> Any:
    return torch.sqrt(var)


def no_root(var: Any, eps: float) -> Any:
    return var + eps


def small_eps(var: Any, eps: float) -> Any:
    return torch.sqrt(var + 1e-8)


def fixed_eps(var: Any, eps: float) -> Any:
    return torch.sqrt(var + 1e-5)


def along(x: Any, gamma: Any) -> Any:
    """gamma so that it meets the features of x, or its channels."""
    return gamma.reshape(1, -1, 1, 1) if x.dim() == 4 else gamma


def norm_form(axes: Sequence[int], **steps: Any) -> Form:
    """The form of a norm without state over `axes`: layer and instance norm."""

    def definition(x: Any, gamma: Any, beta: Any, eps: float) -> Any:
        return along(x, gamma) * normalize(x, axes, eps, **steps) + along(x, beta)

    return lambda x, gamma, beta, param: (
        partial(definition, eps=param.get("eps", 1e-5)),
        [x, gamma, beta],
    )


def group_form(axes: Sequence[int] = (2, 3, 4), gamma_of: Any = None, **steps: Any) -> Form:
    """The form of group norm, over `axes` of (N, G, C / G, H, W)."""

    def definition(x: Any, gamma: Any, beta: Any, G: int, eps: float) -> Any:
        N, C, H, W = x.shape
        hat = normalize(x.reshape(N, G, C // G, H, W), axes, eps, **steps).reshape(x.shape)
        gamma, beta = (along(x, p.reshape(-1)) for p in (gamma, beta))
        if gamma_of is not None:
            gamma, beta = (gamma_of(p, G) for p in (gamma, beta))
        return gamma * hat + beta

    return lambda x, gamma, beta, G, param: (
        partial(definition, G=G, eps=param.get("eps", 1e-5)),
        [x, gamma, beta],
    )


def batch_form(
    axes: Sequence[int] = (0,),
    write: Callable[..., None] = write_back,
    test: Callable[..., Any] | None = None,
    train_by_running: bool = False,
    **steps: Any,
) -> Form:
    """The form of batch norm, on features or images; `write(x, param)` keeps the statistics.

    `test(x, gamma, beta, mean, var, eps)` takes the place of test mode's definition.
    """
    train = norm_form(axes, **steps)

    def form(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
        if param["mode"] == "train":
            write(x, param)
            if not train_by_running:
                return train(x, gamma, beta, param)
        definition = test or (spatial_batchnorm_test if x.ndim == 4 else batchnorm_test)
        mean, var = param["running_mean"], param["running_var"]
        eps = param.get("eps", 1e-5)
        return partial(definition, mean=mean, var=var, eps=eps), [x, gamma, beta]

    return form
