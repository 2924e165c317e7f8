# %% [markdown]
# # PyTorch and ResNet-18
#
# So far you derived every backward pass by hand. From here on a library does it, and you can think about the network itself.
#
# 1. **Three styles.** The same small network out of bare tensors, as an `nn.Module`, and as an `nn.Sequential`.
# 2. **Residual networks.** Why depth hurts plain networks, the block that mends it, and ResNet-18.
# 3. **Training.** Precision, augmentation, learning rate; then a network that you hand in.
# 4. **Looking closer.** Which classes are mixed up, where the network is surely wrong, what its filters see.
# 5. **A submission** in Kaggle's format, and as an option a pretrained ResNet-34.
#
# You write code in `cs231n/classifiers/pytorch_nets.py` and `cs231n/classifiers/resnet.py`. The accuracy of the network that you hand in counts too. The marks are **70 %** (the pass mark) and **87.56 %** on the test set; section 3.5 has the table. Accuracy on the validation set tells you about where you are.
#
# | symbol | meaning |
# |---|---|
# | $N$, $C$, $H$, $W$ | images in a batch, channels, height, width |
# | $F$ | output channels of a convolution |
# | $K$ | classes |
# | `dout` | upstream gradient |

# %%
# %load_ext autoreload
# %autoreload 2
# %matplotlib inline
import os, sys
sys.path.insert(0, "..")  # the course folder, where cs231n/, grading/ and datasets/ are
SMOKE = bool(os.environ.get("SMOKE"))  # set by the course's tests for a quick run; leave it alone

# %%
import shutil
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

# %%
from cs231n import training
from cs231n.classifiers.pytorch_nets import ConvNetModule, convnet_functional, convnet_sequential
from cs231n.classifiers.resnet import BasicBlock, ResNet18
from cs231n.data_utils import cifar10_folder, is_stand_in
from cs231n.gradient_check import eval_numerical_gradient_array, rel_error
from cs231n.hardware import pick_device, pick_precision, pick_winograd
from cs231n.predict import class_names, load_resnet18, write_submission
from cs231n.transfer import Transfer, fine_tune, pretrained_resnet34
from cs231n.vis_utils import visualize_grid
from grading import check

if SMOKE:
    torch.set_num_threads(1)   # nets this small gain nothing from more

# %% [markdown]
# One look for all figures: a palette that colour-blind readers can tell apart (Okabe and Ito), light grids, moderate size.

# %%
BLUE, ORANGE, GREEN, RED, PINK, SKY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
GREY = "#6B6B6B"
plt.rcParams.update({
    "figure.dpi": 80, "figure.constrained_layout.use": True, "font.size": 11,
    "axes.titlesize": 12, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.25, "lines.linewidth": 1.8, "legend.frameon": False,
    "image.cmap": "viridis",
})

# %% [markdown]
# ## The data
#
# This time images stay bytes until the last moment. All 60,000 of them take 184 MB as `uint8`, and four times as much as `float32`. `normalize` turns a batch into what a network sees: per channel, minus the mean of the training pixels, divided by their standard deviation. PyTorch wants channels first, $(N, C, H, W)$.

# %%
data = training.load_images()
NAMES = class_names()
SOURCE = "stand-in data" if is_stand_in(cifar10_folder()) else "CIFAR-10"
for name, values in data.items():
    print(f"{name:8s} {str(values.shape):20s} {values.dtype}")
x = training.normalize(training.to_tensor(data["X_train"][:1000]))
y = torch.as_tensor(data["y_train"][:1000]).long()
print(f"{SOURCE}: x {tuple(x.shape)} {x.dtype}, mean {x.mean():+.2f}, std {x.std():.2f}")

# %% [markdown]
# # 1. One network, three styles
#
# The network is small and always the same, for 32 x 32 images:
#
# $$x \;\to\; \text{conv } 5\times5 \;\to\; \text{ReLU} \;\to\; \text{conv } 3\times3 \;\to\; \text{ReLU} \;\to\; \text{flatten} \;\to\; \text{affine} \;\to\; \text{scores}$$
#
# A convolution with an odd size $k$ and stride 1 keeps height and width if the padding is $(k-1)/2$: 2 for the first, 1 for the second. So the affine layer has $F_2 \cdot 32 \cdot 32$ inputs.

# %% [markdown]
# ## 1.1 Bare tensors and functions
#
# A tensor with `requires_grad=True` remembers how everything that depends on it was computed: the *graph*. `loss.backward()` walks the graph from right to left, just as you did with your caches, and adds the gradient to `.grad` of each leaf, a tensor that was not computed from others.
#
# **Write** `convnet_functional(x, params)` in `cs231n/classifiers/pytorch_nets.py`. Use `F.conv2d(x, w, b, padding=...)`, `F.relu`, `flatten`, and a matrix product. There is no backward pass to write.

# %% [markdown]
# *Gradient check.* Does autograd agree with central differences of your forward pass? In `float64` the relative error should be below $10^{-6}$. The upstream gradient is random, because all ones would hide mistakes.

# %%
torch.manual_seed(0)
shapes = [(2, 3, 5, 5), (2,), (2, 2, 3, 3), (2,), (2 * 32 * 32, 4), (4,)]
params = [(0.1 * torch.randn(s, dtype=torch.float64)).requires_grad_() for s in shapes]
x_small, dout = x[:2].double(), torch.randn(2, 4, dtype=torch.float64)
convnet_functional(x_small, params).backward(dout)
for i, name in enumerate(["conv_w1", "conv_b1", "conv_w2", "conv_b2", "fc_w", "fc_b"]):
    if name == "fc_w":
        continue   # 8192 entries: slow by differences
    def scores(values, i=i):
        changed = [torch.from_numpy(values) if j == i else p for j, p in enumerate(params)]
        return convnet_functional(x_small, changed).detach().numpy()
    numeric = eval_numerical_gradient_array(scores, params[i].detach().numpy(), dout.numpy())
    print(f"{name:8s} relative error {rel_error(numeric, params[i].grad.numpy()):.1e}")

# %%
check("convnet_functional")

# %% [markdown]
# ## 1.2 A module
#
# Passing six tensors around gets tiresome with sixty. An `nn.Module` owns its parameters: whatever layer you assign to an attribute in `__init__` is registered, so `parameters()`, `state_dict()` and `.to(device)` find it. `forward` says how the layers are connected, and may hold any Python.
#
# **Write** `ConvNetModule` in the same file: layers `conv1`, `conv2`, `fc` in `__init__`, their connection in `forward`. `nn.Conv2d` and `nn.Linear` draw their own initial weights.
#
# *How many parameters?* A convolution has $F \cdot C \cdot k^2 + F$, an affine layer $D \cdot M + M$. Check the sum by hand.

# %%
torch.manual_seed(0)
module = ConvNetModule(3, 8, 16, 10)
for name, p in module.named_parameters():
    print(f"{name:14s} {str(tuple(p.shape)):16s} {p.numel():8,d}")
total = sum(p.numel() for p in module.parameters())
by_hand = (8 * 3 * 25 + 8) + (16 * 8 * 9 + 16) + (16 * 32 * 32 * 10 + 10)
print(f"{'total':31s} {total:8,d}   by hand {by_hand:,d}")

# %%
check("ConvNetModule")

# %% [markdown]
# ## 1.3 A sequence
#
# If a network is a chain, its layers in a row say it all. `nn.Sequential` calls one after the other.
#
# **Write** `convnet_sequential(in_channels, channels_1, channels_2, num_classes)`, which returns an `nn.Sequential` of six layers. `nn.ReLU` and `nn.Flatten` are layers without parameters.
#
# *What to see:* with the same weights, the three styles give the same scores. Note that `nn.Linear` keeps its weight as $(M, D)$, so it is the transpose of `fc_w`.

# %%
def same_weights(module):
    """Return the parameters of `module` for the other two styles: a list, and a Sequential."""
    params = [p.detach().clone() for p in module.parameters()]
    sequential = convnet_sequential(3, 8, 16, 10)
    sequential.load_state_dict(dict(zip(sequential.state_dict(), params)))
    params[4] = params[4].T.contiguous()
    return [p.requires_grad_() for p in params], sequential

params, sequential = same_weights(module)
with torch.no_grad():
    scores = module(x[:50])
    print("functional - module:", (convnet_functional(x[:50], params) - scores).abs().max().item())
    print("sequential - module:", (sequential(x[:50]) - scores).abs().max().item())

# %%
check("convnet_sequential")

# %% [markdown]
# ## 1.4 The training loop
#
# Every PyTorch training has these four lines at its heart:
#
# ```python
# loss = F.cross_entropy(model(x), y)   # softmax and cross-entropy in one, as your softmax_loss
# optimizer.zero_grad()                 # question 1 asks why
# loss.backward()
# optimizer.step()
# ```
#
# With bare tensors you write the step yourself. It must not become part of the graph, hence `torch.no_grad()`.

# %%
def step_functional(params, x, y, lr):
    loss = F.cross_entropy(convnet_functional(x, params), y)
    grads = torch.autograd.grad(loss, params)
    with torch.no_grad():
        for p, grad in zip(params, grads):
            p -= lr * grad
    return loss.item()


def step_model(model, optimizer, x, y):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()

# %% [markdown]
# All three start from the same weights and see the same batches. What should their losses look like?

# %%
losses = {"functional": [], "module": [], "sequential": []}
optimizers = {m: torch.optim.SGD(m.parameters(), lr=0.02) for m in (module, sequential)}
for step in tqdm(range(4 if SMOKE else 120), file=sys.stdout):
    rows = torch.arange(step * 64, (step + 1) * 64) % len(x)
    losses["functional"].append(step_functional(params, x[rows], y[rows], lr=0.02))
    for name, m in (("module", module), ("sequential", sequential)):
        losses[name].append(step_model(m, optimizers[m], x[rows], y[rows]))

# %%
fig, ax = plt.subplots(figsize=(8, 3.4))
for (name, values), colour, width in zip(losses.items(), (SKY, ORANGE, RED), (8, 4, 1.2)):
    ax.plot(values, color=colour, linewidth=width, label=name)
ax.axhline(np.log(10), color=GREY, linestyle=":", label=r"$\ln 10$: knows nothing")
ax.set(xlabel="step", ylabel="loss", title=f"Three styles, one network ({SOURCE})")
ax.legend()
plt.show()

# %% [markdown]
# **What to see:** one curve, drawn three times. The styles differ in what they are like to write and read, not in what they compute.

# %% [markdown]
# ### Inline question 1
#
# (a) Why can a plain `nn.Sequential` of built-in layers not express $y = x + f(x)$, while the other two styles can? (b) A student writes `self.layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)]` in `__init__`. The forward pass works, but the loss hardly falls. What went wrong, and what is the remedy? (c) What happens to the training loop above if `optimizer.zero_grad()` is left out?

# %% [markdown] question="pytorch_q1" points=1
# (a) A Sequential hands the output of each layer to the next and to nobody else. In $x + f(x)$ the input $x$ is used twice, once by $f$ and once by the sum, so the graph forks and joins: it is no chain. In a function or in `forward` one simply uses the variable `x` again. (One can of course write a module that does this and put it *into* a Sequential, which is what ResNet does.)
#
# (b) A Python list hides the layers from `nn.Module`, which registers only modules and parameters that are assigned to attributes. So `parameters()` does not contain them, the optimizer never changes them, and `state_dict()` and `.to(device)` miss them too. Only the other layers learn. The remedy is `nn.ModuleList([...])` or `nn.Sequential(...)`.
#
# (c) `backward()` adds to `.grad`, so the step would use the sum of all gradients since the start. That is like momentum with a factor of 1: old gradients never fade, the steps grow, and training oscillates or diverges.

# %% [markdown]
# # 2. Residual networks
#
# A deeper network can do all that a shallower one can: the additional layers need only be the identity. Yet plain networks get *worse* with depth, on the training set too. So it is not overfitting. The identity is hard to find for a stack of convolutions and ReLUs.
#
# He et al. (2016) turn it round. A block computes a *correction* to its input:
#
# $$y = \mathrm{relu}\big(x + f(x)\big), \qquad \frac{\partial L}{\partial x} = \Big(I + \frac{\partial f}{\partial x}\Big)^{\!\top} \frac{\partial L}{\partial y} \quad \text{(where the ReLU is on).}$$
#
# Doing nothing is easy now: $f = 0$. And backward, the $I$ is a road by which the gradient reaches the first layers without passing through any weights.

# %% [markdown]
# ## 2.1 The block
#
# $$f(x) = \mathrm{bn}_2\big(\mathrm{conv}_2(\mathrm{relu}(\mathrm{bn}_1(\mathrm{conv}_1(x))))\big)$$
#
# Both convolutions are 3 x 3 with padding 1. They have no bias, because batch norm subtracts it at once. `conv1` has the stride. Where the block changes the shape, $x$ and $f(x)$ cannot be added, so the shortcut gets a 1 x 1 convolution with the same stride, without bias, and a batch norm.
#
# **Write** `BasicBlock` in `cs231n/classifiers/resnet.py`, with attributes `conv1, bn1, conv2, bn2, shortcut`. Where the shapes agree, `shortcut` is an empty `nn.Sequential()`, which is the identity.
#
# *Two things to test.* Shapes, for odd sizes too. And if the scale of `bn2` is 0, then $f = 0$ and the block must be $\mathrm{relu}(x)$ to the last bit.

# %%
for C, F_out, stride in [(8, 8, 1), (8, 16, 2), (8, 8, 2), (8, 16, 1)]:
    block = BasicBlock(C, F_out, stride)
    out = block(torch.randn(2, C, 15, 9))
    print(f"C={C} F={F_out:2d} stride={stride}: {str(tuple(out.shape)):16s}"
          f"shortcut of {len(block.shortcut)} layers")
block = BasicBlock(8, 8)
nn.init.zeros_(block.bn2.weight)
h = torch.randn(2, 8, 15, 9)
print("f = 0 gives relu(x):", torch.equal(block(h), F.relu(h)))

# %%
check("BasicBlock")

# %% [markdown]
# ### What the shortcut does to the gradient
#
# Thirty blocks in a row, at initialisation, once with the shortcut and once without. We send a random gradient in at the top and measure its length before each block on its way down.

# %%
class PlainBlock(BasicBlock):
    """A BasicBlock without its shortcut."""

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


def gradient_lengths(block, depth=30, width=8):
    torch.manual_seed(0)
    outputs = [torch.randn(32, width, 16, 16, requires_grad=True)]
    for layer in [block(width, width) for _ in range(depth)]:
        outputs.append(layer(outputs[-1]))
    grads = torch.autograd.grad(outputs[-1], outputs, torch.randn_like(outputs[-1]))
    return [g.norm().item() for g in grads]

# %%
fig, ax = plt.subplots(figsize=(8, 3.4))
for block, colour, style, label in ((PlainBlock, RED, "s--", "without shortcut"),
                                    (BasicBlock, BLUE, "o-", "residual")):
    lengths = gradient_lengths(block)
    ax.semilogy(lengths, style, color=colour, markersize=4, label=label)
    print(f"{label:18s} first / last = {lengths[0] / lengths[-1]:,.0f}")
ax.set(xlabel="block (0 is the input)", ylabel="length of the gradient",
       title="The gradient on its way down through 30 blocks")
ax.legend()
plt.show()

# %% [markdown]
# **What to see:** a straight line on a logarithmic axis, for the plain blocks. Each block multiplies the gradient by about 1.4, even with batch norm, so the gradient at the first block is tens of thousands of times as long as at the last. No single learning rate suits both. With shortcuts the curve flattens: the sum makes each further block a smaller change.

# %% [markdown]
# ## 2.2 ResNet-18
#
# | part | output | what |
# |---|---|---|
# | `conv1`, `bn1` | (N, 64, 32, 32) | 3 x 3 convolution with stride 1, batch norm, ReLU, no pooling |
# | `layer1` | (N, 64, 32, 32) | two blocks, stride 1 |
# | `layer2` | (N, 128, 16, 16) | two blocks, the first with stride 2 |
# | `layer3` | (N, 256, 8, 8) | two blocks, the first with stride 2 |
# | `layer4` | (N, 512, 4, 4) | two blocks, the first with stride 2 |
# | | (N, 512) | mean over height and width |
# | `fc` | (N, 10) | affine |
#
# The paper's stem for ImageNet (7 x 7, stride 2, then pooling) would leave 8 x 8 pixels of our 32 x 32, so CIFAR networks start with a 3 x 3 of stride 1. Eighteen counts the layers with weights on the main road: 1 + 16 + 1.
#
# **Write** `ResNet18(num_classes=10, width=64)` in the same file. `width` is the number of channels of the stem; the later stages have 2, 4 and 8 times as many. Narrow networks are good for trying things out.
#
# *Block by block:* a hook on each part shows shapes and parameters. The total at width 64 must be **11,173,962**.

# %%
def describe(model):
    hooks = [part.register_forward_hook(
        lambda part, _, out, name=name: print(
            f"{name:8s}{str(tuple(out.shape)):20s}"
            f"{sum(p.numel() for p in part.parameters()):12,d}"))
        for name, part in model.named_children()]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    print(f"{'total':28s}{sum(p.numel() for p in model.parameters()):12,d}")

describe(ResNet18())

# %%
check("ResNet18")

# %% [markdown]
# ## 2.3 Two tests that every network must pass
#
# **The first loss.** A network that knows nothing should be about as good as guessing: $\ln 10 \approx 2.30$.
#
# **Overfit one batch.** A network which cannot learn 64 images by heart has a mistake in it, or in its loop. It takes seconds, and saves hours. No augmentation, no decay.

# %%
torch.manual_seed(0)
net = ResNet18(width=8 if SMOKE else 16)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)
losses, right = [], []
for step in tqdm(range(8 if SMOKE else 40), file=sys.stdout):
    with torch.no_grad():
        right.append((net(x[:64]).argmax(1) == y[:64]).float().mean().item())
    losses.append(step_model(net, optimizer, x[:64], y[:64]))
print(f"first loss {losses[0]:.2f}, ln 10 = {np.log(10):.2f}; last accuracy {right[-1]:.2f}")

# %%
fig, ax = plt.subplots(figsize=(8, 3.2))
ax.semilogy(losses, color=BLUE)
ax.set(xlabel="step", ylabel="loss", title="64 images learnt by heart")
ax.yaxis.label.set_color(BLUE)
twin = ax.twinx()
twin.plot(right, "--", color=ORANGE)
twin.set(ylabel="accuracy", ylim=(0, 1.03))
twin.yaxis.label.set_color(ORANGE)
twin.grid(False)
plt.show()

# %% [markdown]
# # 3. Training
#
# `cs231n/training.py` is given, and so is one step of it, `step.py`. Read them, the step first: it
# is 80 lines, the trainer some 250. Their neighbours are as short: `images.py` (loading,
# augmentation), `hardware.py` (device, precision), `averaging.py`, `evaluation.py`, `curves.py`,
# `saving.py` (files, interruptions), `distributed.py` (several processes).

# %% [markdown]
# ## 3.1 Fast on what you have
#
# Four things make a step fast and change the result only by rounding:
#
# - **bfloat16.** 16 bits: the exponent of `float32`, but 8 bits of precision in place of 24. Convolutions run in it where the processor has units for it. Weights, sums and the loss stay in `float32`. Whether it is faster is *measured* (`pick_precision`), because some processors only emulate it.
# - **Channels last.** The same tensor $(N, C, H, W)$, but in memory the channels of a pixel lie side by side, as a convolution reads them.
# - **Freed memory is kept.** Each step needs the same large blocks again.
# - **Fewer multiplications.** A 3x3 convolution makes four neighbouring outputs with 36 multiplications; Winograd's form needs 16 (`cs231n/winograd.py`, 90 lines with the formula). Its transforms cost memory traffic, so only layers with 256 channels or more take that way, and only where this was *measured* to pay (`pick_winograd`).

# %%
def images_per_second(width, fast, batch=16 if SMOKE else 64, steps=2 if SMOKE else 4):
    device = pick_device()
    layout = torch.channels_last if fast else torch.contiguous_format
    precision = pick_precision(device) if fast else torch.float32
    winograd = fast and pick_winograd(device, precision)
    model = ResNet18(width=width).to(device, memory_format=layout)
    optimizer = training.make_optimizer(model, momentum=0.9, weight_decay=5e-4)
    images, labels = x[:batch].to(device, memory_format=layout), y[:batch].to(device)
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        training.take_step(model, optimizer, images, labels, 0.1, precision, winograd).tolist()
        times.append(time.perf_counter() - start)
    return batch / min(times[1:])

# %%
print(f"device {pick_device()}, precision {pick_precision(pick_device())}")
widths = (8,) if SMOKE else (16, 32, 64)
fig, ax = plt.subplots(figsize=(8, 2.8))
for i, width in enumerate(widths):
    plain, fast = images_per_second(width, False), images_per_second(width, True)
    bars = ax.barh([i + 0.19, i - 0.19], [plain, fast], height=0.36, color=[GREY, BLUE])
    ax.bar_label(bars, [f"{plain:,.0f}", f"{fast:,.0f}  ({fast / plain:.1f} times)"], padding=3)
ax.set(yticks=range(len(widths)), yticklabels=[f"width {w}" for w in widths],
       xlabel="images a second", title="A step: plain float32 (grey) and the trainer's way (blue)")
ax.set_xscale("log")
ax.margins(x=0.3)
plt.show()

# %% [markdown]
# ## 3.2 Augmentation
#
# A truck is a truck if it stands four pixels to the left, or faces the other way. `augment` shifts each image by up to four pixels, anew in each epoch, so the network never sees quite the same image twice, and mirrors half of them. In training it mirrors the other half in the next epoch, so that each image is soon seen both ways (Jordan, 2024). It works on a whole batch at once. There are no worker processes that could hang.

# %%
torch.manual_seed(1)
pictures = training.to_tensor(data["X_train"])[[4, 7]].repeat_interleave(9, 0)
changed = training.augment(pictures).permute(0, 2, 3, 1).numpy()
fig, axes = plt.subplots(2, 10, figsize=(11, 2.5))
for row in range(2):
    axes[row, 0].imshow(pictures[9 * row].permute(1, 2, 0))
    axes[row, 0].set_title("original", fontsize=9)
    for column in range(9):
        axes[row, column + 1].imshow(changed[9 * row + column])
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## 3.3 The rest of the recipe
#
# - **SGD with Nesterov momentum** and weight decay on kernels and matrices. Scales and shifts of batch norm, and biases, do not decay.
# - **One cycle** (Smith and Topin, 2017): the learning rate climbs while the weights are still wild, stays high to explore, and falls to 0 to settle.
# - **Averaged weights** (a switch, `ema=True`): the average over the last few hundred steps lies nearer to the middle of the valley whose walls the single steps run along. Validation and the file that you hand in then see the average.
# - **Small images first** (a switch, `progressive=True`, which `python -m cs231n.train` sets for you): the first three tenths of the steps see images of 16x16, the next three tenths of 24x24, the rest whole ones. What a network learns first, it learns from small images as well, in a third of the time. Your `ResNet18` takes any size if it averages over all positions before its last layer. Validation images are always whole, so that accuracy is low until training images are whole too.
# - **Label smoothing** (Szegedy et al., 2016): the target is 0.91 for the right class and 0.01 for each other, so scores need not grow without end.

# %%
steps = np.arange(1000)
fig, axes = plt.subplots(1, 2, figsize=(11, 3))
axes[0].plot(steps / 10, [training.one_cycle(s, 1000, 0.1) for s in steps], color=BLUE)
axes[0].set(xlabel="% of the run", ylabel="learning rate", title="One cycle")
margin = np.linspace(-2, 10, 200)
p = 1 / (1 + 9 * np.exp(-margin))
for smoothing, colour, style in ((0.0, GREY, "-"), (0.1, ORANGE, "--")):
    right = 1 - smoothing + smoothing / 10
    loss = -right * np.log(p) - (1 - right) * np.log((1 - p) / 9)
    axes[1].plot(margin, loss, style, color=colour, label=f"smoothing {smoothing}")
axes[1].set(xlabel="right score minus the others", ylabel="loss", title="Label smoothing")
axes[1].legend()
plt.show()

# %% [markdown]
# ## 3.4 A short run
#
# A narrow network and a few epochs: a minute or two on a graphics card, some minutes on two processor cores. It saves as it goes. If you interrupt it (the stop button), the cell continues from there when you run it again. Once it has finished, running the cell again only loads the result. To start afresh delete the file, or give it another name.

# %%
WIDTH, EPOCHS, NUM_TRAIN = (4, 2, 640) if SMOKE else (16, 4, 49000)
folder = Path("../checkpoints")
short_run = folder / ("smoke" if SMOKE else "short") / "resnet18.safetensors"
some = dict(data, X_train=data["X_train"][:NUM_TRAIN], y_train=data["y_train"][:NUM_TRAIN])
torch.manual_seed(0)
model = ResNet18(width=WIDTH)
history = training.train(model, some, epochs=EPOCHS, lr=0.1, checkpoint=short_run)
print(f"{SOURCE}: validation accuracy {history['val_acc'][-1]:.3f} after "
      f"{sum(history['seconds']) / 60:.1f} minutes")

# %%
training.plot_curves(history)

# %% [markdown]
# **What to see:** the last epoch, with the smallest learning rate, still helps a good deal: the weights settle. And validation accuracy is *above* training accuracy. Think about it before you come to question 2.

# %% [markdown]
# ## 3.5 The long run: what you hand in
#
# The network that is graded lies in `checkpoints/resnet18_cifar10.safetensors`. The cell below puts your short run there, unless something better is there already. So you have something to hand in, and now you can do better. In a terminal, in the course folder:
#
# ```
# python -m cs231n.train --width 64 --epochs 15
# python -m cs231n.train --budget 30m
# ```
#
# The second measures your machine, chooses width and epochs so that it ends within the time, and says which accuracy to expect; `docs/training.md` explains all options. Either writes to that file, shows the time left, and may be stopped with Ctrl-C and continued with the same command. On a graphics card it takes minutes. On two processor cores with bfloat16 an epoch takes two and a half to five minutes on average at width 64 and 20 to 35 seconds at width 16, the first ones less because their images are small (`docs/training.md`).
#
# | test accuracy | share of the points |
# |---|---|
# | 50 % or less | 0 |
# | 70 % (pass mark) | 0.5 |
# | 87.56 % | 0.8 |
# | 92 % or more | 1 |
#
# Between the marks it is linear. A network narrower than 64 can earn up to 0.7 of the points. The grader builds *your* `ResNet18`, gives it images that went through `normalize`, and counts. The grader also shows your network training images and slightly changed test images. If the answers suggest that it has memorised the test images, the lower accuracy counts (`docs/checkpoint.md`). You may train in any way, with this trainer or your own, as long as you use only the training images.

# %%
checkpoint = folder / "resnet18_cifar10.safetensors"

def validation_accuracy(path):
    return training.accuracy(load_resnet18(path), data["X_val"], data["y_val"])

if not checkpoint.exists() or validation_accuracy(short_run) > validation_accuracy(checkpoint):
    shutil.copy(short_run, checkpoint)
net = load_resnet18(checkpoint)
val_accuracy = training.accuracy(net, data["X_val"], data["y_val"])
print(f"{checkpoint.name}: width {net.conv1.out_channels}, "
      f"validation accuracy {val_accuracy:.3f} ({SOURCE})")

# %%
fig, ax = plt.subplots(figsize=(8, 1.6))
ax.barh([0], [100 * val_accuracy], color=BLUE if val_accuracy >= 0.7 else RED)
for mark, text in ((70, "pass mark 70 %"), (87.56, "87.56 %")):
    ax.axvline(mark, ymax=0.72, color=GREY, linestyle="--")
    ax.text(mark, 0.5, text, va="bottom", ha="center", color=GREY)
ax.set(xlim=(0, 100), ylim=(-0.5, 0.9), yticks=[], xlabel=f"validation accuracy (%), {SOURCE}")
ax.grid(False)
plt.show()

# %%
check("resnet18_accuracy")

# %% [markdown]
# ### Inline question 2
#
# (a) In the curves above, validation accuracy is at times higher than training accuracy. Give two reasons that have nothing to do with luck. (b) You forget `model.eval()` before predicting. What changes in a ResNet, and why would a single image get other scores in another batch? (c) You try twelve settings, keep the one with the best validation accuracy, and report that accuracy. Is it a fair estimate of the accuracy on new images?

# %% [markdown] question="pytorch_q2" points=1
# (a) Training accuracy is measured on shifted and mirrored images, which are harder than the plain validation images. It is also collected during the epoch, from weights that are older on average than those at its end, which the validation uses; and with the statistics of noisy batches. Regularisation (weight decay, augmentation) keeps the network from learning training images by heart, so the opposite effect is small in a short run.
#
# (b) Batch norm would use mean and variance of the batch in place of the running averages, and would go on changing these. The scores of an image then depend on the other images in its batch, so with other neighbours the same image gets other scores. For a batch from a single class, or of a few images, they can be far off.
#
# (c) No. The best of twelve is partly the luckiest of twelve: the choice was made by the same images, so the estimate is too high (more so for few validation images and many settings). With 1000 images the standard error is about 1 % already. A fair estimate needs images that played no part in any decision: the test set, used once.

# %% [markdown]
# # 4. Looking closer

# %%
X_test, y_test = (data[k][: 1000 if SMOKE else None] for k in ("X_test", "y_test"))
test_scores = training.predict_scores(net, X_test)
predicted = test_scores.argmax(1)
print(f"{SOURCE}: test accuracy {(predicted == y_test).mean():.4f} (0.8 of the points at 0.8756)")

# %% [markdown]
# ## 4.1 Which classes are mixed up?
#
# Row: what it is. Column: what the network says. A perfect network has 100 on the diagonal and 0 elsewhere.

# %%
confusion = np.zeros((10, 10))
np.add.at(confusion, (y_test, predicted), 1)
confusion *= 100 / confusion.sum(1, keepdims=True)
fig, ax = plt.subplots(figsize=(6.4, 5.4))
ax.imshow(np.sqrt(confusion), cmap="Blues")   # the root makes small values visible
for i in range(10):
    for j in range(10):
        ax.text(j, i, f"{confusion[i, j]:.0f}", ha="center", va="center", fontsize=9,
                color="white" if confusion[i, j] > 40 else "black")
ax.set(xticks=range(10), yticks=range(10), yticklabels=NAMES, title=f"In percent ({SOURCE})",
       xlabel="what the network says", ylabel="what it is")
ax.set_xticklabels(NAMES, rotation=45, ha="right")
ax.grid(False)
plt.show()

# %% [markdown]
# **What to see** on CIFAR-10: the animals form one block and the vehicles another. Cat and dog are the hardest pair.

# %% [markdown]
# ## 4.2 Surely wrong
#
# The mistakes of which the network is most certain. Some you may forgive.

# %%
p = torch.softmax(torch.from_numpy(test_scores), 1).numpy()
wrong = np.flatnonzero(predicted != y_test)
worst = wrong[np.argsort(-p[wrong, predicted[wrong]])][:16]
fig, axes = plt.subplots(2, 8, figsize=(11, 3.4))
for ax, i in zip(axes.flat, worst):
    ax.imshow(X_test[i])
    ax.set_title(f"{NAMES[predicted[i]]} {100 * p[i, predicted[i]]:.0f} %\nis {NAMES[y_test[i]]}",
                 fontsize=8)
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## 4.3 What the first layer sees
#
# The stem's filters are 3 x 3 pixels in three colours, so we can look at them. Beside them, the channels that they make of one image (after batch norm and ReLU).

# %%
filters = net.conv1.weight.detach().float().cpu().permute(0, 2, 3, 1).numpy()
with torch.no_grad():
    image = training.normalize(training.to_tensor(X_test[:1])).to(net.conv1.weight.device)
    maps = F.relu(net.bn1(net.conv1(image)))[0].cpu().numpy()[..., None]
fig, axes = plt.subplots(1, 3, figsize=(11, 3.8))
axes[0].imshow(X_test[0])
axes[1].imshow(visualize_grid(filters, padding=1) / 255)
axes[2].imshow(visualize_grid(maps, padding=2)[..., 0], cmap="magma")
for ax, title in zip(axes, ("image", "filters of the stem", "its channels")):
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %% [markdown]
# **What to see:** some filters have one colour (they average, or pick a colour), others have a light and a dark side (they find edges in one direction). You would find the same in almost any network for photographs.

# %% [markdown]
# # 5. A submission
#
# Kaggle's competition on CIFAR-10 wants a file with a line for each image: a number from 1, and the name of the class. `write_submission` takes the images batch by batch, so that the competition's 300,000 fit in memory. Here we write the file for the test images that we have. For Kaggle's own images, unpack them into a folder and run, in a terminal in the course folder,
#
# ```
# python -m cs231n.predict --images folder
# ```

# %%
submission = Path("../submission.csv")
batches = np.array_split(X_test, range(500, len(X_test), 500))
count = write_submission(net, tqdm(batches, file=sys.stdout), submission, NAMES)
print(f"{count} labels, test accuracy {(predicted == y_test).mean():.4f} ({SOURCE})")
print("".join(submission.read_text().splitlines(keepends=True)[:5]))

# %% [markdown]
# # 6. Option: a pretrained ResNet-34
#
# Nothing here is graded. A network that has learnt from a million photographs has filters that are useful for ours too: *transfer learning*. First its body is frozen and only a new last layer learns, so that the large gradients of an ignorant last layer cannot spoil the body. Then everything learns, at a lower rate.
#
# torchvision fetches the weights (83 MB) once and keeps them in its cache folder. Without a network, and without them in the cache, this section says so and does nothing.

# %%
pretrained = None
if not SMOKE:
    try:
        pretrained = pretrained_resnet34()
    except OSError as error:
        print(f"{error}. This section is skipped; nothing is lost.")

# %% [markdown]
# The body was made for 224 x 224 pixels, and divides height and width by 32: of our images one pixel would be left. So `Transfer` (in `cs231n/transfer.py`, two screens, given) enlarges them to 64 x 64 first, which leaves 2 x 2. While the body is frozen, its batch norm stays as it came, too.

# %%
if pretrained is not None:
    few = dict(data, X_train=data["X_train"][:3000], y_train=data["y_train"][:3000])
    histories = fine_tune(Transfer(pretrained), few, batch_size=64)
    frozen, unfrozen = (history["val_acc"][-1] for history in histories)
    print(f"{SOURCE}, 3000 images: frozen body {frozen:.3f}, all of it {unfrozen:.3f}")

# %% [markdown]
# # What you have now
#
# - The same network in three styles, and a reason to choose between them.
# - A residual block, why it works, and a ResNet-18 that you built yourself.
# - Weights in `checkpoints/resnet18_cifar10.safetensors`, and a submission file.
#
# `make check` runs all checks again in a terminal, and `make submission` packs what you hand in.
