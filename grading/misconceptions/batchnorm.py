"""Mistakes of batch norm, layer norm and the sandwich layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.misconceptions.bank import known
from grading.misconceptions.layers import changed, layer, write_back
from grading.misconceptions.normalized import (
    batch_form,
    constant,
    eps_outside,
    fixed_eps,
    no_eps,
    no_root,
    norm_form,
    small_eps,
    summed,
    times,
    unbiased,
)

batchnorm = partial(layer, "batchnorm_forward")
layernorm = partial(layer, "layernorm_forward")
FORWARD = "batchnorm_forward"
ALL_THREE = ("batchnorm_forward", "batchnorm_backward", "batchnorm_backward_alt")


def _nothing(x: np.ndarray, param: dict[str, Any]) -> None:
    """Statistics that are never written back."""


def _overwritten(x: np.ndarray, param: dict[str, Any]) -> None:
    for key in ("running_mean", "running_var"):
        param.setdefault(key, np.zeros(x.shape[1], dtype=x.dtype))


def _turned_round(x: np.ndarray, param: dict[str, Any]) -> None:
    write_back(x, param, 1 - param.get("momentum", 0.9))


def _batch_alone(x: np.ndarray, param: dict[str, Any]) -> None:
    write_back(x, param, 0.0)


def _other_variance(x: np.ndarray, param: dict[str, Any], of: Any) -> None:
    old = param.get("running_var", np.zeros(x.shape[1], dtype=x.dtype))
    write_back(x, param)
    kept = param.get("momentum", 0.9)
    param["running_var"] = (kept * old + (1 - kept) * of(x)).astype(x.dtype)


def _from_one(x: np.ndarray, param: dict[str, Any]) -> None:
    param.setdefault("running_var", np.ones(x.shape[1], dtype=x.dtype))
    write_back(x, param)


def _written_in_test() -> dict[str, Any]:
    functions = batchnorm()
    forward = functions["layers:batchnorm_forward"]

    def run(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
        answer = forward(x, gamma, beta, param)
        if param["mode"] == "test":
            write_back(x, param)
        return answer

    return {**functions, "layers:batchnorm_forward": run}


def _with_eps(x: np.ndarray, param: dict[str, Any]) -> None:
    _other_variance(x, param, lambda x: x.var(axis=0) + param.get("eps", 1e-5))


def _batch_statistics(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Any:
    return reference.batchnorm(x, gamma, beta, eps)


def _not_scaled(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Any:
    return reference.batchnorm_test(x, 1 + 0 * gamma, 0 * beta, mean, var, eps)


def _without_eps(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Any:
    return reference.batchnorm_test(x, gamma, beta, mean, var, 0.0)


def _exchanged(form: Any) -> Any:
    """The form with gamma for beta and beta for gamma."""

    def made(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
        definition, inputs = form(x, gamma, beta, param)
        return lambda x, gamma, beta: definition(x, beta, gamma), inputs

    return made


def _both_modes(root: Any) -> Any:
    """The form of batch norm that divides by root(var, eps), in test mode too."""

    def test(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Any:
        hat = (x - reference.tensor(mean)) / root(reference.tensor(var), eps)
        return gamma * hat + beta

    return batch_form(root=root, test=test)


_OUTSIDE = (
    "Epsilon stands inside the root, sqrt(var + eps): it is added to the variance, so that the "
    "root is never one of 0."
)
_UNBIASED = "The variance here is the biased one, divided by the number of values, not by one less."

_NO_EPS = (
    "Epsilon keeps the root from 0 where the variance is: here it is missing, or far smaller than "
    "that of {}, which is 1e-5 where none is given."
)

known(
    "batch norm: epsilon outside the root",
    _OUTSIDE,
    FORWARD,
    (
        batchnorm(_both_modes(eps_outside)),
        batchnorm(batch_form(root=eps_outside)),  # in training alone
    ),
)
_write_unbiased = partial(_other_variance, of=lambda x: x.var(axis=0, ddof=1))
known(
    "batch norm: unbiased variance",
    _UNBIASED,
    FORWARD,
    batchnorm(batch_form(var=unbiased, write=_write_unbiased)),
)
known(
    "batch norm: unbiased variance in the normalising alone",
    _UNBIASED,
    FORWARD,
    batchnorm(batch_form(var=unbiased)),
)
known(
    "batch norm: unbiased running variance",
    "What is written back is the biased variance, the one that the batch was divided by.",
    FORWARD,
    batchnorm(batch_form(write=_write_unbiased)),
)
known(
    "batch norm: no epsilon",
    _NO_EPS.format("bn_param"),
    FORWARD,
    (
        batchnorm(batch_form(root=no_eps)),
        batchnorm(_both_modes(no_eps)),
        batchnorm(_both_modes(small_eps)),
    ),
)
known(
    "batch norm: epsilon always 1e-5",
    "bn_param may bring an epsilon of its own; it is not looked at.",
    FORWARD,
    batchnorm(batch_form(root=fixed_eps)),
)
known(
    "batch norm: divided by the variance",
    "What is divided by is the standard deviation; the root of the variance is missing.",
    ALL_THREE,
    (batchnorm(batch_form(root=no_root)), batchnorm(_both_modes(no_root))),
)
known(
    "batch norm: over the features of an example",
    "Batch norm takes its mean and variance over the batch, for each feature by itself. Over the "
    "features of an example it is layer norm.",
    ALL_THREE,
    batchnorm(batch_form(axes=(1,))),
)
known(
    "batch norm: scale and shift left out",
    "After normalising, each feature gets a scale and a shift of its own, which are learned.",
    FORWARD,
    batchnorm(
        lambda x, g, b, p: (
            partial(reference.batchnorm, eps=p.get("eps", 1e-5))
            if p["mode"] == "train" and write_back(x, p) is None
            else partial(
                reference.batchnorm_test, mean=p["running_mean"], var=p["running_var"]
            ),
            [x, np.ones_like(g), np.zeros_like(b)],
        ),
        batch_form(),
    ),
)
for _title, _check, _make, _form in (
    ("batch norm", FORWARD, batchnorm, batch_form()),
    ("layer norm", "layernorm_forward", layernorm, norm_form((1,))),
):
    known(
        f"{_title}: gamma and beta exchanged",
        "gamma is the scale, which the normalised x is multiplied by; beta is the shift, which is "
        "added. Here each does what the other is for.",
        _check,
        _make(_exchanged(_form), _form),
    )
known(
    "batch norm: running statistics not written back",
    "The running statistics must be in bn_param after the call, or the next batch, and test "
    "mode, will not find them.",
    FORWARD,
    batchnorm(batch_form(write=_nothing)),
)
known(
    "batch norm: running statistics overwritten",
    "bn_param holds the running statistics from before this batch: are the new ones written "
    "back, and then overwritten by the old?",
    FORWARD,
    batchnorm(batch_form(write=_overwritten)),
)
known(
    "batch norm: running variance from 1",
    "The running statistics start at 0 here, both of them, where bn_param brings none. Some "
    "libraries start the variance at 1.",
    FORWARD,
    batchnorm(batch_form(write=_from_one)),
)
known(
    "batch norm: running statistics written in test mode",
    "Test mode reads the running statistics and leaves them as they are: what is predicted must "
    "not change the network.",
    FORWARD,
    _written_in_test(),
)
known(
    "batch norm: momentum turned round",
    "Here momentum is the share of the running statistics that is kept: the batch has the small "
    "share. Some libraries mean it the other way round.",
    FORWARD,
    batchnorm(batch_form(write=_turned_round)),
)
known(
    "batch norm: running statistics of the last batch alone",
    "The running statistics are a mean over many batches, not those of the last one.",
    FORWARD,
    batchnorm(batch_form(write=_batch_alone)),
)
known(
    "batch norm: running deviation for running variance",
    "running_var is a mean of variances, not of standard deviations.",
    FORWARD,
    batchnorm(batch_form(write=partial(_other_variance, of=lambda x: x.std(axis=0)))),
)
known(
    "batch norm: epsilon in the running variance",
    "Epsilon is there against division by 0. It does not belong in the running variance.",
    FORWARD,
    batchnorm(batch_form(write=_with_eps)),
)
known(
    "batch norm: the batch's statistics in test mode",
    "In test mode an example's output must not depend on the examples beside it: the running "
    "statistics take the place of the batch's.",
    FORWARD,
    batchnorm(batch_form(test=_batch_statistics)),
)
known(
    "batch norm: no epsilon in test mode",
    "Test mode divides as training does, by the root of the variance and epsilon: in test mode "
    "epsilon is missing.",
    FORWARD,
    batchnorm(batch_form(test=_without_eps)),
)
known(
    "batch norm: no scale and shift in test mode",
    "Test mode differs in its statistics alone: the learned scale and shift are used there too.",
    FORWARD,
    batchnorm(batch_form(test=_not_scaled)),
)
known(
    "batch norm: running statistics in training",
    "In training the batch is normalised by its own mean and variance; the running ones are "
    "gathered for later.",
    FORWARD,
    batchnorm(batch_form(train_by_running=True), batch_form()),
)

def _power(var: Any, count: int) -> Any:
    """The variance with a gradient of power -1/2 where it should be -3/2; the cases' epsilon is
    small beside the variance, but not 0, so it is in."""
    factor = (var + 1e-5).detach()
    return var.detach() + factor * (var - var.detach())


_TERMS = {
    "the mean's term forgotten": (
        "The mean is computed from every x, so it has its own path to dx; that path is missing.",
        {"mean": constant},
    ),
    "the variance's term forgotten": (
        "The variance is computed from every x, so it has its own path to dx; that path is "
        "missing.",
        {"var": constant},
    ),
    "statistics taken for constants": (
        "Mean and variance are computed from x: each has a path to dx, and both are missing.",
        {"mean": constant, "var": constant},
    ),
    "the mean's term not divided": (
        "In the term of the mean the division by the number of values is missing: each x "
        "contributes only its share.",
        {"mean": summed},
    ),
    "the variance's term not divided": (
        "In the term of the variance the division by the number of values is missing: each x "
        "contributes only its share.",
        {"var": summed},
    ),
    "the square's factor of 2 forgotten": (
        "The variance is a mean of squares: the derivative of a square brings a factor of 2.",
        {"var": times(0.5)},
    ),
    "power in the variance's term": (
        "The output is divided by the root of the variance; differentiated, that gives the third "
        "power of the standard deviation in the denominator.",
        {"var": _power},
    ),
    "sign of the mean's term": (
        "The mean is subtracted, so its term in dx has the other sign.",
        {"mean": times(-1)},
    ),
    "sign of the variance's term": (
        "A larger variance makes the output smaller, so its term in dx has the other sign.",
        {"var": times(-1)},
    ),
}
for _name, (_says, _steps) in _TERMS.items():
    for _check, _title in (
        ("batchnorm_backward", "batch norm"),
        ("batchnorm_backward_alt", "batch norm in one line"),
    ):
        _back = batch_form(**_steps)
        known(f"{_title}: {_name}", _says, _check, batchnorm(back=_back, only=_check))
    known(
        f"layer norm: {_name}", _says, "layernorm_backward",
        layernorm(back=norm_form((1,), **_steps)),
    )


def _x_for_x_hat(g: Any, dout: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
    return (dout * inputs[0]).sum(axis=0)


def _without_gamma(g: Any, dout: np.ndarray, inputs: list[np.ndarray], axis: int) -> np.ndarray:
    def hat(x: Any) -> Any:
        return reference.normalize(x, [axis], 1e-5)

    return reference.gradients(hat, [inputs[0]], dout)[0]


def _centred_for_x_hat(
    g: Any, dout: np.ndarray, inputs: list[np.ndarray], axis: int
) -> np.ndarray:
    return (dout * (inputs[0] - inputs[0].mean(axis=axis, keepdims=True))).sum(axis=0)


_CHANGES = {
    "dgamma by x": (
        "gamma multiplies the normalised x, so its gradient has the normalised x in it, not x.",
        lambda axis: {"d1": _x_for_x_hat},
    ),
    "dgamma by the centred x": (
        "gamma multiplies the normalised x: what is in its gradient is divided by the standard "
        "deviation, not centred alone.",
        lambda axis: {"d1": partial(_centred_for_x_hat, axis=axis)},
    ),
    "mean for sum in dgamma": (
        "gamma is used for every example, so its gradient adds up over the examples; it is no "
        "mean.",
        lambda axis: {"d1": lambda g, dout, inputs: g / len(dout)},
    ),
    "mean for sum in dbeta": (
        "beta is added to every example, so its gradient adds up over the examples; it is no "
        "mean.",
        lambda axis: {"d2": lambda g, dout, inputs: g / len(dout)},
    ),
    "gamma left out of dx": (
        "On its way back to x the gradient passes the scale gamma first.",
        lambda axis: {"d0": partial(_without_gamma, axis=axis)},
    ),
}
for _name, (_says, _make) in _CHANGES.items():
    for _check, _title in (
        ("batchnorm_backward", "batch norm"),
        ("batchnorm_backward_alt", "batch norm in one line"),
    ):
        _grads = changed(**_make(0))
        known(f"{_title}: {_name}", _says, _check, batchnorm(grads=_grads, only=_check))
    known(
        f"layer norm: {_name}", _says, "layernorm_backward", layernorm(grads=changed(**_make(1)))
    )


known(
    "layer norm: epsilon outside the root",
    _OUTSIDE,
    "layernorm_forward",
    layernorm(norm_form((1,), root=eps_outside)),
)
known(
    "layer norm: unbiased variance",
    _UNBIASED,
    "layernorm_forward",
    layernorm(norm_form((1,), var=unbiased)),
)
known(
    "layer norm: no epsilon",
    _NO_EPS.format("ln_param"),
    "layernorm_forward",
    (layernorm(norm_form((1,), root=no_eps)), layernorm(norm_form((1,), root=small_eps))),
)
known(
    "layer norm: epsilon always 1e-5",
    "ln_param may bring an epsilon of its own; it is not looked at.",
    "layernorm_forward",
    layernorm(norm_form((1,), root=fixed_eps)),
)
known(
    "layer norm: over the batch",
    "Layer norm takes its mean and variance over the features of one example. Over the batch it "
    "is batch norm.",
    ("layernorm_forward", "layernorm_backward"),
    layernorm(norm_form((0,))),
)
def _dx(g: np.ndarray, dout: np.ndarray, inputs: list[Any], axis: int, inside: bool) -> Any:
    """dx of layer norm with its means over `axis`, of dout with gamma `inside` or without it."""
    x, gamma, _ = inputs
    hat, std = _hat(x), np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    d = dout * gamma if inside else dout
    dx = d - d.mean(axis=axis, keepdims=True) - hat * (d * hat).mean(axis=axis, keepdims=True)
    return dx / std if inside else gamma * dx / std


known(
    "layer norm: divided by N for D",
    "The mean and the variance are over the features of an example: what their terms are divided "
    "by is the number of features, not of examples.",
    "layernorm_backward",
    layernorm(
        back=lambda x, g, b, p: norm_form(
            (1,), mean=times(x.shape[1] / len(x)), var=times(x.shape[1] / len(x))
        )(x, g, b, p)
    ),
)
known(
    "layer norm: gamma taken out of the means",
    "In layer norm gamma differs along the axis of the means: the means are of dout times gamma, "
    "and gamma cannot be taken out of them as in batch norm.",
    "layernorm_backward",
    layernorm(grads=changed(d0=partial(_dx, axis=1, inside=False))),
)
known(
    "layer norm: the backward of batch norm",
    "The means in the gradient are over the features of an example, as they are in the forward; "
    "here they are over the batch.",
    "layernorm_backward",
    layernorm(grads=changed(d0=partial(_dx, axis=0, inside=True))),
)
known(
    "layer norm: gradients of gamma and beta per example",
    "gamma and beta have an entry for each feature, and every example uses them: their gradients "
    "add up over the examples, in layer norm too.",
    "layernorm_backward",
    layernorm(
        grads=changed(
            d1=lambda g, dout, inputs: (dout * _hat(inputs[0])).sum(axis=1),
            d2=lambda g, dout, inputs: dout.sum(axis=1),
        )
    ),
)




def _one_symbol(g: np.ndarray, dout: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
    """dx by a derivation that writes one letter for x and for the normalised x."""
    x, gamma, _ = inputs
    D, mean = x.shape[1], x.mean(axis=1, keepdims=True)
    std = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    dx_hat, centred = dout * gamma, _hat(x) - mean
    dvar = (dx_hat * centred).sum(axis=1, keepdims=True) * -0.5 / std**3
    dmean = -(dx_hat / std).sum(axis=1, keepdims=True)
    dmean += dvar * (-2 * centred).mean(axis=1, keepdims=True)
    return dx_hat / std + dvar * 2 * centred / D + dmean / D


known(
    "layer norm: one symbol for x and the normalised x",
    "Mean and variance are of x before it was normalised, and so are their terms in dx: a printed "
    "derivation that writes one letter for both is misleading.",
    "layernorm_backward",
    layernorm(grads=changed(d0=_one_symbol)),
)


def _hat(x: np.ndarray) -> np.ndarray:
    return reference.value(lambda x: reference.normalize(x, [1], 1e-5), [x])


# Sandwich layers ----------------------------------------------------------------------------------


def _sandwich(order: str, norm: Any, write: Any) -> Any:
    def definition(x: Any, w: Any, b: Any, gamma: Any, beta: Any) -> Any:
        hidden = reference.affine(x, w, b)
        if order == "no ReLU":
            return norm(hidden, gamma, beta)
        if order == "no norm":
            return reference.relu(hidden) + 0 * (gamma + beta)
        return norm(reference.relu(hidden), gamma, beta)

    def form(x: Any, w: Any, b: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
        if write:
            write(reference.value(reference.affine, [x, w, b]), param)
        return definition, [x, w, b, gamma, beta]

    return form


for _short, _check, _norm, _write in (
    ("batch norm", "affine_bn_relu", reference.batchnorm, write_back),
    ("layer norm", "affine_ln_relu", reference.layernorm, None),
):
    known(
        f"sandwich with {_short}: no ReLU",
        "The sandwich ends with a ReLU, which is missing.",
        _check,
        layer(f"{_check}_forward", _sandwich("no ReLU", _norm, _write)),
    )
    known(
        f"sandwich with {_short}: norm after ReLU",
        "The order is affine, norm, ReLU: what is normalised is what goes into the ReLU.",
        _check,
        layer(f"{_check}_forward", _sandwich("norm last", _norm, _write)),
    )
    known(
        f"sandwich with {_short}: norm left out",
        "Between the affine layer and the ReLU stands the normalisation, which is missing.",
        _check,
        layer(f"{_check}_forward", _sandwich("no norm", _norm, _write)),
    )
