"""Fine-tune a network that was trained on other photographs: first its last layer, then all."""

import socket
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from cs231n.training import train


def pretrained_resnet34(cache=None, patience=20):
    """Return torchvision's ResNet-34 with its ImageNet weights (83 MB, fetched once).

    Args:
        cache: folder where torchvision keeps weights, or where you have put them; by default its
            own, as `torch.hub.get_dir()` says.
        patience: seconds after which a network that does not answer is given up.

    Raises:
        OSError: if the weights are neither in the cache nor to be had.
    """
    from torchvision.models import ResNet34_Weights, resnet34

    folder = Path(torch.hub.get_dir() if cache is None else cache) / "checkpoints"
    chosen = ResNet34_Weights.IMAGENET1K_V1
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(patience)
    try:
        model = resnet34()
        model.load_state_dict(chosen.get_state_dict(model_dir=folder, check_hash=True))
        return model
    except Exception as error:  # no network, no room, or a damaged file, in a dozen classes
        file = folder / chosen.url.rpartition("/")[2]
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OSError(
            f"the pretrained weights cannot be had ({reason}); with a network they are fetched to "
            f"{file}, and you can put that file there yourself"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


class Transfer(nn.Module):
    """A trained body with a new last layer, for small images.

    The body was made for 224 x 224 pixels, and divides height and width by 32: so images are
    enlarged first. While it is frozen, its batch norm keeps the statistics that it came with.

    Args:
        body: a network whose last layer is `fc`, as torchvision's ResNets are. It is changed.
        num_classes: K, scores that are wanted.
        size: height and width to which images are enlarged.
    """

    def __init__(self, body, num_classes=10, size=64):
        super().__init__()
        body.fc = nn.Linear(body.fc.in_features, num_classes)
        self.body, self.size, self.frozen = body, size, False

    def forward(self, x):
        """Map images x (N, 3, H, W) to scores (N, K)."""
        return self.body(F.interpolate(x, self.size, mode="bilinear", align_corners=False))

    def freeze(self, frozen=True):
        """Let only the last layer learn, or all layers."""
        self.frozen = frozen
        self.body.requires_grad_(not frozen)
        self.body.fc.requires_grad_(True)

    def train(self, mode=True):
        """Go to training or evaluation; a frozen body stays in evaluation."""
        super().train(mode)
        self.body.train(mode and not self.frozen)
        return self


def fine_tune(model, data, *, epochs=(1, 1), lr=(0.05, 0.01), checkpoint=None, **options):
    """Train a `Transfer` with its body frozen, then unfrozen; return both histories.

    The large gradients of an ignorant last layer cannot spoil the body, because it learns only
    when the last layer is good.

    Args:
        epochs, lr: for each of the two parts.
        checkpoint: path where the second part keeps its weights, `*.safetensors`; those of the
            first lie beside it.
        options: as of `train`.
    """
    histories = []
    for part, frozen in enumerate((True, False)):
        model.freeze(frozen)
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None and frozen:
            path = path.with_stem(f"{path.stem}_frozen")
        histories.append(
            train(model, data, epochs=epochs[part], lr=lr[part], checkpoint=path, **options)
        )
    return histories
