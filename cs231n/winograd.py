"""3x3 convolutions with 2.25 times fewer multiplications, on a processor.

Winograd's F(2x2, 3x3) makes each tile of 2x2 outputs from a tile d of 4x4 inputs (Lavin and Gray,
1509.09308, section 4.1), with B, A and G as below and the products in the middle per entry:

    Y = A [(G w G^T) * (B d B^T)] A^T

Summed over channels, each of the 16 entries is one matrix product of all tiles with all filters.
The transforms move more memory than they save work where channels are few, so only layers with
`CHANNELS` or more take this way. All three products (output, dx, dw) share the transforms.
"""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

CHANNELS = 256
B = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
A = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])
G = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
# One matrix for both dimensions of a tile. Their few values are exact in bfloat16 too.
BB, AA, GG = (torch.kron(matrix, matrix) for matrix in (B, A, G))


class Convolution(torch.autograd.Function):
    """Convolve x (N, C, H, W) with w (K, C, 3, 3), stride 1, padding 1; H and W are even.

    `bias` is (K,) or None. Names in both directions: h, v tiles down and across; V and M, (16,
    tiles, C or K), the transformed input and output; U (16, K, C) the transformed filters.
    """

    @staticmethod
    def forward(ctx, x, w, bias):
        (N, C, H, W), K, h, v = x.shape, len(w), x.shape[2] // 2, x.shape[3] // 2
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))  # (N, H + 2, W + 2, C)
        image, row, column, _ = padded.stride()
        shape, stride = (4, 4, N, h, v, C), (row, column, image, 2 * row, 2 * column, 1)
        tiles = padded.as_strided(shape, stride).reshape(16, -1)
        V = (BB.to(x.dtype) @ tiles).view(16, -1, C)
        U = (GG.to(x.dtype) @ w.permute(2, 3, 0, 1).reshape(9, -1)).view(16, K, C)
        M = torch.bmm(V, U.transpose(1, 2))
        if bias is not None:
            M[5] += bias  # entry (1, 1), which all four outputs have once: A has ones there
        Y = (AA.to(x.dtype) @ M.view(16, -1)).view(2, 2, N, h, v, K)
        ctx.save_for_backward(V, U)
        return Y.permute(2, 3, 0, 4, 1, 5).reshape(N, H, W, K).permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dout):
        V, U = ctx.saved_tensors
        (N, K, H, W), C, h, v = dout.shape, V.shape[2], dout.shape[2] // 2, dout.shape[3] // 2
        dY = dout.permute(0, 2, 3, 1).reshape(N, h, 2, v, 2, K).permute(2, 4, 0, 1, 3, 5)
        dM = (AA.T.to(V.dtype) @ dY.reshape(4, -1)).view(16, -1, K)
        dU = torch.bmm(dM.transpose(1, 2), V)
        dw = (GG.T.to(V.dtype) @ dU.view(16, -1)).view(3, 3, K, C).permute(2, 3, 0, 1)
        dV = torch.bmm(dM, U)
        # A tile is 2x2 blocks of 2x2 pixels, and neighbours share blocks: four sums put them back.
        tiles = (BB.T.to(V.dtype) @ dV.view(16, -1)).view(2, 2, 2, 2, N, h, v, C)
        padded = torch.zeros(N, h + 1, 2, v + 1, 2, C, dtype=V.dtype)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            padded[:, i : i + h, :, j : j + v] += tiles[i, :, j].permute(2, 3, 0, 4, 1, 5)
        dx = padded.view(N, H + 2, W + 2, C)[:, 1:-1, 1:-1]
        return dx.permute(0, 3, 1, 2), dw, dout.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


class Winograd(TorchFunctionMode):
    """Within it, convolutions that this pays for are made here; all others as ever."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.conv2d and _fits(*args, **kwargs):
            return _convolve(*args, **kwargs)
        return function(*args, **kwargs)


def _fits(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    def all_are(value, number):
        return value == number or value == (number, number)

    N, C, H, W = input.shape if input.dim() == 4 else (0, 0, 1, 1)
    return (
        input.device.type == "cpu" and H % 2 == W % 2 == 0
        and weight.shape[2:] == (3, 3) and min(weight.shape[:2]) >= CHANNELS and groups == 1
        and all_are(stride, 1) and all_are(padding, 1) and all_are(dilation, 1)
    )  # fmt: skip


def _convolve(input, weight, bias=None, *_, **__):
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        input, weight = input.to(dtype), weight.to(dtype)
    return Convolution.apply(input, weight, bias)
