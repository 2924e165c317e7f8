import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cs231n.classifiers.pytorch_nets import ConvNetModule, convnet_functional, convnet_sequential
from cs231n.classifiers.resnet import BasicBlock, ResNet18


def drawn(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def parameters_of(module):
    """The list that convnet_functional takes, with the weights of a ConvNetModule."""
    conv1, conv2, fc = module.conv1, module.conv2, module.fc
    return [conv1.weight, conv1.bias, conv2.weight, conv2.bias, fc.weight.T, fc.bias]


@pytest.mark.parametrize("sizes", [(3, 4, 5, 10), (1, 1, 1, 2), (2, 7, 3, 4)])
def test_the_three_styles_are_one_network(sizes):
    """Do tensors, a module and a sequential give the same scores for the same weights?"""
    module = ConvNetModule(*sizes).double()
    sequential = convnet_sequential(*sizes).double()
    with torch.no_grad():
        for ours, theirs in zip(sequential.parameters(), module.parameters(), strict=True):
            ours.copy_(theirs)
    (x,) = drawn(0, (3, sizes[0], 32, 32))
    scores = module(x)
    assert scores.shape == (3, sizes[3])
    torch.testing.assert_close(sequential(x), scores)
    torch.testing.assert_close(convnet_functional(x, parameters_of(module)), scores)


def test_the_functional_style_takes_gradients_of_its_parameters():
    """Does each of the six tensors receive the gradient that the module's parameter receives?"""
    module = ConvNetModule(3, 2, 2, 4).double()
    x, dout = drawn(1, (2, 3, 32, 32), (2, 4))
    module(x).backward(dout)
    leaves = [p.detach().clone().requires_grad_() for p in parameters_of(module)]
    convnet_functional(x, leaves).backward(dout)
    for leaf, parameter in zip(leaves, module.parameters(), strict=True):
        expected = parameter.grad.T if parameter is module.fc.weight else parameter.grad
        torch.testing.assert_close(leaf.grad, expected)


def test_a_hand_made_pixel_passes_through():
    """Does a network of centre taps carry one pixel to the score that it is wired to?"""
    x = torch.zeros(1, 1, 32, 32)
    x[0, 0, 5, 7] = 3.0
    conv_w1, conv_w2 = torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 3, 3)
    conv_w1[..., 2, 2] = conv_w2[..., 1, 1] = 1.0
    fc_w = torch.zeros(32 * 32, 2)
    fc_w[5 * 32 + 7, 1] = 2.0
    params = [conv_w1, torch.zeros(1), conv_w2, torch.zeros(1), fc_w, torch.tensor([0.5, 0.0])]
    assert convnet_functional(x, params).tolist() == [[0.5, 6.0]]


@pytest.mark.parametrize("x, count", [(torch.zeros(3, 32, 32), 6), (torch.zeros(1, 3, 32, 32), 5)])
def test_wrong_arguments_are_named(x, count):
    """Does a wrong shape or a missing tensor raise an error that names the argument?"""
    with pytest.raises(ValueError, match="x must|params must"):
        convnet_functional(x, [torch.zeros(1)] * count)


def norm(x, layer):
    """Batch norm in evaluation, written out."""
    shape = (1, -1, 1, 1)
    std = (layer.running_var + layer.eps).sqrt().view(shape)
    x_hat = (x - layer.running_mean.view(shape)) / std
    return layer.weight.view(shape) * x_hat + layer.bias.view(shape)


def randomize(model, seed=0):
    """Give norms and running statistics values that a forgotten layer would show."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.bias, module.running_mean, module.running_var):
                value.data.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model.double().eval()


@pytest.mark.parametrize(
    "C, F_out, stride", [(4, 4, 1), (4, 8, 2), (4, 4, 2), (3, 5, 1), (2, 3, 3)]
)
def test_a_block_computes_its_formula(C, F_out, stride):
    """Does a block agree with its formula, with and without a projection, on odd images?"""
    block = randomize(BasicBlock(C, F_out, stride))
    (x,) = drawn(2, (2, C, 7, 9))
    out = F.relu(norm(F.conv2d(x, block.conv1.weight, stride=stride, padding=1), block.bn1))
    out = norm(F.conv2d(out, block.conv2.weight, padding=1), block.bn2)
    skipped = x
    if len(block.shortcut):
        skipped = norm(F.conv2d(x, block.shortcut[0].weight, stride=stride), block.shortcut[1])
    torch.testing.assert_close(block(x), F.relu(out + skipped))
    assert bool(len(block.shortcut)) == (stride != 1 or C != F_out)


def test_resnet18_has_the_parameters_of_the_paper():
    """Has the full width 11,173,962 parameters, and no convolution a bias?"""
    with torch.device("meta"):
        model = ResNet18()
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 20
    assert all(m.bias is None for m in convolutions)


def test_resnet18_halves_the_image_three_times():
    """Are the outputs of stem and stages of the shapes that the docstring's table gives?"""
    model, shapes = ResNet18(width=4), []
    for layer in (model.bn1, model.layer1, model.layer2, model.layer3, model.layer4, model.fc):
        layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    model(torch.zeros(2, 3, 32, 32))
    assert shapes == [
        (2, 4, 32, 32), (2, 4, 32, 32), (2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4), (2, 10),
    ]  # fmt: skip


def test_resnet18_ends_in_a_mean_over_the_image():
    """Are the scores a linear map of the mean of the last stage over height and width?"""
    model = randomize(ResNet18(num_classes=3, width=2))
    (x,) = drawn(3, (2, 3, 32, 32))
    features = F.relu(model.bn1(model.conv1(x)))
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        features = layer(features)
    torch.testing.assert_close(model(x), model.fc(features.mean((2, 3))))


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "stride"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, np.float64(2)])
def test_a_block_of_impossible_size_is_refused(name, value):
    """Does a size that is no positive integer raise an error that names it?"""
    with pytest.raises(ValueError, match=name):
        BasicBlock(**{"in_channels": 4, "out_channels": 4, "stride": 1, name: value})
