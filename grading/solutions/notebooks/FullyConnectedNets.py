# %% [markdown]
# # Fully connected networks
#
# In this notebook you build a network of any depth out of small layers, and the rules that train
# it.
#
# 1. **Layers.** Affine, ReLU and the softmax loss, each with a forward and a backward pass.
# 2. **Update rules.** Momentum, Nesterov, AdaGrad, RMSProp and Adam.
# 3. **The network.** `FullyConnectedNet`, which puts them together.
# 4. **Experiments.** Initialisation, overfitting on purpose, a race of the rules, and a best model.
#
# You write code in `cs231n/layers.py`, `cs231n/optim.py` and `cs231n/classifiers/fc_net.py`. The
# rhythm is always the same: read the maths, write the function, look at the gradient check, then
# run the `check` cell, which gives points and says what is wrong.
#
# | symbol | meaning |
# |---|---|
# | $N$ | images in a mini-batch |
# | $D$, $M$ | inputs and outputs of a layer |
# | $C$ | classes |
# | $L$ | layers with weights |
# | `dout` | gradient of the loss with respect to a layer's output (the *upstream* gradient) |
# | `dx, dw, db` | gradients with respect to the layer's input, weights and bias |

# %%
# %load_ext autoreload
# %autoreload 2
# %matplotlib inline
import os, sys
sys.path.insert(0, "..")  # the course folder, where cs231n/, grading/ and datasets/ are
SMOKE = bool(os.environ.get("SMOKE"))  # set by the course's tests for a quick run; leave it alone

# %%
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from cs231n.classifiers.fc_net import FullyConnectedNet
from cs231n.data_utils import cifar10_folder, get_CIFAR10_data, is_stand_in
from cs231n.gradient_check import (
    eval_numerical_gradient, eval_numerical_gradient_array, rel_error)
from cs231n.layers import (
    affine_backward, affine_forward, relu_backward, relu_forward, softmax_loss)
from cs231n.optim import adagrad, adam, nesterov, rmsprop, sgd, sgd_momentum
from cs231n.solver import Solver
from cs231n.vis_utils import visualize_grid
from grading import check

# %% [markdown]
# One look for all figures: a palette that colour-blind readers can tell apart (Okabe and Ito),
# light grids, moderate size.

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
# ### The data
#
# CIFAR-10 holds 60,000 colour images of 32 x 32 pixels in ten classes. The loader subtracts the
# mean image of the training part. We divide by 64 as well, which is close to the standard deviation
# of a pixel, so that inputs have a spread of about 1. Then the weight scales below mean the same
# thing in every layer.

# %%
data = get_CIFAR10_data(num_training=2000 if SMOKE else 49000)
for part in ("X_train", "X_val", "X_test"):
    data[part] /= 64.0
SOURCE = "stand-in data" if is_stand_in(cifar10_folder()) else "CIFAR-10"
for name, values in data.items():
    print(f"{name:8s} {str(values.shape):20s} {values.dtype}")
print(f"{SOURCE}: standard deviation of a training input {data['X_train'][:1000].std():.2f}")

# %% [markdown]
# ## 1. A network is a chain of layers
#
# A fully connected network with $L$ layers turns a batch $H_0 = X$ of shape $(N, D)$ into scores
# $S$ of shape $(N, C)$:
#
# $$H_i = \max(0,\; H_{i-1} W_i + b_i), \quad i = 1, \dots, L-1, \qquad\qquad S = H_{L-1} W_L + b_L .$$
#
# The last layer has no ReLU, and the softmax is not part of the scores: it belongs to the loss.
# Without the ReLU the chain would collapse. A product of matrices is one matrix, so the whole
# network would be a linear classifier.
#
# Backward, the same chain is walked from right to left. Each layer gets `dout` from the layer after
# it, and hands `dx` to the layer before it. All it needs besides is what it kept in its `cache` on
# the way forward.

# %%
def draw_box(ax, x, text, colour):
    ax.add_patch(plt.Rectangle((x - 0.42, -0.3), 0.84, 0.6, facecolor=colour, alpha=0.25,
                               edgecolor=colour, linewidth=1.5))
    ax.text(x, 0, text, ha="center", va="center")


def draw_step(ax, x, forward, backward):
    arrow = {"arrowstyle": "-|>", "linewidth": 1.4}
    ax.annotate("", (x + 0.6, 0.15), (x + 0.4, 0.15), arrowprops={**arrow, "color": BLUE})
    ax.annotate("", (x + 0.4, -0.15), (x + 0.6, -0.15), arrowprops={**arrow, "color": RED})
    ax.text(x + 0.5, 0.4, forward, ha="center", va="bottom", color=BLUE)
    ax.text(x + 0.5, -0.4, backward, ha="center", va="top", color=RED)

# %%
BLOCKS = [("affine\n$W_1, b_1$", BLUE), ("ReLU", GREEN), ("affine\n$W_2, b_2$", BLUE),
          ("ReLU", GREEN), ("affine\n$W_3, b_3$", BLUE), ("softmax\nloss", ORANGE)]
STEPS = [("$X$", "$dX$"), ("$A_1$", "$dA_1$"), ("$H_1$", "$dH_1$"), ("$A_2$", "$dA_2$"),
         ("$H_2$", "$dH_2$"), ("$S$", "$dS$"), ("$loss$", "1")]
fig, ax = plt.subplots(figsize=(11, 2.1))
for i, (text, colour) in enumerate(BLOCKS):
    draw_box(ax, i, text, colour)
for i, (forward, backward) in enumerate(STEPS):
    draw_step(ax, i - 1, forward, backward)
ax.set(xlim=(-0.9, 5.9), ylim=(-0.8, 0.9),
       title="Three layers: values flow right (blue), gradients flow back (red)")
ax.axis("off")
plt.show()

# %% [markdown]
# ### How we know that a gradient is right
#
# A derivative can be measured. The centred difference
#
# $$\frac{\partial f}{\partial x} \approx \frac{f(x + h) - f(x - h)}{2h}$$
#
# has an error of order $h^2$ from the curve and of order $\varepsilon / h$ from rounding, where
# $\varepsilon$ is the precision of the number type. The one-sided difference has an error of order
# $h$, which is much worse. The figure measures both on $f(x) = e^x$ at $x = 1$.

# %%
def difference_error(h, dtype, centred):
    h = h.astype(dtype)
    x = dtype(1)
    low = x - h if centred else x
    slope = (np.exp(x + h) - np.exp(low)) / ((x + h) - low)
    return np.abs(slope.astype(np.float64) - np.e) / np.e + 1e-17


h = np.logspace(-12, 0, 200)
CURVES = [(np.float64, True, BLUE, "-"), (np.float64, False, SKY, "--"),
          (np.float32, True, RED, "-"), (np.float32, False, ORANGE, "--")]

# %%
fig, ax = plt.subplots(figsize=(7.5, 4))
for dtype, centred, colour, style in CURVES:
    visible = h > (1e-12 if dtype is np.float64 else 3e-7)
    kind = "centred" if centred else "one-sided"
    ax.loglog(h[visible], difference_error(h[visible], dtype, centred), style, color=colour,
              label=f"{kind}, {dtype.__name__}")
ax.axvline(1e-5, color=GREY, linestyle=":", label="h = 1e-5, our default")
ax.set(xlabel="step h", ylabel="relative error of the slope", ylim=(1e-13, 2),
       title="Too large a step bends, too small a step rounds")
ax.legend(fontsize=9)
plt.show()

# %% [markdown]
# Read three things from it. The centred difference wins by orders of magnitude. At $h = 10^{-5}$ in
# float64 it is near its best, with an error around $10^{-11}$. In float32 at that step the error
# reaches 1 %, too much to tell a bug from rounding, so **gradient checks run in float64**.
#
# For an array-valued layer, `eval_numerical_gradient_array(f, x, dout)` measures the gradient of
# the scalar $\sum f(x) \odot dout$. That is exactly what a backward pass computes. We always draw
# `dout` at random: with `dout = 1` everywhere many errors cancel and a wrong gradient looks right.
#
# We compare with the relative error $\max |a - b| / \max(10^{-8}, |a| + |b|)$. For a single layer a
# correct gradient gives $10^{-8}$ or less, for the loss and whole networks $10^{-6}$ or less.
# $10^{-2}$ in every parameter is a bug.

# %%
def compare(expect, **pairs):
    """Print the relative error of each (numeric, analytic) pair."""
    for name, (numeric, analytic) in pairs.items():
        print(f"{name:4s} relative error {rel_error(numeric, analytic):.1e}   (expect {expect})")

# %% [markdown]
# ### Affine layer, forward
#
# **Goal.** Each of the $M$ outputs is a weighted sum of all $D$ inputs, plus a bias.
#
# **Maths.** An image of shape $(d_1, \dots, d_k)$ is laid out as a row of $D = d_1 \cdots d_k$
# numbers. With the $N$ rows stacked in $X$,
#
# $$Y = X W + b, \qquad X: (N, D), \quad W: (D, M), \quad b: (M,), \quad Y: (N, M).$$
#
# **Write.** Implement `affine_forward` in `cs231n/layers.py`. Keep the inputs in the cache in their
# original shape: the backward pass must return `dx` in that shape.
#
# **See.** A case small enough to do by hand: the row (1, 2, 3, 4) times two columns, one of them
# all ones and the other picking the last entry.

# %%
x = np.array([[[1.0, 2.0], [3.0, 4.0]]])          # one image of shape (2, 2)
w = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
b = np.array([0.5, -1.0])
out, _ = affine_forward(x, w, b)
print("by hand [[10.5  3. ]]")
print("yours  ", out)

# %%
check("affine_forward")

# %% [markdown]
# ### Affine layer, backward
#
# **Goal.** From $dY$, the gradient of the loss with respect to the output, get the three gradients
# $dX$, $dW$, $db$.
#
# **Maths.** One output entry is $Y_{nm} = \sum_d X_{nd} W_{dm} + b_m$. A weight $W_{dm}$ touches
# column $m$ of the output in every row, so its gradient sums over the batch. The same argument for
# the other two gives
#
# $$dX = dY\, W^\top, \qquad dW = X^\top dY, \qquad db_m = \sum_n dY_{nm}.$$
#
# The shapes alone nearly tell you the answer: a gradient has the shape of what it belongs to, and
# there is only one way to multiply $(N, D)$ and $(N, M)$ into $(D, M)$.
#
# **Write.** Implement `affine_backward` in `cs231n/layers.py`.

# %%
rng = np.random.default_rng(231)
x, w, b = rng.normal(size=(10, 2, 3)), rng.normal(size=(6, 5)), rng.normal(size=5)
dout = rng.normal(size=(10, 5))
_, cache = affine_forward(x, w, b)
dx, dw, db = affine_backward(dout, cache)
compare("1e-8 or less",
        dx=(eval_numerical_gradient_array(lambda x: affine_forward(x, w, b)[0], x, dout), dx),
        dw=(eval_numerical_gradient_array(lambda w: affine_forward(x, w, b)[0], w, dout), dw),
        db=(eval_numerical_gradient_array(lambda b: affine_forward(x, w, b)[0], b, dout), db))

# %%
check("affine_backward")

# %% [markdown]
# ### ReLU, forward
#
# **Goal.** The non-linearity, applied to each entry alone: $\mathrm{ReLU}(x) = \max(0, x)$.
#
# **Write.** Implement `relu_forward` in `cs231n/layers.py`. It must work for any shape, and it must
# not change `x`.

# %%
x = np.array([[-2.0, -0.5, 0.0], [0.5, 2.0, 3.5]])
out, _ = relu_forward(x)
print("input ", x.tolist())
print("output", out.tolist())

# %%
check("relu_forward")

# %% [markdown]
# ### ReLU, backward
#
# **Maths.** The slope is 1 where the input was positive and 0 where it was negative, so the
# gradient passes or stops:
#
# $$dX = dY \odot [X > 0].$$
#
# At exactly 0 there is no derivative. We take 0, as everybody does. A numeric check near 0 would
# straddle the corner and mean nothing, so the inputs below keep a distance of 0.1 from it.
#
# **Write.** Implement `relu_backward` in `cs231n/layers.py`.

# %%
x = rng.normal(size=(10, 10))
x += 0.1 * np.sign(x)                              # stay away from the corner at 0
dout = rng.normal(size=x.shape)
dx = relu_backward(dout, relu_forward(x)[1])
compare("1e-8 or less",
        dx=(eval_numerical_gradient_array(lambda x: relu_forward(x)[0], x, dout), dx))

# %%
check("relu_backward")

# %% [markdown]
# #### ReLU and its relatives
#
# A sigmoid saturates on both sides: far from 0 its slope is almost 0, and at best it is 0.25. A
# chain of ten sigmoids multiplies ten such slopes. ReLU keeps a slope of 1 for every positive
# input. Its weak spot is the negative side, where the slope is exactly 0. The *leaky* ReLU,
# $\max(\alpha x, x)$ with a small $\alpha$ such as 0.01, leaves a small slope there (Maas et al.,
# 2013). The figure draws $\alpha = 0.1$ so that you can see it.

# %%
x = np.linspace(-5, 5, 401)
sigmoid = 1 / (1 + np.exp(-x))
FUNCTIONS = [("sigmoid", sigmoid, sigmoid * (1 - sigmoid), PINK, "-."),
             ("leaky ReLU, slope 0.1", np.maximum(x, 0.1 * x), np.where(x > 0, 1, 0.1), ORANGE, "--"),
             ("ReLU", np.maximum(0, x), (x > 0) * 1.0, BLUE, "-")]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for name, value, slope, colour, style in FUNCTIONS:
    axes[0].plot(x, value, style, color=colour, label=name)
    axes[1].plot(x, slope, style, color=colour, label=name)
axes[0].set(title="Value", xlabel="input", ylabel="output", ylim=(-0.8, 3))
axes[1].set(title="Slope, which multiplies the gradient", xlabel="input", ylabel="derivative")
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# #### Question 1
#
# The input of a ReLU unit, $x \cdot w + b$, has become negative for **every** image of the training
# set.
#
# (a) What is the gradient of the data loss with respect to this unit's $w$ and $b$? (b) Can plain
# SGD on the data loss bring the unit back, as long as the layers below it do not change? (c) Does
# L2 regularisation of $w$ change anything? (d) What would a leaky ReLU change?

# %% [markdown] question="fc_q1" points=1
# (a) Both are exactly zero. The upstream gradient is multiplied by $[x \cdot w + b > 0]$, which is
# 0 for every image, and both $dw$ and $db$ are sums of those products.
#
# (b) No. The update is zero, so $w$ and $b$ stay where they are, and with the same inputs the unit
# stays off: it is dead. (It can come back by luck if the layers below change its inputs, or for a
# few steps through velocity left over from earlier.)
#
# (c) L2 adds $\lambda w$ to the gradient, so $w$ shrinks towards 0. It does not touch $b$. If
# $b > 0$ the unit comes back once $w$ is small enough; if $b \le 0$ then $x \cdot w + b$ tends to
# $b \le 0$ and the unit never helps again.
#
# (d) The slope on the negative side is $\alpha > 0$, so the gradient is small but not zero, and the
# unit can be moved back to where it is useful. The price is one constant more, and that the unit is
# never exactly off.

# %% [markdown]
# ### Softmax loss
#
# **Goal.** Turn scores into probabilities and punish a low probability of the right class.
#
# **Maths.** For image $n$ with scores $s_{n1}, \dots, s_{nC}$ and label $y_n$,
#
# $$p_{nc} = \frac{e^{s_{nc}}}{\sum_j e^{s_{nj}}}, \qquad \mathcal{L} = -\frac{1}{N} \sum_n \log p_{n y_n}, \qquad \frac{\partial \mathcal{L}}{\partial s_{nc}} = \frac{p_{nc} - [c = y_n]}{N}.$$
#
# The gradient is what the network believes minus what is true. It sums to 0 over the classes.
#
# $e^{1000}$ overflows. Adding a constant to all scores of an image does not change $p$, so subtract
# the largest score first, and compute
# $\log p_{nc} = s_{nc} - \max_j s_{nj} - \log \sum_j e^{s_{nj} - \max_j s_{nj}}$ without ever
# taking the logarithm of a probability that has been rounded to 0.
#
# **Write.** Implement `softmax_loss` in `cs231n/layers.py`.
#
# **See.** Scores near 0 mean that all ten classes are equally likely, so the loss is close to
# $\log 10 \approx 2.303$. And scores of 10,000 must not give `nan`.

# %%
scores, y = 0.001 * rng.normal(size=(50, 10)), rng.integers(10, size=50)
loss, dx = softmax_loss(scores, y)
numeric = eval_numerical_gradient(lambda s: softmax_loss(s, y)[0], scores, verbose=False)
print(f"loss {loss:.4f}   (log 10 = {np.log(10):.4f})")
compare("1e-6 or less", dx=(numeric, dx))
large, _ = softmax_loss(np.array([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0]]), np.array([0, 0]))
print(f"loss with scores of 1e4: {large:.1f}   (expect 5000.0: one image right, one wrong by 1e4)")

# %%
check("softmax_loss")

# %% [markdown]
# ## 2. Update rules
#
# Backpropagation says which way is downhill. An update rule decides how to walk. Every rule has the
# same form,
#
# `next_w, config = rule(w, dw, config)`
#
# where `config` holds the hyperparameters and whatever the rule remembers between steps. Plain
# gradient descent, `sgd`, is given: $x_{t+1} = x_t - \eta\, g_t$ with $g_t = \nabla f(x_t)$.
#
# It has two troubles. In a **ravine**, steep across and flat along, a step that is small enough for
# the steep direction is far too small for the flat one. At a **saddle point** the gradient is zero
# though it is not a minimum, and near it the steps are tiny. In many dimensions saddles are far
# more common than poor local minima (Dauphin et al., 2014).
#
# Two cures are combined below: remember a *velocity* (momentum), and give each weight its *own*
# step size (AdaGrad, RMSProp). Adam does both.
#
# In the formulas of the rules $x$ stands for the weights (`w`), $g$ for `dw`, $\eta$ for
# `config["learning_rate"]`, $\rho$ for `momentum`, $\gamma$ for `decay_rate`, $s$ for `cache`. In
# Adam, $v$ is the mean square, not the velocity.

# %% [markdown]
# There is no gradient to check here, but there is a test that you can do on paper. Feed a rule the
# constant gradient 1 and watch the lengths of its steps. Each rule has a formula for them.

# %%
def step_lengths(rule, steps, dw=1.0, **config):
    """Lengths of the first steps under a constant gradient."""
    w, lengths = np.zeros(1), []
    for _ in range(steps):
        next_w, config = rule(w.copy(), np.full(1, dw), config)
        lengths.append(float(np.abs(next_w - w)[0]))
        w = next_w
    return np.array(lengths)


def show_steps(rule, expected, **config):
    print("yours   ", np.round(step_lengths(rule, len(expected), **config), 6))
    print("on paper", np.round(np.array(expected), 6))

# %% [markdown]
# ### SGD with momentum
#
# **Maths.** The gradient changes the velocity, and the velocity changes the position (Polyak,
# 1964):
#
# $$v_{t+1} = \rho\, v_t - \eta\, \nabla f(x_t), \qquad x_{t+1} = x_t + v_{t+1}.$$
#
# $\rho$, usually 0.9, works like friction. Directions that keep their sign add up, directions that
# alternate cancel. Under a constant gradient the step grows to $\eta / (1 - \rho)$, ten times
# that of SGD. That carries the walk along ravines, away from saddle points and through shallow
# dips. It can also overshoot.
#
# **Write.** Implement `sgd_momentum` in `cs231n/optim.py`.
#
# **See.** With $\eta = 0.01$ and $\rho = 0.9$ the steps are $\eta\,(1 - \rho^t)/(1 - \rho)$.

# %%
t = np.arange(1, 6)
show_steps(sgd_momentum, 0.01 * (1 - 0.9**t) / (1 - 0.9), learning_rate=0.01, momentum=0.9)

# %%
check("sgd_momentum")

# %% [markdown]
# ### Nesterov momentum
#
# **Maths.** The velocity is about to move us by $\rho v_t$ anyway. So measure the gradient *there*,
# not here (Nesterov, 1983; Sutskever et al., 2013):
#
# $$v_{t+1} = \rho\, v_t - \eta\, \nabla f(x_t + \rho v_t), \qquad x_{t+1} = x_t + v_{t+1}.$$
#
# This is a different rule from the one above: the only difference is the place where the gradient
# is taken. But a rule gets `dw` at the point `w` it was given. So let `w` be the look-ahead point,
# $w_t = x_t + \rho v_t$. Substitute:
#
# $$v_{t+1} = \rho\, v_t - \eta\, \nabla f(w_t), \qquad w_{t+1} = x_{t+1} + \rho v_{t+1} = w_t - \rho\, v_t + (1 + \rho)\, v_{t+1}.$$
#
# **Write.** Implement `nesterov` in `cs231n/optim.py`, in this second form. Mind that it needs the
# old *and* the new velocity.
#
# **See.** Looking ahead is like being one step further: the steps are
# $\eta\,(1 - \rho^{t+1})/(1 - \rho)$, so the first one is 0.019, not 0.01.

# %%
show_steps(nesterov, 0.01 * (1 - 0.9**(t + 1)) / (1 - 0.9), learning_rate=0.01, momentum=0.9)

# %%
check("nesterov")

# %% [markdown]
# ### AdaGrad
#
# **Maths.** Sum up the squared gradients of each weight, and divide that weight's step by the root
# of its sum (Duchi et al., 2011). All operations are elementwise:
#
# $$s_t = s_{t-1} + g_t^2, \qquad x_t = x_{t-1} - \frac{\eta}{\sqrt{s_t} + \epsilon}\, g_t .$$
#
# A weight that has moved a lot slows down. A weight that has hardly been touched keeps a large
# step. But $s_t$ never shrinks, so every step size decays, roughly like $t^{-1/2}$. That suits
# convex problems. On a long, non-convex training it can stop too early.
#
# **Write.** Implement `adagrad` in `cs231n/optim.py`. The sum is kept under the key `cache`.
#
# **See.** Under a constant gradient the steps are $\eta / \sqrt{t}$.

# %%
show_steps(adagrad, 0.01 / np.sqrt(t), learning_rate=0.01)

# %%
check("adagrad")

# %% [markdown]
# ### RMSProp
#
# **Maths.** Replace AdaGrad's sum by a running mean, which forgets (Tieleman and Hinton, 2012):
#
# $$s_t = \gamma\, s_{t-1} + (1 - \gamma)\, g_t^2, \qquad x_t = x_{t-1} - \frac{\eta}{\sqrt{s_t} + \epsilon}\, g_t .$$
#
# Here $\epsilon$ stands outside the root, as in the formula. Other texts put it inside. With
# $\epsilon = 10^{-8}$ that matters only where gradients are tiny: inside the root it acts like
# $10^{-4}$ outside. The check accepts both and tells you which one you wrote.
#
# **Write.** Implement `rmsprop` in `cs231n/optim.py`.
#
# **See.** Since $s_0 = 0$, the running mean starts too small, and the first step is too *large*:
# $\eta / \sqrt{1 - \gamma}$, which is ten times $\eta$ at $\gamma = 0.99$.

# %%
show_steps(rmsprop, 0.01 / np.sqrt(1 - 0.99**t), learning_rate=0.01, decay_rate=0.99)

# %%
check("rmsprop")

# %% [markdown]
# ### Adam
#
# **Maths.** A running mean of the gradient (like momentum) over the root of a running mean of its
# square (like RMSProp), both corrected for their start at 0 (Kingma and Ba, 2015):
#
# $$m_t = \beta_1 m_{t-1} + (1 - \beta_1)\, g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2,$$
#
# $$\hat m_t = \frac{m_t}{1 - \beta_1^t}, \qquad \hat v_t = \frac{v_t}{1 - \beta_2^t}, \qquad x_t = x_{t-1} - \frac{\eta\, \hat m_t}{\sqrt{\hat v_t} + \epsilon}.$$
#
# Why the correction? Without it the first step would be
# $\eta\,(1-\beta_1)/\sqrt{1-\beta_2} \approx 3.2\, \eta$ with the usual constants, because $v$
# starts much further below its true size than $m$ does.
#
# **Write.** Implement `adam` in `cs231n/optim.py`. `t` starts at 0 and is incremented *before* it
# is used.
#
# **See.** Under a constant gradient every step is exactly $\eta$, however large the gradient is.

# %%
show_steps(adam, 1e-3 * np.ones(5), learning_rate=1e-3)
show_steps(adam, 1e-3 * np.ones(5), learning_rate=1e-3, dw=250.0)

# %%
check("adam")

# %% [markdown]
# #### All rules under a constant gradient
#
# The same test for 300 steps, with a learning rate of 1 for all of them, so that the vertical axis
# reads "times the learning rate". The lines of SGD and Adam lie on top of each other: both make
# steps of 1. (Feed them the gradient 250 and they no longer do. Why?)

# %%
RULES = {
    "sgd": (sgd, GREY, ":"), "sgd_momentum": (sgd_momentum, BLUE, "-"),
    "nesterov": (nesterov, SKY, "--"), "adagrad": (adagrad, ORANGE, "-"),
    "rmsprop": (rmsprop, PINK, "-."), "adam": (adam, RED, "-"),
}
fig, ax = plt.subplots(figsize=(7.5, 4))
for name, (rule, colour, style) in RULES.items():
    ax.loglog(np.arange(1, 301), step_lengths(rule, 300, learning_rate=1.0), style,
              color=colour, label=name, zorder=1 if name == "adam" else 2)
ax.set(xlabel="step t", ylabel="step length / learning rate",
       title="Gradient 1 at every step: how far does each rule go?")
ax.legend(ncols=2, fontsize=9, loc="lower left")
plt.show()

# %% [markdown]
# #### Question 2
#
# Look at the curves of AdaGrad, RMSProp and Adam.
#
# (a) Derive the step length at step $t$ for a constant gradient $g$ from each rule's formula (take
# $\epsilon = 0$). (b) What does each tend to for large $t$, and which rule would you not choose for
# a training of a million steps? (c) The learning rate of RMSProp with $\gamma = 0.99$ works well
# after the first hundred steps. What may go wrong in the first ten, and how does Adam avoid it?

# %% [markdown] question="fc_q2" points=1
# (a) AdaGrad: $s_t = t g^2$, so the step is $\eta |g| / (\sqrt{t}\, |g|) = \eta / \sqrt{t}$.
# RMSProp: $s_t = (1 - \gamma)\, g^2 \sum_{k<t} \gamma^k = (1 - \gamma^t)\, g^2$, so the step is
# $\eta / \sqrt{1 - \gamma^t}$. Adam: $m_t = (1 - \beta_1^t)\, g$ and $v_t = (1 - \beta_2^t)\, g^2$,
# the corrections cancel both factors, so the step is $\eta$. The size of $g$ drops out of all
# three.
#
# (b) AdaGrad's tends to 0, the other two tend to $\eta$. After a million steps AdaGrad's is a
# thousand times smaller than the first, whether or not the minimum is near, so I would not choose
# it.
#
# (c) The running mean starts at 0, so it is too small at first and the steps are too long: 10
# $\eta$ at $t = 1$ and still about 3.2 $\eta$ at $t = 10$. That can throw the weights far away from
# the good initial scale, or make the loss diverge. Adam divides both running means by
# $1 - \beta^t$, so its first steps have the same length as later ones.

# %% [markdown]
# ### The rules on a surface
#
# Two landscapes with two weights each, and your rules walking on them.
#
# - A **ravine**, $f(x, y) = 0.01\, x^2 + y^2$: the curvature across is 100 times that along.
# - A **saddle**, $f(x, y) = \tfrac14 x^4 - \tfrac12 x^2 + y^2$: two minima at $x = \pm 1$, and a
#   saddle point at the origin. The walk starts almost on the ridge, at $x = 0.01$.

# %%
def ravine(w):
    return 0.01 * w[0]**2 + w[1]**2, np.array([0.02 * w[0], 2 * w[1]])


def saddle(w):
    return w[0]**4 / 4 - w[0]**2 / 2 + w[1]**2, np.array([w[0]**3 - w[0], 2 * w[1]])


def descend(surface, rule, start, steps, **config):
    path = [np.array(start)]
    for _ in range(steps):
        w, config = rule(path[-1].copy(), surface(path[-1])[1], config)
        path.append(w)
    return np.array(path)                          # (steps + 1, 2)

# %%
RATES = {"sgd": 0.9, "sgd_momentum": 0.3, "nesterov": 0.3,
         "adagrad": 0.9, "rmsprop": 0.1, "adam": 0.3}
SADDLE_RATES = {"sgd": 0.05, "sgd_momentum": 0.05, "nesterov": 0.05,
                "adagrad": 0.2, "rmsprop": 0.02, "adam": 0.05}
PANELS = [("Ravine", ravine, (-8.0, 2.2), 80, RATES, (-9, 4), (-2.8, 2.8), 0.0),
          ("Saddle", saddle, (0.01, 1.2), 80, SADDLE_RATES, (-0.35, 1.6), (-0.75, 1.35), -0.25)]


def draw_surface(ax, surface, xlim, ylim, lowest):
    x, y = np.meshgrid(np.linspace(*xlim, 200), np.linspace(*ylim, 200))
    height = surface(np.stack([x, y]))[0] - lowest
    ax.contourf(x, y, np.sqrt(height), levels=14, cmap="Greys", alpha=0.45)
    ax.set(xlim=xlim, ylim=ylim, xlabel="weight x", ylabel="weight y")
    ax.grid(False)

# %%
def walk(top, bottom, surface, start, steps, rates, lowest):
    """Paths of all rules on the map above, heights by step below."""
    for name, (rule, colour, style) in RULES.items():
        path = descend(surface, rule, start, steps, learning_rate=rates[name])
        height = np.array([surface(w)[0] for w in path]) - lowest
        top.plot(*path.T, style, color=colour, marker="o", markersize=2.5, linewidth=1.3)
        bottom.semilogy(height + 1e-6, style, color=colour, label=f"{name} ({rates[name]:g})")
    bottom.set(xlabel="step", ylabel="height above the minimum", ylim=(1e-5, 20))
    bottom.legend(title="rule (learning rate)", fontsize=9, ncols=3, loc="upper center",
                  bbox_to_anchor=(0.5, -0.2))

# %%
fig, axes = plt.subplots(2, 2, figsize=(12, 8.6), height_ratios=[1.5, 1])
for column, (title, surface, start, steps, rates, xlim, ylim, lowest) in enumerate(PANELS):
    top, bottom = axes[:, column]
    draw_surface(top, surface, xlim, ylim, lowest)
    walk(top, bottom, surface, start, steps, rates, lowest)
    top.plot(*start, "ks", label="start")
    top.plot(1 if title == "Saddle" else 0, 0, "k*", markersize=13, label="minimum")
    top.set_title(title)
axes[0, 1].plot(0, 0, "kx", markersize=9, markeredgewidth=2, label="saddle point")
axes[0, 0].legend(loc="lower right")
axes[0, 1].legend(loc="upper right")
plt.show()

# %% [markdown]
# **What to see.**
#
# - *Ravine.* SGD must keep its rate below 1, or it would diverge across the valley. So it zigzags
#   first and then creeps along the floor. Momentum gathers speed along the floor, at the price of
#   swinging across it. Nesterov sees the turn coming and damps the swings. AdaGrad and RMSProp
#   scale the two axes separately and leave almost along the diagonal, as if the valley were round.
#   Adam does so too, and overshoots like momentum.
# - *Saddle.* SGD runs down to the saddle and hardly gets away: after 80 steps it is not yet
#   half-way to the minimum. With the same learning rate, momentum and Nesterov are pushed out by
#   the velocity that they build up along the ridge. The adaptive rules never come near the saddle.
#   The gradient in $x$ is tiny at the start, but they divide by its size.
#
# Nobody wins everywhere. These are two drawings, and the learning rates were chosen by hand.

# %% [markdown]
# #### When to stop
#
# With plain SGD, "the gradient is small" and "we are hardly moving" are the same statement. With
# momentum they are not. The figure follows momentum on the saddle, in units of its learning rate.

# %%
path = descend(saddle, sgd_momentum, (0.002, 1.2), 240, learning_rate=0.01)
gradient = np.linalg.norm([saddle(w)[1] for w in path[:-1]], axis=1)
speed = np.linalg.norm(np.diff(path, axis=0), axis=1) / 0.01
fig, ax = plt.subplots(figsize=(9, 3.8))
ax.semilogy(gradient, color=RED, label="gradient")
ax.semilogy(speed, "--", color=BLUE, label="step / learning rate")
ax.axhline(0.05, color=GREY, linestyle=":", label="a threshold someone might choose")
early = int(np.argmax(gradient < 0.05))
ax.plot(early, gradient[early], "kv", markersize=8, label="stopped here by the gradient")
ax.set(xlabel="step", ylabel="norm", title="Momentum passes a saddle: is a small gradient the end?")
ax.legend(fontsize=9)
plt.show()
print(f"step {early}: gradient {gradient[early]:.3f}, position {np.round(path[early], 3)}, "
      f"the minimum is at (1, 0)")

# %% [markdown]
# At the black mark the gradient is below the threshold, because the walk is just crossing the
# saddle point, at nearly full speed. Whoever stops there stops at $x \approx 0$, far from the
# minimum at $x = 1$. The opposite happens as well: where the path turns round, the step is short
# while the gradient is large. So a sound rule asks that **both** stay small for a while. In deep
# learning one mostly fixes the number of steps instead, and keeps the weights that did best on the
# validation set. That is what `Solver` does.

# %% [markdown]
# ## 3. The network
#
# **Goal.** A network with any number of hidden layers, built from your layers by loops:
#
# {affine - [normalisation] - ReLU - [dropout]} x $(L - 1)$ - affine - softmax
#
# The parts in brackets are optional and come in the next two notebooks. For now write the plain
# network, but keep the order in mind.
#
# **Initialisation.** `W1, b1, ..., WL, bL` go into `self.params`. Weights are drawn from a normal
# distribution with standard deviation `weight_scale`, biases start at 0.
#
# **Loss.** Data loss plus L2 on the weights of *all* layers, but not on biases:
#
# $$\mathcal{L} = \mathcal{L}_{softmax}(S, y) + \frac{\lambda}{2} \sum_{i=1}^{L} \lVert W_i \rVert^2, \qquad dW_i \mathrel{+}= \lambda W_i .$$
#
# The factor $\frac12$ makes the gradient simple. The gradient of L2 belongs to every $W_i$,
# whichever branch (plain, batch norm, layer norm) computed the rest of $dW_i$. It is easily lost in
# one of them.
#
# **Write.** Implement `FullyConnectedNet` in `cs231n/classifiers/fc_net.py`. `affine_relu_forward`
# and `affine_relu_backward` in `cs231n/layer_utils.py` are there to help.

# %% [markdown]
# ### The loss before any training
#
# Two things are known before the first step. With small random weights all classes are about
# equally likely, so the data loss is about $\log 10$. And the L2 term can be computed apart. If
# your first loss is far from the sum of both, something is wrong already.

# %%
np.random.seed(231)
X_small, y_small = np.random.randn(2, 15), np.array([3, 7])
for reg in (0.0, 3.14):
    model = FullyConnectedNet([20, 30], input_dim=15, reg=reg, weight_scale=5e-2, dtype=np.float64)
    loss, _ = model.loss(X_small, y_small)
    weights = sum(np.sum(w**2) for name, w in model.params.items() if name.startswith("W"))
    print(f"reg {reg:4.2f}: loss {loss:.3f}   expect about "
          f"{np.log(10):.3f} + {0.5 * reg * weights:.3f} = {np.log(10) + 0.5 * reg * weights:.3f}")

# %% [markdown]
# ### The gradient of the whole network
#
# Now every parameter is checked against the measured slope, at two strengths of regularisation.
# Without L2 the data gradient is on trial, with L2 its gradient too. A network that forgets L2 in
# *both* the loss and the gradient agrees with itself, which is why the cell before compares the
# loss with a value from outside.

# %%
for reg in (0.0, 3.14):
    np.random.seed(231)
    model = FullyConnectedNet([20, 30], input_dim=15, reg=reg, weight_scale=0.3, dtype=np.float64)
    _, grads = model.loss(X_small, y_small)
    print(f"reg {reg}")
    for name in sorted(grads):
        numeric = eval_numerical_gradient(
            lambda _: model.loss(X_small, y_small)[0], model.params[name], verbose=False)
        compare("1e-6 or less", **{name: (numeric, grads[name])})

# %% [markdown]
# The function measured above ignores its argument on purpose: `eval_numerical_gradient` changes
# `model.params[name]` in place, and the model sees that. If one parameter alone shows $10^{-4}$ or
# more, a ReLU's corner may lie within $h$. Change the seed: a bug stays, a corner goes.

# %%
check("FullyConnectedNet")

# %% [markdown]
# ## 4. Experiments
#
# ### The scale of the first weights
#
# Send a batch through ten ReLU layers of 300 units and watch the size of the activations, then send
# a random gradient back. If $x$ has $D$ entries of mean square $q$, and the weights have variance
# $\sigma^2$, one ReLU layer gives entries of mean square $\frac12 D \sigma^2 q$. So each layer
# multiplies the scale by $\sigma \sqrt{D / 2}$. Below 1 the signal **vanishes**, above 1 it
# **explodes**, both exponentially in depth. The balance is $\sigma = \sqrt{2 / D}$ (He et al., 2015). The
# gradient is multiplied by the same kind of factor on its way back.

# %%
def signal_sizes(scale, depth=10, width=300):
    """Root mean square of activations and of gradients."""
    rng = np.random.default_rng(0)
    h, caches, forward = rng.normal(size=(200, width)), [], []
    for _ in range(depth):
        w = scale * rng.normal(size=(width, width))
        a, affine_cache = affine_forward(h, w, np.zeros(width))
        h, relu_cache = relu_forward(a)
        caches.append((affine_cache, relu_cache))
        forward.append(np.sqrt(np.mean(h**2)))
    d, backward = rng.normal(size=h.shape), []
    for affine_cache, relu_cache in reversed(caches):
        d, _, _ = affine_backward(relu_backward(d, relu_cache), affine_cache)
        backward.append(np.sqrt(np.mean(d**2)))
    return forward, backward[::-1]

# %%
he = np.sqrt(2 / 300)
SCALES = [(0.02, BLUE, "o", "0.02, too small"), (he, GREEN, "s", f"{he:.3f}, He: $\\sqrt{{2/D}}$"),
          (0.2, RED, "^", "0.2, too large")]
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), sharey=True)
for scale, colour, marker, label in SCALES:
    for ax, sizes in zip(axes, signal_sizes(scale)):
        ax.semilogy(np.arange(1, 11), sizes, color=colour, marker=marker, label=label)
axes[0].set(title="Forward: activations after each layer", xlabel="layer",
            ylabel="root mean square")
axes[1].set(title="Backward: gradient at each layer's input", xlabel="layer (from right to left)")
axes[0].legend(title="weight scale")
plt.show()

# %% [markdown]
# ### Overfit fifty images on purpose
#
# Before a long training, make sure that the network *can* learn: 50 images, no regularisation,
# until the training accuracy is 100 %. If that fails, more data will not help. Do it with three
# layers and with five.

# %%
def subset(count):
    return {**data, "X_train": data["X_train"][:count], "y_train": data["y_train"][:count]}

# %%
def overfit(hidden_dims, weight_scale, learning_rate, epochs=8 if SMOKE else 20):
    np.random.seed(231)
    model = FullyConnectedNet(hidden_dims, weight_scale=weight_scale)
    solver = Solver(model, subset(50), batch_size=25, num_epochs=epochs, update_rule="sgd",
                    optim_config={"learning_rate": learning_rate}, num_val_samples=200,
                    verbose=False)
    solver.train()
    return solver


three, five = overfit([100] * 2, 0.05, 0.05), overfit([100] * 4, 0.1, 0.02)
NETS = [("three layers", three, BLUE, "-"), ("five layers", five, RED, "--")]

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
for name, solver, colour, style in NETS:
    axes[0].plot(solver.loss_history, style, color=colour, label=name)
    axes[1].plot(solver.train_acc_history, style, color=colour, marker="o", markersize=4)
    print(f"{name}: training accuracy {solver.train_acc_history[-1]:.2f}, "
          f"validation accuracy {solver.val_acc_history[-1]:.2f}")
axes[0].axhline(np.log(10), color=GREY, linestyle=":", label="guessing, log 10")
axes[0].set(xlabel="step", ylabel="training loss", title="Fifty images: loss")
axes[1].set(xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.05),
            title="Fifty images: accuracy")
axes[0].legend()
plt.show()

# %% [markdown]
# The validation accuracy stays poor, and that is fine. Memorising is all we asked for.
#
# How lucky was the choice of weight scale and learning rate? Try them all. Each square below is one
# training of 20 epochs (40 steps) on the fifty images, and its colour is the loss at the end.

# %%
from contextlib import redirect_stdout
from io import StringIO

WEIGHT_SCALES = np.array([0.003, 0.01, 0.03, 0.06, 0.12, 0.25, 0.5])
LEARNING_RATES = np.array([1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1])
if SMOKE:
    WEIGHT_SCALES, LEARNING_RATES = WEIGHT_SCALES[1::3], LEARNING_RATES[1::3]


def final_loss(hidden_dims, weight_scale, learning_rate):
    # some runs diverge: that is what we want to see, without a message for each
    with np.errstate(all="ignore"), redirect_stdout(StringIO()):
        solver = overfit(hidden_dims, weight_scale, learning_rate)
    last = np.mean(solver.loss_history[-4:])
    return last if np.isfinite(last) else np.inf

# %%
grids = {}
for name, hidden_dims in (("Three layers", [100] * 2), ("Five layers", [100] * 4)):
    grids[name] = np.array([[final_loss(hidden_dims, scale, rate) for rate in LEARNING_RATES]
                            for scale in tqdm(WEIGHT_SCALES, desc=name, file=sys.stdout)])

# %%
cmap = plt.get_cmap("viridis_r").with_extremes(over=RED)
fig, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
for ax, (name, grid) in zip(axes, grids.items()):
    picture = ax.imshow(np.minimum(grid, 99), cmap=cmap, vmin=0, vmax=2.5, aspect="auto")
    for (i, j), value in np.ndenumerate(grid):
        ax.text(j, i, "> 10" if value > 10 else f"{value:.2f}", ha="center", va="center",
                fontsize=9, color="white" if 1.3 < value < 2.5 else "black")
    ax.set(title=f"{name}: final loss", xlabel="learning rate")
    ax.set_xticks(range(len(LEARNING_RATES)), [f"{rate:g}" for rate in LEARNING_RATES])
    ax.grid(False)
axes[0].set_yticks(range(len(WEIGHT_SCALES)), [f"{scale:g}" for scale in WEIGHT_SCALES])
axes[0].set_ylabel("weight scale")
fig.colorbar(picture, ax=axes, label="training loss (2.3: guessing)", extend="max")
plt.show()

# %% [markdown]
# **What to see.** Yellow is where the network has memorised its images. In the upper rows, at 2.30,
# it has learnt nothing: the signal vanishes on its way through the layers and the gradient on its
# way back. Red is where the loss is above 2.5 at the end: either the weights began so large that
# the first scores were wild, or the steps were too long.
#
# Compare the two nets down one column. At a learning rate of 0.03 three layers learn well with
# weight scales from 0.06 to 0.25. Five layers learn with 0.12 only: at 0.06 the signal has all but
# vanished, at 0.25 the loss explodes. The range that works gets narrower with depth, from both
# sides. The next notebook, on batch normalisation, widens it again.

# %% [markdown]
# ### A race of the update rules
#
# The same five-layer network, the same initial weights, the same 4,000 images in the same order.
# Only the rule changes. Each has a learning rate that suits it, since one rate for all would
# compare rates, not rules.

# %%
RACE = {"sgd": 0.1, "sgd_momentum": 0.02, "nesterov": 0.02,
        "adagrad": 0.01, "rmsprop": 5e-4, "adam": 1e-3}
runs = {}
for name, rate in tqdm(RACE.items(), desc="rules", file=sys.stdout):
    np.random.seed(231)
    model = FullyConnectedNet([100] * 4, weight_scale=5e-2)
    runs[name] = Solver(model, subset(1000 if SMOKE else 4000), update_rule=name, batch_size=100,
                        num_epochs=2 if SMOKE else 10, optim_config={"learning_rate": rate},
                        verbose=False)
    runs[name].train()

# %%
def smooth(values, width=15):
    """Running mean that starts with the first value."""
    padded = np.concatenate([np.full(width - 1, values[0]), values])
    return np.convolve(padded, np.ones(width) / width, mode="valid")

# %%
fig, axes = plt.subplots(1, 3, figsize=(13, 4.4))
for name, (_, colour, style) in RULES.items():
    label = f"{name} ({RACE[name]:g})"
    axes[0].plot(smooth(runs[name].loss_history), style, color=colour, label=label)
    axes[1].plot(runs[name].train_acc_history, style, color=colour)
    axes[2].plot(runs[name].val_acc_history, style, color=colour)
axes[0].set(title="Training loss, running mean of 15", xlabel="step", ylabel="loss")
axes[1].set(title="Training accuracy", xlabel="epoch", ylabel="accuracy", ylim=(0.05, 1))
axes[2].set(title="Validation accuracy", xlabel="epoch", ylabel="accuracy", ylim=(0.05, 1))
fig.legend(title="rule (learning rate)", fontsize=10, ncols=6, loc="outside lower center")
plt.show()

# %% [markdown]
# **What to see.** The rules that scale each weight's step (AdaGrad, RMSProp, Adam) leave the
# plateau at 2.3 at once. The weights start small, so gradients start small, and these rules divide
# by their size. SGD, momentum and Nesterov first need tens of steps to get away, then momentum and
# Nesterov catch up a good part. Nesterov ends ahead
# of classical momentum.
#
# The ranking of the validation accuracies is much less clear: most end near 0.4, because 4,000
# images are soon overfitted. A faster rule reaches the same place sooner. It does not by itself
# generalise better.
#
# How fair is the race? Each rate was picked from a few, by hand. Try `"sgd": 0.01`, the rate that
# looks natural beside momentum's 0.02: after ten epochs it has hardly left the plateau. Adam with
# its default of 0.001 is good without any search, and that is the main reason why it is the usual
# first choice.

# %% [markdown]
# ### Your best model
#
# **Goal.** A fully connected network with at least **50 %** accuracy on the validation set. Leave
# the trained model in `best_model` and its solver in `best_solver`. This exercise has no points;
# section 4 ends with it.
#
# `Solver(model, data, update_rule=..., optim_config={"learning_rate": ...}, lr_decay=...,
# batch_size=..., num_epochs=...)` trains; `overfit` above is an example, and `cs231n/solver.py`
# lists all keywords.
#
# You have the depth, the width, the weight scale, the rule, its learning rate and its decay, the L2
# strength and the number of epochs to choose. Advice: search with few epochs and few images first,
# vary learning rates by factors of three, and look at the gap between training and validation. A
# large gap asks for more regularisation, no gap for a larger network or a longer training. Come
# back after the next two notebooks and add batch norm or dropout.
#
# Use the validation set for every choice. The test set is for the very end, once.

# %% exercise="fc_best_model"
best_model, best_solver = None, None
### BEGIN SOLUTION
np.random.seed(231)
best_model = FullyConnectedNet([256, 128], weight_scale=3e-2, reg=2e-3)
best_solver = Solver(best_model, data, update_rule="adam", optim_config={"learning_rate": 5e-4},
                     lr_decay=0.8, batch_size=128, num_epochs=1 if SMOKE else 8, print_every=500)
best_solver.train()
### END SOLUTION

# %%
def plot_training(solver, title):
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
    axes[0].plot(solver.loss_history, color=SKY, alpha=0.5, linewidth=0.7, label="each step")
    axes[0].plot(smooth(solver.loss_history, 50), color=BLUE, label="running mean of 50")
    axes[0].set(xlabel="step", ylabel="loss with L2", title=f"{title}: loss")
    axes[0].legend()
    axes[1].plot(solver.train_acc_history, "-o", color=BLUE, markersize=4, label="training")
    axes[1].plot(solver.val_acc_history, "--s", color=RED, markersize=4, label="validation")
    axes[1].axhline(0.5, color=GREY, linestyle=":", label="goal, 50 %")
    axes[1].set(xlabel="epoch", ylabel="accuracy", title=f"{title}: accuracy")
    axes[1].legend()
    plt.show()


plot_training(best_solver, "Best model")

# %% [markdown]
# #### What did it learn?
#
# A column of $W_1$ has one weight per input value, so it can be drawn as an image. These are the 36
# hidden units of the first layer with the largest weights.

# %%
W1 = best_model.params["W1"]                       # (3072, M)
strongest = np.argsort(-np.linalg.norm(W1, axis=0))[:36]
filters = W1[:, strongest].T.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
fig, ax = plt.subplots(figsize=(4.8, 5))
ax.imshow(visualize_grid(filters, padding=2).astype("uint8"))
ax.set_title("First-layer weights, the 36 strongest units")
ax.axis("off")
plt.show()

# %% [markdown]
# #### The test set, once

# %%
def predict(model, X, batch_size=500):
    return np.concatenate([np.argmax(model.loss(X[i:i + batch_size]), axis=1)
                           for i in range(0, len(X), batch_size)])


val_accuracy = np.mean(predict(best_model, data["X_val"]) == data["y_val"])
test_guess = predict(best_model, data["X_test"])
test_accuracy = np.mean(test_guess == data["y_test"])
print(f"{SOURCE}: validation accuracy {val_accuracy:.3f} (goal 0.500), "
      f"test accuracy {test_accuracy:.3f}")

# %%
NAMES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
if SOURCE != "CIFAR-10":
    NAMES = [f"class {c}" for c in range(10)]
share = np.zeros((10, 10))
np.add.at(share, (data["y_test"], test_guess), 1)
share /= np.maximum(share.sum(axis=1, keepdims=True), 1)


def draw_confusion(ax, share):
    picture = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(share):
        ax.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=9,
                color="white" if value > 0.5 else "black")
    return picture

# %%
fig, ax = plt.subplots(figsize=(6.6, 5.6))
picture = draw_confusion(ax, share)
ax.set_xticks(range(10), NAMES, rotation=45, ha="right")
ax.set_yticks(range(10), NAMES)
ax.set(xlabel="predicted", ylabel="true", title="Test images: % of each true class")
ax.grid(False)
fig.colorbar(picture, ax=ax, label="share of the true class")
plt.show()

# %% [markdown]
# **What to see.** With the settings of the sample solution we measured about 55 % on the validation
# set and 51 % on the test set. Part of the difference is selection: the best of several epochs was
# chosen *by* the validation set. Part may be chance: with 1,000 images each, the difference has a
# standard error of about 2.2 points.
#
# The mistakes are human ones: cats and dogs, cars and trucks, planes and ships. The weights look
# like coarse, coloured templates with a position: a fully connected network has no idea that a cat
# on the left is the same as a cat on the right. That is what convolutions will change.
#
# ## Summary
#
# - A network is a chain of layers. Backward, each layer multiplies `dout` by its own derivative,
#   with what it cached on the way forward.
# - Check gradients with centred differences, in float64, with a random upstream gradient. And check
#   values too: a wrong forward pass can have a right gradient.
# - ReLU makes the network non-linear without saturating for positive inputs.
# - First weights that are too small make signals and gradients vanish, too large ones make them
#   explode. $\sigma = \sqrt{2 / D}$ is the balance for ReLU. The deeper the net, the narrower the
#   range that works.
# - Momentum goes through ravines and past saddle points faster than SGD. AdaGrad, RMSProp and Adam
#   give each weight its own step size. Adam combines momentum with RMSProp.
# - With momentum, a small gradient alone is no reason to stop.
# - Overfit a few images first. Choose by the validation set. Use the test set once.
#
# ## References
#
# - B. Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964.
# - Y. Nesterov, *A method of solving a convex programming problem with convergence rate O(1/k²)*, 1983.
# - J. Duchi, E. Hazan, Y. Singer, *Adaptive subgradient methods for online learning and stochastic
#   optimization*, JMLR 12, 2011.
# - T. Tieleman, G. Hinton, *Lecture 6.5: RMSProp*, Neural Networks for Machine Learning, 2012.
# - I. Sutskever, J. Martens, G. Dahl, G. Hinton, *On the importance of initialization and momentum
#   in deep learning*, ICML 2013.
# - A. Maas, A. Hannun, A. Ng, *Rectifier nonlinearities improve neural network acoustic models*, 2013.
# - Y. Dauphin et al., *Identifying and attacking the saddle point problem in high-dimensional
#   non-convex optimization*, NeurIPS 2014.
# - D. Kingma, J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015.
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving deep into rectifiers*, ICCV 2015.
