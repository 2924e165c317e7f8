"""What the worker can do with a student's objects besides calling them. Runs in the child."""

from __future__ import annotations

import importlib
import inspect
from contextlib import nullcontext
from typing import Any

import numpy as np


def load_module(name: str) -> None:
    """Import a module of the student's; a failure is told by the call that needs it."""
    try:
        importlib.import_module(f"cs231n.{name}")
    except Exception:
        return


def fully_connected_net(hidden_dims: list[int], settings: dict[str, Any]) -> Any:
    """Build the student's `FullyConnectedNet`, whatever year's keywords it takes.

    `normalization` was `use_batchnorm` until 2017; `dropout_keep_ratio` was `dropout` until 2020.
    """
    network = importlib.import_module("cs231n.classifiers.fc_net").FullyConnectedNet
    known = inspect.signature(network).parameters
    settings = {**settings, "dtype": np.dtype(settings["dtype"]).type}
    if "normalization" not in known and "use_batchnorm" in known:
        settings["use_batchnorm"] = settings.pop("normalization", None) == "batchnorm"
    if "dropout_keep_ratio" not in known and "dropout" in known:
        keep = settings.pop("dropout_keep_ratio", None)
        settings.update({} if keep is None else {"dropout": keep})
    return network(hidden_dims, **settings)


def update(owner: Any, attribute: str, values: dict[str, Any]) -> None:
    """Overwrite entries of a dictionary that `owner` holds, such as a network's `params`."""
    getattr(owner, attribute).update(values)


def update_item(owner: Any, attribute: str, position: int, values: dict[str, Any]) -> None:
    """The same for one dictionary of a list, such as a network's `bn_params`."""
    getattr(owner, attribute)[position].update(values)


def dropout_of(network: Any, ones: np.ndarray) -> np.ndarray:
    """The scaled mask that the network's dropout draws at its seed, shaped like `ones`."""
    layers = importlib.import_module("cs231n.layers")
    return layers.dropout_forward(ones, {**network.dropout_param, "mode": "train"})[0]


def call_with_tensors(
    function_path: str, x: np.ndarray, params: dict[str, np.ndarray], dout: np.ndarray
) -> tuple[Any, dict[str, np.ndarray]]:
    """`scores_and_gradients` of a function of `cs231n`."""
    module, _, name = function_path.partition(":")
    function = getattr(importlib.import_module(f"cs231n.{module}"), name)
    return scores_and_gradients(function, x, params, dout)


def scores_and_gradients(
    function: Any, x: np.ndarray, params: dict[str, np.ndarray], dout: np.ndarray
) -> tuple[Any, dict[str, np.ndarray]]:
    """What `function(x, params)` returns for a list of tensors, and their gradients by name."""
    import torch

    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    scores = function(torch.tensor(x), list(leaves.values()))
    return scores, _back(scores, leaves, dout)


def _back(scores: Any, leaves: dict[str, Any], dout: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of sum(scores * dout) by the leaves, of those that get one."""
    import torch

    if not getattr(scores, "requires_grad", False) or scores.shape != dout.shape:
        return {}
    found = torch.autograd.grad(
        scores, list(leaves.values()), torch.tensor(dout), allow_unused=True
    )
    pairs = zip(leaves, found, strict=True)
    return {name: value.numpy() for name, value in pairs if value is not None}


def state_shapes(module: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every entry of a torch module's state."""
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def parameter_shapes(module: Any) -> list[tuple[int, ...]]:
    """The shape of every parameter of a torch module, in order."""
    return [tuple(value.shape) for value in module.parameters()]


def load(module: Any, state: dict[str, np.ndarray]) -> None:
    """Load arrays into a torch module, in float64 where they are. ValueError, in words, where
    the module's names or shapes are others."""
    import torch

    own, wanted = state_shapes(module), {key: value.shape for key, value in state.items()}
    if any(value.dtype == np.float64 for value in state.values()):
        module.double()
    try:
        module.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    except RuntimeError as problem:
        raise ValueError(_unlike(type(module).__name__, own, wanted) or str(problem)) from None


def _unlike(what: str, own: dict[str, Any], wanted: dict[str, Any]) -> str:
    """How the names and shapes of a module's state differ from the wanted ones, or ''."""
    extra, missing = ([n for n in a if n not in b] for a, b in ((own, wanted), (wanted, own)))
    has = f"has {_some(extra)}" if extra else ""
    lacks = f"lacks {_some(missing)}" if missing else ""
    if extra or missing:
        must = "" if missing else ", which must not be there"
        return f"{what} {' and '.join(filter(None, (has, lacks)))}{must}"
    for name, shape in wanted.items():
        if own[name] != shape:
            return f"{name} of {what} has shape {own[name]}; it must have {shape}"
    return ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


LAYERS = [f"{layer}.{part}" for layer in ("conv1", "conv2", "fc") for part in ("weight", "bias")]


def _in_order(module: Any) -> dict[str, Any]:
    own = dict(module.named_parameters())
    return {name: own[name] for name in LAYERS} if own.keys() == set(LAYERS) else own


def _miscounted(module: Any, names: list[str], wanted: int) -> str:
    """That a network has too few or too many parameters, which are there, and where others are."""
    listed = ", ".join(names)
    if len(names) > wanted:
        return f"the network has {len(names)} parameters, {len(names) - wanted} too many: {listed}"
    are = f"only {listed} are registered" if names else "no parameter is registered"
    said = f"{are} as parameters of the network, {wanted - len(names)} too few"
    lists = [key for key, value in vars(module).items() if _holds_modules(value)]
    if not lists:
        return said
    return f"{said}; layers in a plain list, self.{lists[0]}, are not: nn.ModuleList is for that"


def _holds_modules(value: Any) -> bool:
    from torch import nn

    return isinstance(value, (list, tuple)) and any(isinstance(item, nn.Module) for item in value)


def load_in_order(module: Any, arrays: list[np.ndarray]) -> None:
    """Overwrite a torch module's parameters: those of conv1, conv2 and fc where it has these
    alone, else one after another. ValueError where they do not fit."""
    import torch

    if any(isinstance(p, torch.nn.UninitializedParameter) for p in module.parameters()):
        with torch.no_grad():  # lazy layers learn their sizes from what comes in
            module(torch.zeros(1, arrays[0].shape[1], 32, 32))
    module.double()
    own = _in_order(module)
    names = list(own)
    if len(names) != len(arrays):
        raise ValueError(_miscounted(module, names, len(arrays)))
    for name, array in zip(names, arrays, strict=True):
        if tuple(own[name].shape) != array.shape:
            raise ValueError(
                f"parameter {name} of the network has shape {tuple(own[name].shape)}; "
                f"in its place there must be one of {array.shape}"
            )
    with torch.no_grad():
        for name, array in zip(names, arrays, strict=True):
            own[name].copy_(torch.tensor(array))


def forward(module: Any, x: np.ndarray, training: bool) -> np.ndarray:
    """A torch module's answer to `x` in train or in eval mode."""
    import torch

    with torch.no_grad():
        return module.train(training)(torch.tensor(x))


def forward_and_back(
    module: Any, x: np.ndarray, dout: np.ndarray
) -> tuple[Any, dict[str, np.ndarray]]:
    """A torch module's scores in eval mode, and the gradients of what `load_in_order` loaded."""
    import torch

    scores = module.eval()(torch.tensor(x))
    return scores, _back(scores, dict(zip(LAYERS, _in_order(module).values(), strict=True)), dout)


def gradients(module: Any, x: np.ndarray, dout: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of sum(module(x) * dout) by the module's own parameters and by `x`."""
    import torch

    inputs = torch.tensor(x, requires_grad=True)
    module.train()
    module.zero_grad()
    (module(inputs) * torch.tensor(dout)).sum().backward()
    found = {"x": inputs.grad}
    found.update({name: value.grad for name, value in module.named_parameters()})
    return {name: value.numpy() for name, value in found.items() if value is not None}


class Evaluator:
    """A trained network that is sent images and answers with scores."""

    def __init__(
        self, module: Any, state: dict[str, np.ndarray], precision: str, winograd: bool
    ) -> None:
        """Load the weights; `precision` is the name of the dtype that convolutions run in, and
        `winograd` says whether the larger ones are made by tiles."""
        import torch

        hardware = importlib.import_module("cs231n.hardware")
        torch.set_num_threads(2)
        hardware.keep_freed_memory()
        tensors = {key: torch.tensor(np.asarray(value)) for key, value in state.items()}
        try:
            module.load_state_dict(tensors)
        except RuntimeError as problem:
            reason = " ".join(str(problem).split())[:300]
            raise ValueError(f"your ResNet18 does not take these weights: {reason}") from None
        self.module = module.eval().to(memory_format=torch.channels_last)
        self.precision = hardware.autocast(torch.device("cpu"), getattr(torch, precision))
        self.winograd = hardware.Winograd() if winograd else nullcontext()
        self.is_folded = False

    def scores(self, images: np.ndarray, batch_size: int) -> Any:
        """What the network returns for uint8 images (N, 32, 32, 3), as one tensor."""
        import torch

        ready = importlib.import_module("cs231n.images")
        if not self.is_folded:
            evaluation = importlib.import_module("cs231n.evaluation")
            self.module, self.is_folded = evaluation.folded(self.module, images), True
        with torch.inference_mode(), self.precision, self.winograd:
            batches = ready.to_tensor(images).split(batch_size)
            found = [self.module(ready.normalize(batch)) for batch in batches]
        for out in found:
            if not isinstance(out, torch.Tensor):
                raise TypeError(f"ResNet18 must return a tensor, but returned {type(out).__name__}")
        found = torch.cat(found)
        return found.float() if found.is_floating_point() else found
