# %% [markdown]
# # Batch normalisation and layer normalisation
#
# A deep net trains well when the numbers inside it stay at a sensible scale. In this notebook you
# write two layers that keep them there, with their gradients, and then measure what they buy.
#
# | you write | in | check cells |
# |---|---|---|
# | batch norm: forward, backward, simplified backward | `cs231n/layers.py` | 3 |
# | layer norm: forward, backward | `cs231n/layers.py` | 2 |
# | affine - norm - ReLU sandwiches | `cs231n/layer_utils.py` | 2 |
# | a fully connected net with normalisation | `cs231n/classifiers/fc_net.py` | 2 |
#
# Two questions at the end of the experiments ask you to explain what you saw. Names of sizes: N
# rows in a batch, D features, `dout` the upstream gradient. Needs `FullyConnectedNets` complete.

# %%
# %load_ext autoreload
# %autoreload 2
# %matplotlib inline
import os
import sys

sys.path.insert(0, "..")  # the course folder, where cs231n/, grading/ and datasets/ are
SMOKE = bool(os.environ.get("SMOKE"))  # set by the course's tests for a quick run; leave it alone

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from cs231n.classifiers.fc_net import FullyConnectedNet
from cs231n.data_utils import get_CIFAR10_data
from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array, rel_error
from cs231n.layer_utils import *
from cs231n.layers import *
from cs231n.solver import Solver
from grading import check

# %% [markdown]
# One style for all figures. The colours are those of Okabe and Ito, which colour-blind readers can
# tell apart.

# %%
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
NORMS = (None, "batchnorm", "layernorm")
COLOUR = {None: GREY, "batchnorm": BLUE, "layernorm": ORANGE}
LINE = {None: "-", "batchnorm": "--", "layernorm": "-."}
MARK = {None: "o", "batchnorm": "s", "layernorm": "^"}
LABEL = {None: "no normalisation", "batchnorm": "batch norm", "layernorm": "layer norm"}
plt.rcParams.update({
    "figure.dpi": 80, "font.size": 11, "axes.grid": True, "grid.alpha": 0.3,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False,
})

def look(norm):
    return {"color": COLOUR[norm], "linestyle": LINE[norm], "label": LABEL[norm]}

# %%
data = get_CIFAR10_data()
for name, array in data.items():
    print(f"{name:8s} {str(array.shape):20s} {array.dtype}")
print(f"standard deviation of a training input {data['X_train'][:1000].std():.0f}")

# %% [markdown]
# ## 1. Why normalise inside the net
#
# One centres the input images, and often scales them too, because a layer learns more easily from
# inputs with mean 0 and a spread of about 1. (Here they are centred only.) The second layer has no
# such luck: its input is whatever the first layer makes, and that changes at every step of
# training. With small weights the spread shrinks from layer to layer until nothing is left; with
# large ones it grows until the loss overflows.
#
# Ioffe and Szegedy (ICML 2015, [arXiv:1502.03167](https://arxiv.org/abs/1502.03167)) put the
# normalisation inside the net. Batch norm takes each feature on its own, subtracts its mean over
# the mini-batch and divides by its standard deviation.

# %% [markdown]
# ### The formula
#
# For one feature with the values $x_1, \dots, x_N$ in a mini-batch of $N$ rows (section 3,
# algorithm 1 of the paper):
#
# $$\mu = \frac{1}{N}\sum_i x_i, \qquad \sigma^2 = \frac{1}{N}\sum_i (x_i - \mu)^2$$
#
# $$\hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y_i = \gamma \hat x_i + \beta$$
#
# * The variance divides by $N$, not by $N - 1$: it is the *biased* one.
# * $\epsilon$ stands **inside** the square root. It keeps the division safe when a feature is
#   constant. $\sqrt{\sigma^2} + \epsilon$ is another function, and its gradient is another one too.
# * $\gamma$ and $\beta$ are learned, one of each for a feature. Mean 0 and variance 1 may not suit
#   the next layer, and with $\gamma$ and $\beta$ the net can choose any other mean and spread.

# %% [markdown]
# ### What it does not do
#
# Each feature gets mean 0 and variance 1, but two features may stay as correlated as they were:
# batch norm does not decorrelate. That would need the whole covariance matrix.
#
# Why it helps is still debated. The paper speaks of *internal covariate shift*, inputs whose
# distribution moves during training. Santurkar et al. (2018,
# [arXiv:1805.11604](https://arxiv.org/abs/1805.11604)) found that nets with batch norm train well
# even when that shift is put back by hand, and point to a smoother loss instead. In the experiments
# below you see one effect which is beyond doubt: the scale of the weights hardly matters any more.

# %% [markdown]
# ### Batch norm as a graph
#
# Every box in the next figure is one simple operation. The forward pass follows the blue arrows.
# The backward pass goes along the same arrows in the other direction, and wherever **two** blue
# arrows leave a box, two gradients arrive and are added. $x$ has two, and so has $x - \mu$.

# %%
nodes = {
    "x": (0, 1, "$x$\n(N, D)"), "mu": (1.2, 0, "$\\mu$\nmean over N"), "c": (2.4, 1, "$x-\\mu$"),
    "var": (3.6, 0, "$\\sigma^2$\nmean of squares"),
    "s": (5.4, 0, "$1/\\sqrt{\\sigma^2+\\epsilon}$"),
    "h": (6.6, 1, "$\\hat{x}$\nproduct"), "gh": (7.9, 1, "$\\gamma\\hat{x}$"),
    "y": (9.2, 1, "$y$\n(N, D)"), "g": (7.9, 0, "$\\gamma$\n(D,)"), "b": (9.2, 0, "$\\beta$\n(D,)"),
}
edges = ["x mu", "x c", "mu c", "c var", "var s", "c h", "s h", "h gh", "g gh", "gh y", "b y"]
inputs = {"x", "g", "b"}

# %%
fig, ax = plt.subplots(figsize=(12, 3))
ax.set(xlim=(-0.6, 9.8), ylim=(-0.5, 2), title="Batch norm, one operation a box")
ax.axis("off")
boxes = {}
for name, (u, v, text) in nodes.items():
    style = {"facecolor": "#FFF3D6" if name in inputs else "#E3F1FA", "edgecolor": GREY}
    boxes[name] = ax.text(u, v, text, ha="center", va="center", bbox=style | {"boxstyle": "round"})
fig.canvas.draw()  # only now the boxes have their sizes, and arrows can end at them
for start, end in map(str.split, edges):
    a, b = (boxes[name].get_bbox_patch() for name in (start, end))
    arrow = {"arrowstyle": "-|>", "color": BLUE, "patchA": a, "patchB": b, "lw": 1.6}
    ax.annotate("", nodes[end][:2], nodes[start][:2], arrowprops=arrow)
ax.annotate("backward", (-0.3, 1.75), (9.5, 1.75), color=RED, va="center", ha="right",
            arrowprops={"arrowstyle": "-|>", "color": RED, "linestyle": "--"})
plt.show()

# %% [markdown]
# ## 2. Forward pass
#
# ### Training and testing differ
#
# In training, $\mu$ and $\sigma^2$ come from the mini-batch. At test time a prediction must not
# depend on which other images happen to be in the batch, so the layer uses averages that it has
# kept during training:
#
# $$\text{running} \leftarrow m \cdot \text{running} + (1 - m) \cdot \text{batch}$$
#
# with momentum $m = 0.9$. Two conventions trip people up. In PyTorch's `BatchNorm1d` the momentum
# is the weight of the *new* value, so its `momentum=0.1` is our 0.9. And PyTorch keeps the unbiased
# variance in its running average, while the course uses the biased one, both for normalising and in
# the running average.

# %% [markdown]
# ### Exercise
#
# Implement `batchnorm_forward` in `cs231n/layers.py`, for `mode` `'train'` and `'test'`. The stub
# gives you `mode`, `eps`, `momentum`, `running_mean` and `running_var`. In training write the new
# running averages back into `bn_param["running_mean"]` and `bn_param["running_var"]`: they are how
# the layer remembers.
#
# Put into the cache what you will want in the backward pass. The centred values, the reciprocal
# standard deviation, $\hat x$ and $\gamma$ are a good choice. Keep `mode` in the cache too: the
# backward needs it.
#
# The cell below sends badly scaled features through your layer, with $\gamma = 1$, $\beta = 0$.
# Every mean should be 0. Every standard deviation should be 1 less about
# $\epsilon / (2\sigma^2)$, which is 0.9994 for the first feature (drawn with $\sigma = 0.1$, it has
# 0.0951) and 1.0000 for the others.

# %%
rng = np.random.default_rng(231)
features = rng.standard_normal((400, 4)) * [0.1, 1.0, 5.0, 20.0] + [3.0, -2.0, 10.0, -30.0]
plain, _ = batchnorm_forward(features, np.ones(4), np.zeros(4), {"mode": "train"})
gamma, beta = np.array([1.0, 2.0, 3.0, 4.0]), np.array([11.0, 12.0, 13.0, 14.0])
scaled, _ = batchnorm_forward(features, gamma, beta, {"mode": "train"})

with np.printoptions(precision=4, suppress=True):
    for text, out in [("input", features), ("normalised", plain), ("gamma, beta", scaled)]:
        print(f"{text:12s} mean {out.mean(axis=0)}   std {out.std(axis=0)}")

# %%
fig, axes = plt.subplots(1, 3, figsize=(12, 3), sharey=True)
titles = ["Before", "After, gamma = 1, beta = 0", "After, learned scale and shift"]
for ax, title, out in zip(axes, titles, [features, plain, scaled]):
    shapes = ax.violinplot(out, range(4), orientation="horizontal", widths=0.85, showmeans=True)
    for body, colour in zip(shapes["bodies"], [BLUE, ORANGE, GREEN, PURPLE]):
        body.set(facecolor=colour, alpha=0.7)
    for part in ("cmeans", "cbars", "cmins", "cmaxes"):
        shapes[part].set(color="black", lw=1)
    ax.set(title=title, xlabel="value")
axes[0].set_yticks(range(4), [f"feature {d}" for d in range(4)])
fig.tight_layout()
plt.show()

# %% [markdown]
# **What to see.** On the left each feature lives somewhere else, and feature 0 is so narrow that it
# is a mere line. In the middle all four have the same mean and spread. On the right $\gamma$ and
# $\beta$ have given each its own place again, but now these places are parameters of the net and no
# longer an accident of the data.
#
# Next the running averages. A stream of batches comes from a feature with mean 3 and variance 4.
# The average starts at 0, so after $t$ batches it has reached the share $1 - m^t$ of the truth.

# %%
batches = 3 + 2 * rng.standard_normal((120, 32, 1))
curves = {}
for momentum in (0.5, 0.9, 0.99):
    bn_param = {"mode": "train", "momentum": momentum}
    trace = []
    for batch in batches:
        batchnorm_forward(batch, np.ones(1), np.zeros(1), bn_param)
        trace.append(bn_param["running_mean"].item())
    curves[momentum] = trace
sizes = np.array([2, 3, 4, 6, 8, 16, 32, 64])
draws = [2 * rng.standard_normal((4000, n)) for n in sizes]
biased = [draw.var(axis=1).mean() for draw in draws]
unbiased = [draw.var(axis=1, ddof=1).mean() for draw in draws]

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 3.4))
for (momentum, trace), line, colour in zip(curves.items(), ["-.", "-", "--"], [SKY, BLUE, PURPLE]):
    left.plot(trace, line, color=colour, label=f"momentum {momentum}")
left.axhline(3, color="black", ls=":", label="true mean")
left.set(title="Quick and noisy, or smooth and late", xlabel="batches seen", ylabel="running mean")
right.semilogx(sizes, biased, "o-", color=BLUE, label="divide by N (ours)")
right.semilogx(sizes, unbiased, "s-", color=ORANGE, label="divide by N - 1")
right.axhline(4, color="black", ls=":", label="true variance")
right.set(title="Average variance that a batch shows", xlabel="batch size N", ylabel="variance",
          ylim=(0, 5))
right.set_xticks(sizes, sizes)
right.minorticks_off()
for ax in (left, right):
    ax.legend(fontsize=9, loc="lower right")
plt.show()

# %% [markdown]
# **What to see.** Momentum 0.9 forgets the start after some 30 batches, 0.99 has not arrived after
# 120. The biased variance is $(N-1)/N$ of the truth on average: half of it at $N = 2$, and hardly
# off at 32. In training this does no harm, since the same batch is normalised by it. At test time a
# net that was trained with tiny batches divides by too small a spread.
#
# Now test mode: run averages from many batches, then one batch that is *not* normalised by itself.

# %%
bn_param = {"mode": "train"}
for _ in range(200):
    batch = 3 + 2 * rng.standard_normal((50, 3))
    batchnorm_forward(batch, np.ones(3), np.zeros(3), bn_param)
bn_param["mode"] = "test"
single = np.array([[3.0, 5.0, -1.0]])
out, _ = batchnorm_forward(single, np.ones(3), np.zeros(3), bn_param)
print("running mean", bn_param["running_mean"].round(2), "(truth 3)")
print("running var ", bn_param["running_var"].round(2), "(truth 4)")
print("one image   ", out.round(2), "(expect about 0, 1, -2)")

# %%
check("batchnorm_forward")

# %% [markdown]
# ## 3. Backward pass
#
# Follow the graph from right to left. Write $s = (\sigma^2 + \epsilon)^{-1/2}$ and let
# $\partial y_i$ stand for $\partial L / \partial y_i$, which arrives as `dout`. All sums are over
# the batch, one for each feature.
#
# $$\partial\beta = \sum_i \partial y_i, \qquad \partial\gamma = \sum_i \partial y_i \, \hat x_i,
# \qquad \partial\hat x_i = \gamma\, \partial y_i$$
#
# $$\partial\sigma^2 = -\tfrac12\, s^3 \sum_i \partial\hat x_i\, (x_i - \mu)$$
#
# $$\partial\mu = -s \sum_i \partial\hat x_i \;-\; \frac{2}{N}\,\partial\sigma^2 \sum_i (x_i - \mu)$$
#
# $$\partial x_i = s\,\partial\hat x_i + \frac{2}{N}(x_i - \mu)\,\partial\sigma^2
# + \frac1N \partial\mu$$
#
# The last sum in $\partial\mu$ is 0 by the definition of a mean, so you may drop it. The last line
# adds the three ways by which $x_i$ reaches the output: directly, through the variance, through the
# mean.

# %% [markdown]
# ### Exercise
#
# Implement `batchnorm_backward` in `cs231n/layers.py`, step by step along the graph.
#
# The cell below compares your gradients with central differences, $\frac{f(x + h) - f(x - h)}{2h}$,
# for a **random** upstream gradient. It prints the relative error $\max |a - b| / (|a| + |b|)$. In
# float64 expect 1e-6 or less for `dx` (the worst entry is one that is nearly 0) and 1e-9 or less
# for `dgamma` and `dbeta`. Above 1e-2 a path of the graph is missing.
#
# A gradient check compares your backward with **your** forward. If $\epsilon$ is outside the root
# in both, it passes; the `check` cell, which knows the true values, does not.

# %%
def gradient_errors(forward, arrays, dout, analytic):
    """Compare analytic gradients with central differences, one array after the other."""
    for i, (name, array) in enumerate(arrays.items()):
        def replaced(value, i=i):
            return forward(*[value if j == i else a for j, a in enumerate(arrays.values())])
        numeric = eval_numerical_gradient_array(replaced, array, dout)
        print(f"d{name:6s} relative error {rel_error(numeric, analytic[i]):.1e}")

# %%
rng = np.random.default_rng(1)
arrays = {"x": 5 * rng.standard_normal((4, 5)) + 12,
          "gamma": rng.standard_normal(5), "beta": rng.standard_normal(5)}
dout = rng.standard_normal((4, 5))

def bn_train(x, gamma, beta):
    return batchnorm_forward(x, gamma, beta, {"mode": "train"})[0]

_, cache = batchnorm_forward(*arrays.values(), {"mode": "train"})
gradient_errors(bn_train, arrays, dout, batchnorm_backward(dout, cache))

# %% [markdown]
# ### Why the upstream gradient must be random
#
# Suppose that all of `dout` were 1. Then the loss is the sum of the outputs, and in each column
# that sum is $N\beta$ whatever $x$ is, because $\sum_i \hat x_i = 0$. The true `dx` is 0, and a
# backward pass that forgets the path through the variance finds 0 as well. Such a test passes a
# wrong gradient. The next cell makes exactly this mistake and tests it both ways.

# %%
def dx_without_variance_path(dout, x, gamma, eps=1e-5):
    return gamma * (dout - dout.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)

x, gamma, beta = arrays.values()
for text, upstream in [("all ones", np.ones((4, 5))), ("random", dout)]:
    wrong = dx_without_variance_path(upstream, x, gamma)
    truth = eval_numerical_gradient_array(lambda v: bn_train(v, gamma, beta), x, upstream)
    print(f"dout {text:8s}: largest difference between wrong dx and the truth "
          f"{np.abs(wrong - truth).max():.1e}")

# %%
check("batchnorm_backward")

# %% [markdown]
# ## 4. The backward pass in one line
#
# Put $\partial\sigma^2$ and $\partial\mu$ into the last line and use $x_i - \mu = \hat x_i / s$.
# What remains is short:
#
# $$\partial x_i = \frac{\gamma s}{N}\Bigl( N\,\partial y_i - \sum_j \partial y_j
# - \hat x_i \sum_j \partial y_j\, \hat x_j \Bigr)$$
#
# It can be read as geometry. The gradient loses its part along $(1, \dots, 1)$, since moving all
# inputs together changes nothing, and its part along $\hat x$, since stretching them all changes
# nothing (but for $\epsilon$). Then it is divided by the standard deviation.
#
# ### Exercise
#
# Implement `batchnorm_backward_alt` in `cs231n/layers.py`. The two sums are `dbeta` and `dgamma`,
# so you need them once only. Both backward functions take the same cache. The results should agree
# to about 1e-12; the time saved is what you measure here.

# %%
x = 5 * rng.standard_normal((500, 200)) + 12
gamma, beta, upstream = (rng.standard_normal(s) for s in (200, 200, (500, 200)))
_, cache = batchnorm_forward(x, gamma, beta, {"mode": "train"})
seconds, results = {}, {}
for backward in (batchnorm_backward, batchnorm_backward_alt):
    times = []
    for _ in range(20):
        start = time.perf_counter()
        results[backward.__name__] = backward(upstream, cache)
        times.append(time.perf_counter() - start)
    seconds[backward.__name__] = min(times)
for name, a, b in zip(("dx", "dgamma", "dbeta"), *results.values()):
    print(f"{name:7s} relative difference {rel_error(a, b):.1e}")
print({name: f"{1e3 * t:.2f} ms" for name, t in seconds.items()})

# %%
check("batchnorm_backward_alt")

# %% [markdown]
# ## 5. The affine - batch norm - ReLU sandwich
#
# Hidden layers repeat the same three steps, so they get a function of their own: affine, then batch
# norm, then ReLU. Its backward pass calls the three backward passes in the opposite order.
#
# Implement `affine_bn_relu_forward` and `affine_bn_relu_backward` in `cs231n/layer_utils.py`. The
# cache is a tuple of the three caches, and the backward returns `dx, dw, db, dgamma, dbeta`.
#
# One gradient needs care in the test. Batch norm subtracts the mean, so a bias in front of it
# cancels: `db` is 0 in exact arithmetic, and rounding leaves something near 1e-16. The *relative*
# error of two such numbers says nothing. Look at the absolute size there.

# %%
rng = np.random.default_rng(2)
arrays = {"x": rng.standard_normal((4, 6)), "w": rng.standard_normal((6, 5)),
          "b": rng.standard_normal(5), "gamma": rng.standard_normal(5) + 2,
          "beta": rng.standard_normal(5)}
dout = rng.standard_normal((4, 5))

def sandwich(*values):
    return affine_bn_relu_forward(*values, {"mode": "train"})[0]

_, cache = affine_bn_relu_forward(*arrays.values(), {"mode": "train"})
grads = affine_bn_relu_backward(dout, cache)
gradient_errors(sandwich, arrays, dout, grads)
print(f"db itself is at most {np.abs(grads[2]).max():.1e}")

# %%
check("affine_bn_relu")

# %% [markdown]
# ## 6. Layer normalisation
#
# Batch norm is only as good as its batch. With few rows the mean and variance are noisy, and for a
# recurrent net the batch statistics would be needed for each time step. Ba, Kiros and Hinton (2016,
# [arXiv:1607.06450](https://arxiv.org/abs/1607.06450)) normalise in the other direction: over the
# **features of one row**. For a row $a_1, \dots, a_D$
#
# $$\mu = \frac1D \sum_d a_d, \qquad \sigma^2 = \frac1D \sum_d (a_d - \mu)^2, \qquad
# \hat a_d = \frac{a_d - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad h_d = \gamma_d \hat a_d + \beta_d$$
#
# No row sees another one. So there are no running averages, and training and testing are the same
# computation. $\gamma$ and $\beta$ still belong to the features: there are D of each.

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for ax, rows, columns in [(axes[0], range(6), [2]), (axes[1], [2], range(8))]:
    shade = np.zeros((6, 8))
    shade[np.ix_(rows, columns)] = 1
    ax.pcolormesh(shade[::-1], cmap="Blues", vmin=0, vmax=1.6, edgecolor=GREY, lw=1)
    ax.set(xlabel="features (D)", ylabel="rows of the batch (N)", aspect="equal",
           xticks=[], yticks=[])
axes[0].set_title("Batch norm: one mean for each feature")
axes[1].set_title("Layer norm: one mean for each row")
plt.show()

# %% [markdown]
# ### Exercise
#
# Implement `layernorm_forward` in `cs231n/layers.py`. It differs from batch norm in training mode
# by the axis of two sums. Read `eps` with `.get('eps', 1e-5)`; the stub does not. `ln_param` may
# hold keys that this layer does not need (such as `mode`): ignore them.
#
# The cell shows means and standard deviations of each row: 0 and 1 after normalisation (0.9994 for
# the first row, because of $\epsilon$). With very different $\gamma$ the row statistics are no longer
# 0 and 1. That is right, since $\gamma$ acts after the normalisation.

# %%
rows = rng.standard_normal((4, 50)) * np.array([[0.1], [1.0], [5.0], [20.0]])
rows += np.array([[3.0], [-2.0], [10.0], [-30.0]])
out, _ = layernorm_forward(rows, np.ones(50), np.zeros(50), {})
with np.printoptions(precision=4, suppress=True):
    print("input      mean", rows.mean(axis=1), " std", rows.std(axis=1))
    print("normalised mean", out.mean(axis=1), " std", out.std(axis=1))
alone, _ = layernorm_forward(rows[:1], np.ones(50), np.zeros(50), {})
print("a row alone gives what it gives in the batch:", np.allclose(alone, out[:1]))

# %%
check("layernorm_forward")

# %% [markdown]
# ### Backward
#
# Keep three gradients apart, with one symbol each: $\partial h_d$ comes in, $\partial\hat a_d$ is
# the gradient of the normalised value, $\partial a_d$ is the gradient of the input. With
# $s = (\sigma^2 + \epsilon)^{-1/2}$:
#
# $$\partial\gamma_d = \sum_{\text{rows}} \partial h_d\,\hat a_d, \qquad
# \partial\beta_d = \sum_{\text{rows}} \partial h_d, \qquad
# \partial\hat a_d = \gamma_d\,\partial h_d$$
#
# $$\partial a_d = \frac{s}{D}\Bigl( D\,\partial\hat a_d - \sum_k \partial\hat a_k
# - \hat a_d \sum_k \partial\hat a_k\,\hat a_k \Bigr)$$
#
# Two directions meet here. $\gamma$ and $\beta$ sum over the **rows**, as in batch norm. The sums
# in $\partial a_d$ run over the **features**. And $\gamma_d$ must go in before those sums, because
# it differs from one term to the next. In batch norm it was the same for the whole column and could
# wait.
#
# ### Exercise
#
# Implement `layernorm_backward` in `cs231n/layers.py`. Expect the same errors as for batch norm.

# %%
rng = np.random.default_rng(3)
arrays = {"x": 5 * rng.standard_normal((4, 5)) + 12,
          "gamma": rng.standard_normal(5), "beta": rng.standard_normal(5)}
dout = rng.standard_normal((4, 5))

def ln(x, gamma, beta):
    return layernorm_forward(x, gamma, beta, {})[0]

_, cache = layernorm_forward(*arrays.values(), {})
gradient_errors(ln, arrays, dout, layernorm_backward(dout, cache))

# %%
check("layernorm_backward")

# %% [markdown]
# ### The sandwich with layer norm
#
# Implement `affine_ln_relu_forward` and `affine_ln_relu_backward` in `cs231n/layer_utils.py`, as
# you did for batch norm. The bias no longer cancels: layer norm subtracts the mean over the
# features, and each feature has a bias of its own. So all five relative errors mean something here.

# %%
rng = np.random.default_rng(4)
arrays = {"x": rng.standard_normal((4, 6)), "w": rng.standard_normal((6, 5)),
          "b": rng.standard_normal(5), "gamma": rng.standard_normal(5) + 2,
          "beta": rng.standard_normal(5)}
dout = rng.standard_normal((4, 5))

def sandwich(*values):
    return affine_ln_relu_forward(*values, {})[0]

_, cache = affine_ln_relu_forward(*arrays.values(), {})
gradient_errors(sandwich, arrays, dout, affine_ln_relu_backward(dout, cache))

# %%
check("affine_ln_relu")

# %% [markdown]
# ## 7. A net with normalisation
#
# Extend `FullyConnectedNet` in `cs231n/classifiers/fc_net.py` for `normalization='batchnorm'` and
# `'layernorm'`. Every layer but the last is affine - norm - ReLU, and the last one stays affine.
#
# * `gamma1, beta1` and so on go into `self.params`: ones and zeros, one for each hidden unit.
# * Each batch norm layer has its own dictionary in `self.bn_params`. If two layers share one, their
#   running averages mix.
# * L2 regularisation acts on every `W`, with every normalisation: `reg * W` belongs to the gradient
#   of **all** layers. $\gamma$ and $\beta$ are left out of it.
#
# The cell below checks the gradient of the whole net without and with regularisation. Expect about
# 1e-6, and less than 1e-5, for `W`, `gamma` and `beta`. Biases in front of batch norm are listed by
# absolute error.

# %%
def check_net(normalization, reg):
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((6, 15)), rng.integers(10, size=6)
    np.random.seed(5)
    model = FullyConnectedNet([12, 10], input_dim=15, num_classes=10, reg=reg,
                              normalization=normalization, weight_scale=0.3, dtype=np.float64)
    loss, grads = model.loss(X, y)
    print(f"{normalization}, reg {reg}: loss {loss:.4f}")
    for name in sorted(grads):
        numeric = eval_numerical_gradient(lambda _: model.loss(X, y)[0], model.params[name], False)
        if name in ("b1", "b2") and normalization == "batchnorm":
            print(f"  {name:7s} absolute error {np.abs(numeric - grads[name]).max():.1e}")
        else:
            print(f"  {name:7s} relative error {rel_error(numeric, grads[name]):.1e}")

# %%
for reg in (0.0, 0.5):
    check_net("batchnorm", reg)

# %%
check("FullyConnectedNet_batchnorm")

# %%
for reg in (0.0, 0.5):
    check_net("layernorm", reg)

# %%
check("FullyConnectedNet_layernorm")

# %% [markdown]
# ## 8. Experiment: what arrives at each layer
#
# Before any training, send 500 images through six layers of 100 units and look at the numbers that
# go into each ReLU. A layer multiplies the spread by about $w\sqrt{100/2}$, where $w$ is the
# standard deviation of its weights and the 2 comes from ReLU, which sets half of its input to 0.
# For $w = 0.05$ this factor is about 0.35; it is 1 at $w = \sqrt{2/100} \approx 0.14$ (He's
# initialisation).

# %%
def pre_activations(weight_scale, normalise, depth=6, width=100):
    rng = np.random.default_rng(6)
    x = data["X_train"][:500].reshape(500, -1)
    x, stages = x / x.std() / np.sqrt(x.shape[1] / width), []
    for _ in range(depth):
        w = weight_scale * rng.standard_normal((x.shape[1], width))
        a, _ = affine_forward(x, w, np.zeros(width))
        if normalise:
            a, _ = batchnorm_forward(a, np.ones(width), np.zeros(width), {"mode": "train"})
        stages.append(a)
        x, _ = relu_forward(a)
    return stages

# %%
fig, axes = plt.subplots(2, 6, figsize=(13, 4.2), sharex=True)
for row, normalise in zip(axes, (False, True)):
    for layer, (ax, a) in enumerate(zip(row, pre_activations(0.05, normalise)), start=1):
        ax.hist(a.ravel(), bins=np.linspace(-3, 3, 61), color=BLUE if normalise else GREY)
        ax.set(title=f"layer {layer}, std {a.std():.2g}", yticks=[])
        ax.title.set_fontsize(10)
axes[0, 0].set_ylabel("no normalisation")
axes[1, 0].set_ylabel("batch norm")
fig.suptitle("Input of each ReLU at the start, weights of standard deviation 0.05")
fig.tight_layout()
plt.show()

# %%
fig, ax = plt.subplots(figsize=(8, 3.8))
for scale, colour, style in [(1.0, PURPLE, "^-"), (0.14, GREEN, "o-"), (0.02, ORANGE, "v-")]:
    spread = [a.std() for a in pre_activations(scale, False)]
    ax.semilogy(range(1, 7), spread, style, color=colour, label=f"weights {scale}")
    spread = [a.std() for a in pre_activations(scale, True)]
    text = "batch norm,\nall three" if scale == 0.02 else None
    ax.semilogy(range(1, 7), spread, "s--", color=BLUE, label=text, alpha=0.6)
ax.set(xlabel="layer", ylabel="std of the input of ReLU", title="Spread through the layers")
ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# **What to see.** Without normalisation the spread is multiplied by the same factor in every layer,
# so it is exponential in depth: it vanishes for small weights, explodes for large ones, and stays
# for one value only. With batch norm the three dashed lines lie on top of each other at 1.
#
# ## 9. Experiment: a deep net with and without batch norm
#
# A net with five hidden layers of 100 units learns from 1000 images. The three runs have the same
# settings, the same first weights and the same batches.

# %%
def train(normalization, num_train=1000, hidden=(100,) * 5, weight_scale=2e-2, batch_size=50,
          num_epochs=10, learning_rate=1e-3, update_rule="adam"):
    if SMOKE:
        num_train, num_epochs = 150, 1
    subset = {name: data[name][:num_train] for name in ("X_train", "y_train", "X_val", "y_val")}
    np.random.seed(7)
    model = FullyConnectedNet(list(hidden), weight_scale=weight_scale, normalization=normalization)
    solver = Solver(model, subset, num_epochs=num_epochs, batch_size=batch_size, verbose=False,
                    update_rule=update_rule, optim_config={"learning_rate": learning_rate})
    with np.errstate(all="ignore"):
        solver.train()
    return solver

# %%
runs = {}
for normalization in tqdm(NORMS, desc="deep nets", file=sys.stdout):
    runs[normalization] = train(normalization)

# %%
def smooth(values, width=10):
    """Running mean, so that a curve and not its noise is seen."""
    return np.convolve(values, np.ones(width) / width, mode="valid")

fig, axes = plt.subplots(1, 3, figsize=(13, 3.6))
for normalization, solver in runs.items():
    style, mark = look(normalization), MARK[normalization]
    axes[0].plot(smooth(solver.loss_history), **style)
    axes[1].plot(solver.train_acc_history, marker=mark, **style)
    axes[2].plot(solver.val_acc_history, marker=mark, **style)
axes[0].set(title="Training loss (mean of 10 steps)", xlabel="step", ylabel="loss")
axes[1].set(title="Training accuracy", xlabel="epoch", ylabel="accuracy")
axes[2].set(title="Validation accuracy", xlabel="epoch", ylabel="accuracy")
axes[1].legend()
plt.show()

# %% [markdown]
# **What to see.** Batch norm learns fastest: after ten epochs it has about 80 % training accuracy,
# layer norm about 70 %, the net without normalisation about 57 %. On the validation set batch norm
# leads for the first epochs only, and all three end near 30 %. With 1000 images the net learns by
# heart, and learning faster is not the same as generalising better. (Your figures may differ by a
# few points: small differences of rounding grow, and other first weights change as much.)
#
# ## 10. Experiment: the scale of the weights
#
# Now an eight-layer net (seven hidden layers of 50), trained at many scales of its initial weights.
# First look at the gradient that reaches the **first** layer before any training. Where it is
# practically 0 the layer cannot learn; where it is huge, one step destroys the weights.

# %%
scales = np.logspace(-4, 1, 4 if SMOKE else 16)
X, y = data["X_train"][:200], data["y_train"][:200]
first_gradient = {None: [], "batchnorm": []}
for normalization, norms in first_gradient.items():
    for scale in scales:
        np.random.seed(8)
        model = FullyConnectedNet([50] * 7, weight_scale=scale, normalization=normalization,
                                  dtype=np.float64)
        _, grads = model.loss(X, y)
        norms.append(np.linalg.norm(grads["W1"]))

# %%
fig, ax = plt.subplots(figsize=(8, 3.8))
for normalization, norms in first_gradient.items():
    ax.loglog(scales, norms, marker=MARK[normalization], **look(normalization))
ax.set(xlabel="standard deviation of the initial weights", ylabel="norm of dL/dW1",
       title="Gradient that reaches the first of eight layers")
ax.legend()
plt.show()

# %% [markdown]
# **What to see.** Both axes are logarithmic: without batch norm the gradient goes from about
# $10^{-21}$ to more than $10^{14}$. With it, it stays near 1 for weights from $10^{-3}$ up. Next,
# train each net for ten epochs on 1000 images.

# %%
sweep = {None: [], "batchnorm": []}
for scale in tqdm(scales, desc="weight scales", file=sys.stdout):
    for normalization, solvers in sweep.items():
        solvers.append(train(normalization, hidden=(50,) * 7, weight_scale=scale))

# %%
fig, axes = plt.subplots(1, 3, figsize=(13, 3.8))
for normalization, solvers in sweep.items():
    style = look(normalization) | {"marker": MARK[normalization]}
    axes[0].semilogx(scales, [max(s.val_acc_history) for s in solvers], **style)
    axes[1].semilogx(scales, [max(s.train_acc_history) for s in solvers], **style)
    axes[2].loglog(scales, [np.mean(s.loss_history[-10:]) for s in solvers], **style)
for ax, title in zip(axes, ("Best validation accuracy", "Best training accuracy", "Final loss")):
    ax.axhline(np.log(10) if ax is axes[2] else 0.1, color="black", ls=":", label="guessing")
    ax.set(title=title, xlabel="weight scale", ylabel=title.split()[-1])
fig.legend(*axes[0].get_legend_handles_labels(), loc="upper center", ncol=3,
           bbox_to_anchor=(0.5, 1.08))
plt.show()

# %% [markdown]
# **What to see.** At the left the plain net is dead: its accuracy is that of guessing and its loss
# stays at $\log 10$. It learns well in a narrow band around 0.05 to 0.1 only. At the right its loss
# explodes, to about $10^{16}$. Batch norm learns at every scale up to about 0.5, and its loss stays
# below 100.
#
# He's rule would give $\sqrt{2/50} = 0.2$ for inputs of spread 1. The images here are centred but
# not scaled; their spread is about 64, and smaller weights make up for that.
#
# At the far right the accuracy of **both** nets falls. This is another effect: each step of Adam
# moves a weight by about 0.001, whatever its gradient, and in 200 steps weights of size 1 or 10
# hardly change. Moreover the last layer has no batch norm, so large weights there give large
# scores.
#
# Adam's bounded steps also hide how bad the exploding end is. With momentum SGD a step is
# proportional to the gradient. The solver records a loss that is not finite and goes on, so you can
# see it happen.

# %%
for normalization in (None, "batchnorm"):
    solver = train(normalization, hidden=(50,) * 7, weight_scale=1.0, num_epochs=1,
                   update_rule="sgd_momentum")
    losses = ", ".join(f"{loss:.3g}" for loss in solver.loss_history[:6])
    print(f"{LABEL[normalization]:18s} first losses {losses}")

# %% [markdown]
# ### Question 1
#
# Look at the figure of the gradient that reaches the first layer. Describe both ends for the net
# without batch norm: what happens to the signal and to the gradient there? Why is the curve of
# batch norm flat over most of the range, and why does it fall at the far left? Hint: compare the
# batch norm of $Wx$ with that of $aWx$ for a number $a > 0$, remember that the last layer has no
# batch norm, and then $\epsilon$.

# %% [markdown] question="bn_q1" points=1
# Without batch norm each layer multiplies the signal, and on the way back the gradient, by a factor
# that is proportional to the weight scale. Seven layers lie above the first, so its gradient grows
# with the seventh power of the scale: a straight line on logarithmic axes. At the small end
# activations and gradients go to 0: all images get the same scores, the loss stays at $\log 10$ and
# the first layers receive no gradient (dead). At the large end activations and gradients grow
# without bound: the loss starts at enormous values, and updates of ordinary size cannot repair it
# (exploding).
#
# Batch norm divides by the standard deviation of its own input. For $aWx$ both the centred value
# and the standard deviation carry the factor $a$, and it cancels: the output does not depend on the
# scale of $W$, and the signal passes through at any scale. The same holds on the way back: the
# weights multiply the gradient by $a$, and the batch norm after them divides it by $a$. Two
# factors are left over, the $a$ of the last layer, which has no batch norm, and the $1/a$ of the
# first batch norm. They cancel too, so the curve is flat.
#
# The cancelling is exact only for $\epsilon = 0$. At very small scales the variance of $Wx$ falls
# below $\epsilon = 10^{-5}$; then the layer divides by $\sqrt\epsilon$ instead of the standard
# deviation, and signal and gradient shrink from layer to layer again.

# %% [markdown]
# ## 11. Experiment: the size of the batch
#
# The net with five hidden layers is trained with batches of 2, 10 and 50 images, and the same
# learning rate. The number of epochs is the same too, so smaller batches take more, and noisier,
# steps. That alone changes the result; the net without normalisation shows by how much.

# %%
by_size = {}
for normalization in NORMS:
    for size in tqdm((2, 10, 50), desc=LABEL[normalization], file=sys.stdout):
        by_size[normalization, size] = train(normalization, batch_size=size)

# %%
fig, axes = plt.subplots(2, 3, figsize=(13, 6), sharex=True, sharey="row")
for column, normalization in zip(axes.T, NORMS):
    for size, style, colour in [(2, "^-", ORANGE), (10, "s-", GREEN), (50, "o-", BLUE)]:
        solver = by_size[normalization, size]
        column[0].plot(solver.train_acc_history, style, color=colour, label=f"batches of {size}")
        column[1].plot(solver.val_acc_history, style, color=colour)
    column[0].set_title(LABEL[normalization])
    column[1].set_xlabel("epoch")
axes[0, 0].set_ylabel("training accuracy")
axes[1, 0].set_ylabel("validation accuracy")
axes[0, 0].legend(loc="upper left")
plt.show()

# %% [markdown]
# **What to see.** From batches of 50 to batches of 2 the final training accuracy falls from about
# 57 % to 33 % without normalisation, which is the price of the noisy steps. With layer norm it
# falls from 70 % to 40 %, not much more. With batch norm it falls from 81 % to 17 %: the best of
# the three nets has become the worst. Accuracy is measured in test mode, so the running averages of
# noisy statistics count as well.
#
# ## 12. A batch of one
#
# What if there is one row only? Its mean is the row itself, so $x - \mu = 0$ and the output is
# $\beta$, whatever came in. Layer norm does not notice.

# %%
rng = np.random.default_rng(9)
gamma, beta = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.0, 1.0])
for scale in (1, 1000):
    one = scale * rng.standard_normal((1, 3))
    out_bn, cache = batchnorm_forward(one, gamma, beta, {"mode": "train"})
    dx, dgamma, dbeta = batchnorm_backward(rng.standard_normal((1, 3)), cache)
    out_ln, _ = layernorm_forward(one, gamma, beta, {})
    print("input", one.round(2), "-> batch norm", out_bn, " layer norm", out_ln.round(2))
    print("   batch norm's gradients: dx", np.abs(dx).max(), " dgamma", np.abs(dgamma).max())

# %%
singles = {}
for normalization in tqdm(NORMS, desc="batch of one", file=sys.stdout):
    singles[normalization] = train(normalization, num_train=200, hidden=(100, 100), batch_size=1,
                                   num_epochs=5, learning_rate=2e-4)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6))
for normalization, solver in singles.items():
    left.plot(smooth(solver.loss_history, 50), **look(normalization))
    right.plot(solver.train_acc_history, marker=MARK[normalization], **look(normalization))
left.axhline(np.log(10), color="black", ls=":", label="log 10: guessing")
left.set(title="Training loss, batch of one (mean of 50 steps)", xlabel="step", ylabel="loss")
right.axhline(0.1, color="black", ls=":")
right.set(title="Training accuracy, 200 images", xlabel="epoch", ylabel="accuracy", ylim=(0, 1))
left.legend(fontsize=9)
plt.show()

# %% [markdown]
# **What to see.** With batch norm the loss stays at $\log 10$: every image gets the same scores,
# and all that the net can learn is the last bias, how frequent each class is. The net without
# normalisation and the one with layer norm learn about 80 % of the 200 images.
#
# `torch.nn.BatchNorm1d` raises an error for a single row in training mode. Ours follows the
# formula.

# %% [markdown]
# ### Question 2
#
# (a) Why does batch norm suffer from small batches, and why does layer norm not? (b) Name a net in
# which layer norm would work badly, and say why. Think of the number of features that go into one
# mean and variance.

# %% [markdown] question="bn_q2" points=1
# (a) Batch norm estimates a mean and a variance for each feature from N rows. With small N these
# estimates are noisy: the standard error of the mean is about $\sigma/\sqrt N$. The same image is
# normalised differently in each batch, and the running averages of the test mode describe the
# training statistics badly. At N = 1 the output is $\beta$ and nothing is left of the input. Layer
# norm computes its statistics within one row, from D features; N does not occur in it.
#
# (b) A net with very few units in a layer. Then layer norm has few features for its estimates: with
# D = 1 the output is $\beta$, with D = 2 (and $\epsilon$ small) $\hat a$ is always $(1, -1)$ or
# $(-1, 1)$, and everything but the order of the two values is lost. Another case is a layer whose
# features have different meanings and scales, as in the channels of a convolutional net: one mean
# and variance for all of them mixes quantities that should not be compared.

# %% [markdown]
# ## What to take away
#
# * Batch norm makes each feature zero-mean and unit-variance over the batch, and gives the net
#   $\gamma$ and $\beta$ to undo that. It does not decorrelate.
# * $\epsilon$ is inside the root, the variance is biased, the momentum is the weight of the **old**
#   average. Test mode uses the running averages.
# * It makes training insensitive to the scale of the weights over several orders of magnitude.
# * It needs batches. Layer norm does not, as it normalises each row on its own.
# * Test gradients with random upstream gradients. For normalisation layers, ones hide errors.
