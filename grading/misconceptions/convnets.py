"""Mistakes of convolution, pooling and the normalisations of images."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from grading import reference
from grading.misconceptions.bank import known
from grading.misconceptions.layers import (
    FORMS,
    changed,
    layer,
    switchable_form,
)
from grading.misconceptions.normalized import (
    along,
    batch_form,
    constant,
    eps_outside,
    fixed_eps,
    group_form,
    norm_form,
    summed,
    times,
    unbiased,
)

conv = partial(layer, "conv_forward_naive")
pool = partial(layer, "max_pool_forward_naive")


def _conv(definition: Any) -> Any:
    return lambda x, w, b, param: (
        partial(definition, stride=param["stride"], pad=param["pad"]),
        [x, w, b],
    )


def _flipped(x: Any, w: Any, b: Any, stride: int, pad: int) -> Any:
    return F.conv2d(x, w.flip(2, 3), b, stride=stride, padding=pad)


def _one_sided(x: Any, w: Any, b: Any, stride: int, pad: int) -> Any:
    return F.conv2d(F.pad(x, (0, 2 * pad, 0, 2 * pad)), w, b, stride=stride)


def _edge_padded(x: Any, w: Any, b: Any, stride: int, pad: int) -> Any:
    return F.conv2d(F.pad(x, (pad,) * 4, mode="replicate"), w, b, stride=stride)


known(
    "convolution: filter turned round",
    "The layer that this field calls convolution is a correlation: the filter is laid on the "
    "window as it is, not turned round.",
    ("conv_forward_naive", "conv_backward_naive"),
    conv(_conv(_flipped)),
)
known(
    "convolution: bias left out",
    "Every filter has a bias, which is added at every place of its map.",
    "conv_forward_naive",
    conv(
        _conv(lambda x, w, b, stride, pad: reference.conv(x, w, 0 * b, stride, pad)),
        FORMS["conv_forward_naive"],
    ),
)
known(
    "convolution: padding on one side",
    "The padding stands on all four sides of the image, not at the end of each axis.",
    ("conv_forward_naive", "conv_backward_naive"),
    conv(_conv(_one_sided)),
)
known(
    "convolution: padding by the border",
    "Pad with zeros, not with the values at the border.",
    ("conv_forward_naive", "conv_backward_naive"),
    conv(_conv(_edge_padded)),
)
known(
    "convolution: no padding",
    "pad zeros belong around each image before the windows are laid on it.",
    ("conv_forward_naive", "conv_backward_naive"),
    conv(_conv(lambda x, w, b, stride, pad: reference.conv(x, w, b, stride, 0))),
)
known(
    "convolution: stride ignored",
    "Neighbouring windows lie stride pixels apart, not one.",
    ("conv_forward_naive", "conv_backward_naive"),
    conv(
        _conv(
            lambda x, w, b, stride, pad: reference.conv(x, w, b, 1, pad)[
                :, :, : _size(x, w, stride, pad, 2), : _size(x, w, stride, pad, 3)
            ]
        )
    ),
)


def _size(x: Any, w: Any, stride: int, pad: int, axis: int) -> int:
    return 1 + (x.shape[axis] + 2 * pad - w.shape[axis]) // stride


def _conv_grads(change: Any) -> dict[str, Any]:
    """The right forward, and gradients changed with the knowledge of stride and padding."""
    made = conv()
    forward, backward = made["layers:conv_forward_naive"], made["layers:conv_backward_naive"]

    def run(*args: Any) -> Any:
        out, cache = forward(*args)
        return out, (cache, args[:3], args[3])

    def run_back(dout: np.ndarray, cache: Any) -> Any:
        inner, inputs, param = cache
        return change(list(backward(dout, inner)), dout, inputs, **param)

    return {"layers:conv_forward_naive": run, "layers:conv_backward_naive": run_back}


def _padded_dx(dout: Any, inputs: Any, stride: int, pad: int) -> np.ndarray:
    """The gradient for the padded image."""
    x, w, b = inputs
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    function = partial(reference.conv, stride=stride, pad=0)
    return reference.gradients(function, [padded, w, b], dout)[0].astype(x.dtype)


def _kept_padding(found: Any, dout: Any, inputs: Any, stride: int, pad: int) -> Any:
    return (_padded_dx(dout, inputs, stride, pad), *found[1:])


def _cut_by_minus_pad(found: Any, dout: Any, inputs: Any, stride: int, pad: int) -> Any:
    return (_padded_dx(dout, inputs, stride, pad)[:, :, pad:-pad, pad:-pad], *found[1:])


def _first_corner(found: Any, dout: Any, inputs: Any, stride: int, pad: int) -> Any:
    H, W = inputs[0].shape[2:]
    return (_padded_dx(dout, inputs, stride, pad)[:, :, :H, :W], *found[1:])


def _stride_one(found: Any, dout: Any, inputs: Any, stride: int, pad: int) -> Any:
    x, w, b = inputs

    def near(x: Any, w: Any, b: Any) -> Any:
        full = reference.conv(x, w, b, 1, pad)
        return full[:, :, : dout.shape[2], : dout.shape[3]]

    made = reference.gradients(near, [x, w, b], dout)
    return tuple(g.astype(x.dtype) for g in made)


def _assigned_dx(found: Any, dout: Any, inputs: Any, stride: int, pad: int) -> Any:
    """dx where each window overwrites what the ones before it left."""
    dx = np.zeros(inputs[0].shape, inputs[0].dtype)
    for i, j in np.ndindex(*dout.shape[2:]):
        one = np.zeros_like(dout)
        one[:, :, i, j] = dout[:, :, i, j]
        function = partial(reference.conv, stride=stride, pad=pad)
        here = reference.gradients(function, inputs, one)[0].astype(dx.dtype)
        dx = np.where(here != 0, here, dx)
    return (dx, *found[1:])


def _last_dw(
    found: Any, dout: Any, inputs: Any, stride: int, pad: int, examples: slice = slice(None)
) -> Any:
    """dw of the last place alone, of all `examples` or of the last one."""
    last = np.zeros_like(dout)
    last[examples, :, -1, -1] = dout[examples, :, -1, -1]
    dw = reference.gradients(partial(reference.conv, stride=stride, pad=pad), inputs, last)[1]
    return found[0], dw.astype(found[1].dtype), found[2]


for _name, _says, _change in (
    (
        "dx keeps the padding",
        "The padding is no part of x: its gradient is cut off, and dx has the shape of x.",
        _kept_padding,
    ),
    (
        "slice empty at padding 0",
        "At padding 0 there is nothing to cut off. A slice that ends at minus 0 is empty.",
        _cut_by_minus_pad,
    ),
    (
        "padding cut off at one end",
        "The image starts pad pixels in from the border of the padded one: the gradient of the "
        "padding is cut off on all sides.",
        _first_corner,
    ),
    (
        "stride ignored in the backward",
        "The backward lays its windows where the forward had them: stride pixels apart.",
        _stride_one,
    ),
    (
        "dx assigned where windows overlap",
        "A pixel that several windows saw gets a gradient from each: they add up.",
        _assigned_dx,
    ),
    (
        "dw assigned at each place",
        "A filter is used at every place of every image, and gets a gradient from each: they add "
        "up. Here the last one overwrites those before it.",
        (_last_dw, partial(_last_dw, examples=slice(-1, None))),
    ),
    (
        "mean for sum in db",
        "The bias is used by every example and at every place: its gradient is the sum, no mean.",
        (
            lambda found, dout, inputs, stride, pad: (*found[:2], dout.mean(axis=(0, 2, 3))),
            lambda found, dout, inputs, stride, pad: (*found[:2], found[2] / len(dout)),
        ),
    ),
    (
        "db left out",
        "The bias has a gradient too: it is not 0.",
        lambda found, dout, inputs, stride, pad: (*found[:2], 0 * found[2]),
    ),
    (
        "dw divided by N",
        "The loss has the mean in it already: a layer that divides by the number of examples "
        "again does so once too often.",
        lambda found, dout, inputs, stride, pad: (found[0], found[1] / len(dout), found[2]),
    ),
    (
        "axes of channel and filter exchanged in dw",
        "The first axis of w counts the filters, the second the channels: dw has them in that "
        "order.",
        lambda found, dout, inputs, stride, pad: (
            found[0], found[1].transpose(1, 0, 2, 3), found[2]
        ),
    ),
    (
        "filter turned round in dx",
        "In dx each window gets the filter as it lay on it in the forward; it is turned round "
        "only when the backward is written as a convolution itself, and then once.",
        lambda found, dout, inputs, stride, pad: (
            reference.gradients(
                partial(reference.conv, stride=stride, pad=pad),
                [inputs[0], inputs[1][:, :, ::-1, ::-1].copy(), inputs[2]],
                dout,
            )[0].astype(found[0].dtype),
            *found[1:],
        ),
    ),
):
    _changes = _change if isinstance(_change, tuple) else (_change,)
    known(f"convolution: {_name}", _says, "conv_backward_naive", tuple(map(_conv_grads, _changes)))


# Pooling ------------------------------------------------------------------------------------------


def _mean_pool(x: Any, pool_height: int, pool_width: int, stride: int) -> Any:
    return F.avg_pool2d(x, (pool_height, pool_width), stride=stride)


def _square_pool(x: Any, pool_height: int, pool_width: int, stride: int) -> Any:
    return F.max_pool2d(x, (pool_height, pool_height), stride=stride)


def _rounded_up(x: Any, pool_height: int, pool_width: int, stride: int) -> Any:
    return F.max_pool2d(x, (pool_height, pool_width), stride=stride, ceil_mode=True)


def _from_zero(x: Any, pool_height: int, pool_width: int, stride: int) -> Any:
    return F.max_pool2d(x, (pool_height, pool_width), stride=stride).clamp(min=0)


def _stride_of_window(x: Any, pool_height: int, pool_width: int, stride: int) -> Any:
    return F.max_pool2d(x, (pool_height, pool_width))


def _pool(definition: Any) -> Any:
    return lambda x, param: (partial(definition, **param), [x])


def _routed(x: Any, out: Any, chosen: Any) -> Any:
    """`out`, with its gradient to the `chosen` pixels of its windows, (N, C, H, W, H', W')."""
    return out.detach() + (chosen * (x - x.detach())[..., None, None]).sum(dim=(2, 3))


def _assigning_pool(
    x: Any, pool_height: int, pool_width: int, stride: int, zeros: bool = True
) -> Any:
    """Max pooling in whose gradient the last window that saw a pixel alone counts; without
    `zeros`, the last one that it was the maximum of."""
    out, first = F.max_pool2d(x, (pool_height, pool_width), stride=stride, return_indices=True)
    H, W = x.shape[2:]
    last = {}
    for i, j in np.ndindex(*out.shape[2:]):
        for k, l in np.ndindex(pool_height, pool_width):
            last[i * stride + k, j * stride + l] = i, j
    windows = torch.zeros(H, W, *out.shape[2:], dtype=x.dtype)
    for (row, column), (i, j) in last.items():
        windows[row, column, i, j] = 1
    pixels = torch.arange(H * W).reshape(H, W, 1, 1)
    chosen = (pixels == first[:, :, None, None]).to(x.dtype)
    if zeros:
        return _routed(x, out, chosen * windows)
    later = chosen.flatten(4).flip(-1).cumsum(dim=-1).flip(-1).reshape(chosen.shape)
    return _routed(x, out, chosen * (later == 1))


def _all_maxima_pool(x: Any, pool_height: int, pool_width: int, stride: int) -> Any:
    """Max pooling whose gradient goes whole to every pixel that equals its window's maximum."""
    out = F.max_pool2d(x, (pool_height, pool_width), stride=stride)
    windows = torch.zeros(*x.shape[2:], *out.shape[2:], dtype=x.dtype)
    for i, j in np.ndindex(*out.shape[2:]):
        y, z = i * stride, j * stride
        windows[y : y + pool_height, z : z + pool_width, i, j] = 1
    return _routed(x, out, (x[..., None, None] == out[:, :, None, None]) * windows)


known(
    "max pooling: mean of the window",
    "Max pooling takes the largest value of a window, not the mean.",
    ("max_pool_forward_naive", "max_pool_backward_naive"),
    pool(_pool(_mean_pool)),
)
known(
    "max pooling: square window",
    "A window has a height and a width, and they may differ.",
    "max_pool_forward_naive",
    pool(_pool(_square_pool), FORMS["max_pool_forward_naive"]),
)
known(
    "max pooling: rounded up",
    "Rows and columns that no whole window reaches are left out: the size is rounded down.",
    "max_pool_forward_naive",
    pool(_pool(_rounded_up), FORMS["max_pool_forward_naive"]),
)
known(
    "max pooling: maximum from 0",
    "The largest value of a window can be negative: the search must not start at 0.",
    "max_pool_forward_naive",
    pool(_pool(_from_zero), FORMS["max_pool_forward_naive"]),
)
known(
    "max pooling: windows side by side",
    "Neighbouring windows lie stride pixels apart, whatever the size of the window.",
    "max_pool_forward_naive",
    pool(_pool(_stride_of_window), FORMS["max_pool_forward_naive"]),
)
known(
    "max pooling: gradient to the whole window",
    "Only the largest value of a window went on, so the whole gradient goes back to it alone.",
    "max_pool_backward_naive",
    pool(
        back=_pool(
            lambda x, pool_height, pool_width, stride: _mean_pool(
                x, pool_height, pool_width, stride
            ) * (pool_height * pool_width)
        )
    ),
)
known(
    "max pooling: gradient spread as a mean",
    "Only the largest value of a window went on, so the gradient is not shared: it goes back to "
    "that one.",
    "max_pool_backward_naive",
    pool(back=_pool(_mean_pool)),
)
known(
    "max pooling: gradient to all the maxima",
    "Where several values of a window are the maximum, each gets the whole gradient here; it must "
    "be handed back only once in all.",
    "max_pool_backward_naive",
    pool(back=_pool(_all_maxima_pool)),
)
known(
    "max pooling: gradient assigned where windows overlap",
    "A pixel that is the largest of several windows gets a gradient from each: they add up.",
    "max_pool_backward_naive",
    (
        pool(back=_pool(_assigning_pool)),  # to the whole window, zeros too
        pool(back=_pool(partial(_assigning_pool, zeros=False))),  # to the maximum alone
    ),
)
known(
    "max pooling: value for indicator",
    "The derivative at the maximum is 1: where it stood counts, not how large it was.",
    "max_pool_backward_naive",
    pool(grads=changed(d0=lambda g, dout, inputs: g * inputs[0])),
)


for _short, _check, _layer in (
    ("convolution", "conv_forward_naive", conv),
    ("max pooling", "max_pool_forward_naive", pool),
):
    known(
        f"{_short}: raised to float64",
        "float32 goes in and float64 comes out, at twice the memory: an array that is filled here "
        "was made without a dtype.",
        _check,
        _layer(out=lambda value, *args: value.astype(np.float64)),
    )


# Normalisation of images --------------------------------------------------------------------------

spatial = partial(layer, "spatial_batchnorm_forward")
group = partial(layer, "spatial_groupnorm_forward")
instance = partial(layer, "spatial_instancenorm_forward")
switchable = partial(layer, "switchable_norm_forward")
IMAGES = (0, 2, 3)


def _both(check: str) -> tuple[str, str]:
    return f"{check}_forward", f"{check}_backward"


def _rows_form(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
    """Batch norm of images reshaped to rows without moving the channels last."""
    rows = x.reshape(-1, x.shape[1])
    function, _ = FORMS["batchnorm_forward"](rows, gamma, beta, param)

    def definition(x: Any, gamma: Any, beta: Any) -> Any:
        return function(x.reshape(-1, x.shape[1]), gamma, beta).reshape(x.shape)

    return definition, [x, gamma, beta]


def _not_moved_back(x: Any, gamma: Any, beta: Any, param: dict[str, Any]) -> Any:
    """Batch norm of images whose rows are given the shape of the images without a transpose."""
    rows = x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])
    function, _ = FORMS["batchnorm_forward"](rows, gamma, beta, param)

    def definition(x: Any, gamma: Any, beta: Any) -> Any:
        rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        return function(rows, gamma, beta).reshape(x.shape)

    return definition, [x, gamma, beta]


def _per_pixel_write(x: np.ndarray, param: dict[str, Any]) -> None:
    """Statistics over N alone have an entry a pixel; the last ones written are kept whole."""
    for key, now in (("running_mean", x.mean(axis=0)), ("running_var", x.var(axis=0))):
        kept = param.get("momentum", 0.9)
        param[key] = ((1 - kept) * now).astype(x.dtype)


known(
    "spatial batch norm: over N alone",
    "The pixels of a channel share one mean: it is taken over the examples and all places, not "
    "for each place by itself.",
    _both("spatial_batchnorm"),
    spatial(batch_form((0,), write=_per_pixel_write)),
)
known(
    "spatial batch norm: reshaped without moving the channels",
    "A reshape keeps the order in memory. Before images become rows of channels, the axis of the "
    "channels has to be moved to the end.",
    _both("spatial_batchnorm"),
    spatial(_rows_form),
)
known(
    "spatial batch norm: channels not moved back",
    "The rows were made with the channels last: after the batch norm they come back in that "
    "order, and the axis of the channels has to be moved back before it.",
    _both("spatial_batchnorm"),
    spatial(_not_moved_back),
)
known(
    "spatial batch norm: per image",
    "Batch norm shares its statistics over the examples; for each image by itself it is instance "
    "norm.",
    _both("spatial_batchnorm"),
    spatial(batch_form((2, 3))),
)
known(
    "spatial batch norm: running statistics not written back",
    "The running statistics must be in bn_param after the call: does the caller's own "
    "dictionary get them?",
    "spatial_batchnorm_forward",
    spatial(batch_form(IMAGES, write=lambda x, param: None)),
)
known(
    "group norm: per pixel",
    "The mean of a group is over its channels and all places of the image, not for each place "
    "by itself. A gradient check against your own forward cannot show this.",
    _both("spatial_groupnorm"),
    group(group_form((2,))),
)
known(
    "group norm: over the batch",
    "Group norm looks at one image at a time: the examples share no statistics.",
    _both("spatial_groupnorm"),
    group(group_form((0, 2, 3, 4))),
)
known(
    "group norm: per channel",
    "The channels of a group share a mean; each by itself is instance norm.",
    _both("spatial_groupnorm"),
    group(group_form((3, 4))),
)
known(
    "group norm: one group",
    "The channels are in G groups, each with statistics of its own; all in one is layer norm.",
    _both("spatial_groupnorm"),
    group(group_form((1, 2, 3, 4))),
)


def _interleaved(x: Any, gamma: Any, beta: Any, G: int, param: dict[str, Any]) -> Any:
    def definition(x: Any, gamma: Any, beta: Any) -> Any:
        N, C, H, W = x.shape
        grouped = x.reshape(N, C // G, G, H, W)
        hat = reference.normalize(grouped, [1, 3, 4], param.get("eps", 1e-5)).reshape(x.shape)
        return along(x, gamma) * hat + along(x, beta)

    return definition, [x, gamma, beta]


def _of_size_G(x: Any, gamma: Any, beta: Any, G: int, param: dict[str, Any]) -> Any:
    return group_form()(x, gamma, beta, x.shape[1] // G, param)


def _per_group(p: Any, G: int) -> Any:
    """Each group with the scale of its first channel."""
    first = p.reshape(G, -1)[:, :1].expand(-1, p.numel() // G)
    return first.reshape(1, -1, 1, 1)


known(
    "group norm: groups interleaved",
    "Channels that stand side by side make a group: which axis does the reshape split, and into "
    "what order?",
    _both("spatial_groupnorm"),
    group(_interleaved),
)
known(
    "group norm: G channels in a group",
    "G is the number of the groups, not of the channels in one.",
    _both("spatial_groupnorm"),
    group(_of_size_G),
)
known(
    "group norm: gamma per group",
    "Groups share their statistics; scale and shift stay one for each channel.",
    _both("spatial_groupnorm"),
    group(group_form(gamma_of=_per_group)),
)
known(
    "group norm: gradients of gamma and beta over the batch alone",
    "gamma has an entry for each channel, used at every place: its gradient adds up over the "
    "places too.",
    "spatial_groupnorm_backward",
    group(
        grads=changed(
            d1=lambda g, dout, inputs: dout.sum(axis=0, keepdims=True),
            d2=lambda g, dout, inputs: dout.sum(axis=0, keepdims=True),
        )
    ),
)
_OUTSIDE = (
    "Epsilon stands inside the root, sqrt(var + eps): it is added to the variance, so that the "
    "root is never one of 0."
)
for _short, _check, _layer, _form in (
    ("group norm", "spatial_groupnorm", group, group_form),
    ("instance norm", "spatial_instancenorm", instance, partial(norm_form, (2, 3))),
):
    known(
        f"{_short}: epsilon outside the root",
        _OUTSIDE,
        f"{_check}_forward",
        _layer(_form(root=eps_outside)),
    )
    known(
        f"{_short}: epsilon always 1e-5",
        "The dictionary may bring an epsilon of its own; it is not looked at.",
        f"{_check}_forward",
        _layer(_form(root=fixed_eps)),
    )
    known(
        f"{_short}: unbiased variance",
        "The variance here is the biased one, divided by the number of values, not by one less.",
        f"{_check}_forward",
        _layer(_form(var=unbiased)),
    )
    for _name, _says, _steps in (
        (
            "the mean's term forgotten",
            "The mean is computed from every x, so it has its own path to dx; that path is "
            "missing.",
            {"mean": constant},
        ),
        (
            "the variance's term forgotten",
            "The variance is computed from every x, so it has its own path to dx; that path is "
            "missing.",
            {"var": constant},
        ),
        (
            "statistics taken for constants",
            "Mean and variance are computed from x: each has a path to dx, and both are missing.",
            {"mean": constant, "var": constant},
        ),
        (
            "terms not divided",
            "In the terms of mean and variance the division by the number of values that are "
            "normalised together is missing: each x contributes only its share.",
            {"mean": summed, "var": summed},
        ),
        (
            "the square's factor of 2 forgotten",
            "The variance is a mean of squares: the derivative of a square brings a factor of 2.",
            {"var": times(0.5)},
        ),
    ):
        known(
            f"{_short}: {_name}", _says, f"{_check}_backward", _layer(back=_form(**_steps))
        )
known(
    "instance norm: over the channels too",
    "Instance norm takes each channel of each image by itself; over all channels it is layer "
    "norm.",
    _both("spatial_instancenorm"),
    instance(norm_form((1, 2, 3))),
)
known(
    "instance norm: over the batch too",
    "Instance norm takes each image by itself; over the batch it is batch norm.",
    _both("spatial_instancenorm"),
    instance(norm_form(IMAGES)),
)
known(
    "instance norm: mean for sum in the gradients of gamma and beta",
    "gamma and beta are used for every example: their gradients add up, they are no means.",
    "spatial_instancenorm_backward",
    instance(
        grads=changed(
            d1=lambda g, dout, inputs: g / len(dout), d2=lambda g, dout, inputs: g / len(dout)
        )
    ),
)


def _softmax(logits: Any) -> Any:
    return torch.softmax(logits, 0)


def _mixed(
    weights: Any = _softmax,
    one_set: bool = False,
    of_means: bool = True,
    order: tuple[int, ...] = (0, 1, 2),
    held: bool = False,
    eps_where: Any = lambda var, eps: torch.sqrt(var + eps),
) -> Any:
    """Switchable norm with other weights, or with variances less that of the means."""

    def definition(
        x: Any, gamma: Any, beta: Any, l_mean: Any, l_var: Any, eps: float, running: Any
    ) -> Any:
        mean_in = x.mean(dim=(2, 3), keepdim=True)
        var_in = ((x - mean_in) ** 2).mean(dim=(2, 3), keepdim=True)
        means, variances = [mean_in], [var_in]
        for axis in (1, 0):
            mean = mean_in.mean(dim=axis, keepdim=True)
            between = ((mean_in - mean) ** 2).mean(dim=axis, keepdim=True)
            means.append(mean)
            variances.append(var_in.mean(dim=axis, keepdim=True) + of_means * between)
        if running is not None:
            means[2], variances[2] = (reference.tensor(r).reshape(1, -1, 1, 1) for r in running)
        if held:
            means, variances = [m.detach() for m in means], [v.detach() for v in variances]
        w_mean, w_var = weights(l_mean), weights(l_mean if one_set else l_var)
        mean = sum(w_mean[i] * means[k] for i, k in enumerate(order))
        var = sum(w_var[i] * variances[k] for i, k in enumerate(order))
        return along(x, gamma) * (x - mean) / eps_where(var, eps) + along(x, beta)

    return definition


def _softmax_of_constants(logits: Any) -> Any:
    """Softmax with w_k dw_k for its gradient: the common term is left out."""
    w = torch.softmax(logits, 0).detach()
    return w + w * (logits - logits.detach())


def _no_softmax_gradient(logits: Any) -> Any:
    w = torch.softmax(logits, 0).detach()
    return w + (logits - logits.detach())


for _name, _says, _fails, _how in (
    (
        "logits for weights",
        "The weights are the softmax of the logits: positive, with a sum of 1.",
        _both("switchable_norm"),
        {"weights": lambda logits: logits},
    ),
    (
        "variance of the means left out",
        "The variance of a union is the mean of the variances plus the variance of the means; the "
        "second part is missing in LN and BN.",
        _both("switchable_norm"),
        {"of_means": False},
    ),
    (
        "LN and BN exchanged",
        "The weights belong to IN, LN and BN, in that order.",
        _both("switchable_norm"),
        {"order": (0, 2, 1)},
    ),
    (
        "epsilon outside the root",
        _OUTSIDE,
        "switchable_norm_forward",
        {"eps_where": eps_outside},
    ),
):
    known(f"switchable norm: {_name}", _says, _fails, switchable(switchable_form(_mixed(**_how))))
for _name, _says, _how in (
    (
        "softmax's common term left out",
        "The weights sum to 1, so a logit that grows makes the other weights smaller: that part of "
        "its gradient is missing.",
        {"weights": _softmax_of_constants},
    ),
    (
        "gradient of the weights for that of the logits",
        "The gradient found is that of the weights; from there it goes back through the softmax "
        "to the logits.",
        {"weights": _no_softmax_gradient},
    ),
    (
        "statistics taken for constants",
        "All three means and variances are computed from x: their paths to dx are missing.",
        {"held": True},
    ),
):
    known(
        f"switchable norm: {_name}",
        _says,
        "switchable_norm_backward",
        switchable(back=switchable_form(_mixed(**_how))),
    )
known(
    "switchable norm: one set of weights",
    "Means and variances are mixed with weights of their own, from logits of their own.",
    "switchable_norm_forward",
    switchable(
        switchable_form(_mixed(one_set=True)), switchable_form(reference.switchable_norm)
    ),
)
known(
    "switchable norm: running statistics not written back",
    "The running statistics of BN must be in sn_param after the call, or test mode will not find "
    "them.",
    "switchable_norm_forward",
    switchable(switchable_form(reference.switchable_norm, write=lambda x, param: None)),
)
