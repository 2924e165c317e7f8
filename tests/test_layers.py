"""The solved layers and sandwich layers, against torch autograd and central differences."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from cs231n import layer_utils, layers
from cs231n.gradient_check import eval_numerical_gradient_array

pytestmark = pytest.mark.fast


class Case(NamedTuple):
    """A layer with drawn settings: `forward` and `definition` take the same arrays."""

    forward: Callable
    backward: Callable
    definition: Callable
    arrays: list
    rng: np.random.Generator


def sizes(draw, *limits):
    """One integer a limit, from 1 to it, or from the first to the second of a pair."""
    pairs = [limit if isinstance(limit, tuple) else (1, limit) for limit in limits]
    return [draw(st.integers(low, high)) for low, high in pairs]


def source(draw):
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def normal(rng, *shapes):
    return [rng.normal(size=shape) for shape in shapes]


def apart(rng, shape):
    """Values at least 0.1 apart from one another and 0.05 from 0, where max and ReLU bend."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) - size // 2) * 0.1 + 0.05


def shift_of(tensor, channels):
    return tensor.reshape(1, channels, 1, 1)


@st.composite
def affine(draw):
    N, M, *trailing = sizes(draw, 4, 4, 3, 3, 3)
    trailing = trailing[: draw(st.integers(1, 3))]
    rng = source(draw)
    arrays = normal(rng, (N, *trailing), (int(np.prod(trailing)), M), (M,))
    return Case(
        layers.affine_forward,
        layers.affine_backward,
        lambda x, w, b: F.linear(x.flatten(1), w.T, b),
        arrays,
        rng,
    )


@st.composite
def relu(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    rng = source(draw)
    return Case(layers.relu_forward, layers.relu_backward, F.relu, [apart(rng, shape)], rng)


@st.composite
def dropout(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    rng = source(draw)
    param = {"p": draw(st.sampled_from([0.1, 0.5, 0.8, 1])), "seed": draw(st.integers(0, 99))}
    param["mode"] = draw(st.sampled_from(["train", "test"]))
    mask = layers.dropout_forward(np.ones(shape), param)[0]
    return Case(
        lambda x: layers.dropout_forward(x, param),
        layers.dropout_backward,
        lambda x: x * torch.tensor(mask),
        normal(rng, shape),
        rng,
    )


def statistics(draw, rng, features):
    """A bn_param with running statistics, and the keywords that mean the same to torch."""
    training = draw(st.booleans())
    mean, var = rng.normal(size=features), rng.uniform(0.5, 2, size=features)
    eps = draw(st.sampled_from([1e-5, 1e-2, 0.1]))
    param = {"mode": "train" if training else "test", "eps": eps}
    param.update(running_mean=mean, running_var=var)
    running = {"running_mean": torch.tensor(mean), "running_var": torch.tensor(var)}
    return param, {**running, "training": training, "eps": eps}


def torch_batch_norm(x, gamma, beta, keywords):
    """F.batch_norm, with running statistics of its own: torch writes into them."""
    own = {k: v.clone() if torch.is_tensor(v) else v for k, v in keywords.items()}
    return F.batch_norm(x, weight=gamma, bias=beta, **own)


@st.composite
def batchnorm(draw, backward=layers.batchnorm_backward):
    N, D = sizes(draw, (2, 5), 4)
    rng = source(draw)
    param, keywords = statistics(draw, rng, D)
    return Case(
        lambda x, gamma, beta: layers.batchnorm_forward(x, gamma, beta, dict(param)),
        backward,
        lambda x, gamma, beta: torch_batch_norm(x, gamma, beta, keywords),
        normal(rng, (N, D), (D,), (D,)),
        rng,
    )


@st.composite
def spatial_batchnorm(draw):
    N, C, H, W = sizes(draw, (2, 3), 3, 4, 3)
    rng = source(draw)
    param, keywords = statistics(draw, rng, C)
    return Case(
        lambda x, gamma, beta: layers.spatial_batchnorm_forward(x, gamma, beta, dict(param)),
        layers.spatial_batchnorm_backward,
        lambda x, gamma, beta: torch_batch_norm(x, gamma, beta, keywords),
        normal(rng, (N, C, H, W), (C,), (C,)),
        rng,
    )


@st.composite
def layernorm(draw):
    N, D = sizes(draw, 4, (2, 5))
    rng = source(draw)
    eps = draw(st.sampled_from([1e-5, 0.1]))
    return Case(
        lambda x, gamma, beta: layers.layernorm_forward(x, gamma, beta, {"eps": eps}),
        layers.layernorm_backward,
        lambda x, gamma, beta: F.layer_norm(x, (D,), gamma, beta, eps),
        normal(rng, (N, D), (D,), (D,)),
        rng,
    )


@st.composite
def spatial_groupnorm(draw):
    G, per_group, N, H, W = sizes(draw, 3, 2, 3, (2, 4), 3)
    C = G * per_group
    rng = source(draw)
    eps = draw(st.sampled_from([1e-5, 0.1]))
    return Case(
        lambda x, gamma, beta: layers.spatial_groupnorm_forward(x, gamma, beta, G, {"eps": eps}),
        layers.spatial_groupnorm_backward,
        lambda x, gamma, beta: F.group_norm(x, G, gamma.flatten(), beta.flatten(), eps),
        normal(rng, (N, C, H, W), (1, C, 1, 1), (1, C, 1, 1)),
        rng,
    )


@st.composite
def spatial_instancenorm(draw):
    N, C, H, W = sizes(draw, 3, 3, (2, 4), 3)
    rng = source(draw)
    eps = draw(st.sampled_from([1e-5, 0.1]))
    return Case(
        lambda x, gamma, beta: layers.spatial_instancenorm_forward(x, gamma, beta, {"eps": eps}),
        layers.spatial_instancenorm_backward,
        lambda x, gamma, beta: F.instance_norm(x, weight=gamma, bias=beta, eps=eps),
        normal(rng, (N, C, H, W), (C,), (C,)),
        rng,
    )


@st.composite
def switchable_norm(draw):
    N, C, H, W = sizes(draw, 3, 3, 4, 3)
    rng = source(draw)
    param, keywords = statistics(draw, rng, C)

    def forward(x, gamma, beta, lambda_mean, lambda_var):
        logits = {"lambda_mean": lambda_mean, "lambda_var": lambda_var}
        return layers.switchable_norm_forward(x, gamma, beta, {**param, **logits})

    def definition(x, gamma, beta, lambda_mean, lambda_var):
        over = [torch.var_mean(x, axes, correction=0, keepdim=True) for axes in IN_LN_BN]
        if not keywords["training"]:
            running = keywords["running_var"], keywords["running_mean"]
            over[2] = tuple(shift_of(statistic, C) for statistic in running)
        w, v = lambda_mean.softmax(0), lambda_var.softmax(0)
        mean = sum(w[k] * over[k][1] for k in range(3))
        var = sum(v[k] * over[k][0] for k in range(3))
        x_hat = (x - mean) / (var + keywords["eps"]).sqrt()
        return shift_of(gamma, C) * x_hat + shift_of(beta, C)

    arrays = normal(rng, (N, C, H, W), (C,), (C,), (3,), (3,))
    return Case(forward, layers.switchable_norm_backward, definition, arrays, rng)


IN_LN_BN = ((2, 3), (1, 2, 3), (0, 2, 3))


def image_and_filters(draw):
    """Arrays x, w, b and a conv_param; the filters fit, and need not tile the image."""
    N, C, F_, HH, WW = sizes(draw, 2, 2, 3, 3, 3)
    param = {"stride": draw(st.integers(1, 3)), "pad": draw(st.integers(0, 2))}
    H = draw(st.integers(max(1, HH - 2 * param["pad"]), 6))
    W = draw(st.integers(max(1, WW - 2 * param["pad"]), 6))
    rng = source(draw)
    return normal(rng, (N, C, H, W), (F_, C, HH, WW), (F_,)), param, rng


@st.composite
def conv(draw):
    arrays, param, rng = image_and_filters(draw)
    return Case(
        lambda x, w, b: layers.conv_forward_naive(x, w, b, param),
        layers.conv_backward_naive,
        lambda x, w, b: F.conv2d(x, w, b, param["stride"], param["pad"]),
        arrays,
        rng,
    )


@st.composite
def max_pool(draw):
    N, C, height, width, stride = sizes(draw, 2, 3, 3, 3, 3)
    H, W = sizes(draw, (height, 7), (width, 7))
    rng = source(draw)
    param = {"pool_height": height, "pool_width": width, "stride": stride}
    return Case(
        lambda x: layers.max_pool_forward_naive(x, param),
        layers.max_pool_backward_naive,
        lambda x: F.max_pool2d(x, (height, width), stride),
        [apart(rng, (N, C, H, W))],
        rng,
    )


STEP = 1e-4  # further than the central differences move any value


def away_from_zero(before):
    """Reject a draw whose ReLU inputs come so near to 0 that a small step crosses it."""
    assume(bool((before.abs() > STEP).all()))


def maxima_apart(rectified):
    """Reject a draw with two values in a map so near that a small step changes the maximum."""
    gaps = rectified.flatten(2).sort().values.diff()
    assume(not bool(((gaps > 0) & (gaps < STEP)).any()))


def rectified(forward, backward, before, arrays, rng):
    """The case of a sandwich that is a ReLU on top of the torch expression `before`."""
    away_from_zero(before(*map(torch.tensor, arrays)))
    return Case(forward, backward, lambda *tensors: F.relu(before(*tensors)), arrays, rng)


@st.composite
def affine_relu(draw):
    drawn = draw(affine())
    names = layer_utils.affine_relu_forward, layer_utils.affine_relu_backward
    return rectified(*names, drawn.definition, drawn.arrays, drawn.rng)


@st.composite
def affine_bn_relu(draw):
    N, D, M = sizes(draw, (2, 5), 4, 4)
    rng = source(draw)
    param, keywords = statistics(draw, rng, M)
    return rectified(
        lambda *arrays: layer_utils.affine_bn_relu_forward(*arrays, dict(param)),
        layer_utils.affine_bn_relu_backward,
        lambda x, w, b, gamma, beta: torch_batch_norm(x @ w + b, gamma, beta, keywords),
        normal(rng, (N, D), (D, M), (M,), (M,), (M,)),
        rng,
    )


@st.composite
def affine_ln_relu(draw):
    N, D, M = sizes(draw, 4, 4, (2, 5))
    rng = source(draw)
    return rectified(
        lambda *arrays: layer_utils.affine_ln_relu_forward(*arrays, {}),
        layer_utils.affine_ln_relu_backward,
        lambda x, w, b, gamma, beta: F.layer_norm(x @ w + b, (M,), gamma, beta),
        normal(rng, (N, D), (D, M), (M,), (M,), (M,)),
        rng,
    )


@st.composite
def conv_relu(draw):
    arrays, param, rng = image_and_filters(draw)
    return rectified(
        lambda x, w, b: layer_utils.conv_relu_forward(x, w, b, param),
        layer_utils.conv_relu_backward,
        lambda x, w, b: F.conv2d(x, w, b, param["stride"], param["pad"]),
        arrays,
        rng,
    )


@st.composite
def conv_bn_relu(draw):
    N, C, F_, H, W = sizes(draw, (2, 3), 2, 2, (2, 4), 3)
    rng = source(draw)
    param, keywords = statistics(draw, rng, F_)
    conv_param = {"stride": 1, "pad": 1}

    def before(x, w, b, gamma, beta):
        return torch_batch_norm(F.conv2d(x, w, b, padding=1), gamma, beta, keywords)

    return rectified(
        lambda *arrays: layer_utils.conv_bn_relu_forward(*arrays, conv_param, dict(param)),
        layer_utils.conv_bn_relu_backward,
        before,
        normal(rng, (N, C, H, W), (F_, C, 3, 3), (F_,), (F_,), (F_,)),
        rng,
    )


@st.composite
def conv_relu_pool(draw):
    arrays, param, rng = image_and_filters(draw)
    convolved = F.conv2d(*map(torch.tensor, arrays), param["stride"], param["pad"])
    height, width, stride = sizes(draw, *convolved.shape[2:], 2)
    pool_param = {"pool_height": height, "pool_width": width, "stride": stride}
    away_from_zero(convolved)
    maxima_apart(F.relu(convolved))
    return Case(
        lambda x, w, b: layer_utils.conv_relu_pool_forward(x, w, b, param, pool_param),
        layer_utils.conv_relu_pool_backward,
        lambda x, w, b: F.max_pool2d(
            F.relu(F.conv2d(x, w, b, param["stride"], param["pad"])), (height, width), stride
        ),
        arrays,
        rng,
    )


STRATEGIES = {
    "affine": affine(),
    "relu": relu(),
    "dropout": dropout(),
    "batchnorm": batchnorm(),
    "batchnorm_alt": batchnorm(layers.batchnorm_backward_alt),
    "layernorm": layernorm(),
    "conv_naive": conv(),
    "max_pool_naive": max_pool(),
    "spatial_batchnorm": spatial_batchnorm(),
    "spatial_groupnorm": spatial_groupnorm(),
    "spatial_instancenorm": spatial_instancenorm(),
    "switchable_norm": switchable_norm(),
    "affine_relu": affine_relu(),
    "affine_bn_relu": affine_bn_relu(),
    "affine_ln_relu": affine_ln_relu(),
    "conv_relu": conv_relu(),
    "conv_bn_relu": conv_bn_relu(),
    "conv_relu_pool": conv_relu_pool(),
}
every_layer = pytest.mark.parametrize("layer", STRATEGIES)


def gradients(case, dout, cache):
    """What the backward returns, as a tuple: some return one array alone."""
    grads = case.backward(dout, cache)
    return grads if isinstance(grads, tuple) else (grads,)


def run(case, arrays=None):
    """out, dout and the gradients of a case."""
    out, cache = case.forward(*(arrays or case.arrays))
    dout = case.rng.normal(size=out.shape).astype(out.dtype)
    return out, dout, gradients(case, dout, cache)


@every_layer
@given(data=st.data())
def test_layer_agrees_with_torch(layer, data):
    """Do the output and every gradient agree with torch's, in float64?"""
    case = data.draw(STRATEGIES[layer])
    out, dout, grads = run(case)
    leaves = [torch.tensor(array, requires_grad=True) for array in case.arrays]
    expected = case.definition(*leaves)
    expected.backward(torch.tensor(dout))

    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=1e-9, atol=1e-10)
    assert len(grads) == len(leaves)
    for grad, leaf in zip(grads, leaves, strict=True):
        scale = 1 + leaf.grad.abs().max().item()
        np.testing.assert_allclose(grad, leaf.grad.numpy(), rtol=1e-8, atol=1e-9 * scale)


@every_layer
@given(data=st.data())
def test_gradients_agree_with_central_differences(layer, data):
    """Does every gradient agree with central differences of the layer's own forward?"""
    case = data.draw(STRATEGIES[layer])
    _, dout, grads = run(case)
    for k, grad in enumerate(grads):
        moved = [array.copy() for array in case.arrays]

        def forward(_, moved=moved):
            return case.forward(*moved)[0]

        numeric = eval_numerical_gradient_array(forward, moved[k], dout)
        scale = 1 + np.abs(grad).max()
        np.testing.assert_allclose(grad, numeric, rtol=1e-5, atol=1e-6 * scale)


@every_layer
@given(data=st.data())
def test_float32_stays_float32(layer, data):
    """Are the output and the gradients float32 when the inputs are?"""
    case = data.draw(STRATEGIES[layer])
    out, _, grads = run(case, [array.astype(np.float32) for array in case.arrays])
    assert {out.dtype, *(grad.dtype for grad in grads)} == {np.dtype(np.float32)}


@every_layer
@given(data=st.data())
def test_inputs_are_left_as_they_are(layer, data):
    """Do the arrays and the upstream gradient come out of both passes as they went in?"""
    case = data.draw(STRATEGIES[layer])
    before = [array.copy() for array in case.arrays]
    out, cache = case.forward(*case.arrays)
    kept, dout = out.copy(), case.rng.normal(size=out.shape)
    upstream = dout.copy()
    first, second = gradients(case, dout, cache), gradients(case, dout, cache)
    np.testing.assert_array_equal(dout, upstream)
    np.testing.assert_array_equal(out, kept)
    for array, copy in zip(case.arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@every_layer
@given(data=st.data())
def test_an_upstream_gradient_of_another_shape_is_named(layer, data):
    """Is a dout with a row too many, or that would broadcast, a ValueError that names it?"""
    case = data.draw(STRATEGIES[layer])
    out, cache = case.forward(*case.arrays)
    assume(cache is not None)  # dropout in test mode, which is the identity for any shape
    for dout in (np.concatenate([out, out[:1]]), out[:0], out[..., None]):
        with pytest.raises(ValueError, match="^dout: expected shape"):
            case.backward(dout, cache)


def test_every_layer_is_tested():
    """Is there a strategy for each function that the two modules define, softmax apart?"""
    defined = {
        name.removesuffix("_forward").replace("_forward_naive", "_naive")
        for module in (layers, layer_utils)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and "_forward" in name
    }
    assert defined == STRATEGIES.keys() - {"batchnorm_alt"}


@given(N=st.integers(1, 5), C=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_softmax_loss_agrees_with_torch(N, C, seed):
    """Do the loss and its gradient agree with torch's cross-entropy and central differences?"""
    rng = np.random.default_rng(seed)
    x, y = 3 * rng.normal(size=(N, C)), rng.integers(0, C, N)
    kept = x.copy()
    loss, dx = layers.softmax_loss(x, y)
    leaf = torch.tensor(x, requires_grad=True)
    expected = F.cross_entropy(leaf, torch.tensor(y))
    expected.backward()
    numeric = eval_numerical_gradient_array(lambda x: layers.softmax_loss(x, y)[0], x.copy(), 1.0)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dx, numeric, rtol=1e-5, atol=1e-7)


def test_softmax_loss_of_large_scores():
    """Is the loss finite, right, and float32 for scores around 1e4?"""
    x = np.array([[1e4, 1e4 - 1, -1e4], [0, 1e4, 2e4]], dtype=np.float32)
    loss, dx = layers.softmax_loss(x, np.array([0, 1]))
    assert loss == pytest.approx((np.log1p(np.exp(-1)) + 1e4) / 2)
    assert loss.dtype == dx.dtype == np.float32
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-7)


RNG = np.random.default_rng(7)
X, W, B = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2)), np.zeros(2)
IMAGE, GAMMA = RNG.normal(size=(2, 4, 5, 3)), np.ones(4)
FILTERS, UNIT = RNG.normal(size=(3, 4, 3, 3)), {"stride": 1, "pad": 0}
POOL = {"pool_height": 2, "pool_width": 2, "stride": 1}
TRAIN = {"mode": "train"}
KEEP = {"mode": "train", "p": 0.5}
LOGITS = {"lambda_mean": np.zeros(3), "lambda_var": np.zeros(3)}

WRONG = [
    ("x", "affine_forward", X[:, :3], W, B),
    ("w", "affine_forward", X, W[0], B),
    ("b", "affine_forward", X, W, np.zeros(3)),
    ("dout", "affine_backward", X[0], None),
    ("x", "softmax_loss", X[0], np.zeros(3, int)),
    ("y", "softmax_loss", X, np.zeros(2, int)),
    ("y", "softmax_loss", X, np.zeros(3)),
    ("y", "softmax_loss", X, np.array([0, 1, 4])),
    ("y", "softmax_loss", X, np.array([0, 1, -1])),
    ("x", "batchnorm_forward", IMAGE, GAMMA, GAMMA, TRAIN),
    ("gamma", "batchnorm_forward", X, np.ones(3), GAMMA, TRAIN),
    ("beta", "batchnorm_forward", X, GAMMA, np.ones((1, 4)), TRAIN),
    ("bn_param['mode']", "batchnorm_forward", X, GAMMA, GAMMA, {"mode": "Train"}),
    ("bn_param['mode']", "batchnorm_forward", X, GAMMA, GAMMA, {}),
    ("bn_param['running_mean']", "batchnorm_forward", X, GAMMA, GAMMA, TRAIN | {"running_mean": B}),
    ("bn_param['running_var']", "batchnorm_forward", X, GAMMA, GAMMA, TRAIN | {"running_var": B}),
    ("dout", "batchnorm_backward", IMAGE, None),
    ("dout", "batchnorm_backward_alt", IMAGE, None),
    ("x", "layernorm_forward", X[0], GAMMA, GAMMA, {}),
    ("gamma", "layernorm_forward", X, B, GAMMA, {}),
    ("beta", "layernorm_forward", X, GAMMA, B, {}),
    ("dout", "layernorm_backward", IMAGE, None),
    ("dropout_param['mode']", "dropout_forward", X, KEEP | {"mode": "eval"}),
    ("dropout_param['p']", "dropout_forward", X, TRAIN),
    ("dropout_param['p']", "dropout_forward", X, KEEP | {"p": 0}),
    ("dropout_param['p']", "dropout_forward", X, KEEP | {"p": 1.5}),
    ("x", "conv_forward_naive", X, FILTERS, np.ones(3), UNIT),
    ("w", "conv_forward_naive", IMAGE, FILTERS[0], np.ones(3), UNIT),
    ("w", "conv_forward_naive", IMAGE, FILTERS[:, :2], np.ones(3), UNIT),
    ("w", "conv_forward_naive", IMAGE[..., :2], FILTERS, np.ones(3), UNIT),
    ("b", "conv_forward_naive", IMAGE, FILTERS, GAMMA, UNIT),
    ("conv_param['stride']", "conv_forward_naive", IMAGE, FILTERS, np.ones(3), {"pad": 0}),
    (
        "conv_param['stride']",
        "conv_forward_naive",
        IMAGE,
        FILTERS,
        np.ones(3),
        UNIT | {"stride": 0},
    ),
    ("conv_param['pad']", "conv_forward_naive", IMAGE, FILTERS, np.ones(3), UNIT | {"pad": 1.0}),
    ("dout", "conv_backward_naive", X, None),
    ("x", "max_pool_forward_naive", X, POOL),
    ("pool_param", "max_pool_forward_naive", IMAGE, POOL | {"pool_width": 4}),
    ("pool_param['pool_height']", "max_pool_forward_naive", IMAGE, POOL | {"pool_height": 0}),
    ("pool_param['stride']", "max_pool_forward_naive", IMAGE, POOL | {"stride": 0.5}),
    ("dout", "max_pool_backward_naive", X, None),
    ("x", "spatial_batchnorm_forward", X, GAMMA, GAMMA, TRAIN),
    ("gamma", "spatial_batchnorm_forward", IMAGE, B, GAMMA, TRAIN),
    ("beta", "spatial_batchnorm_forward", IMAGE, GAMMA, B, TRAIN),
    ("bn_param['mode']", "spatial_batchnorm_forward", IMAGE, GAMMA, GAMMA, {"mode": 1}),
    ("dout", "spatial_batchnorm_backward", X, None),
    ("x", "spatial_groupnorm_forward", X, GAMMA, GAMMA, 2, {}),
    ("gamma", "spatial_groupnorm_forward", IMAGE, B, GAMMA, 2, {}),
    ("beta", "spatial_groupnorm_forward", IMAGE, GAMMA, B, 2, {}),
    ("G", "spatial_groupnorm_forward", IMAGE, GAMMA, GAMMA, 3, {}),
    ("G", "spatial_groupnorm_forward", IMAGE, GAMMA, GAMMA, 0, {}),
    ("dout", "spatial_groupnorm_backward", X, None),
    ("x", "spatial_instancenorm_forward", X, GAMMA, GAMMA, {}),
    ("gamma", "spatial_instancenorm_forward", IMAGE, B, GAMMA, {}),
    ("beta", "spatial_instancenorm_forward", IMAGE, GAMMA, B, {}),
    ("dout", "spatial_instancenorm_backward", X, None),
    ("x", "switchable_norm_forward", X, GAMMA, GAMMA, LOGITS),
    ("gamma", "switchable_norm_forward", IMAGE, B, GAMMA, LOGITS),
    ("beta", "switchable_norm_forward", IMAGE, GAMMA, B, LOGITS),
    ("sn_param['lambda_mean']", "switchable_norm_forward", IMAGE, GAMMA, GAMMA, {}),
    (
        "sn_param['lambda_var']",
        "switchable_norm_forward",
        IMAGE,
        GAMMA,
        GAMMA,
        LOGITS | {"lambda_var": B},
    ),
    ("sn_param['mode']", "switchable_norm_forward", IMAGE, GAMMA, GAMMA, LOGITS | {"mode": "off"}),
    ("dout", "switchable_norm_backward", X, None),
]


@pytest.mark.parametrize(("argument", "layer", "given"), [(a, f, g) for a, f, *g in WRONG])
def test_wrong_argument_is_named(argument, layer, given):
    """Does a wrong shape or setting raise a ValueError with the argument and what was expected?"""
    with pytest.raises(ValueError) as error:
        getattr(layers, layer)(*given)
    assert str(error.value).startswith(f"{argument}: expected ")
    assert ", got " in str(error.value)


def test_batchnorm_writes_running_statistics_back():
    """Are they momentum * old + (1 - momentum) * batch, biased, in the precision of x?"""
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, size=(6, 4)).astype(np.float32)
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    bn_param = {"mode": "train", "momentum": 0.7}
    mean, var = 0, 0
    for _ in range(3):
        layers.batchnorm_forward(x, ones, zeros, bn_param)
        mean, var = 0.7 * mean + 0.3 * x.mean(axis=0), 0.7 * var + 0.3 * x.var(axis=0)
    np.testing.assert_allclose(bn_param["running_mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(bn_param["running_var"], var, rtol=1e-5)
    assert bn_param["running_mean"].dtype == bn_param["running_var"].dtype == np.float32


def test_batchnorm_test_mode_leaves_running_statistics():
    """Does test mode leave the dictionary as it was?"""
    running = {"running_mean": np.arange(4.0), "running_var": np.ones(4)}
    bn_param = {"mode": "test", **running}
    layers.batchnorm_forward(X, GAMMA, GAMMA, bn_param)
    assert bn_param == {"mode": "test", **running}


@pytest.mark.parametrize("backward", [layers.batchnorm_backward, layers.batchnorm_backward_alt])
def test_batch_of_one_teaches_batchnorm_nothing(backward):
    """Is the output beta, and dx zero, for a batch of one?"""
    beta = np.arange(4.0)
    out, cache = layers.batchnorm_forward(X[:1], GAMMA, beta, {"mode": "train"})
    dx, _, _ = backward(np.ones((1, 4)), cache)
    np.testing.assert_array_equal(out, beta[None])
    np.testing.assert_allclose(dx, 0, atol=1e-12)


def test_layernorm_ignores_mode():
    """Is the output the same whatever ln_param['mode'] says?"""
    plain, _ = layers.layernorm_forward(X, GAMMA, GAMMA, {})
    tested, _ = layers.layernorm_forward(X, GAMMA, GAMMA, {"mode": "test"})
    np.testing.assert_array_equal(plain, tested)


@pytest.mark.parametrize("p", [0.2, 0.75, 1.0])
def test_dropout_keeps_with_probability_p(p):
    """Is p the probability to keep, and a kept entry divided by p?"""
    x = np.random.default_rng(1).uniform(1, 2, size=(200, 100))
    out, _ = layers.dropout_forward(x, {"mode": "train", "p": p, "seed": 3})
    kept = out != 0
    assert kept.mean() == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / x.size) + 1e-12)
    np.testing.assert_allclose(out[kept], x[kept] / p)


def test_dropout_seed_leaves_the_global_generator():
    """Does a seed fix the mask without a trace in np.random?"""
    before = np.random.get_state()[1].copy()
    one, _ = layers.dropout_forward(X, KEEP | {"seed": 5})
    other, _ = layers.dropout_forward(X, KEEP | {"seed": 5})
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_dropout_without_seed_draws_anew():
    """Do two passes without a seed drop different entries?"""
    x = np.ones((40, 40))
    one, _ = layers.dropout_forward(x, KEEP)
    other, _ = layers.dropout_forward(x, KEEP)
    assert (one != other).any()


def test_max_pool_gives_ties_to_the_first():
    """Does the first of equal maxima, row by row, take the whole gradient?"""
    out, cache = layers.max_pool_forward_naive(np.ones((1, 1, 2, 2)), POOL)
    dx = layers.max_pool_backward_naive(np.full_like(out, 3.0), cache)
    np.testing.assert_array_equal(dx[0, 0], [[3, 0], [0, 0]])


def test_max_pool_adds_where_windows_overlap():
    """Does a maximum that four windows share get the gradient of all four?"""
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    _, cache = layers.max_pool_forward_naive(x, POOL)
    dx = layers.max_pool_backward_naive(np.ones((1, 1, 2, 2)), cache)
    np.testing.assert_array_equal(dx, 4 * x)


def test_groupnorm_of_one_group_and_of_all():
    """Is one group layer norm of the image, and a group a channel instance norm?"""
    rng = np.random.default_rng(4)
    gamma, beta = rng.normal(size=(2, 4))
    one, _ = layers.spatial_groupnorm_forward(IMAGE, gamma, beta, 1, {})
    rows, _ = layers.layernorm_forward(IMAGE.reshape(2, -1), np.ones(60), np.zeros(60), {})
    expected = gamma.reshape(1, 4, 1, 1) * rows.reshape(IMAGE.shape) + beta.reshape(1, 4, 1, 1)
    np.testing.assert_allclose(one, expected)

    each, _ = layers.spatial_groupnorm_forward(IMAGE, gamma, beta, 4, {})
    instance, _ = layers.spatial_instancenorm_forward(IMAGE, gamma, beta, {})
    np.testing.assert_allclose(each, instance)


def test_groupnorm_takes_flat_scales():
    """Do gamma and beta of shape (C,) give what (1, C, 1, 1) gives, the gradients included?"""
    rng = np.random.default_rng(5)
    gamma, beta = rng.normal(size=(2, 4))
    four = gamma.reshape(1, 4, 1, 1), beta.reshape(1, 4, 1, 1)
    flat, cache = layers.spatial_groupnorm_forward(IMAGE, gamma, beta, 2, {})
    full, _ = layers.spatial_groupnorm_forward(IMAGE, *four, 2, {})
    _, dgamma, dbeta = layers.spatial_groupnorm_backward(np.ones_like(IMAGE), cache)
    np.testing.assert_array_equal(flat, full)
    assert dgamma.shape == dbeta.shape == (1, 4, 1, 1)


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_switchable_norm_can_choose_one(chosen):
    """With all weight on one statistic, is it instance, layer or batch normalisation?"""
    logits = np.where(np.arange(3) == chosen, 100.0, 0.0)
    sn_param = {"lambda_mean": logits, "lambda_var": logits}
    out, _ = layers.switchable_norm_forward(IMAGE, GAMMA, 0 * GAMMA, sn_param)
    expected = [
        layers.spatial_instancenorm_forward(IMAGE, GAMMA, 0 * GAMMA, {}),
        layers.spatial_groupnorm_forward(IMAGE, GAMMA, 0 * GAMMA, 1, {}),
        layers.spatial_batchnorm_forward(IMAGE, GAMMA, 0 * GAMMA, {"mode": "train"}),
    ][chosen][0]
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_switchable_norm_writes_running_statistics_back():
    """Are they those that spatial batch norm writes, in the precision of x?"""
    x, ones = IMAGE.astype(np.float32), GAMMA.astype(np.float32)
    bn_param = {"mode": "train", "momentum": 0.6}
    sn_param = {"momentum": 0.6, **LOGITS}
    for _ in range(2):
        layers.spatial_batchnorm_forward(x, ones, ones, bn_param)
        layers.switchable_norm_forward(x, ones, ones, sn_param)
    for key in ("running_mean", "running_var"):
        np.testing.assert_allclose(sn_param[key], bn_param[key], rtol=1e-5, atol=1e-7)
        assert sn_param[key].dtype == np.float32
