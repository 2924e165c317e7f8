"""Several processes that train one network, each with its part of every batch.

`torchrun --nproc-per-node 2 -m cs231n.train` starts them, on one machine or on many. A batch, its
augmentation, its batch norm and its gradient are those of a single process, so the number of
processes changes the speed and nothing else, up to rounding. Without torchrun there is one
process, and what is here does nothing.
"""

import os
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def processes():
    """Join the processes that torchrun has started, if it has, and leave them at the end.

    Raises:
        ValueError: if this machine has fewer graphics cards than processes.
    """
    if expected() == 1:
        yield
        return
    if torch.cuda.is_available():
        number, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= cards:
            raise ValueError(f"there is a graphics card for {cards} processes: give torchrun "
                             f"--nproc-per-node {cards}")  # fmt: skip
        torch.cuda.set_device(number)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def expected():
    """Return how many processes torchrun has started, or 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def size():
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank():
    """Return the number of this process, from 0. The process 0 alone writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def from_first(value):
    """Return what process 0 calls `value`, in every process."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def mean(tensor):
    """Replace a tensor in each process by the mean over all; return it."""
    if size() > 1:
        dist.all_reduce(tensor.div_(size()))
    return tensor


def any_of(flag, device):
    """Return whether the flag is set in any process."""
    return bool(mean(torch.tensor(float(flag), device=device)).item()) if size() > 1 else flag


def part(N):
    """Return the slice of a batch of N that is this process's; all parts have one size.

    Raises:
        ValueError: if N is not a multiple of the number of processes.
    """
    if N % size():
        raise ValueError(f"batch_size is {N}, but must be a multiple of {size()}, the processes")
    return slice(rank() * N // size(), (rank() + 1) * N // size())


def shared(model):
    """Return `model` as a function whose backward averages the gradients of all processes.

    Raises:
        ValueError: if it has a batch norm that several processes cannot share.
    """
    if size() == 1:
        return model
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            _require_shareable(name, module)
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
    ids = [torch.cuda.current_device()] if next(model.parameters()).is_cuda else None
    return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


def _require_shareable(name, norm):
    usual = norm.affine and norm.momentum is not None and norm.track_running_stats
    if not usual or type(norm) not in (nn.BatchNorm2d, SharedBatchNorm2d, nn.SyncBatchNorm):
        raise ValueError(
            f"{name} is {norm}, which several processes cannot share: only BatchNorm2d with "
            "weights, momentum and running averages"
        )


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with mean and variance of the whole batch, of which each process has a part.

    `nn.SyncBatchNorm` is the same for graphics cards alone.
    """

    def forward(self, x):
        """Normalise x (N / processes, C, H, W); in evaluation as `nn.BatchNorm2d` does."""
        if not self.training or size() == 1:
            return super().forward(x)
        out, mu, var = _SharedNormalize.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            count = size() * x.numel() // x.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mu, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
        return out


class _SharedNormalize(torch.autograd.Function):
    """The formulas of the assignment's batchnorm_backward_alt, with means over all processes."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        var, mu = torch.var_mean(x.float(), (0, 2, 3), correction=0)  # of this part
        whole = mean(mu.clone())
        var = mean(var + (mu - whole) ** 2)
        ctx.save_for_backward(x, gamma, whole, torch.rsqrt(var + eps))
        ctx.mark_non_differentiable(whole, var)
        return F.batch_norm(x, whole, var, gamma, beta, eps=eps), whole, var

    @staticmethod
    def backward(ctx, dout, _, __):
        x, gamma, mu, rstd = ctx.saved_tensors
        mu, rstd, gamma = (v.view(1, -1, 1, 1) for v in (mu, rstd, gamma))
        dout = dout.float()
        x_hat = (x.float() - mu) * rstd
        dbeta, dgamma = dout.sum((0, 2, 3)), (dout * x_hat).sum((0, 2, 3))  # of this part
        means = mean(torch.stack((dbeta, dgamma)) * (len(dbeta) / dout.numel()))
        mean_dout, mean_dout_x = means.view(2, 1, -1, 1, 1)
        dx = gamma * rstd * (dout - mean_dout - x_hat * mean_dout_x)
        return dx.to(x.dtype), dgamma, dbeta, None
