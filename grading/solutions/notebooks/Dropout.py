# %% [markdown]
# # Dropout
#
# A large network can memorise a small training set. Dropout fights that with noise: for each example
# in each training step it switches off a random part of the hidden units (Hinton et al., 2012;
# Srivastava et al., 2014). No unit can rely on another one being there, so each has to be useful by
# itself. (To drop single weights instead of units is another method, DropConnect.)
#
# 1. **The layer.** Its forward and backward pass, in `cs231n/layers.py`.
# 2. **The network.** Dropout after every ReLU of `FullyConnectedNet`, in
#    `cs231n/classifiers/fc_net.py`.
# 3. **Experiments.** What it does to a network that overfits, and why it behaves like an average
#    over many networks.
#
# Needs `affine`, `relu`, `softmax_loss`, `adam`, `FullyConnectedNet`; one edge case of its network
# check uses batch norm.

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
from cs231n.layer_utils import affine_relu_forward
from cs231n.layers import affine_forward, dropout_backward, dropout_forward, softmax_loss
from cs231n.optim import adam
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
# CIFAR-10, minus the mean image, divided by 64, so that inputs have a spread of about 1. The
# experiments train on 500 images only: a setting in which overfitting is certain. The seed makes
# your numbers repeat.

# %%
np.random.seed(231)
data = get_CIFAR10_data(num_training=2000)
for part in ("X_train", "X_val", "X_test"):
    data[part] /= 64.0
SOURCE = "stand-in data" if is_stand_in(cifar10_folder()) else "CIFAR-10"
for name, values in data.items():
    print(f"{name:8s} {str(values.shape):20s} {values.dtype}")

# %% [markdown]
# ## 1. The layer
#
# ### Keep or drop? Read this before any formula
#
# Two opposite conventions are in use, and both call the number $p$. **In this course $p$ is the
# probability to KEEP a unit.** So `p = 1` means no dropout, and a small `p` means strong dropout.
#
# | where | name | meaning | "keep three of four" is |
# |---|---|---|---|
# | this course: `dropout_param["p"]`, `dropout_keep_ratio` | $p$ | **keep** | 0.75 |
# | Srivastava et al. (2014), section 4 | $p$ | keep | 0.75 |
# | many textbooks: $h' = h / (1 - p)$ with probability $1 - p$, else 0 | $p$ | drop | 0.25 |
# | PyTorch `nn.Dropout(p)` | `p` | drop | 0.25 |
# | Keras `Dropout(rate)` | `rate` | drop | 0.25 |
# | CS231n, some earlier years | `p` | drop | 0.25 |
#
# A formula in one convention becomes the other by writing $1 - p$ for $p$. At $p = 0.5$ they agree,
# which is why a mix-up can go unnoticed for a long time. Never test only at 0.5.

# %% [markdown]
# ### Forward
#
# **Goal.** In training, set each entry to zero with probability $1 - p$, independently, and scale
# up the others. At test time, change nothing.
#
# **Maths.** Let $m$ be a random array of zeros and ones, each one with probability $p$. Then
#
# $$\text{training:}\quad y = \frac{m \odot x}{p}, \qquad\qquad \text{test:}\quad y = x .$$
#
# The division keeps the expectation: $E[y] = p \cdot \frac{x}{p} + (1 - p) \cdot 0 = x$. So the
# next layer sees inputs of the same average size in training and at test time. This form is called *inverted*
# dropout. The paper's form does not divide in training and multiplies by $p$ at test time instead.
# The result is the same in expectation, but the inverted form leaves the test-time code alone.
#
# The noise is not free. The variance of an entry is
#
# $$\operatorname{Var}[y] = \frac{1 - p}{p}\, x^2,$$
#
# so at $p = 0.25$ the noise is $\sqrt 3$ times as large as the signal.
#
# **Write.** Implement `dropout_forward` in `cs231n/layers.py`. `dropout_param` holds `p`, `mode`
# (`"train"` or `"test"`) and perhaps a `seed`. The stub gives you `mode`, `p` and `rng`. Draw the
# mask with `rng.random_sample(x.shape)`; `rng` already respects a seed.
#
# **See.** Below, 100,000 entries with mean 10. The mean stays at 10 for every `p`, and the share of
# zeros is $1 - p$.

# %%
rng = np.random.default_rng(231)
x = 10 + rng.normal(size=(500, 200))
print("  p    mean, training   mean, test   zeros, training (expect 1 - p)")
for p in (0.25, 0.4, 0.75, 1.0):
    train, _ = dropout_forward(x, {"mode": "train", "p": p})
    test, _ = dropout_forward(x, {"mode": "test", "p": p})
    print(f"{p:4.2f} {train.mean():12.2f} {test.mean():14.2f} {np.mean(train == 0):15.3f} "
          f"({1 - p:.2f})")

# %%
check("dropout_forward")

# %% [markdown]
# #### One mask
#
# A 12 x 24 array of activations that rises from left to right, and what is left of it. Look at the
# colours: the kept entries are brighter than before. They stand in for those that are missing.

# %%
ramp = np.tile(np.linspace(0.2, 1, 24), (12, 1))
fig, axes = plt.subplots(1, 3, figsize=(12.5, 2.6))
for ax, p in zip(axes, (1.0, 0.75, 0.25)):
    y, _ = dropout_forward(ramp, {"mode": "train", "p": p, "seed": 3})
    picture = ax.imshow(np.where(y == 0, np.nan, y), cmap="viridis", vmin=0, vmax=4)
    ax.set_facecolor("black")
    ax.set(title=f"keep {p:g}: mean {y.mean():.2f}, kept {np.mean(y != 0):.0%}",
           xticks=[], yticks=[])
    ax.grid(False)
fig.colorbar(picture, ax=axes, label="value (black: dropped)")
plt.show()

# %% [markdown]
# #### Many masks: the expectation is kept
#
# A unit of the next layer sums over many dropped-out inputs. Take 400 fixed inputs and weights, and
# draw 2,000 masks for each $p$. The sum scatters around its value without dropout. The scatter
# grows as $\sqrt{(1 - p)/p}$.

# %%
inputs, weights = rng.uniform(0.5, 1.5, size=400), rng.normal(0.05, 0.05, size=400)
exact = inputs @ weights
KEEPS = [(0.75, GREEN, "--"), (0.5, ORANGE, "-."), (0.25, RED, ":")]
sums = {p: dropout_forward(np.tile(inputs, (2000, 1)), {"mode": "train", "p": p})[0] @ weights
        for p, *_ in KEEPS}
for p, *_ in KEEPS:
    spread = np.sqrt((1 - p) / p * np.sum((inputs * weights)**2))
    print(f"keep {p:4.2f}: mean {sums[p].mean():6.2f} (exact {exact:.2f}), "
          f"spread {sums[p].std():.2f} (formula {spread:.2f})")

# %%
fig, axes = plt.subplots(1, 2, figsize=(11.5, 3.8))
bins = np.linspace(exact - 12, exact + 12, 61)
for p, colour, line in KEEPS:
    axes[0].hist(sums[p], bins=bins, histtype="stepfilled", color=colour, alpha=0.25)
    axes[0].hist(sums[p], bins=bins, histtype="step", color=colour, ls=line, label=f"keep {p:g}")
    running = np.cumsum(sums[p]) / np.arange(1, 2001)
    axes[1].semilogx(np.arange(1, 2001), running, line, color=colour)
for ax, place in zip(axes, (axes[0].axvline, axes[1].axhline)):
    place(exact, color="black", linewidth=1.3, label="without dropout")
axes[0].set(title="Sum over 400 inputs, one mask each", xlabel="sum", ylabel="masks (of 2,000)")
axes[1].set(title="Mean over the first K masks", xlabel="number of masks K", ylabel="mean of sums")
axes[0].legend()
plt.show()

# %% [markdown]
# #### Question 1
#
# Someone forgets the division by $p$ in training, $y = m \odot x$, and leaves test time as it is,
# $y = x$. Their network is affine - ReLU - dropout - affine - ReLU - dropout - affine, all biases
# are zero, and $p = 0.25$.
#
# (a) How large are the scores at test time, compared with their average size in training? (You may
# treat the average as passing through the ReLU.) (b) What does that do to the softmax
# probabilities, the loss and the accuracy at test time? (c) Name a change at test time that repairs
# it without a new training.

# %% [markdown] question="dropout_q1" points=1
# (a) In training each dropout layer multiplies the average of its input by $p = 0.25$; at test time
# it multiplies by 1. With zero biases affine and ReLU layers pass a positive factor on unchanged,
# so two dropout layers give a factor of $1 / p^2 = 16$: the scores at test time are about 16 times
# as large as those that the last layer was trained with.
#
# (b) The softmax becomes nearly one-hot: the network is far too sure of itself. The largest score
# mostly stays the largest, so the accuracy suffers little in this idealised case (with real biases
# and noise it suffers more, since the balance of weights and biases is wrong). The loss suffers a
# lot: every wrong answer is given with a probability near 1, and costs about 16 times the margin.
#
# (c) Multiply the output of each dropout layer by $p$ at test time. That is the original form of
# dropout in the paper. Equivalently, multiply the weights of the layers after dropout by $p$.

# %% [markdown]
# ### Backward
#
# **Maths.** For a fixed mask the layer is linear: each entry is multiplied by $m / p$. So is its
# gradient:
#
# $$dX = dY \odot \frac{m}{p} \quad \text{(training)}, \qquad\qquad dX = dY \quad \text{(test)}.$$
#
# A dropped unit had no influence on the loss, and so it gets no gradient. It must be the **same**
# mask as on the way forward, which is what the cache is for.
#
# **Write.** Implement `dropout_backward` in `cs231n/layers.py`.
#
# **See.** A numeric check calls the forward pass again and again, and needs the same mask each
# time. That is what `seed` is for. Without a seed the check would compare different functions.

# %%
def compare(expect, **pairs):
    """Print the relative error of each (numeric, analytic) pair."""
    for name, (numeric, analytic) in pairs.items():
        print(f"{name:6s} relative error {rel_error(numeric, analytic):.1e}   (expect {expect})")


x, dout = rng.normal(size=(10, 10)), rng.normal(size=(10, 10))
for mode in ("train", "test"):
    param = {"mode": mode, "p": 0.3, "seed": 123}
    _, cache = dropout_forward(x, param)
    numeric = eval_numerical_gradient_array(lambda x: dropout_forward(x, param)[0], x, dout)
    compare("1e-8 or less", **{mode: (numeric, dropout_backward(dout, cache))})

# %%
check("dropout_backward")

# %% [markdown]
# ## 2. The network
#
# **Goal.** Dropout in `FullyConnectedNet`, after each ReLU:
#
# {affine - [normalisation] - ReLU - **dropout**} x $(L - 1)$ - affine - softmax
#
# Never on the scores: to drop the score of a class is to change the question.
#
# **Write.** Extend `FullyConnectedNet.loss` in `cs231n/classifiers/fc_net.py`. The constructor is
# given: a `dropout_keep_ratio` below 1 sets `use_dropout` and fills `dropout_param`, and one
# dictionary serves all layers. `loss` starts by setting its `mode`: `"train"` if there are labels,
# `"test"` if not.
#
# A `seed` is for gradient checks only. It draws the same masks in every step, one for each row of
# the batch. Training with a seed would know only these N sub-networks.
#
# **See.** The numeric gradient with a fixed seed, with L2 as well. The loss changes with the mask:
# that is the noise.

# %%
X_small, y_small = rng.normal(size=(2, 15)), np.array([3, 7])
for keep in (1, 0.6):
    np.random.seed(231)
    model = FullyConnectedNet([20, 30], input_dim=15, weight_scale=0.3, reg=0.1,
                              dropout_keep_ratio=keep, dtype=np.float64, seed=123)
    loss, grads = model.loss(X_small, y_small)
    print(f"keep {keep}: loss {loss:.4f}")
    for name in ("W1", "W2", "W3", "b1"):
        numeric = eval_numerical_gradient(
            lambda _: model.loss(X_small, y_small)[0], model.params[name], verbose=False)
        compare("1e-6 or less", **{name: (numeric, grads[name])})

# %%
check("FullyConnectedNet_dropout")

# %% [markdown]
# ## 3. Experiments
#
# ### Dropout as a regulariser
#
# Two-layer networks with 500 hidden units, 500 training images, four keep probabilities. Each is
# trained three times from different initial weights, so that we do not mistake luck for an effect.
#
# `Solver` hands back the best parameters it saw. Here we want to watch the overfitting to its end,
# so the loop is written out. Both accuracies and the validation loss are measured with dropout off.

# %%
def measure(model, X, y):
    """Accuracy and mean cross entropy, with dropout off."""
    scores = model.loss(X).astype(np.float64)
    loss, _ = softmax_loss(scores, y)
    return np.mean(np.argmax(scores, axis=1) == y), loss


X_500, y_500 = data["X_train"][:500], data["y_train"][:500]
SETTINGS = {1: (GREY, "-"), 0.75: (GREEN, "--"), 0.5: (ORANGE, "-."), 0.25: (RED, ":")}
SEEDS, EPOCHS = (range(1), 5) if SMOKE else (range(3), 40)

# %%
def train(keep, seed):
    np.random.seed(seed)
    model = FullyConnectedNet([500], dropout_keep_ratio=keep, weight_scale=2e-2)
    configs = {name: {"learning_rate": 3e-4} for name in model.params}
    history = []
    for _ in range(EPOCHS):
        for batch in np.split(np.random.permutation(500), 5):
            _, grads = model.loss(X_500[batch], y_500[batch])
            for name, w in model.params.items():
                model.params[name], configs[name] = adam(w, grads[name], configs[name])
        history.append([measure(model, X_500, y_500)[0],
                        *measure(model, data["X_val"], data["y_val"])])
    return model, np.array(history)                # (epochs, 3)

# %%
todo = [(keep, seed) for keep in SETTINGS for seed in SEEDS]
runs = {case: train(*case) for case in tqdm(todo, desc="trainings", file=sys.stdout)}
curves = {keep: np.array([runs[keep, seed][1] for seed in SEEDS]) for keep in SETTINGS}
print("keep   training accuracy   validation accuracy   gap    validation loss   (last epoch)")
for keep, values in curves.items():
    train_acc, val_acc, val_loss = values.mean(axis=0)[-1]
    gap = train_acc - val_acc
    print(f"{keep:4.2f} {train_acc:14.3f} {val_acc:20.3f} {gap:13.3f} {val_loss:12.2f}")

# %% [markdown]
# Lines are the means of the runs, bands go from the lowest to the highest run.

# %%
TITLES = ["Training accuracy, 500 images", "Validation accuracy, 1,000 images", "Validation loss"]
fig, axes = plt.subplots(1, 3, figsize=(13.5, 4))
epochs = np.arange(1, EPOCHS + 1)
for keep, (colour, style) in SETTINGS.items():
    for column, ax in enumerate(axes):
        values = curves[keep][:, :, column]
        ax.plot(epochs, values.mean(axis=0), style, color=colour, label=f"keep {keep:g}")
        ax.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15)
for ax, title in zip(axes, TITLES):
    ax.set(title=title, xlabel="epoch", ylabel=title.split(",")[0].lower())
axes[2].axhline(np.log(10), color="black", linestyle="--", linewidth=1, label="guessing, log 10")
axes[2].legend()
plt.show()

# %% [markdown]
# **What to see.** Read the three panels from left to right.
#
# - *Training.* Every network that keeps at least half of its units ends at 100 %. Stronger dropout
#   learns more slowly, because each example in each step trains a different sub-network on noisy
#   inputs. At keep 0.25 it takes all 40 epochs to come close.
# - *Validation accuracy.* A small gain, about one point here, and the bands overlap. With 1,000
#   validation images one standard error is 1.5 points, so do not read a ranking into it. 500 images
#   simply hold no more.
# - *Validation loss.* Here the effect is plain. Without dropout the loss is lowest after about five
#   epochs and then climbs beyond that of guessing: the network is wrong *and sure of it*. The
#   stronger the dropout, the slower the climb.
#
# So dropout does not make overfitting impossible. It makes the network less sure of what it has
# memorised. It works together with L2, early stopping and more data, and replaces none of them. And
# it has a price: with too few units left (try keep 0.05) the network cannot fit even the training
# images.

# %% [markdown]
# #### Question 2
#
# (a) Someone averages, over each epoch, the accuracy on the training batches, from the same forward
# pass that trains the network, with dropout on. They find that it is *lower* than the validation
# accuracy, and look for a bug. Give the two reasons why it may be none, and say how to measure a
# training accuracy that can be compared.
#
# (b) Network A (keep 0.9) has 99 % training and 40 % validation accuracy. Network B (keep 0.2) has
# 38 % and 37 %. Both training accuracies were measured well. In which direction would you change
# each keep probability, and why?
#
# (c) The hidden layers shrink from 500 to 100 units. Would you raise or lower the keep probability?

# %% [markdown] question="dropout_q2" points=1
# (a) Each training image goes through a random sub-network with noise, while validation uses the
# full network: that alone lowers the training figure. And in the average over an epoch the
# early batches were judged with older, worse weights. Measure the training accuracy after the
# epoch, in test mode, on images of the training set.
#
# (b) A overfits: the gap is 59 points. Lower the keep probability (more dropout). B underfits:
# there is no gap, and both figures are low. Raise the keep probability (less dropout), since the
# noise and the few units left keep the network from fitting even the training images.
#
# (c) Raise it. With keep 0.25 only about 25 of 100 units work in a step, where there were 125 of 500.
# The relative noise in the next layer's sums, which average over fewer units, grows too. And a
# smaller network overfits less, so it needs less regularisation.

# %% [markdown]
# ### Dropout as an ensemble
#
# A layer of 500 units has $2^{500}$ masks. Each mask is a smaller network, and they all share their
# weights. Training with dropout gives each example in each step to one of them. An *ensemble* would
# ask many of them and average their probabilities. That is expensive. At test time we run the full
# network once and hope that it is close to the average of the ensemble.
#
# We can test the hope. For the network with keep 0.5, draw masks at test time, average the
# probabilities over the first $K$ of them, and compare with the one pass without dropout.

# %%
def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def ensemble(model, X, masks):
    """Probabilities averaged over the first 1, 2, ..., masks random masks."""
    p, total = model.params, 0.0
    hidden, _ = affine_relu_forward(X, p["W1"], p["b1"])
    for k in range(masks):
        dropped, _ = dropout_forward(hidden, {"mode": "train", "p": 0.5})
        total = total + softmax(affine_forward(dropped, p["W2"], p["b2"])[0].astype(np.float64))
        yield total / (k + 1)

# %%
MASKS = 20 if SMOKE else 200
X_val, y_val = data["X_val"], data["y_val"]
rows = np.arange(len(y_val))
model = runs[0.5, 0][0]
accuracy, loss = [], []
for probabilities in tqdm(ensemble(model, X_val, MASKS), total=MASKS, file=sys.stdout):
    accuracy.append(np.mean(np.argmax(probabilities, axis=1) == y_val))
    loss.append(-np.mean(np.log(probabilities[rows, y_val])))
single = measure(model, X_val, y_val)
without = measure(runs[1, 0][0], X_val, y_val)
print(f"{SOURCE}, validation: one mask {accuracy[0]:.3f} (loss {loss[0]:.2f}), "
      f"{MASKS} masks {accuracy[-1]:.3f} ({loss[-1]:.2f}), "
      f"no mask {single[0]:.3f} ({single[1]:.2f})")
other = np.mean(np.argmax(probabilities, axis=1) != np.argmax(model.loss(X_val), axis=1))
print(f"{MASKS} masks and no mask name different classes for {other:.1%} of the images")

# %%
fig, axes = plt.subplots(1, 2, figsize=(11.5, 3.8))
K = np.arange(1, MASKS + 1)
for ax, values, flat, plain, name in zip(axes, (accuracy, loss), single, without,
                                         ("accuracy", "loss")):
    ax.semilogx(K, values, color=BLUE, label="average over K masks")
    ax.axhline(flat, color=ORANGE, linestyle="--", label="one pass, dropout off")
    ax.axhline(plain, color=GREY, linestyle=":", label="trained without dropout")
    ax.set(title=f"Validation {name}", xlabel="number of masks K", ylabel=name)
axes[1].legend(loc="upper right", bbox_to_anchor=(1, 0.93))
plt.show()

# %% [markdown]
# **What to see.** One mask alone is worse than the full network: it is a smaller, noisier net.
# Averaging helps quickly, and after some tens of masks the accuracy is that of the single pass with
# dropout off. That is the hope confirmed: **one cheap pass is as accurate as the whole ensemble, to
# within a point.** (Of single images, a few in a hundred get another class.)
#
# In the loss the ensemble is better still. Where the sub-networks disagree their average is less
# sure, and being less sure is right on images that the network gets wrong. Averaging masks at test
# time is called *Monte Carlo dropout*, and the disagreement is used as a measure of uncertainty
# (Gal and Ghahramani, 2016).
#
# ## Summary
#
# - Dropout is a regulariser. In training it keeps each hidden unit with probability $p$ and divides
#   what is kept by $p$, so that expectations stay the same. At test time it does nothing.
# - Here $p$ is the probability to **keep**. Check the convention before you use anybody's formula
#   or function.
# - The backward pass multiplies by the same mask, divided by the same $p$.
# - It lowers the capacity that the network can use and slows the training down. In return it is
#   less sure when it is wrong, and often generalises a little better. A keep probability that is
#   too small leads to underfitting.
# - A network trained with dropout behaves like an average over very many networks that share their
#   weights.
#
# ## References
#
# - G. Hinton, N. Srivastava, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, *Improving neural
#   networks by preventing co-adaptation of feature detectors*, 2012.
# - N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, *Dropout: a simple way
#   to prevent neural networks from overfitting*, JMLR 15, 2014.
# - Y. Gal, Z. Ghahramani, *Dropout as a Bayesian approximation*, ICML 2016.
