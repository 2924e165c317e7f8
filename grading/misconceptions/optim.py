"""Mistakes of the update rules: a step each, as in `reference`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from grading import reference
from grading.misconceptions.bank import Functions, known

OUTSIDE, INSIDE = "epsilon outside the root", "epsilon inside the root"


def rule(
    name: str, step: Callable[..., dict[str, Any]], epsilon: str = OUTSIDE
) -> dict[str, Callable[..., Any]]:
    """The update rule `name` by `step(w, dw, **settings)`, which returns next_w and the state.

    Where next_w is there in both forms, `epsilon` says which is taken.
    """

    def function(w: np.ndarray, dw: np.ndarray, config: dict[str, Any] | None = None) -> Any:
        config = {} if config is None else config
        for key, default in reference.RULE_DEFAULTS[name].items():
            config.setdefault(key, np.zeros_like(w) if default is None else default)
        settings = {key: config[key] for key in reference.RULE_DEFAULTS[name]}
        with np.errstate(all="ignore"):
            state = step(w.astype(np.float64), dw.astype(np.float64), **settings)
        next_w = state.pop("next_w")
        if isinstance(next_w, dict):
            next_w = next_w[epsilon]
        for key, value in state.items():
            config[key] = value.astype(w.dtype) if np.ndim(value) else value
        return next_w.astype(w.dtype), config

    return {f"optim:{name}": function}


def both(name: str, step: Callable[..., dict[str, Any]]) -> tuple[Functions, ...]:
    """The rule with epsilon outside the root, and inside: both are right."""
    return rule(name, step), rule(name, step, INSIDE)


def _less(w: Any, step: Any, square: Any, epsilon: float) -> dict[str, Any]:
    return {form: w - scaled for form, scaled in reference.scaled(step, square, epsilon).items()}


def _only(step: Callable[..., dict[str, Any]], *keys: str) -> Callable[..., dict[str, Any]]:
    """The step with nothing but these of its results: the rest is not written back."""
    return lambda *args, **settings: {k: step(*args, **settings)[k] for k in ("next_w", *keys)}


def _uphill(step: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The step the other way."""
    return lambda w, dw, learning_rate, **s: step(w, dw, learning_rate=-learning_rate, **s)


def _fixed(step: Callable[..., dict[str, Any]], **fixed: float) -> Callable[..., dict[str, Any]]:
    """The step with settings of its own, whatever config says."""
    return lambda *args, **settings: step(*args, **{**settings, **fixed})


momentum = partial(rule, "sgd_momentum")
nesterov = partial(rule, "nesterov")
adagrad = partial(both, "adagrad")
rmsprop = partial(both, "rmsprop")
adam = partial(both, "adam")


def _with_velocity(velocity: Callable[..., Any], sign: int = 1) -> Callable[..., dict[str, Any]]:
    def step(w: Any, dw: Any, learning_rate: Any, momentum: Any, **state: Any) -> Any:
        v = velocity(state["velocity"], dw, learning_rate, momentum)
        return {"next_w": w + sign * v, "velocity": v}

    return step


def _rate_outside(w: Any, dw: Any, learning_rate: Any, momentum: Any, velocity: Any) -> Any:
    v = momentum * velocity + dw
    return {"next_w": w - learning_rate * v, "velocity": v}


known(
    "momentum: sign of the gradient",
    "The velocity is pushed along the gradient, so the step climbs; it must go down.",
    "sgd_momentum",
    momentum(_with_velocity(lambda v, dw, rate, mu: mu * v + rate * dw)),
)
known(
    "momentum: sign of the velocity",
    "The step is right and the velocity kept for the next one has the other sign: w + v is "
    "the new w, with the same v that is kept.",
    "sgd_momentum",
    momentum(_with_velocity(lambda v, dw, rate, mu: rate * dw - mu * v, sign=-1)),
)
_SUBTRACTED = (
    "The velocity points where w goes, so it is added to w. Subtracting it gives the same path "
    "only while your own function also wrote the velocity; with a velocity that is passed in, w "
    "moves the wrong way."
)
known(
    "momentum: velocity that is subtracted",
    _SUBTRACTED,
    "sgd_momentum",
    momentum(_with_velocity(lambda v, dw, rate, mu: mu * v + rate * dw, sign=-1)),
)
known(
    "momentum: downhill velocity subtracted",
    "The velocity has the minus of the gradient in it, so it points downhill already: it is added "
    "to w. Subtracted, it climbs.",
    "sgd_momentum",
    momentum(_with_velocity(lambda v, dw, rate, mu: mu * v - rate * dw, sign=-1)),
)
_RATE_OUTSIDE = (
    "The velocity here is a sum of gradients, scaled when it is used. In this course the "
    "learning rate is in the velocity, so a new rate does not change the steps already taken."
)
known(
    "momentum: learning rate outside the velocity",
    _RATE_OUTSIDE,
    "sgd_momentum",
    momentum(_rate_outside),
)
known(
    "momentum: learning rate twice",
    "The learning rate is in the velocity already: the step adds the velocity as it is.",
    "sgd_momentum",
    momentum(
        lambda w, dw, learning_rate, **s: {
            **(found := reference.sgd_momentum(w, dw, learning_rate=learning_rate, **s)),
            "next_w": w + learning_rate * found["velocity"],
        }
    ),
)
known(
    "momentum: meaning turned round",
    "momentum is the share of the velocity that is kept, not the share that is lost.",
    "sgd_momentum",
    momentum(_with_velocity(lambda v, dw, rate, mu: (1 - mu) * v - rate * dw)),
)
known(
    "momentum: damped gradient",
    "The gradient comes in whole: only the old velocity is multiplied by the momentum.",
    "sgd_momentum",
    momentum(_with_velocity(lambda v, dw, rate, mu: mu * v - (1 - mu) * rate * dw)),
)
known(
    "momentum: velocity not written back",
    "The next step needs the velocity of this one: it is never written back.",
    "sgd_momentum",
    momentum(_only(reference.sgd_momentum)),
)
known(
    "momentum: always 0.9",
    "config may bring a momentum of its own; it is not looked at.",
    "sgd_momentum",
    momentum(_fixed(reference.sgd_momentum, momentum=0.9)),
)
known(
    "momentum: old velocity used",
    "The step is taken with the new velocity, not with that of the step before.",
    "sgd_momentum",
    momentum(
        lambda w, dw, velocity, **s: {
            **reference.sgd_momentum(w, dw, velocity=velocity, **s), "next_w": w + velocity
        }
    ),
)
known(
    "momentum: Nesterov's step",
    "This is Nesterov's step, which looks ahead. Classical momentum just adds the velocity.",
    "sgd_momentum",
    momentum(reference.nesterov),
)
known(
    "Nesterov: classical momentum's step",
    "This is classical momentum. Nesterov's gradient belongs to the point that the velocity "
    "leads to, and w is kept at that point.",
    "nesterov",
    nesterov(reference.sgd_momentum),
)
known(
    "Nesterov: look-ahead not taken back",
    "w stands at the look-ahead point of the step before: that part of the old velocity has to "
    "be taken back before the new one is added.",
    "nesterov",
    nesterov(
        lambda w, dw, learning_rate, momentum, velocity: {
            "next_w": w + (1 + momentum) * (momentum * velocity - learning_rate * dw),
            "velocity": momentum * velocity - learning_rate * dw,
        }
    ),
)
known(
    "Nesterov: velocity that is subtracted",
    _SUBTRACTED,
    "nesterov",
    nesterov(
        lambda w, dw, learning_rate, momentum, velocity: {
            "next_w": w
            - (1 + momentum) * (momentum * velocity + learning_rate * dw)
            + momentum * velocity,
            "velocity": momentum * velocity + learning_rate * dw,
        }
    ),
)
known(
    "Nesterov: learning rate outside the velocity",
    _RATE_OUTSIDE,
    "nesterov",
    nesterov(
        lambda w, dw, learning_rate, momentum, velocity: {
            "next_w": w - learning_rate * (dw + momentum * (momentum * velocity + dw)),
            "velocity": momentum * velocity + dw,
        }
    ),
)
known(
    "Nesterov: velocity not written back",
    "The next step needs the velocity of this one: it is never written back.",
    "nesterov",
    nesterov(_only(reference.nesterov)),
)


def _divided(cache: Callable[..., Any], root: bool = True) -> Any:
    """A step of AdaGrad or RMSProp with another state, or without the root."""

    def step(w: Any, dw: Any, learning_rate: Any, epsilon: Any, **state: Any) -> Any:
        s = cache(state["cache"], dw, state.get("decay_rate"))
        plain = w - learning_rate * dw / (s + epsilon)
        return {"next_w": _less(w, learning_rate * dw, s, epsilon) if root else plain, "cache": s}

    return step


def _rate_in_state(cache: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """A step of AdaGrad or RMSProp whose state is of learning_rate * dw."""

    def step(w: Any, dw: Any, learning_rate: Any, epsilon: Any, **state: Any) -> Any:
        s = cache(state["cache"], learning_rate * dw, state.get("decay_rate"))
        return {"next_w": _less(w, learning_rate * dw, s, epsilon), "cache": s}

    return step


def _old_state(step: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def made(w: Any, dw: Any, learning_rate: Any, epsilon: Any, cache: Any, **more: Any) -> Any:
        settings = {"learning_rate": learning_rate, "epsilon": epsilon, "cache": cache, **more}
        next_w = _less(w, learning_rate * dw, cache, epsilon)
        return {**step(w, dw, **settings), "next_w": next_w}

    return made


for _title, _make, _step in (
    ("AdaGrad", adagrad, reference.adagrad),
    ("RMSProp", rmsprop, reference.rmsprop),
    ("Adam", adam, reference.adam),
):
    known(
        f"{_title}: step up the gradient",
        "The step goes against the gradient, downhill: it is subtracted from w, not added.",
        _title.lower(),
        _make(_uphill(_step)),
    )
known(
    "AdaGrad: state of this step alone",
    "AdaGrad's state is a sum over all steps: the square of this step is added to it, and does "
    "not take its place.",
    "adagrad",
    adagrad(_divided(lambda s, dw, decay: dw**2)),
)
known(
    "AdaGrad: gradient not squared",
    "The state is a sum of squared gradients, entry by entry; here the square is missing.",
    "adagrad",
    adagrad(_divided(lambda s, dw, decay: s + dw)),
)
known(
    "RMSProp: gradient not squared",
    "The state is a mean of squared gradients, entry by entry; here the square is missing.",
    "rmsprop",
    rmsprop(_divided(lambda s, dw, decay: decay * s + (1 - decay) * dw)),
)
known(
    "AdaGrad: one subtracted from the state",
    "The state is the one of the step before plus the squared gradient. The minus one in some "
    "printed formulas is an index, s at t - 1, and not a number.",
    "adagrad",
    adagrad(_divided(lambda s, dw, decay: s - 1 + dw**2)),
)
known(
    "AdaGrad: no root",
    "The step is divided by the root of the summed squares, which has the unit of a gradient.",
    "adagrad",
    adagrad(_divided(lambda s, dw, decay: s + dw**2, root=False)),
)
known(
    "AdaGrad: a decaying mean",
    "AdaGrad forgets nothing: its state is a sum. A decaying mean makes it RMSProp.",
    "adagrad",
    adagrad(_divided(lambda s, dw, decay: 0.99 * s + 0.01 * dw**2)),
)
known(
    "AdaGrad: learning rate inside the state",
    "The state is a sum of squared gradients: the learning rate scales the step, not what is "
    "remembered.",
    "adagrad",
    adagrad(_rate_in_state(lambda s, new, decay: s + new**2)),
)
known(
    "AdaGrad: state not written back",
    "The next step needs the state of this one: it is never written back.",
    "adagrad",
    adagrad(_only(reference.adagrad)),
)
known(
    "AdaGrad: old state used",
    "The gradient of this step counts in the state before the state is used.",
    "adagrad",
    adagrad(_old_state(reference.adagrad)),
)
known(
    "RMSProp: decay turned round",
    "decay_rate is the share of the old mean that is kept, not the weight of the new square.",
    "rmsprop",
    rmsprop(_divided(lambda s, dw, decay: (1 - decay) * s + decay * dw**2)),
)
known(
    "RMSProp: a sum that never decays",
    "RMSProp's state is a decaying mean of the squares; this sum only grows, as AdaGrad's does.",
    "rmsprop",
    rmsprop(_divided(lambda s, dw, decay: s + dw**2)),
)
known(
    "RMSProp: new square not weighted",
    "In a decaying mean the weights of old and new add up to 1: the new square has one too.",
    "rmsprop",
    rmsprop(_divided(lambda s, dw, decay: decay * s + dw**2)),
)
known(
    "RMSProp: decay always 0.99",
    "config may bring a decay_rate of its own; it is not looked at.",
    "rmsprop",
    rmsprop(_fixed(reference.rmsprop, decay_rate=0.99)),
)
known(
    "RMSProp: no root",
    "The step is divided by the root of the mean square, which has the unit of a gradient.",
    "rmsprop",
    rmsprop(_divided(lambda s, dw, decay: decay * s + (1 - decay) * dw**2, root=False)),
)
known(
    "RMSProp: learning rate inside the state",
    "The state is a mean of squared gradients: the learning rate scales the step, not what is "
    "remembered.",
    "rmsprop",
    rmsprop(_rate_in_state(lambda s, new, decay: decay * s + (1 - decay) * new**2)),
)
known(
    "RMSProp: state not written back",
    "The next step needs the state of this one: it is never written back.",
    "rmsprop",
    rmsprop(_only(reference.rmsprop)),
)
known(
    "RMSProp: old state used",
    "The gradient of this step counts in the state before the state is used.",
    "rmsprop",
    rmsprop(_old_state(reference.rmsprop)),
)


def _moments(
    step: Callable[..., Any],
    second: Callable[..., Any] = lambda dw: dw**2,
) -> Any:
    """Adam with `step(m, v, t, beta1, beta2)` as what is divided by what before the root."""

    def made(
        w: Any, dw: Any, learning_rate: Any, beta1: Any, beta2: Any, epsilon: Any, **s: Any
    ) -> Any:
        t = s["t"] + 1
        m, v = beta1 * s["m"] + (1 - beta1) * dw, beta2 * s["v"] + (1 - beta2) * second(dw)
        up, down = step(m, v, t, beta1, beta2)
        return {"next_w": _less(w, learning_rate * up, down, epsilon), "m": m, "v": v, "t": t}

    return made


def _corrected_kept(w: Any, dw: Any, **s: Any) -> dict[str, Any]:
    found = reference.adam(w, dw, **s)
    found["m"] = found["m"] / (1 - s["beta1"] ** found["t"])
    found["v"] = found["v"] / (1 - s["beta2"] ** found["t"])
    return found


known(
    "Adam: no bias correction",
    "m and v start at 0, so at first they are too small: the correction for that is missing.",
    "adam",
    adam(_moments(lambda m, v, t, b1, b2: (m, v))),
)
known(
    "Adam: t used before it is counted up",
    "The first step is step 1: t is counted up before the correction uses it.",
    "adam",
    adam(
        _moments(
            lambda m, v, t, b1, b2: (
                m / np.float64(1 - b1 ** (t - 1)), v / np.float64(1 - b2 ** (t - 1))
            )
        )
    ),
)
known(
    "Adam: t not written back",
    "The next step needs to know how many there were: t is never written back.",
    "adam",
    adam(_only(reference.adam, "m", "v")),
)
known(
    "Adam: moments not written back",
    "The next step needs m and v of this one: they are never written back.",
    "adam",
    adam(_only(reference.adam, "t")),
)
known(
    "Adam: gradient not squared",
    "v is a mean of squared gradients, entry by entry.",
    "adam",
    adam(_moments(lambda m, v, t, b1, b2: (m / (1 - b1**t), v / (1 - b2**t)), lambda dw: dw)),
)
known(
    "Adam: betas exchanged",
    "beta1 belongs to the mean of the gradients, beta2 to that of their squares.",
    "adam",
    adam(
        lambda w, dw, beta1, beta2, **s: reference.adam(w, dw, beta1=beta2, beta2=beta1, **s)
    ),
)
def _scaled_moments(w: Any, dw: Any, learning_rate: Any, m: Any, **s: Any) -> dict[str, Any]:
    found = reference.adam(w, dw, learning_rate=learning_rate, m=m, **s)
    m = s["beta1"] * m + (1 - s["beta1"]) * learning_rate * dw
    up, down = m / (1 - s["beta1"] ** found["t"]), found["v"] / (1 - s["beta2"] ** found["t"])
    return {**found, "m": m, "next_w": _less(w, up, down, s["epsilon"])}


known(
    "Adam: learning rate inside the state",
    "m is a mean of gradients: the learning rate scales the step, not what is remembered.",
    "adam",
    adam(_scaled_moments),
)
known(
    "Adam: betas always 0.9 and 0.999",
    "config may bring a beta1 and a beta2 of its own; they are not looked at.",
    "adam",
    adam(_fixed(reference.adam, beta1=0.9, beta2=0.999)),
)
known(
    "Adam: one beta in both corrections",
    "Each moment is corrected by the beta that it was averaged with.",
    "adam",
    adam(_moments(lambda m, v, t, b1, b2: (m / (1 - b1**t), v / (1 - b1**t)))),
)
known(
    "Adam: corrected moments written back",
    "The correction is for this step alone: what is kept for the next are m and v before it.",
    "adam",
    adam(_corrected_kept),
)
known(
    "Adam: correction without the power of t",
    "The bias of m and v shrinks with every step: the correction uses each beta to the power of "
    "t.",
    "adam",
    adam(_moments(lambda m, v, t, b1, b2: (m / (1 - b1), v / (1 - b2)))),
)
known(
    "Adam: first moment not corrected",
    "Both moments start at 0: the mean of the gradients needs its correction as well.",
    "adam",
    adam(_moments(lambda m, v, t, b1, b2: (m, v / (1 - b2**t)))),
)
known(
    "Adam: second moment not corrected",
    "Both moments start at 0: the mean of the squares needs its correction as well.",
    "adam",
    adam(_moments(lambda m, v, t, b1, b2: (m / (1 - b1**t), v))),
)
