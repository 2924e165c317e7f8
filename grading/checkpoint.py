"""The ResNet-18 checkpoint: read a student's weights without trusting them, and score an accuracy.

Nothing here runs a student's code. The weights come back as plain arrays; whoever runs the
student's network does so elsewhere and brings the accuracy back.
"""

import math
import pickletools
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

NAMES = ("resnet18_cifar10.safetensors", "resnet18_cifar10.pt", "resnet18_cifar10.pth")
MAX_BYTES = 100_000_000  # the full width takes 45 MB in float32
MAX_PICKLE = 1_000_000  # bytes of a torch file's structure; ResNet18's has 30,000
FULL_WIDTH_PARAMETERS = 11_173_962
NARROW_CEILING = 0.7  # share of the points that a network of another width can earn

# Accuracy on the test set, share of the points: none, the pass mark, where the course began, full.
SCALE = ((0.50, 0.0), (0.70, 0.5), (0.8756, 0.8), (0.92, 1.0))

Shapes = Mapping[str, tuple[int, ...]]
Weights = dict[str, np.ndarray]


class CheckpointError(Exception):
    """The weights cannot be graded; the text says why, in a sentence for the student."""


def points_for(accuracy: float, max_points: float, full_width: bool) -> float:
    """Return the points for a test accuracy, piecewise linear between the entries of SCALE.

    Raises ValueError if the accuracy is not a number from 0 to 1.
    """
    if not 0.0 <= accuracy <= 1.0:  # false for NaN too
        raise ValueError(f"accuracy must be from 0 to 1, but is {accuracy}")
    share = float(np.interp(accuracy, *zip(*SCALE, strict=True)))
    return max_points * (share if full_width else min(share, NARROW_CEILING))


def find_checkpoint(tree: Path) -> Path | None:
    """Return the weights in `tree/checkpoints` or in `tree` itself, or None. Links do not count."""
    if (tree / "checkpoints").is_symlink():
        return None
    for folder in (tree / "checkpoints", tree):
        for name in NAMES:
            path = folder / name
            if path.is_file() and not path.is_symlink():
                return path
    return None


def expected_shapes(width: int = 64, num_classes: int = 10) -> Shapes:
    """Return name and shape of everything in the state of the course's ResNet18."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_and_norm(conv: str, norm: str, F: int, C: int, size: int) -> None:
        shapes[f"{conv}.weight"] = (F, C, size, size)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (F,)
        shapes[f"{norm}.num_batches_tracked"] = ()

    conv_and_norm("conv1", "bn1", width, 3, 3)
    C = width
    for stage in range(4):
        F = width * 2**stage
        for block in range(2):
            prefix = f"layer{stage + 1}.{block}"
            conv_and_norm(f"{prefix}.conv1", f"{prefix}.bn1", F, C, 3)
            conv_and_norm(f"{prefix}.conv2", f"{prefix}.bn2", F, F, 3)
            if C != F:
                conv_and_norm(f"{prefix}.shortcut.0", f"{prefix}.shortcut.1", F, C, 1)
            C = F
    shapes["fc.weight"] = (num_classes, C)
    shapes["fc.bias"] = (num_classes,)
    return shapes


def parameter_count(weights: Weights) -> int:
    """Return how many learned numbers there are; running statistics are not learned."""
    counted = ("running_mean", "running_var", "num_batches_tracked")
    return sum(array.size for name, array in weights.items() if not name.endswith(counted))


def is_full_width(weights: Weights) -> bool:
    """Whether it is the network that is asked for: of that size, and not mostly zeros, as a narrow
    one that was filled up would be."""
    learned = parameter_count(weights)
    used = sum(int(np.count_nonzero(array)) for array in weights.values())
    return learned == FULL_WIDTH_PARAMETERS and used > learned // 2


def in_half_precision(weights: Weights) -> bool:
    """Whether no weight has more digits than float16 or bfloat16 can hold."""
    floats = [array for array in weights.values() if array.dtype == np.float32]
    return not any((array.view(np.uint32) & 0x1FFF).any() for array in floats)


def read_weights(path: Path, expected: Shapes | None = None) -> Weights:
    """Return the arrays in a file of weights, by name, as float32 (counters as int64).

    The content decides the format: safetensors, or what `torch.save` writes of a state dict.
    Half precision is accepted. Names that a wrapper has put in front ("module.") are removed.

    Args:
        path: the student's file.
        expected: names and shapes of the student's own network. Without it they are those of
            the course's ResNet18, at whatever width the file has.

    Raises:
        CheckpointError: if there is anything in the file that cannot be graded.
    """
    size = _size_of(path)
    if size > MAX_BYTES:
        raise CheckpointError(
            f"{path.name} has {size / 1e6:,.0f} MB, and {MAX_BYTES / 1e6:.0f} MB is the most that "
            "is read. The weights of ResNet18 alone take 45 MB: save them with save_weights."
        )
    tensors = _strip_wrappers(_read_tensors(path))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected is None:
        expected = expected_shapes(_width(shapes, path))
    for name in expected:
        if name.endswith("num_batches_tracked") and name not in tensors:
            tensors[name] = torch.zeros((), dtype=torch.int64)  # never used in evaluation
            shapes[name] = ()
    _require_same(shapes, expected, path)
    if sum(math.prod(shape) for shape in shapes.values()) > MAX_BYTES // 2:
        # A torch file of a few bytes can claim a tensor of any size, by a stride of 0.
        raise CheckpointError(f"{path.name} claims more numbers than a file of its size holds.")
    return {name: _as_array(name, tensor, path) for name, tensor in tensors.items()}


def _size_of(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        raise CheckpointError(
            f"There is no {path.name}. Train the network as the PyTorch notebook says; it saves "
            f"checkpoints/{NAMES[0]}."
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path.name} is not an ordinary file, so it is not read.")
    return status.st_size


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    with open(path, "rb") as file:
        start = file.read(4096)
    if not start:
        raise CheckpointError(f"{path.name} is empty.")
    if _is_text(start):
        raise CheckpointError(f"{path.name} is a text file, not weights.")
    if start.startswith(b"PK"):
        return _read_torch(path)
    if start.startswith(b"\x80"):
        raise CheckpointError(
            f"{path.name} is a bare pickle. A pickle can run code, so it is not opened: save the "
            "weights with save_weights."
        )
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        raise CheckpointError(
            f"{path.name} is damaged, or is not a safetensors file: save it again with "
            "save_weights, and copy the whole file."
        ) from None


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in start) and b"\x7f" not in start


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise CheckpointError(f"{path.name} is damaged: copy or save it again.") from None
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise CheckpointError(
            f"{path.name} is a packed archive. Hand in the weights as they are, not zipped."
        )
    try:
        _require_tensors_alone(path, entries)
        with open(path, "rb") as file:  # of a path, torch.load believes the ending
            content = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise CheckpointError(
            f"{path.name} holds more than tensors (a whole model, or code). That could run code, "
            "so it is not opened: save the weights alone with save_weights."
        ) from None
    except Exception as error:  # whatever a made-up file can set off in the reader
        raise CheckpointError(
            f"{path.name} cannot be read as weights ({type(error).__name__}): save it again with "
            "save_weights."
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided
        for name, value in content.items()
    ):
        raise CheckpointError(f"{path.name} holds something else than tensors with names.")
    return dict(content)


def _require_tensors_alone(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise UnpicklingError where a torch file asks for more than its reader needs for tensors.

    The reader also makes sets, counters and bytes, of any size that a file of 400 bytes asks for.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in entries:
            if not entry.filename.endswith(".pkl"):
                continue
            if entry.file_size > MAX_PICKLE:
                raise UnpicklingError("more structure than tensors with names have")
            for code, argument, _ in pickletools.genops(archive.read(entry)):
                name = str(argument)
                asks = code.name in ("GLOBAL", "INST", "STACK_GLOBAL")
                if asks and not name.startswith("torch") and name != "collections OrderedDict":
                    raise UnpicklingError(f"it asks for {name}")


def _strip_wrappers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in ("_orig_mod.", "module."):
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _width(shapes: Shapes, path: Path) -> int:
    stem = shapes.get("conv1.weight")
    if stem is None or len(stem) != 4 or stem[0] < 1:
        raise CheckpointError(
            f"{path.name} has no conv1.weight of a ResNet18: it is another network's."
        )
    return stem[0]


def _require_same(shapes: Shapes, expected: Shapes, path: Path) -> None:
    missing = [name for name in expected if name not in shapes]
    extra = [name for name in shapes if name not in expected]
    if missing:
        raise CheckpointError(f"{path.name} lacks {_some(missing)}, so it is not your ResNet18's.")
    if extra:
        raise CheckpointError(
            f"{path.name} holds {_some(extra)}, which ResNet18 does not have, so it is another "
            "network's."
        )
    for name, shape in expected.items():
        if shapes[name] != tuple(shape):
            raise CheckpointError(
                f"In {path.name}, {name} has the shape {shapes[name]}, but ResNet18 has "
                f"{tuple(shape)} there."
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(ascii(name[:60])[1:-1] for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _as_array(name: str, tensor: torch.Tensor, path: Path) -> np.ndarray:
    if tensor.device.type != "cpu" or tensor.is_complex() or tensor.is_quantized:
        raise CheckpointError(f"In {path.name}, {name} does not hold ordinary real numbers.")
    if name.endswith("num_batches_tracked"):
        return tensor.detach().to(torch.int64).numpy().copy()
    if not tensor.is_floating_point():
        raise CheckpointError(f"In {path.name}, {name} holds {tensor.dtype}, not real numbers.")
    array = tensor.detach().to(torch.float32).numpy().copy()
    if bad := int(array.size - np.isfinite(array).sum()):
        raise CheckpointError(
            f"In {path.name}, {bad} of {array.size} numbers of {name} are NaN or infinite: "
            "training diverged. Train again with a smaller learning rate."
        )
    if name.endswith("running_var") and not (array >= 0).all():
        raise CheckpointError(f"In {path.name}, {name} is negative, which no variance is.")
    return array
