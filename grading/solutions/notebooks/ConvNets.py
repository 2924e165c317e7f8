# %% [markdown]
# # Convolutional networks and their normalisations
#
# You write convolution and max pooling with plain loops, check them, and then use fast versions of
# the same functions to train a convolutional net on CIFAR-10. The second half is about normalising
# images: batch, group, instance and layer norm differ only in *which numbers share a mean*, and
# switchable norm learns the mixture.
#
# | you write | in | check cells |
# |---|---|---|
# | convolution, max pooling: forward, backward | `cs231n/layers.py` | 4 |
# | `ThreeLayerConvNet` | `cs231n/classifiers/cnn.py` | 1 |
# | spatial batch norm, group norm, instance norm | `cs231n/layers.py` | 6 |
# | switchable norm | `cs231n/layers.py` | 2 |
#
# Names of sizes: N images, C channels, H and W height and width, F filters. Needs `affine`, `relu`,
# `softmax_loss`, `adam` and `batchnorm`.

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
from matplotlib.patches import Rectangle
from tqdm import tqdm

# %%
from cs231n import optim
from cs231n.classifiers.cnn import ThreeLayerConvNet
from cs231n.data_utils import get_CIFAR10_data
from cs231n.fast_layers import *
from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array, rel_error
from cs231n.layers import *
from cs231n.solver import Solver
from cs231n.vis_utils import visualize_grid
from grading import check

# %% [markdown]
# One style for all figures, in the colours of Okabe and Ito, which colour-blind readers can tell
# apart.

# %%
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
plt.rcParams.update({
    "figure.dpi": 80, "font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "image.interpolation": "nearest",
})

# %%
data = get_CIFAR10_data()
for name, array in data.items():
    print(f"{name:8s} {str(array.shape):20s} {array.dtype}")

# %% [markdown]
# ## 1. Convolution
#
# An affine layer looks at all pixels with its own weight for each. A convolution looks at a small
# window, and uses the **same** weights wherever it puts the window. For an input $x$ of shape (N,
# C, H, W), $F$ filters $w$ of shape (F, C, HH, WW), stride $S$ and padding $P$:
#
# $$y_{n,f,i,j} = b_f + \sum_{c=0}^{C-1} \sum_{p=0}^{HH-1} \sum_{q=0}^{WW-1}
# \tilde x_{n,\,c,\,iS+p,\,jS+q}\; w_{f,c,p,q}$$
#
# where $\tilde x$ is $x$ with $P$ rows and columns of zeros on each side. The output has
#
# $$H' = 1 + \left\lfloor \frac{H + 2P - HH}{S} \right\rfloor, \qquad
# W' = 1 + \left\lfloor \frac{W + 2P - WW}{S} \right\rfloor$$
#
# rows and columns: rows and columns left over, too few for another window, are ignored. Signal
# processing calls this a *correlation*, because the filter is not flipped; in deep learning the
# name convolution has stuck, and a learned filter does not mind.

# %%
rng = np.random.default_rng(0)
padded = np.pad(rng.integers(1, 10, (5, 5)), 1)
kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
corners = range(0, 5, 2)
result = np.array([[(padded[i:i + 3, j:j + 3] * kernel).sum() for j in corners] for i in corners])

# %%
def draw_numbers(ax, values, title, window):
    ax.imshow(np.zeros(values.shape), cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(values):
        ax.text(j, i, value, ha="center", va="center")
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=GREY, lw=0.8))
    top, left, size = window
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, color=ORANGE, alpha=0.4))
    middle = len(values) / 2 - 0.5
    ax.set(xlim=(-0.6, len(values) - 0.4), ylim=(middle + 3.6, middle - 3.6))
    ax.set_title(title, fontsize=11)
    ax.axis("off")

# %%
fig, axes = plt.subplots(1, 3, figsize=(9.5, 4), width_ratios=[7, 3, 3])
draw_numbers(axes[0], padded, "input 5 x 5, padding 1", (2, 4, 3))
axes[0].add_patch(Rectangle((0.5, 0.5), 5, 5, fill=False, edgecolor=BLUE, lw=2.5))
draw_numbers(axes[1], kernel, "filter 3 x 3", (0, 0, 3))
draw_numbers(axes[2], result, "output 3 x 3 at stride 2", (1, 2, 1))
fig.suptitle("The orange window times the filter, summed, is the orange output")
fig.tight_layout()
plt.show()

# %% [markdown]
# ### Exercise
#
# Implement `conv_forward_naive` in `cs231n/layers.py`. Four nested loops (image, filter, row,
# column) with one product and sum inside are fine: clarity is what counts here, and a fast version
# comes later. The stub has read `stride` and `pad` for you. Images need not be square.
#
# ### A sanity check that you can see
#
# Some filters are so simple that their result can be judged by eye. The next cells draw a scene and
# send it through three of them: one mixes the colours to grey, two respond to edges (the filters of
# Sobel: a difference in one direction, a small average in the other).

# %%
v, u = np.mgrid[0:96, 0:96] / 96  # v goes down, u goes right
scene = np.stack([0.45 + 0.3 * v, 0.65 + 0.2 * v, 0.95 - 0.1 * v])  # (3, 96, 96), sky

def paint(where, colour):
    scene[:, where] = np.array(colour)[:, None]

paint(v > 0.75 + 0.03 * np.sin(9 * u), (0.25, 0.6, 0.25))
paint((u - 0.78) ** 2 + (v - 0.2) ** 2 < 0.012, (1.0, 0.85, 0.2))
paint((abs(u - 0.4) < 0.2) & (v > 0.45) & (v < 0.82), (0.98, 0.9, 0.75))
paint((v < 0.45) & (v > 0.2 + abs(u - 0.4)), (0.75, 0.2, 0.15))
paint((abs(u - 0.32) < 0.05) & (abs(v - 0.56) < 0.05), (0.3, 0.45, 0.8))
paint((abs(u - 0.48) < 0.05) & (v > 0.6) & (v < 0.82), (0.4, 0.25, 0.1))

# %%
grey = np.array([0.3, 0.6, 0.1])  # how bright red, green and blue look
sobel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
w = np.zeros((3, 3, 3, 3))
w[0, :, 1, 1] = grey
w[1] = grey[:, None, None] * sobel
w[2] = grey[:, None, None] * sobel.T
filtered, _ = conv_forward_naive(scene[None], w, np.zeros(3), {"stride": 1, "pad": 1})

# %%
fig, axes = plt.subplots(1, 4, figsize=(13, 3.6))
axes[0].imshow(scene.transpose(1, 2, 0))
for ax, image, limit in zip(axes[1:], filtered[0], (None, 2, 2)):
    ax.imshow(image, cmap="gray", vmin=-limit if limit else 0, vmax=limit or 1)
for ax, title in zip(axes, ("scene", "grey", "change down", "change to the right")):
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %% [markdown]
# **What to see.** In the third picture the eaves and the horizon stand out and the walls are
# missing; in the fourth it is the other way round. Slanting lines (the roof) are in both. The
# bright and dark frame around the edge pictures comes from the zeros of the padding: for the
# filter, the end of the image is an edge too.

# %%
check("conv_forward_naive")

# %% [markdown]
# ### Backward
#
# Each output is a sum of products, so each product passes its gradient on. With $\partial y$ for
# `dout`:
#
# $$\partial b_f = \sum_{n,i,j} \partial y_{n,f,i,j}, \qquad
# \partial w_{f,c,p,q} = \sum_{n,i,j} \partial y_{n,f,i,j}\; \tilde x_{n,\,c,\,iS+p,\,jS+q}$$
#
# $$\partial \tilde x_{n,\,c,\,iS+p,\,jS+q} \mathrel{+}= \partial y_{n,f,i,j}\; w_{f,c,p,q}$$
#
# In the last formula windows overlap, so contributions **add up**. At the end cut the padding off
# again. Take care: `dx[:, :, pad:-pad]` is empty for `pad = 0`, because `-0` is 0.
# `dx[:, :, pad:pad + H]` works for every padding.
#
# ### Exercise
#
# Implement `conv_backward_naive` in `cs231n/layers.py`. The cell tests two settings, the second
# with padding 0, stride 2 and an image that is not square. Expect relative errors below about 1e-7:
# the layer is linear in each of its arguments, so central differences have no error but rounding.

# %%
def gradient_errors(forward, arrays, dout, analytic):
    """Compare analytic gradients with central differences, one array after the other."""
    for i, (name, array) in enumerate(arrays.items()):
        def replaced(value, i=i):
            return forward(*[value if j == i else a for j, a in enumerate(arrays.values())])
        numeric = eval_numerical_gradient_array(replaced, array, dout)
        print(f"  d{name:11s} relative error {rel_error(numeric, analytic[i]):.1e}")

# %%
for shape, conv_param in [((2, 3, 5, 5), {"stride": 1, "pad": 1}),
                          ((2, 3, 7, 5), {"stride": 2, "pad": 0})]:
    rng = np.random.default_rng(1)
    arrays = {"x": rng.standard_normal(shape), "w": rng.standard_normal((2, 3, 3, 3)),
              "b": rng.standard_normal(2)}
    out, cache = conv_forward_naive(*arrays.values(), conv_param)
    dout = rng.standard_normal(out.shape)
    print(conv_param)
    gradient_errors(lambda x, w, b, p=conv_param: conv_forward_naive(x, w, b, p)[0], arrays, dout,
                    conv_backward_naive(dout, cache))

# %%
check("conv_backward_naive")

# %% [markdown]
# ## 2. Max pooling
#
# Max pooling puts a window on each channel by itself and keeps the largest value:
#
# $$y_{n,c,i,j} = \max_{0 \le p < HH,\; 0 \le q < WW} x_{n,\,c,\,iS+p,\,jS+q}$$
#
# It has no parameters. The usual 2 x 2 window with stride 2 halves height and width. But windows
# may also overlap (3 x 3 with stride 2), or leave a rest of the image untouched when the sizes do
# not divide.
#
# Implement `max_pool_forward_naive` in `cs231n/layers.py`. The stub has read `pool_height`,
# `pool_width` and `stride` for you.

# %%
pooled = [scene[None]]
for _ in range(3):
    out, _ = max_pool_forward_naive(pooled[-1], {"pool_height": 2, "pool_width": 2, "stride": 2})
    pooled.append(out)
fig, axes = plt.subplots(1, 4, figsize=(13, 3.6))
for ax, images in zip(axes, pooled):
    ax.imshow(images[0].transpose(1, 2, 0))
    ax.set_title(f"{images.shape[2]} x {images.shape[3]}")
    ax.axis("off")
plt.show()

# %% [markdown]
# **What to see.** Bright things grow and dark ones vanish: the door is gone after three rounds. The
# pale frames around sun and house are no mistake. Each channel takes its own maximum, and at the
# border red comes from the sun, blue from the sky.

# %%
check("max_pool_forward_naive")

# %% [markdown]
# ### Backward
#
# The maximum passes its gradient to the entry that won and nothing to the others:
#
# $$\partial x_{n,\,c,\,iS+p,\,jS+q} \mathrel{+}= \partial y_{n,c,i,j} \quad
# \text{for the } (p, q) \text{ of the maximum}$$
#
# Again it is **plus equals**: where windows overlap, one entry can win in several of them.
#
# Implement `max_pool_backward_naive` in `cs231n/layers.py`. At a tie one of the equal entries takes
# the gradient: handed to each of them whole, it would count twice. The maximum has a kink there, and
# central differences mean nothing; so the test below uses inputs which are all different. Expect
# errors below about 1e-9.

# %%
for size, stride, shape in [(2, 2, (2, 3, 4, 4)), (3, 2, (2, 3, 7, 6))]:
    pool_param = {"pool_height": size, "pool_width": size, "stride": stride}
    rng = np.random.default_rng(2)
    x = rng.permutation(np.prod(shape)).reshape(shape) / 10.0
    out, cache = max_pool_forward_naive(x, pool_param)
    dout = rng.standard_normal(out.shape)
    print(f"window {size} x {size}, stride {stride}, image {shape[2:]}")
    gradient_errors(lambda x, p=pool_param: max_pool_forward_naive(x, p)[0], {"x": x}, dout,
                    [max_pool_backward_naive(dout, cache)])

# %%
check("max_pool_backward_naive")

# %% [markdown]
# ## 3. Fast layers
#
# Python loops are too slow for training. `cs231n/fast_layers.py` has the same functions without
# loops over pixels. The idea is *im2col*: copy each window into a column of one large matrix; then
# the whole convolution is a single matrix product, the thing that computers do best. Nothing has to
# be compiled. The fast layers must give the numbers of your naive ones, so this is a test of both.

# %%
def best_time(function, *args, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*args)
        times.append(time.perf_counter() - start)
    return min(times), result

# %%
rng = np.random.default_rng(3)
x = rng.standard_normal((2 if SMOKE else 8, 3, 31, 31))
w, b = rng.standard_normal((25, 3, 3, 3)), rng.standard_normal(25)
conv, pool = {"stride": 2, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}
cases = {"conv": (conv_forward_naive, conv_backward_naive, conv_forward_fast, conv_backward_fast,
                  (x, w, b, conv)),
         "pool": (max_pool_forward_naive, max_pool_backward_naive, max_pool_forward_fast,
                  max_pool_backward_fast, (x, pool))}

# %%
naive_ms, fast_ms = {}, {}
for name, (forward, backward, fast_forward, fast_backward, args) in cases.items():
    slow, (out, cache) = best_time(forward, *args, repeats=1)
    quick, (fast_out, fast_cache) = best_time(fast_forward, *args)
    naive_ms[f"{name} forward"], fast_ms[f"{name} forward"] = 1e3 * slow, 1e3 * quick
    dout = rng.standard_normal(out.shape)
    slow, grads = best_time(backward, dout, cache, repeats=1)
    quick, fast_grads = best_time(fast_backward, dout, fast_cache)
    naive_ms[f"{name} backward"], fast_ms[f"{name} backward"] = 1e3 * slow, 1e3 * quick
    dx, fast_dx = (grads[0], fast_grads[0]) if name == "conv" else (grads, fast_grads)
    print(f"{name}: largest difference, out {np.abs(out - fast_out).max():.1e}, "
          f"dx {np.abs(dx - fast_dx).max():.1e}")

# %%
fig, ax = plt.subplots(figsize=(8.5, 3.2))
slow, quick = np.array(list(naive_ms.values())), np.array(list(fast_ms.values()))
ax.hlines(range(4), quick, slow, color=GREY, lw=1)
ax.plot(quick, range(4), "o", color=BLUE, markersize=9, label="fast")
ax.plot(slow, range(4), "s", color=ORANGE, markersize=9, label="naive")
for i, (a, b) in enumerate(zip(quick, slow)):
    ax.text(np.sqrt(a * b), i - 0.15, f"{b / a:.0f} times", ha="center")
ax.set_yticks(range(4), naive_ms)
ax.set(xscale="log", xlabel="milliseconds (log)", ylim=(3.5, -0.6),
       title=f"Naive loops against fast layers, {len(x)} images of 31 x 31")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## 4. A three-layer convolutional net
#
# conv - ReLU - 2 x 2 max pool - affine - ReLU - affine - softmax. The padding is chosen so that the
# convolution keeps height and width. `cs231n/layer_utils.py` has the sandwiches that you need:
# `conv_relu_pool_forward`, `affine_relu_forward` and their backward passes; those with a
# convolution use the fast layers.
#
# ### Exercise
#
# Implement `ThreeLayerConvNet` in `cs231n/classifiers/cnn.py`: the initial values, and `loss`. L2
# regularisation is `0.5 * reg * sum(W ** 2)` over `W1, W2, W3`, with its gradient.
#
# ### Two numbers to look at before training
#
# With small random weights all ten classes are equally likely, so the loss must be
# $\log 10 \approx 2.303$. Regularisation can only raise it.

# %%
rng = np.random.default_rng(4)
X, y = rng.standard_normal((50, 3, 32, 32)), rng.integers(10, size=50)
for reg in (0.0, 0.5):
    np.random.seed(4)
    model = ThreeLayerConvNet(reg=reg)
    print(f"reg {reg}: initial loss {model.loss(X, y)[0]:.4f}   (log 10 = {np.log(10):.4f})")

# %% [markdown]
# ### Gradient check of the whole net
#
# In float64, with weights which are not tiny, expect relative errors of 1e-6 or less. Now and then
# a value lies so close to the kink of a ReLU or of a maximum that $x + h$ and $x - h$ fall on two
# sides of it; then one parameter shows 1e-4 or so, and another seed does not. An error of 1e-2 in
# each parameter is a bug.

# %%
rng = np.random.default_rng(5)
X, y = rng.standard_normal((2, 3, 8, 6)), rng.integers(10, size=2)
np.random.seed(5)
model = ThreeLayerConvNet(input_dim=(3, 8, 6), num_filters=3, filter_size=3, hidden_dim=7,
                          weight_scale=0.2, reg=0.1, dtype=np.float64)
loss, grads = model.loss(X, y)
for name in sorted(grads):
    numeric = eval_numerical_gradient(lambda _: model.loss(X, y)[0], model.params[name], False)
    print(f"{name}  relative error {rel_error(numeric, grads[name]):.1e}")

# %%
check("ThreeLayerConvNet")

# %% [markdown]
# ### Overfit a small set
#
# A net that cannot learn 100 images by heart has a bug. This takes seconds and should come before
# every long run. Training accuracy should come near 1, while validation accuracy stays low: nothing
# in 100 images tells the net what a ship looks like in general.

# %%
few = {name: data[name][:100] if "train" in name else data[name] for name in data}
np.random.seed(6)
model = ThreeLayerConvNet(weight_scale=1e-2)
solver = Solver(model, few, num_epochs=2 if SMOKE else 15, batch_size=50, update_rule="adam",
                optim_config={"learning_rate": 1e-3}, num_val_samples=100 if SMOKE else 500)
solver.train()

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
left.plot(solver.loss_history, "o-", color=BLUE, markersize=4)
left.set(title="Training loss", xlabel="step", ylabel="loss")
right.plot(solver.train_acc_history, "o-", color=BLUE, label="training (100 images)")
right.plot(solver.val_acc_history, "s--", color=ORANGE, label="validation")
right.set(title="Accuracy", xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
right.legend(loc="center right")
for ax in (left, right):
    ax.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ### One epoch of CIFAR-10
#
# Now all 49,000 training images once, in batches of 50. You should see more than 40 % training
# accuracy at the end. This is the longest cell of the notebook (about two minutes on two cores).

# %%
full = dict(data)
if SMOKE:
    full = {name: array[:1200 if "train" in name else 200] for name, array in data.items()}
np.random.seed(7)
model = ThreeLayerConvNet(weight_scale=0.001, hidden_dim=500, reg=0.001)
first_filters = model.params["W1"].copy()
solver = Solver(model, full, num_epochs=1, batch_size=50, update_rule="adam",
                optim_config={"learning_rate": 1e-3}, print_every=100)
solver.train()

# %%
accuracy = solver.check_accuracy(full["X_test"], full["y_test"])
print(f"training accuracy {solver.train_acc_history[-1]:.3f} (on 1000 images), "
      f"validation {solver.val_acc_history[-1]:.3f}, test {accuracy:.3f}")
loss = np.array(solver.loss_history)
smooth = np.convolve(loss, np.ones(20) / 20, mode="valid")
fig, ax = plt.subplots(figsize=(8, 3.2))
ax.plot(loss, color=SKY, lw=0.7, label="each step")
ax.plot(19 + np.arange(len(smooth)), smooth, color=BLUE, label="mean of 20 steps")
ax.axhline(np.log(10), color="black", ls=":", label="log 10: guessing")
ax.set(title="One epoch of ThreeLayerConvNet", xlabel="step", ylabel="loss")
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 5))
for ax, filters, title in [(axes[0], first_filters, "before training"),
                           (axes[1], model.params["W1"], "after one epoch")]:
    grid = visualize_grid(filters.transpose(0, 2, 3, 1))
    ax.imshow(grid.astype("uint8"))
    ax.set_title(f"32 filters of 7 x 7, {title}")
    ax.axis("off")
plt.show()

# %% [markdown]
# **What to see.** Before training the filters are noise. After one epoch many have become smooth:
# bars at several angles from light to dark, which answer to edges, and blobs of one colour beside
# its opposite. Nobody asked for edges; they are what helps to tell the classes apart. The loss
# falls fast in the first 200 steps and slowly after that, and every single batch is noisy.

# %% [markdown]
# ### Question 1
#
# How many parameters does each layer of the net above have (32 filters of 7 x 7, `hidden_dim=500`)?
# How many would the first layer need if it were affine, with an output of the same size? What do
# you assume about images when you use a convolution, and when would that be wrong?

# %% [markdown] question="conv_q1" points=1
# Convolution: 32 · (3 · 7 · 7) + 32 = 4,736. After pooling there are 32 · 16 · 16 = 8,192 features,
# so the first affine layer has 8,192 · 500 + 500 = 4,096,500, and the last one 500 · 10 + 10 =
# 5,010. Nearly all parameters are in the first affine layer.
#
# An affine first layer would map 3 · 32 · 32 = 3,072 inputs to 32 · 32 · 32 = 32,768 outputs: 3,072
# · 32,768 + 32,768, about 100.7 million, some 21,000 times as many as the convolution.
#
# A convolution assumes that what matters is local (a window is enough to find an edge) and that it
# is the same everywhere (a filter that is useful at one place is useful at all). Both fail when the
# place itself has a meaning: for instance in passport photos, where the eyes are always at the same
# spot, or in a table whose columns mean different things, so that neighbours have nothing in
# common.

# %% [markdown]
# ## 5. Normalising images: who shares a mean?
#
# Feature maps have four axes, (N, C, H, W). All normalisations do the same thing,
#
# $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma_c\, \hat x + \beta_c,$$
#
# with one $\gamma$ and $\beta$ for each channel. They differ in the set of numbers over which the
# mean $\mu$ and the (biased) variance $\sigma^2$ are taken.
#
# | | mean over | number of means | needs other images | source |
# |---|---|---|---|---|
# | batch norm | N, H, W | C | yes | Ioffe and Szegedy 2015 |
# | layer norm | C, H, W | N | no | Ba et al. 2016 |
# | instance norm | H, W | N C | no | Ulyanov et al. 2016 |
# | group norm | H, W and C / G channels | N G | no | Wu and He 2018 |
# | switchable norm | a learned mixture of instance, layer, batch | N C | yes | Luo et al. 2018 |

# %%
n, c = np.mgrid[0:4, 0:6]
column, row, single = (c == 2, BLUE), (n == 1, ORANGE), ((n == 1) & (c == 2), PURPLE)
panels = {"batch norm: over N, H, W": [column], "layer norm: over C, H, W": [row],
          "instance norm: over H, W": [single],
          "group norm: over H, W, C / G": [((n == 1) & (c < 3), GREEN)],
          "switchable norm: all three": [column, row, single]}

# %%
def draw_maps(ax, title, sets):
    for i, j in np.ndindex(4, 6):
        colour = ([shade for where, shade in sets if where[i, j]] or ["white"])[-1]
        ax.add_patch(Rectangle((1.2 * j, 1.2 * i), 1, 1, facecolor=colour, alpha=0.75))
        for k in range(4):  # the pixels of one H x W map
            ax.plot([1.2 * j + k / 3] * 2, [1.2 * i, 1.2 * i + 1], color=GREY, lw=0.6)
            ax.plot([1.2 * j, 1.2 * j + 1], [1.2 * i + k / 3] * 2, color=GREY, lw=0.6)
    ax.add_patch(Rectangle((2.4, 1.2), 1, 1, fill=False, edgecolor="black", lw=2.5))
    ax.set(xlim=(-0.1, 7.1), ylim=(4.7, -0.1), xticks=[], yticks=[], aspect="equal",
           xlabel="C channels", ylabel="N images")
    ax.set_title(title, fontsize=12)
    ax.spines[:].set_visible(False)

# %%
fig, axes = plt.subplots(2, 3, figsize=(11.5, 6))
for ax, (title, sets) in zip(axes.flat, panels.items()):
    draw_maps(ax, title, sets)
text = ("Each square is one map of H x W pixels.\n\nAll coloured maps go into the mean\n"
        "that normalises the framed one.\n\nMeans for N = 4, C = 6, G = 2:\n"
        "batch 6, layer 4, instance 24, group 8.\nSwitchable norm mixes three of these.")
axes[1, 2].text(0, 0.5, text, va="center", fontsize=12)
axes[1, 2].axis("off")
fig.tight_layout()
plt.show()

# %% [markdown]
# **What to see.** Batch norm goes down a column: one channel in all images. Layer norm goes along a
# row: one image, all channels. Instance norm stays in one map. Group norm is in between, and has
# both as its ends: with one group it averages like layer norm, with C groups it is instance norm.
# Switchable norm weighs the row, the column and the single map.
#
# What does that do to a picture? The next cells take four CIFAR-10 images, make one of them dark
# and one pale, and normalise them. Batch norm keeps the differences between images, since all of
# them share the statistics. Layer and instance norm make each image equally bright and rich in
# contrast; instance norm also takes each image's tint away.

# %%
def normalised(x, axes):
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + 1e-5)

images = get_CIFAR10_data(num_training=4, subtract_mean=False)["X_train"] / 255
images[1] *= 0.4
images[2] = 0.6 + 0.3 * images[2]
shown = {"input": (images - 0.5) / 0.3, "batch norm": normalised(images, (0, 2, 3)),
         "layer norm": normalised(images, (1, 2, 3)), "instance norm": normalised(images, (2, 3))}

# %%
fig, axes = plt.subplots(4, 4, figsize=(6, 6.2))
for row, (name, batch) in zip(axes, shown.items()):
    for ax, image in zip(row, batch):
        ax.imshow(np.clip(0.5 + 0.22 * image, 0, 1).transpose(1, 2, 0))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    row[0].set_ylabel(name)
for ax, title in zip(axes[0], ("as it is", "made dark", "made pale", "as it is")):
    ax.set_title(title, fontsize=11)
fig.tight_layout()
plt.show()

# %% [markdown]
# ## 6. Spatial batch norm
#
# A channel of a feature map shows the answer of one filter at all places. Its statistics should
# belong to the filter and not to the place, so batch norm on images averages over N, H and W
# together and keeps one mean for each channel. There is nothing new to derive: to your
# `batchnorm_forward`, every pixel of every image is one row.
#
# $$(N, C, H, W) \;\to\; (N, H, W, C) \;\to\; (N \cdot H \cdot W,\; C)$$
#
# Two things go wrong easily. `x.reshape(-1, C)` without the transpose mixes channels and pixels.
# And averaging over N alone would be a normalisation for each pixel: its gradient check passes, but
# it is another function.
#
# Implement `spatial_batchnorm_forward` in `cs231n/layers.py`.

# %%
rng = np.random.default_rng(8)
x = 4 * rng.standard_normal((2, 3, 4, 5)) + 10
out, _ = spatial_batchnorm_forward(x, np.ones(3), np.zeros(3), {"mode": "train"})
scaled, _ = spatial_batchnorm_forward(x, np.array([3.0, 4, 5]), np.array([6.0, 7, 8]),
                                      {"mode": "train"})
with np.printoptions(precision=4, suppress=True):
    for text, maps in [("input", x), ("normalised", out), ("scaled", scaled)]:
        print(f"{text:11s} channel means {maps.mean(axis=(0, 2, 3))}, "
              f"stds {maps.std(axis=(0, 2, 3))}")

# %%
check("spatial_batchnorm_forward")

# %% [markdown]
# Implement `spatial_batchnorm_backward` the same way: reshape `dout`, call `batchnorm_backward` (or
# the simplified one), shape `dx` back. Expect relative errors below about 1e-6.

# %%
def spatial_arrays(shape=(2, 6, 4, 5), unit_axes=False, seed=9):
    """Input, scale and shift for a check, and a random upstream gradient."""
    rng = np.random.default_rng(seed)
    size = (1, shape[1], 1, 1) if unit_axes else shape[1]
    arrays = {"x": 5 * rng.standard_normal(shape) + 12, "gamma": rng.standard_normal(size),
              "beta": rng.standard_normal(size)}
    return arrays, rng.standard_normal(shape)

# %%
arrays, dout = spatial_arrays()
_, cache = spatial_batchnorm_forward(*arrays.values(), {"mode": "train"})
gradient_errors(lambda *a: spatial_batchnorm_forward(*a, {"mode": "train"})[0], arrays, dout,
                spatial_batchnorm_backward(dout, cache))

# %%
check("spatial_batchnorm_backward")

# %% [markdown]
# ## 7. Group norm
#
# With two images on a GPU, batch norm's statistics are poor. Layer norm needs no batch, but it
# treats all channels alike, and in a convolutional net one channel may answer to edges and the next
# to a colour. Wu and He (2018, [arXiv:1803.08494](https://arxiv.org/abs/1803.08494)) split the C
# channels of each image into G groups of neighbours, and normalise each group of each image:
#
# $$\mathcal S_i = \Bigl\{ k : k_N = i_N,\;
# \Bigl\lfloor \frac{k_C}{C/G} \Bigr\rfloor = \Bigl\lfloor \frac{i_C}{C/G} \Bigr\rfloor \Bigr\}$$
#
# is the set over which the entry $i$ takes its mean and variance (equation 7 of the paper): same
# image, same group, all places.
#
# ### Exercise
#
# Implement `spatial_groupnorm_forward` in `cs231n/layers.py`. The reshape
# $(N, C, H, W) \to (N \cdot G,\; C/G \cdot H \cdot W)$ turns it into layer norm by rows; no
# transpose is needed, because the channels of a group are neighbours in memory. `gamma` and `beta`
# have the shape (1, C, 1, 1), and act on the output in its original shape. Read `eps` with
# `.get('eps', 1e-5)`; the stub does not.

# %%
rng = np.random.default_rng(10)
x = 4 * rng.standard_normal((2, 6, 4, 5)) + 10 + np.arange(6)[:, None, None]
ones, zeros = np.ones((1, 6, 1, 1)), np.zeros((1, 6, 1, 1))
out, _ = spatial_groupnorm_forward(x, ones, zeros, 2, {})
groups = out.reshape(2, 2, -1)
print("means of the 2 x 2 groups", groups.mean(axis=2).round(6).tolist())
print("stds  of the 2 x 2 groups", groups.std(axis=2).round(6).tolist())
one_group, _ = spatial_groupnorm_forward(x, ones, zeros, 1, {})
print("G = 1 averages like layer norm:", np.allclose(one_group, normalised(x, (1, 2, 3))))
all_groups, _ = spatial_groupnorm_forward(x, ones, zeros, 6, {})
print("G = C is instance norm:        ", np.allclose(all_groups, normalised(x, (2, 3))))

# %%
check("spatial_groupnorm_forward")

# %% [markdown]
# ### Backward
#
# The formula is the one of layer norm, with the $M = \frac CG H W$ numbers of a group in the place
# of the features of a row. With $\partial\hat x = \gamma\,\partial y$ and all sums over one group:
#
# $$\partial x = \frac{s}{M}\Bigl( M\,\partial\hat x - \sum \partial\hat x
# - \hat x \sum \partial\hat x\,\hat x \Bigr), \qquad s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}$$
#
# $\partial\gamma$ and $\partial\beta$ are sums over N, H and W, kept in the shape (1, C, 1, 1).
#
# Implement `spatial_groupnorm_backward` in `cs231n/layers.py`. Expect errors below about 1e-6.

# %%
arrays, dout = spatial_arrays(unit_axes=True)
_, cache = spatial_groupnorm_forward(*arrays.values(), 2, {})
gradient_errors(lambda *a: spatial_groupnorm_forward(*a, 2, {})[0], arrays, dout,
                spatial_groupnorm_backward(dout, cache))

# %%
check("spatial_groupnorm_backward")

# %% [markdown]
# ## 8. Instance norm
#
# Instance norm (Ulyanov, Vedaldi and Lempitsky 2016,
# [arXiv:1607.08022](https://arxiv.org/abs/1607.08022)) takes the mean of each map by itself, over H
# and W. It removes an image's own brightness and contrast in each channel. That is welcome in style
# transfer, where the style of the content image is to be forgotten, and unwelcome where brightness
# or colour tells the classes apart.
#
# Implement `spatial_instancenorm_forward(x, gamma, beta, in_param)` in `cs231n/layers.py`. Here
# `gamma` and `beta` have the shape (C,). It is group norm with C groups, if you want it short. Read
# `eps` with `.get('eps', 1e-5)`; the stub does not.

# %%
x = 4 * np.random.default_rng(11).standard_normal((2, 3, 6, 5)) + 10
out, _ = spatial_instancenorm_forward(x, np.ones(3), np.zeros(3), {})
print("largest mean of a map      ", f"{np.abs(out.mean(axis=(2, 3))).max():.1e}")
print("stds of the maps           ", out.std(axis=(2, 3)).round(6).tolist())
brighter, _ = spatial_instancenorm_forward(3 * x + 50, np.ones(3), np.zeros(3), {})
print("change when contrast and brightness change", f"{np.abs(brighter - out).max():.1e}")

# %%
check("spatial_instancenorm_forward")

# %% [markdown]
# Implement `spatial_instancenorm_backward`. Expect errors below about 1e-6.

# %%
arrays, dout = spatial_arrays()
_, cache = spatial_instancenorm_forward(*arrays.values(), {})
gradient_errors(lambda *a: spatial_instancenorm_forward(*a, {})[0], arrays, dout,
                spatial_instancenorm_backward(dout, cache))

# %%
check("spatial_instancenorm_backward")

# %% [markdown]
# ## 9. Switchable norm
#
# Which one should a layer use? Luo et al. (2018,
# [arXiv:1806.10779](https://arxiv.org/abs/1806.10779)) let the layer learn it. It mixes the
# *statistics* of instance, layer and batch norm, with separate weights for means and variances
# (their equation 3):
#
# $$\hat x_{ncij} = \frac{x_{ncij} - \sum_k w_k\, \mu_k}{\sqrt{\sum_k w'_k\, \sigma_k^2 + \epsilon}},
# \qquad w = \mathrm{softmax}(\lambda), \quad w' = \mathrm{softmax}(\lambda'),
# \qquad k \in \{\text{in}, \text{ln}, \text{bn}\}$$
#
# $\lambda$ (`lambda_mean`) and $\lambda'$ (`lambda_var`) are three numbers each and are learned
# with all the other parameters. At $\lambda = 0$ each statistic has the weight 1/3.

# %% [markdown]
# ### One pass over the data
#
# All statistics come from those of instance norm, which have the shape (N, C):
#
# $$\mu_{\text{ln}} = \frac1C\sum_c \mu_{\text{in}}, \qquad
# \sigma^2_{\text{ln}} = \frac1C\sum_c (\sigma^2_{\text{in}} + \mu^2_{\text{in}}) - \mu^2_{\text{ln}}$$
#
# $$\mu_{\text{bn}} = \frac1N\sum_n \mu_{\text{in}}, \qquad
# \sigma^2_{\text{bn}} = \frac1N\sum_n (\sigma^2_{\text{in}} + \mu^2_{\text{in}}) - \mu^2_{\text{bn}}$$
#
# The average of the variances alone would not do: the maps also differ in their means, and that is
# what the $\mu^2$ terms add.
#
# ### Exercise
#
# Implement `switchable_norm_forward(x, gamma, beta, sn_param)` in `cs231n/layers.py`. `sn_param`
# holds `lambda_mean` and `lambda_var` in the order instance, layer, batch. In test mode running
# averages stand in for the batch statistics, as in batch norm; the other two are computed as ever.
# (The paper averages over a few batches after training instead.) In training write `running_mean`
# and `running_var`, of shape (C,), back into `sn_param`, as in batch norm.
#
# The cell sets one logit to a large value, which switches to one of the three norms.

# %%
arrays, dout = spatial_arrays()
x = arrays["x"]
pure = {"instance": (2, 3), "layer": (1, 2, 3), "batch": (0, 2, 3)}
for k, (name, axes) in enumerate(pure.items()):
    logits = np.zeros(3)
    logits[k] = 50.0
    sn_param = {"mode": "train", "lambda_mean": logits, "lambda_var": logits}
    out, _ = switchable_norm_forward(x, np.ones(6), np.zeros(6), sn_param)
    print(f"switched to {name:8s} norm: largest difference "
          f"{np.abs(out - normalised(x, axes)).max():.1e}")

# %%
check("switchable_norm_forward")

# %% [markdown]
# ### Backward
#
# Write $\mu$ and $\sigma^2$ for the mixtures, of shape (N, C), and
# $s = (\sigma^2 + \epsilon)^{-1/2}$. With $\partial\hat x = \gamma\,\partial y$, first the
# gradients of the mixtures, summed over the pixels of one map:
#
# $$\partial\mu = -s \sum_{ij} \partial\hat x, \qquad
# \partial\sigma^2 = -\tfrac12 s^2 \sum_{ij} \partial\hat x\,\hat x$$
#
# The mixture is linear in its weights, and behind the weights there is a softmax:
#
# $$\partial w_k = \sum_{n,c} \partial\mu\;\mu_k, \qquad
# \partial\lambda_k = w_k \Bigl( \partial w_k - \sum_z w_z\,\partial w_z \Bigr)$$
#
# and the same for $\lambda'$ with $\partial\sigma^2$ and $\sigma^2_k$.

# %% [markdown]
# Last, each entry of $x$ reaches the output directly and through three means and three variances. A
# mean over a set of $M$ numbers passes on $1/M$ of its gradient to each, a variance
# $\frac2M (x - \mu_k)$:
#
# $$\partial x = s\,\partial\hat x
# + \frac{1}{HW}\Bigl( w_{\text{in}}\,\partial\mu + 2 w'_{\text{in}}\,\partial\sigma^2 (x - \mu_{\text{in}}) \Bigr)$$
# $$\qquad + \frac{1}{CHW}\Bigl( w_{\text{ln}} \textstyle\sum_c \partial\mu
# + 2 w'_{\text{ln}} \sum_c \partial\sigma^2 \,(x - \mu_{\text{ln}}) \Bigr)
# + \frac{1}{NHW}\Bigl( w_{\text{bn}} \sum_n \partial\mu
# + 2 w'_{\text{bn}} \sum_n \partial\sigma^2 \,(x - \mu_{\text{bn}}) \Bigr)$$
#
# ### Exercise
#
# Implement `switchable_norm_backward(dout, cache)` in `cs231n/layers.py`. It returns
# `dx, dgamma, dbeta, dlambda_mean, dlambda_var`. Expect errors below about 1e-6. The sum over the
# three entries of each $\partial\lambda$ is 0, because adding a number to all logits changes
# nothing.

# %%
arrays, dout = spatial_arrays(shape=(3, 4, 3, 4))
arrays |= {"lambda_mean": np.array([0.3, -0.5, 0.8]), "lambda_var": np.array([-0.2, 0.6, 0.1])}

def switchable(x, gamma, beta, lambda_mean, lambda_var):
    sn_param = {"mode": "train", "lambda_mean": lambda_mean, "lambda_var": lambda_var}
    return switchable_norm_forward(x, gamma, beta, sn_param)

_, cache = switchable(*arrays.values())
grads = switchable_norm_backward(dout, cache)
gradient_errors(lambda *a: switchable(*a)[0], arrays, dout, grads)
print("sums of dlambda:", f"{grads[3].sum():.1e}", f"{grads[4].sum():.1e}")

# %%
check("switchable_norm_backward")

# %% [markdown]
# ## 10. Experiment: what does switchable norm choose?
#
# A small net learns CIFAR-10 at 16 x 16 pixels: two blocks of conv - switchable norm - ReLU - max
# pool, then an affine layer. We write its training loop by hand, once with batches of 2 images and
# once with 32, and look at the weights $w$ and $w'$ that come out. With two images batch statistics
# are noisy, so we may expect the net to trust them less.

# %%
def new_net(rng):
    params = {"W3": 0.05 * rng.standard_normal((256, 10)), "b3": np.zeros(10)}
    for i, (C, F) in enumerate([(3, 8), (8, 16)], start=1):
        params |= {f"W{i}": rng.standard_normal((F, C, 3, 3)) / np.sqrt(4.5 * C),
                   f"b{i}": np.zeros(F), f"gamma{i}": np.ones(F),
                   f"beta{i}": np.zeros(F), f"mean{i}": np.zeros(3), f"var{i}": np.zeros(3)}
    return {name: value.astype(np.float32) for name, value in params.items()}

CONV = {"stride": 1, "pad": 1}
POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}

# %%
def block_forward(x, p, i):
    sn_param = {"mode": "train", "lambda_mean": p[f"mean{i}"], "lambda_var": p[f"var{i}"]}
    a, conv_cache = conv_forward_fast(x, p[f"W{i}"], p[f"b{i}"], CONV)
    a, norm_cache = switchable_norm_forward(a, p[f"gamma{i}"], p[f"beta{i}"], sn_param)
    a, relu_cache = relu_forward(a)
    a, pool_cache = max_pool_forward_fast(a, POOL)
    return a, (conv_cache, norm_cache, relu_cache, pool_cache)

# %%
def block_backward(da, cache, grads, i):
    conv_cache, norm_cache, relu_cache, pool_cache = cache
    da = relu_backward(max_pool_backward_fast(da, pool_cache), relu_cache)
    da, *of_norm = switchable_norm_backward(da, norm_cache)
    dx, *of_conv = conv_backward_fast(da, conv_cache)
    names = [f"gamma{i}", f"beta{i}", f"mean{i}", f"var{i}", f"W{i}", f"b{i}"]
    grads.update(zip(names, of_norm + of_conv))
    return dx

# %%
def loss_and_grads(p, X, y):
    first, cache1 = block_forward(X, p, 1)
    second, cache2 = block_forward(first, p, 2)
    scores, cache3 = affine_forward(second, p["W3"], p["b3"])
    loss, dscores = softmax_loss(scores, y)
    grads = {}
    da, grads["W3"], grads["b3"] = affine_backward(dscores, cache3)
    block_backward(block_backward(da, cache2, grads, 2), cache1, grads, 1)
    return loss, grads

small = data["X_train"][:10000].reshape(10000, 3, 16, 2, 16, 2).mean(axis=(3, 5)) / 60
labels = data["y_train"][:10000]

# %%
def train_switchable(batch_size, seed, num_steps):
    rng = np.random.default_rng(seed)
    params, configs, losses = new_net(rng), {}, []
    for _ in range(num_steps):
        batch = rng.integers(len(small), size=batch_size)
        loss, grads = loss_and_grads(params, small[batch], labels[batch])
        for name in params:
            rate = 1e-2 if name[:-1] in ("mean", "var") else 1e-3
            config = configs.setdefault(name, {"learning_rate": rate})
            params[name], configs[name] = optim.adam(params[name], grads[name], config)
        losses.append(loss)
    return params, losses

# %%
SIZES, SEEDS, STEPS = (2, 32), (0,) if SMOKE else (0, 1, 2), 60 if SMOKE else 1000
learned = {}
for size in SIZES:
    for seed in tqdm(SEEDS, desc=f"batches of {size}", file=sys.stdout):
        learned[size, seed] = train_switchable(size, seed, STEPS)

# %%
def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()

# %%
fig, axes = plt.subplots(1, 4, figsize=(14, 3.4), sharey=True)
for ax, (name, title) in zip(axes, [("mean1", "layer 1: means"), ("var1", "layer 1: variances"),
                                    ("mean2", "layer 2: means"), ("var2", "layer 2: variances")]):
    for shift, size, colour in [(-0.2, 2, ORANGE), (0.2, 32, BLUE)]:
        w = np.array([softmax(learned[size, seed][0][name]) for seed in SEEDS])
        spread = [w.mean(axis=0) - w.min(axis=0), w.max(axis=0) - w.mean(axis=0)]
        ax.bar(np.arange(3) + shift, w.mean(axis=0), 0.38, color=colour, yerr=spread, capsize=3,
               label=f"batches of {size}")
    ax.axhline(1 / 3, color="black", ls=":")
    ax.set_xticks(range(3), ["instance", "layer", "batch"])
    ax.set_title(title)
axes[0].set_ylabel("weight (softmax of lambda)")
fig.legend(*axes[0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(0.91, 0.5))
plt.show()

# %% [markdown]
# **What to see.** The bars are means over three starts, the whiskers the smallest and largest of
# them. In the second layer batch means have more than 80 % of the weight with batches of 32, and
# about half with batches of 2. The variances of batch norm gain with the larger batches in both
# layers. With batches of 2 the net leans on layer norm, whose statistics come from one image and
# many pixels: for the means of the first layer and the variances of the second. The layers differ a
# lot from one another, so one choice for the whole net would not be the best.

# %% [markdown]
# ### Question 2
#
# Compare the weights of batch statistics at the two batch sizes. Give the reason. Then: at test
# time, which of the three statistics can be computed from a single image, and what do you need for
# the third?

# %% [markdown] question="conv_q2" points=1
# With batches of 32 batch statistics get clearly more weight than with batches of 2: most visibly
# for the means of the second layer. A mean over two images is noisy. It depends on which other
# image happens to be in the batch, and this noise goes into the output of the layer. The gradient
# of $\lambda$ moves weight to statistics that make the loss smaller, which here are those with less
# noise: instance and layer statistics do not depend on the batch at all.
#
# At test time instance and layer statistics come from the single image. Batch statistics need other
# images, so one keeps averages from training: running averages as in batch norm, or averages over
# some batches after training.

# %% [markdown]
# ## What to take away
#
# * A convolution shares a small set of weights over all places. Its backward pass adds up where
#   windows overlap, and so does that of max pooling.
# * Check small things first: the initial loss, gradients in float64, 100 images by heart.
# * All five normalisations are one formula. What differs is which numbers share a mean and a variance.
# * Only statistics that do not look at other images are the same in training and in testing, for any
#   size of batch.
