"""Convolutions with fewer multiplications: the same numbers, and nothing else changed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cs231n import winograd
from cs231n.winograd import CHANNELS, Convolution, Winograd

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (1, 1, 2, 2), (3, 5, 4, 2)])
def test_same_numbers(shape):
    """Are output, dx, dw and db torch's, in float64, for sizes that differ in every way?"""
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, shape[1], 3, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(Convolution.apply(x, w, None), F.conv2d(x, w, padding=1))
    ours, theirs = Convolution.apply(x, w, b), F.conv2d(x, w, b, padding=1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    dout = torch.randn_like(theirs)
    found, wanted = (torch.autograd.grad(out, (x, w, b), dout) for out in (ours, theirs))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_bfloat16_is_close():
    """Is the error in bfloat16 of the order of one rounding, in all three products?"""
    torch.manual_seed(0)
    x = torch.randn(4, CHANNELS, 4, 4, requires_grad=True)
    w = torch.randn(CHANNELS, CHANNELS, 3, 3, requires_grad=True)
    exact = F.conv2d(x, w, padding=1)
    dout = torch.randn_like(exact)
    with torch.autocast("cpu", torch.bfloat16), Winograd():
        out = nn.functional.conv2d(x, w, padding=1)
    assert out.dtype == torch.bfloat16 and out.grad_fn.name() == "ConvolutionBackward"
    found = [out, *torch.autograd.grad(out, (x, w), dout.bfloat16())]
    for ours, right in zip(found, [exact, *torch.autograd.grad(exact, (x, w), dout)], strict=True):
        error = (ours.float() - right).norm() / right.norm()
        assert error < 0.01  # 2^-8 is 0.004


@pytest.mark.parametrize(
    "taken, x, w",
    [
        (True, (1, CHANNELS, 4, 6), (CHANNELS, CHANNELS)),
        (True, (1, CHANNELS, 4, 4), (2 * CHANNELS, CHANNELS)),
        (False, (1, CHANNELS, 4, 5), (CHANNELS, CHANNELS)),
        (False, (1, CHANNELS // 2, 4, 4), (CHANNELS, CHANNELS // 2)),
        (False, (1, CHANNELS, 4, 4), (CHANNELS // 2, CHANNELS)),
        (False, (CHANNELS, 4, 4), (CHANNELS, CHANNELS)),
    ],
)
def test_which_sizes_fit(taken, x, w):
    """Are height and width, and both numbers of channels, each looked at, and the device?"""
    for device in ("cpu", "meta"):
        sizes = torch.empty(x, device=device), torch.empty(*w, 3, 3, device=device)
        assert winograd._fits(*sizes, padding=1) == (taken and device == "cpu")


def test_a_second_derivative_is_refused():
    """Is there an error, and not a wrong number?"""
    x = torch.randn(1, 2, 2, 2, requires_grad=True)
    out = Convolution.apply(x, torch.randn(2, 2, 3, 3, requires_grad=True), None)
    (dx,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.square().sum().backward()


@pytest.mark.parametrize(
    "taken, channels, size, settings",
    [
        (True, CHANNELS, 4, {"padding": 1}),
        (False, CHANNELS // 2, 4, {"padding": 1}),
        (False, CHANNELS, 5, {"padding": 1}),
        (False, CHANNELS, 4, {"padding": 0}),
        (False, CHANNELS, 4, {"padding": "same"}),
        (False, CHANNELS, 4, {"padding": 1, "stride": 2}),
        (False, CHANNELS, 4, {"padding": 2, "dilation": 2}),
        (False, 2 * CHANNELS, 4, {"padding": 1, "groups": 2}),
    ],
)
def test_which_layers_take_it(monkeypatch, taken, channels, size, settings):
    """Does each layer give torch's own output, and only those that it is made for go this way?"""
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, channels, 3, **settings)
    x = torch.randn(1, channels, size, size)
    calls = []
    apply = Convolution.apply
    monkeypatch.setattr(winograd.Convolution, "apply", lambda *a: calls.append(1) or apply(*a))
    right = layer(x)
    with Winograd():
        torch.testing.assert_close(layer(x), right, rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), right, rtol=1e-4, atol=1e-4)
    assert len(calls) == 2 * taken
