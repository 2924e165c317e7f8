"""The public names: what solutions of any year call, with which arguments and defaults."""

import importlib
import inspect

import numpy as np
import pytest

from cs231n.solver import Solver

pytestmark = pytest.mark.fast

API = """
layers: affine_forward(x, w, b)
layers: affine_backward(dout, cache)
layers: relu_forward(x)
layers: relu_backward(dout, cache)
layers: softmax_loss(x, y)
layers: batchnorm_forward(x, gamma, beta, bn_param)
layers: batchnorm_backward(dout, cache)
layers: batchnorm_backward_alt(dout, cache)
layers: layernorm_forward(x, gamma, beta, ln_param)
layers: layernorm_backward(dout, cache)
layers: dropout_forward(x, dropout_param)
layers: dropout_backward(dout, cache)
layers: conv_forward_naive(x, w, b, conv_param)
layers: conv_backward_naive(dout, cache)
layers: max_pool_forward_naive(x, pool_param)
layers: max_pool_backward_naive(dout, cache)
layers: spatial_batchnorm_forward(x, gamma, beta, bn_param)
layers: spatial_batchnorm_backward(dout, cache)
layers: spatial_groupnorm_forward(x, gamma, beta, G, gn_param)
layers: spatial_groupnorm_backward(dout, cache)
layers: spatial_instancenorm_forward(x, gamma, beta, in_param)
layers: spatial_instancenorm_backward(dout, cache)
layers: switchable_norm_forward(x, gamma, beta, sn_param)
layers: switchable_norm_backward(dout, cache)
optim: sgd(w, dw, config=None)
optim: sgd_momentum(w, dw, config=None)
optim: nesterov(w, dw, config=None)
optim: adagrad(w, dw, config=None)
optim: rmsprop(w, dw, config=None)
optim: adam(w, dw, config=None)
layer_utils: affine_relu_forward(x, w, b)
layer_utils: affine_relu_backward(dout, cache)
layer_utils: affine_bn_relu_forward(x, w, b, gamma, beta, bn_param)
layer_utils: affine_bn_relu_backward(dout, cache)
layer_utils: affine_ln_relu_forward(x, w, b, gamma, beta, ln_param)
layer_utils: affine_ln_relu_backward(dout, cache)
layer_utils: conv_relu_forward(x, w, b, conv_param)
layer_utils: conv_relu_backward(dout, cache)
layer_utils: conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param)
layer_utils: conv_bn_relu_backward(dout, cache)
layer_utils: conv_relu_pool_forward(x, w, b, conv_param, pool_param)
layer_utils: conv_relu_pool_backward(dout, cache)
fast_layers: conv_forward_fast(x, w, b, conv_param)
fast_layers: conv_backward_fast(dout, cache)
fast_layers: conv_forward_im2col(x, w, b, conv_param)
fast_layers: conv_backward_im2col(dout, cache)
fast_layers: conv_forward_strides(x, w, b, conv_param)
fast_layers: conv_backward_strides(dout, cache)
fast_layers: max_pool_forward_fast(x, pool_param)
fast_layers: max_pool_backward_fast(dout, cache)
fast_layers: max_pool_forward_reshape(x, pool_param)
fast_layers: max_pool_backward_reshape(dout, cache)
fast_layers: max_pool_forward_im2col(x, pool_param)
fast_layers: max_pool_backward_im2col(dout, cache)
gradient_check: eval_numerical_gradient(f, x, verbose=True, h=1e-05)
gradient_check: eval_numerical_gradient_array(f, x, df, h=1e-05)
gradient_check: grad_check_sparse(f, x, analytic_grad, num_checks=10, h=1e-05)
gradient_check: rel_error(x, y)
data_utils: load_CIFAR_batch(filename)
data_utils: load_CIFAR10(ROOT)
data_utils: get_CIFAR10_data(num_training=49000, num_validation=1000, num_test=1000, \
subtract_mean=True)
vis_utils: visualize_grid(Xs, ubound=255.0, padding=1)
classifiers.fc_net: FullyConnectedNet(hidden_dims, input_dim=3072, num_classes=10, \
dropout_keep_ratio=1, normalization=None, reg=0.0, weight_scale=0.01, dtype=float32, seed=None)
classifiers.cnn: ThreeLayerConvNet(input_dim=(3, 32, 32), num_filters=32, filter_size=7, \
hidden_dim=100, num_classes=10, weight_scale=0.001, reg=0.0, dtype=float32)
classifiers.resnet: ResNet18(num_classes=10, width=64)
"""
LINES = [line.split(": ", 1) for line in API.strip().splitlines()]


@pytest.mark.parametrize("module, expected", LINES, ids=[line.split("(")[0] for _, line in LINES])
def test_signature(module, expected):
    """Is the name there, with the arguments, their order and their defaults?"""
    found = getattr(importlib.import_module(f"cs231n.{module}"), expected.split("(")[0])
    signature = str(inspect.signature(found)).replace("<class 'numpy.float32'>", "float32")
    assert found.__name__ + signature == expected
    assert inspect.getdoc(found)


def test_a_star_reaches_every_name():
    """Does `from cs231n.layers import *` give all of the layers?"""
    names: dict = {}
    exec("from cs231n.layers import *\nfrom cs231n.layer_utils import *", names)
    wanted = {line.split("(")[0] for module, line in LINES if module in ("layers", "layer_utils")}
    assert wanted <= names.keys()


def test_solver():
    """Are the solver's keywords, their defaults and its attributes those of every year?"""

    class Model:
        params = {"W": np.ones(2)}

    data = {"X_train": np.ones((3, 2)), "y_train": np.ones(3), "X_val": np.ones((1, 2)),
            "y_val": np.ones(1)}
    defaults = {"lr_decay": 1.0, "batch_size": 100, "num_epochs": 10, "num_train_samples": 1000,
                "num_val_samples": None, "checkpoint_name": None, "print_every": 10,
                "verbose": True, "optim_config": {}}
    solver = Solver(Model(), data)
    assert {name: getattr(solver, name) for name in defaults} == defaults
    assert solver.update_rule.__name__ == "sgd"
    assert Solver(Model(), data, update_rule="adam", **defaults).update_rule.__name__ == "adam"
    assert solver.optim_configs == {"W": {}} and solver.epoch == 0 == solver.best_val_acc
    assert solver.loss_history == solver.train_acc_history == solver.val_acc_history == []
    assert solver.best_params.keys() == {"W"}
    assert list(inspect.signature(solver.check_accuracy).parameters) == [
        "X", "y", "num_samples", "batch_size",
    ]
