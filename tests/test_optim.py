"""The solved update rules, against torch.optim."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cs231n import optim

pytestmark = pytest.mark.fast

TORCH = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, eps=1e-8),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, alpha=0.99, eps=1e-8),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8),
}
DEFAULTS = {
    "sgd": {"learning_rate": 1e-2},
    "sgd_momentum": {"learning_rate": 1e-2, "momentum": 0.9},
    "nesterov": {"learning_rate": 1e-2, "momentum": 0.9},
    "adagrad": {"learning_rate": 1e-2, "epsilon": 1e-8},
    "rmsprop": {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8},
    "adam": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "t": 1},
}
STATE = {
    "sgd": (),
    "sgd_momentum": ("velocity",),
    "nesterov": ("velocity",),
    "adagrad": ("cache",),
    "rmsprop": ("cache",),
    "adam": ("m", "v"),
}
every_rule = pytest.mark.parametrize("name", TORCH)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@every_rule
@given(shape=shapes, steps=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_rule_agrees_with_torch(name, shape, steps, seed):
    """With the documented defaults, are the parameters torch's after some steps, in float64?"""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=shape)
    leaf = torch.tensor(w, requires_grad=True)
    expected, config = TORCH[name]([leaf]), None
    for _ in range(steps):
        dw = rng.normal(size=shape)
        w, config = getattr(optim, name)(w, dw, config)
        leaf.grad = torch.tensor(dw)
        expected.step()
    np.testing.assert_allclose(w, leaf.detach().numpy(), rtol=1e-9, atol=1e-12)


@every_rule
def test_config_holds_defaults_and_state(name):
    """Does the config come back with the hyperparameters and the state under their names?"""
    w = np.ones((2, 3))
    _, config = getattr(optim, name)(w, w)
    assert config.keys() == DEFAULTS[name].keys() | set(STATE[name])
    assert {key: config[key] for key in DEFAULTS[name]} == DEFAULTS[name]
    assert all(config[key].shape == w.shape for key in STATE[name])


@every_rule
def test_given_hyperparameters_are_used(name):
    """Is the learning rate of the config used, and kept there?"""
    w, dw = np.ones(3), np.array([1.0, -2.0, 0.5])
    small, _ = getattr(optim, name)(w, dw, {"learning_rate": 0.1})
    large, config = getattr(optim, name)(w, dw, {"learning_rate": 0.2})
    np.testing.assert_allclose(large - w, 2 * (small - w))
    assert config["learning_rate"] == 0.2


@every_rule
def test_float32_stays_float32(name):
    """Are parameters and state float32, even when the learning rate is a NumPy float64?"""
    w = np.ones((2, 3), np.float32)
    config = {"learning_rate": np.float64(1e-3)}
    for _ in range(2):
        w, config = getattr(optim, name)(w, np.ones_like(w), config)
    assert {w.dtype, *(config[key].dtype for key in STATE[name])} == {np.dtype(np.float32)}


@every_rule
def test_arrays_are_left_as_they_are(name):
    """Do w, dw and the arrays of the config keep their values through a step?"""
    rng = np.random.default_rng(0)
    w, dw, *state = rng.uniform(1, 2, size=(2 + len(STATE[name]), 2, 3))
    before = [array.copy() for array in (w, dw, *state)]
    getattr(optim, name)(w, dw, dict(zip(STATE[name], state, strict=True)))
    for array, copy in zip((w, dw, *state), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@every_rule
def test_gradient_of_another_shape_is_refused(name):
    """Does a dw that would broadcast raise a ValueError that names it?"""
    with pytest.raises(ValueError, match=r"^dw: expected shape \(2, 3\), .* got \(3,\)"):
        getattr(optim, name)(np.ones((2, 3)), np.ones(3))


@pytest.mark.parametrize(("name", "key"), [(n, key) for n, keys in STATE.items() for key in keys])
def test_state_of_another_shape_is_refused(name, key):
    """Does the state of another parameter raise a ValueError that names it?"""
    with pytest.raises(ValueError, match=rf"^config\['{key}'\]: expected shape \(2, 3\)"):
        getattr(optim, name)(np.ones((2, 3)), np.ones((2, 3)), {key: np.ones(3)})


def test_adam_counts_up_before_use():
    """Is the first step, from t = 0, one learning rate long, and one from t = 1 longer?"""
    w, dw = np.zeros(2), np.array([3.0, -0.01])
    first, config = optim.adam(w, dw)
    later, _ = optim.adam(w, dw, {"t": 1})
    np.testing.assert_allclose(first, -1e-3 * np.sign(dw), rtol=1e-5)
    assert config["t"] == 1
    assert not np.allclose(first, later)


@every_rule
def test_rule_goes_downhill(name):
    """Does the rule bring a quadratic bowl nearer to its lowest point?"""
    w, config = np.array([1.0, -1.0]), {"learning_rate": 0.02}
    for _ in range(60):
        w, config = getattr(optim, name)(w, np.array([4.0, 1.0]) * w, config)
    assert 4 * w[0] ** 2 + w[1] ** 2 < 0.8 * 5
