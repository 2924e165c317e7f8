"""The solved networks: FullyConnectedNet and ThreeLayerConvNet."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from cs231n.classifiers.cnn import ThreeLayerConvNet
from cs231n.classifiers.fc_net import FullyConnectedNet
from cs231n.gradient_check import eval_numerical_gradient
from cs231n.optim import adam

pytestmark = pytest.mark.fast

NORMALIZATIONS = (None, "batchnorm", "layernorm")
every_normalization = pytest.mark.parametrize("normalization", NORMALIZATIONS)
seeds = st.integers(0, 2**32 - 1)


def redraw(model, rng):
    """Give every parameter drawn values, gamma and the biases included."""
    for name, value in model.params.items():
        model.params[name] = rng.normal(size=value.shape).astype(value.dtype)


def batch(rng, *shape, classes=4):
    return rng.normal(size=shape), rng.integers(0, classes, shape[0])


def torch_params(model):
    return {name: torch.tensor(p, requires_grad=True) for name, p in model.params.items()}


def torch_fully_connected(params, X, depth, normalization):
    hidden = torch.tensor(X).flatten(1)
    for i in range(1, depth):
        hidden = hidden @ params[f"W{i}"] + params[f"b{i}"]
        if normalization is not None:
            scale = {"weight": params[f"gamma{i}"], "bias": params[f"beta{i}"]}
        if normalization == "batchnorm":
            hidden = F.batch_norm(hidden, None, None, training=True, **scale)
        elif normalization == "layernorm":
            hidden = F.layer_norm(hidden, hidden.shape[1:], **scale)
        hidden = F.relu(hidden)
    return hidden @ params[f"W{depth}"] + params[f"b{depth}"]


def torch_three_layer(params, X, pad):
    hidden = F.relu(F.conv2d(torch.tensor(X), params["W1"], params["b1"], padding=pad))
    hidden = F.max_pool2d(hidden, 2).flatten(1)
    hidden = F.relu(hidden @ params["W2"] + params["b2"])
    return hidden @ params["W3"] + params["b3"]


def assert_loss_agrees(model, params, scores, X, y):
    """Compare the loss and all gradients with those of torch's scores."""
    expected = F.cross_entropy(scores, torch.tensor(y))
    weights = [p for name, p in params.items() if name.startswith("W")]
    expected = expected + 0.5 * model.reg * sum((w**2).sum() for w in weights)
    expected.backward()
    loss, grads = model.loss(X, y)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-9)
    assert grads.keys() == model.params.keys()
    for name, leaf in params.items():
        scale = 1 + leaf.grad.abs().max().item()
        np.testing.assert_allclose(
            grads[name], leaf.grad.numpy(), rtol=1e-7, atol=1e-9 * scale, err_msg=name
        )


def worst_gradient(model, X, y):
    """Largest difference from central differences, over all parameters."""
    _, grads = model.loss(X, y)
    return max(
        np.abs(
            eval_numerical_gradient(lambda _: model.loss(X, y)[0], value, verbose=False)
            - grads[name]
        ).max()
        for name, value in model.params.items()
    )


@every_normalization
@given(data=st.data(), seed=seeds)
def test_fully_connected_agrees_with_torch(normalization, data, seed):
    """Do loss and gradients agree with torch's, for any depth, widths and regularisation?"""
    rng = np.random.default_rng(seed)
    hidden_dims = data.draw(st.lists(st.integers(2, 6), max_size=3))
    reg = data.draw(st.sampled_from([0.0, 0.7]))
    model = FullyConnectedNet(
        hidden_dims, 6, 4, normalization=normalization, reg=reg, dtype=np.float64
    )
    redraw(model, rng)
    X, y = batch(rng, data.draw(st.integers(3, 6)), 3, 2)
    params = torch_params(model)
    scores = torch_fully_connected(params, X, len(hidden_dims) + 1, normalization)
    assert_loss_agrees(model, params, scores, X, y)


@every_normalization
@pytest.mark.parametrize("keep", [1, 0.6])
def test_fully_connected_agrees_with_central_differences(normalization, keep):
    """Do the gradients agree with central differences, with dropout's masks fixed by the seed?"""
    rng = np.random.default_rng(11)
    model = FullyConnectedNet([5, 6], 6, 4, keep, normalization, reg=0.3, dtype=np.float64, seed=5)
    redraw(model, rng)
    assert worst_gradient(model, *batch(rng, 5, 6)) < 1e-6


@given(data=st.data(), seed=seeds)
def test_three_layer_agrees_with_torch(data, seed):
    """Do loss and gradients agree with torch's, for odd and non-square images and any filter?"""
    rng = np.random.default_rng(seed)
    C, H, W = (data.draw(st.integers(low, 6)) for low in (1, 2, 2))
    filter_size = data.draw(st.sampled_from([1, 3, 5]))
    reg = data.draw(st.sampled_from([0.0, 0.7]))
    model = ThreeLayerConvNet((C, H, W), 3, filter_size, 5, 4, reg=reg, dtype=np.float64)
    redraw(model, rng)
    X, y = batch(rng, 3, C, H, W)
    params = torch_params(model)
    scores = torch_three_layer(params, X, (filter_size - 1) // 2)
    np.testing.assert_allclose(model.loss(X), scores.detach().numpy(), rtol=1e-9, atol=1e-9)
    assert_loss_agrees(model, params, scores, X, y)


def test_three_layer_agrees_with_central_differences():
    """Do the gradients agree with central differences?"""
    rng = np.random.default_rng(12)
    model = ThreeLayerConvNet((2, 5, 4), 2, 3, 4, 4, reg=0.3, dtype=np.float64)
    redraw(model, rng)
    assert worst_gradient(model, *batch(rng, 3, 2, 5, 4)) < 1e-6


@every_normalization
def test_fully_connected_parameters(normalization):
    """Are names, shapes and initial values as documented?"""
    np.random.seed(0)
    model = FullyConnectedNet([80, 70], 90, 10, normalization=normalization, weight_scale=0.05)
    expected = {"W1": (90, 80), "b1": (80,), "W2": (80, 70), "b2": (70,)}
    expected |= {"W3": (70, 10), "b3": (10,)}
    if normalization is not None:
        expected |= {"gamma1": (80,), "beta1": (80,), "gamma2": (70,), "beta2": (70,)}
    assert {name: value.shape for name, value in model.params.items()} == expected
    for name, value in model.params.items():
        if name.startswith("W"):
            assert abs(value.mean()) < 0.01
            assert value.std() == pytest.approx(0.05, rel=0.15)
        else:
            np.testing.assert_array_equal(value, 1.0 if name.startswith("gamma") else 0.0)


def test_three_layer_parameters():
    """Are the shapes as documented, at the defaults and at half a pooled row?"""
    shapes = {name: p.shape for name, p in ThreeLayerConvNet().params.items()}
    assert shapes == {
        "W1": (32, 3, 7, 7),
        "b1": (32,),
        "W2": (32 * 16 * 16, 100),
        "b2": (100,),
        "W3": (100, 10),
        "b3": (10,),
    }
    odd = ThreeLayerConvNet((1, 5, 7), num_filters=4, hidden_dim=6)
    assert odd.params["W2"].shape == (4 * 2 * 3, 6)


def test_fully_connected_attributes():
    """Are the attributes that the solver and the notebooks read there, with their values?"""
    model = FullyConnectedNet([4, 3], dropout_keep_ratio=0.5, normalization="batchnorm", seed=9)
    assert (model.normalization, model.use_dropout, model.num_layers) == ("batchnorm", True, 3)
    assert (model.reg, model.dtype) == (0.0, np.float32)
    assert model.dropout_param == {"mode": "train", "p": 0.5, "seed": 9}
    assert model.bn_params == [{"mode": "train"}, {"mode": "train"}]
    assert model.bn_params[0] is not model.bn_params[1]

    plain = FullyConnectedNet([4, 3])
    assert (plain.use_dropout, plain.dropout_param, plain.bn_params) == (False, {}, [])


@pytest.mark.parametrize("reg", [0.1, np.float64(0.1)])
@pytest.mark.parametrize("normalization", [*NORMALIZATIONS, "convnet"])
def test_float32_stays_float32(normalization, reg):
    """Are parameters, scores, gradients and running statistics float32, for float64 data too?"""
    rng = np.random.default_rng(1)
    if normalization == "convnet":
        model = ThreeLayerConvNet((2, 4, 4), 2, 3, 5, 4, reg=reg)
    else:
        model = FullyConnectedNet([5], 32, 4, 0.5, normalization, reg=reg)
    X, y = batch(rng, 3, 2, 4, 4)
    loss, grads = model.loss(X, y)
    arrays = [loss, model.loss(X), *grads.values(), *model.params.values()]
    if normalization == "batchnorm":
        arrays += [model.bn_params[0]["running_mean"], model.bn_params[0]["running_var"]]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("normalization", [*NORMALIZATIONS, "convnet"])
def test_loss_changes_neither_data_nor_parameters(normalization):
    """Are X, y and the parameters the same after a training pass?"""
    rng = np.random.default_rng(2)
    if normalization == "convnet":
        model = ThreeLayerConvNet((2, 4, 4), 2, 3, 5, 4, reg=0.1, dtype=np.float64)
    else:
        model = FullyConnectedNet([5], 32, 4, 0.5, normalization, 0.1, dtype=np.float64)
    X, y = batch(rng, 3, 2, 4, 4)
    arrays = [X, y, *model.params.values()]
    before = [array.copy() for array in arrays]
    model.loss(X, y)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_scores_do_not_depend_on_the_rest_of_the_batch():
    """Without labels, does batch norm use its running statistics, and dropout drop nothing?"""
    rng = np.random.default_rng(3)
    model = FullyConnectedNet([8, 8], 6, 4, 0.5, "batchnorm", weight_scale=1, dtype=np.float64)
    X, y = batch(rng, 7, 6)
    for _ in range(5):
        model.loss(X, y)
    together = model.loss(X)
    np.testing.assert_allclose(model.loss(X[2:3])[0], together[2])
    np.testing.assert_array_equal(model.loss(X), together)
    assert [param["mode"] for param in model.bn_params] == ["test", "test"]
    model.loss(X, y)
    assert [param["mode"] for param in model.bn_params] == ["train", "train"]


@pytest.mark.parametrize("model", [FullyConnectedNet([20], 48), ThreeLayerConvNet((3, 4, 4))])
def test_initial_loss_is_that_of_guessing(model):
    """Is the loss of ten classes near log 10 at first, and larger with regularisation?"""
    X, y = batch(np.random.default_rng(4), 50, 3, 4, 4, classes=10)
    plain, _ = model.loss(X, y)
    assert plain == pytest.approx(np.log(10), abs=0.1)
    model.reg = 0.5
    regularised, _ = model.loss(X, y)
    squares = sum(np.sum(p**2) for name, p in model.params.items() if name.startswith("W"))
    assert regularised - plain == pytest.approx(0.25 * squares, rel=1e-3)


@pytest.mark.parametrize("normalization", [*NORMALIZATIONS, "convnet"])
def test_network_learns_a_small_batch(normalization):
    """Does the loss on twenty examples fall to a tenth in a hundred steps?"""
    np.random.seed(5)
    if normalization == "convnet":
        model = ThreeLayerConvNet((3, 4, 4), 8, 3, 20, 4, weight_scale=0.1)
    else:
        model = FullyConnectedNet([30, 30], 48, 4, 1, normalization, weight_scale=0.1)
    X, y = batch(np.random.default_rng(5), 20, 3, 4, 4)
    first, _ = model.loss(X, y)
    configs = {name: {"learning_rate": 1e-2} for name in model.params}
    for _ in range(100):
        last, grads = model.loss(X, y)
        for name, w in model.params.items():
            model.params[name], configs[name] = adam(w, grads[name], configs[name])
    assert last < first / 10


@pytest.mark.parametrize(
    ("argument", "network", "keywords"),
    [
        ("normalization", FullyConnectedNet, {"hidden_dims": [3], "normalization": "BatchNorm"}),
        ("dropout_keep_ratio", FullyConnectedNet, {"hidden_dims": [3], "dropout_keep_ratio": 0}),
        ("dropout_keep_ratio", FullyConnectedNet, {"hidden_dims": [3], "dropout_keep_ratio": 2}),
        ("filter_size", ThreeLayerConvNet, {"filter_size": 4}),
        ("input_dim", ThreeLayerConvNet, {"input_dim": (3, 32)}),
    ],
)
def test_wrong_setting_is_named(argument, network, keywords):
    """Does a setting that the network does not know raise a ValueError that names it?"""
    with pytest.raises(ValueError, match=f"^{argument}: expected .* got "):
        network(**keywords)


@pytest.mark.parametrize("model", [FullyConnectedNet([5], 48), ThreeLayerConvNet((3, 4, 4))])
def test_wrong_data_is_named(model):
    """Do images of another size, and labels that do not fit, raise a ValueError?"""
    X, y = batch(np.random.default_rng(6), 3, 3, 4, 4)
    with pytest.raises(ValueError, match="^x: expected .* got "):
        model.loss(X[:, :, :2], y)
    with pytest.raises(ValueError, match="^y: expected .* got "):
        model.loss(X, y[:2])
