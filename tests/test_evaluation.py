"""What a network says of images: the same, whichever way it is asked."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cs231n import evaluation, predict
from cs231n.classifiers.resnet import ResNet18
from grading.sealed.tools import Evaluator

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    monkeypatch.setattr(evaluation, "pick_precision", lambda device: torch.float32)


def trained(net):
    """Give the batch norms of `net` running averages and weights that are not 0 and 1."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_var, module.weight.data):
                values.uniform_(0.5, 2.0)
            for values in (module.running_mean, module.bias.data):
                values.normal_()
    return net


def norms(net):
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


class OneConvolutionTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 10)

    def forward(self, x):
        out = self.bn2(self.conv(F.relu(self.bn1(self.conv(x)))))
        return self.fc(out.mean((2, 3)))


class DecidesByItsInput(OneConvolutionTwice):
    def forward(self, x):
        out = self.bn1(self.conv(x))
        return self.fc((out if x.mean() > 0 else -out).mean((2, 3)))


class NormsHardlyApart(OneConvolutionTwice):
    """One convolution before two norms that differ by a hundredth."""

    def __init__(self):
        super().__init__()
        self.bn2.weight.data *= 1.01
        self.conv.requires_grad_(False).weight.zero_()
        self.conv.weight[:, :, 1, 1] = torch.eye(3)

    def forward(self, x):
        return self.fc((self.bn1(self.conv(x)) + self.bn2(self.conv(x))).mean((2, 3)))


class LeavesItToChance(OneConvolutionTwice):
    def forward(self, x):
        return self.fc(self.bn1(self.conv(x)).mean((2, 3))) + 1e-4 * torch.randn(10)


class SaysNothing(OneConvolutionTwice):
    def forward(self, x):
        return [x]


def test_batch_norms_become_part_of_convolutions():
    """Are ResNet-18's all gone, its answers the same, and the network itself as it was?"""
    net = trained(ResNet18(width=8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fast = evaluation.folded(net, IMAGES)
    assert (norms(net), norms(fast)) == (20, 0)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    with torch.no_grad():
        x = torch.randn(4, 3, 32, 32)
        torch.testing.assert_close(fast(x), net.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "kind", [OneConvolutionTwice, DecidesByItsInput, LeavesItToChance, SaysNothing]
)
def test_a_network_that_cannot_be_folded_is_asked_as_it_is(kind):
    """Is a convolution before two norms, chance, or code that cannot be read, left alone?"""
    net = trained(kind())
    assert evaluation.folded(net, IMAGES) is net


def test_a_small_difference_is_one():
    """Is a convolution before two norms which are hardly apart left alone as well?"""
    net = NormsHardlyApart()
    assert evaluation.folded(net, IMAGES) is net


def test_a_torch_that_cannot_fold_is_enough(monkeypatch):
    """Is the network asked as it is where torch's experimental module is gone?"""
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.optimization", None)
    net = trained(ResNet18(width=8))
    assert evaluation.folded(net, IMAGES) is net


@pytest.mark.parametrize("kind", [lambda: ResNet18(width=8), OneConvolutionTwice])
@pytest.mark.parametrize("flip", [False, True])
def test_scores_do_not_depend_on_batches(kind, flip):
    """Are scores of several batches, which are folded for, those of one?"""
    net = trained(kind())
    one, several = (
        evaluation.predict_scores(net, IMAGES, batch_size=size, flip=flip) for size in (24, 7)
    )
    np.testing.assert_allclose(several, one, rtol=1e-4, atol=1e-4)


def test_several_batches_are_folded_for(monkeypatch):
    """Does a network that is asked about more than a batch answer with folded norms?"""
    asked = []
    folded = evaluation.folded
    monkeypatch.setattr(evaluation, "folded", lambda *a: asked.append(folded(*a)) or asked[-1])
    evaluation.predict_scores(trained(ResNet18(width=8)), IMAGES, batch_size=24)
    assert not asked
    evaluation.predict_scores(trained(ResNet18(width=8)), IMAGES, batch_size=12)
    assert len(asked) == 1 and norms(asked[0]) == 0


def test_a_submission_is_of_a_folded_network(tmp_path, monkeypatch):
    """Is the network folded once for all batches of a submission?"""
    asked = []

    def scores(model, images):
        asked.append(model)
        return np.eye(10)[: len(images)]

    monkeypatch.setattr(predict, "predict_scores", scores)
    batches = [IMAGES[:8], IMAGES[8:16]]
    predict.write_submission(trained(ResNet18(width=8)), batches, tmp_path / "s.csv", "abcdefghij")
    assert norms(asked[0]) == 0 and asked[0] is asked[1]


def test_the_grader_folds_too():
    """Are the answers of a network that is graded those of the network that was handed in?"""
    net = trained(ResNet18(width=8))
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    evaluator = Evaluator(ResNet18(width=8), state, "float32", False)
    wanted = evaluation.predict_scores(net, IMAGES)
    for _ in range(2):
        found = evaluator.scores(IMAGES, 12).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert norms(evaluator.module) == 0
