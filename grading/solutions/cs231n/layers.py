"""The layers: each forward with its backward below it.

A forward returns `(out, cache)`. Its backward takes the upstream gradient `dout`, of the
shape of `out`, and that cache, and returns the gradients of the loss for the inputs. What is
in a cache is the layer's own affair. No function changes its array arguments, and float32
inputs give float32 results. What the layers check of their arguments stands at the end.
For the entries of a dictionary, the default stands after the semicolon, or 'required'.

N is the number of examples, C the channels, H and W the height and width of an image, D the
features, M the outputs of an affine layer, F the filters, HH and WW their height and width.
"""

import numpy as np

# Fully connected networks


def affine_forward(x, w, b):
    """Fully connected layer: out = x w + b, with every example flattened to D features.

    Goodfellow, Bengio, Courville, "Deep Learning" (2016), Section 6.5.4.

    Args:
        x: (N, d_1, ..., d_k), with D = d_1 * ... * d_k.
        w: (D, M).
        b: (M,).

    Returns:
        out (N, M), cache.

    Raises:
        ValueError: w has not two axes, or the shape of x or b does not fit w.
    """
    _check_axes("w", w, "D, M")
    _check_features("x", x, w.shape[0])
    _check_shape("b", b, (w.shape[1],))
    ### BEGIN SOLUTION
    rows = x.reshape(x.shape[0], w.shape[0])  # (N, D)
    out = rows @ w + b
    return out, (x, w)
    ### END SOLUTION


def affine_backward(dout, cache):
    """Gradients of the affine layer: dx = dout w^T, dw = x^T dout, db = sum of dout over N.

    Goodfellow, Bengio, Courville, "Deep Learning" (2016), Section 6.5.4.

    Args:
        dout: (N, M).
        cache: from affine_forward.

    Returns:
        dx (N, d_1, ..., d_k), dw (D, M), db (M,).

    Raises:
        ValueError: dout has not two axes.
    """
    _check_axes("dout", dout, "N, M")
    ### BEGIN SOLUTION
    x, w = cache
    _check_shape("dout", dout, (x.shape[0], w.shape[1]))
    db = dout.sum(axis=0)
    dw = x.reshape(x.shape[0], w.shape[0]).T @ dout  # (D, N) @ (N, M)
    dx = (dout @ w.T).reshape(x.shape)
    return dx, dw, db
    ### END SOLUTION


def relu_forward(x):
    """Rectified linear unit: out = max(0, x), entry by entry.

    Glorot, Bordes, Bengio, "Deep Sparse Rectifier Neural Networks" (2011), Section 3.

    Args:
        x: any shape.

    Returns:
        out (the shape of x), cache.
    """
    ### BEGIN SOLUTION
    return np.maximum(x, 0), x
    ### END SOLUTION


def relu_backward(dout, cache):
    """Gradient of the rectified linear unit: dx = dout where x > 0, else 0.

    Glorot, Bordes, Bengio, "Deep Sparse Rectifier Neural Networks" (2011), Section 3.

    Args:
        dout: the shape of x.
        cache: from relu_forward.

    Returns:
        dx (the shape of dout).
    """
    ### BEGIN SOLUTION
    x = cache
    _check_shape("dout", dout, x.shape)
    return dout * (x > 0)
    ### END SOLUTION


def softmax_loss(x, y):
    """Mean cross-entropy of the softmax of the scores, and its gradient.

    p_ij = exp(x_ij) / sum_k exp(x_ik),  loss = -1/N sum_i log p_(i, y_i).
    Goodfellow, Bengio, Courville, "Deep Learning" (2016), Section 6.2.2.3.

    Args:
        x: (N, C), scores; finite scores of any size give a finite loss.
        y: (N,), integer labels with 0 <= y_i < C.

    Returns:
        loss (a number), dx (N, C).

    Raises:
        ValueError: x has not two axes, or y is not (N,), not integers, or not in [0, C).
    """
    _check_axes("x", x, "N, C")
    _check_shape("y", y, (x.shape[0],))
    _check_labels("y", y, x.shape[1])
    ### BEGIN SOLUTION
    examples = np.arange(x.shape[0])
    # The shift leaves the softmax as it is, and keeps exp from overflowing.
    shifted = x - x.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # (N, C)
    loss = -log_p[examples, y].mean()

    dx = np.exp(log_p)
    dx[examples, y] -= 1
    dx /= x.shape[0]
    return loss, dx
    ### END SOLUTION


# Normalisation of features


def batchnorm_forward(x, gamma, beta, bn_param):
    """Batch normalisation: every feature is normalised over the examples, scaled and shifted.

    out = gamma * (x - mean) / sqrt(var + eps) + beta.
    In training, mean and (biased) var are the batch's, and the running ones are written back:
    running = momentum * running + (1 - momentum) * batch. In test mode they are the running ones.
    Ioffe, Szegedy, "Batch Normalization" (2015), Section 3, Algorithm 1; the test mode: Section
    3.1 (which takes the unbiased variance there; the biased one is used here).

    Args:
        x: (N, D).
        gamma: (D,), the scale.
        beta: (D,), the shift.
        bn_param: dictionary with
            mode: 'train' or 'test'; required.
            eps: added to the variance inside the root; 1e-5.
            momentum: share of the running statistics that is kept; 0.9.
            running_mean: (D,); zeros.
            running_var: (D,); zeros.

    Returns:
        out (N, D), cache (good for both backwards).

    Raises:
        ValueError: a shape is wrong, or the mode is neither 'train' nor 'test'.
    """
    _check_axes("x", x, "N, D")
    _check_shape("gamma", gamma, (x.shape[1],))
    _check_shape("beta", beta, (x.shape[1],))
    mode, eps, momentum, running_mean, running_var = _read_batchnorm("bn_param", bn_param, x)
    ### BEGIN SOLUTION
    if mode == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)  # (D,)
        bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean
        bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    else:
        mean, var = running_mean, running_var

    centred = x - mean
    std = np.sqrt(var + eps)
    x_hat = centred / std
    out = gamma * x_hat + beta
    return out, (centred, std, x_hat, gamma, mode)
    ### END SOLUTION


def batchnorm_backward(dout, cache):
    """Gradients of batch normalisation, step by step up its computational graph.

    Both the mean and the variance of a batch depend on x, and each has a path to dx. In test
    mode they are constants, and dx = gamma * dout / sqrt(var + eps).
    Ioffe, Szegedy, "Batch Normalization" (2015), Section 3, the equations after Algorithm 1.

    Args:
        dout: (N, D).
        cache: from batchnorm_forward.

    Returns:
        dx (N, D), dgamma (D,), dbeta (D,).

    Raises:
        ValueError: dout has not two axes.
    """
    _check_axes("dout", dout, "N, D")
    ### BEGIN SOLUTION
    centred, std, x_hat, gamma, mode = cache
    _check_shape("dout", dout, x_hat.shape)
    N = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * x_hat).sum(axis=0)
    dx_hat = dout * gamma
    dx = dx_hat / std
    if mode == "train":
        dvar = (dx_hat * centred).sum(axis=0) * -0.5 / std**3  # (D,)
        dmean = -dx.sum(axis=0)  # nothing by way of var: the centred values sum to 0
        dx = dx + dvar * 2 * centred / N + dmean / N
    return dx, dgamma, dbeta
    ### END SOLUTION


def batchnorm_backward_alt(dout, cache):
    """Gradients of batch normalisation, simplified on paper.

    dx = gamma / (N sqrt(var + eps)) * (N dout - dbeta - x_hat * dgamma), in training; the same
    numbers as batchnorm_backward, in fewer steps.
    Ioffe, Szegedy, "Batch Normalization" (2015), Section 3, the equations after Algorithm 1.

    Args:
        dout: (N, D).
        cache: from batchnorm_forward.

    Returns:
        dx (N, D), dgamma (D,), dbeta (D,).

    Raises:
        ValueError: dout has not two axes.
    """
    _check_axes("dout", dout, "N, D")
    ### BEGIN SOLUTION
    _, std, x_hat, gamma, mode = cache
    _check_shape("dout", dout, x_hat.shape)
    N = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * x_hat).sum(axis=0)
    if mode == "train":
        dx = gamma / (N * std) * (N * dout - dbeta - x_hat * dgamma)
    else:
        dx = gamma / std * dout
    return dx, dgamma, dbeta
    ### END SOLUTION


def layernorm_forward(x, gamma, beta, ln_param):
    """Layer normalisation: every example is normalised over its features, scaled and shifted.

    out = gamma * (x - mean) / sqrt(var + eps) + beta, with the mean and the biased variance of
    each row: nothing depends on the other examples, so training and test are the same.
    Ba, Kiros, Hinton, "Layer Normalization" (2016), Section 3.

    Args:
        x: (N, D).
        gamma: (D,), the scale.
        beta: (D,), the shift.
        ln_param: dictionary with
            eps: added to the variance inside the root; 1e-5.
            Other keys, such as mode, are ignored.

    Returns:
        out (N, D), cache.

    Raises:
        ValueError: a shape is wrong.
    """
    _check_axes("x", x, "N, D")
    _check_shape("gamma", gamma, (x.shape[1],))
    _check_shape("beta", beta, (x.shape[1],))
    ### BEGIN SOLUTION
    eps = ln_param.get("eps", 1e-5)
    std = np.sqrt(x.var(axis=1, keepdims=True) + eps)  # (N, 1)
    x_hat = (x - x.mean(axis=1, keepdims=True)) / std
    out = gamma * x_hat + beta
    return out, (x_hat, std, gamma)
    ### END SOLUTION


def layernorm_backward(dout, cache):
    """Gradients of layer normalisation.

    With dx_hat = gamma * dout, and means over the features of a row:
    dx = (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)) / sqrt(var + eps).
    Ba, Kiros, Hinton, "Layer Normalization" (2016), Section 3.

    Args:
        dout: (N, D).
        cache: from layernorm_forward.

    Returns:
        dx (N, D), dgamma (D,), dbeta (D,).

    Raises:
        ValueError: dout has not two axes.
    """
    _check_axes("dout", dout, "N, D")
    ### BEGIN SOLUTION
    x_hat, std, gamma = cache
    _check_shape("dout", dout, x_hat.shape)
    dbeta = dout.sum(axis=0)
    dgamma = (dout * x_hat).sum(axis=0)
    dx_hat = dout * gamma
    by_mean = dx_hat.mean(axis=1, keepdims=True)  # (N, 1)
    by_var = x_hat * (dx_hat * x_hat).mean(axis=1, keepdims=True)  # (N, D)
    dx = (dx_hat - by_mean - by_var) / std
    return dx, dgamma, dbeta
    ### END SOLUTION


# Dropout


def dropout_forward(x, dropout_param):
    """Inverted dropout: each entry is kept with probability p, and divided by p when kept.

    In training out = x * mask / p, where a mask entry is 1 with the keep probability p and else
    0, so that the expectation of out is x. In test mode out = x.
    Srivastava et al., "Dropout" (2014), Section 4; the scaling in training: Section 10.

    Args:
        x: any shape.
        dropout_param: dictionary with
            p: the keep probability, 0 < p <= 1 (p = 1 drops nothing); required.
            mode: 'train' or 'test'; required.
            seed: fixes the mask (for gradient checks); optional.

    Returns:
        out (the shape of x), cache.

    Raises:
        ValueError: p is not in (0, 1], or the mode is neither 'train' nor 'test'.
    """
    mode, p, rng = _read_dropout("dropout_param", dropout_param)
    ### BEGIN SOLUTION
    if mode == "test":
        return x.copy(), None
    # The comparison is true with probability p; the cast keeps a float32 x in float32.
    mask = ((rng.random_sample(x.shape) < p) / p).astype(x.dtype)
    return x * mask, mask
    ### END SOLUTION


def dropout_backward(dout, cache):
    """Gradient of dropout: dx = dout * mask / p in training, dx = dout in test mode.

    Srivastava et al., "Dropout" (2014), Section 4.

    Args:
        dout: the shape of x.
        cache: from dropout_forward.

    Returns:
        dx (the shape of dout).
    """
    ### BEGIN SOLUTION
    mask = cache
    if mask is None:
        return dout.copy()
    _check_shape("dout", dout, mask.shape)
    return dout * mask
    ### END SOLUTION


# Convolutional networks


def conv_forward_naive(x, w, b, conv_param):
    """Convolution layer: F filters slide over the zero-padded images.

    out[n, f, i, j] = b[f] + sum over c, k, l of xp[n, c, i S + k, j S + l] * w[f, c, k, l],
    where xp is x with pad zeros on all four sides and S is the stride;
    H_out = 1 + (H + 2 pad - HH) // S, and W_out likewise.
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016), Section 2.

    Args:
        x: (N, C, H, W).
        w: (F, C, HH, WW).
        b: (F,).
        conv_param: dictionary with
            stride: pixels between neighbouring windows, at least 1; required.
            pad: zeros on each side, at least 0; required.

    Returns:
        out (N, F, H_out, W_out), cache.

    Raises:
        ValueError: a shape is wrong, the filters are larger than the padded images, or the
            stride or pad is no such integer.
    """
    _check_axes("x", x, "N, C, H, W")
    _check_axes("w", w, "F, C, HH, WW")
    _check_shape("w", w, (w.shape[0], x.shape[1], *w.shape[2:]))
    _check_shape("b", b, (w.shape[0],))
    stride, pad = _read_integers("conv_param", conv_param, stride=1, pad=0)
    _check_fits("w", w.shape[2:], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad)
    ### BEGIN SOLUTION
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    H_out = 1 + (H + 2 * pad - HH) // stride
    W_out = 1 + (W + 2 * pad - WW) // stride
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))

    out = np.empty((N, F, H_out, W_out), dtype=np.result_type(x, w))
    for i in range(H_out):
        for j in range(W_out):
            top, left = i * stride, j * stride
            window = xp[:, :, top : top + HH, left : left + WW]  # (N, C, HH, WW)
            out[:, :, i, j] = np.tensordot(window, w, axes=((1, 2, 3), (1, 2, 3))) + b  # (N, F)
    return out, (xp, w, stride, pad)
    ### END SOLUTION


def conv_backward_naive(dout, cache):
    """Gradients of the convolution layer.

    Every output position adds dout * w to the window that it saw, and dout * window to dw; the
    gradient of the padding is cut off.
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016), Section 2.

    Args:
        dout: (N, F, H_out, W_out).
        cache: from conv_forward_naive.

    Returns:
        dx (N, C, H, W), dw (F, C, HH, WW), db (F,).

    Raises:
        ValueError: dout has not four axes.
    """
    _check_axes("dout", dout, "N, F, H_out, W_out")
    ### BEGIN SOLUTION
    xp, w, stride, pad = cache
    N, _, H_padded, W_padded = xp.shape
    F, _, HH, WW = w.shape
    H_out = 1 + (H_padded - HH) // stride
    W_out = 1 + (W_padded - WW) // stride
    _check_shape("dout", dout, (N, F, H_out, W_out))

    db = dout.sum(axis=(0, 2, 3))
    dw = np.zeros_like(w)
    dxp = np.zeros_like(xp)
    for i in range(H_out):
        for j in range(W_out):
            top, left = i * stride, j * stride
            here = dout[:, :, i, j]  # (N, F)
            window = xp[:, :, top : top + HH, left : left + WW]  # (N, C, HH, WW)
            dw += np.tensordot(here, window, axes=(0, 0))
            dxp[:, :, top : top + HH, left : left + WW] += np.tensordot(here, w, axes=(1, 0))
    # Not pad:-pad, which is empty at padding 0.
    dx = dxp[:, :, pad : H_padded - pad, pad : W_padded - pad]
    return dx, dw, db
    ### END SOLUTION


def max_pool_forward_naive(x, pool_param):
    """Max pooling: the largest value of every window of every channel.

    out[n, c, i, j] = max over k, l of x[n, c, i S + k, j S + l], with stride S;
    H_out = 1 + (H - pool_height) // S, and W_out likewise. Windows may overlap, and need not
    reach the last rows and columns.
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016), Section 3.

    Args:
        x: (N, C, H, W).
        pool_param: dictionary with
            pool_height, pool_width: size of a window, at least 1; required.
            stride: pixels between neighbouring windows, at least 1; required.

    Returns:
        out (N, C, H_out, W_out), cache.

    Raises:
        ValueError: x has not four axes, an entry of pool_param is no such integer, or a window
            is larger than the images.
    """
    _check_axes("x", x, "N, C, H, W")
    pool_height, pool_width, stride = _read_integers(
        "pool_param", pool_param, pool_height=1, pool_width=1, stride=1
    )
    _check_fits("pool_param", (pool_height, pool_width), x.shape[2], x.shape[3])
    ### BEGIN SOLUTION
    N, C, H, W = x.shape
    H_out = 1 + (H - pool_height) // stride
    W_out = 1 + (W - pool_width) // stride

    out = np.empty((N, C, H_out, W_out), dtype=x.dtype)
    for i in range(H_out):
        for j in range(W_out):
            top, left = i * stride, j * stride
            window = x[:, :, top : top + pool_height, left : left + pool_width]
            out[:, :, i, j] = window.max(axis=(2, 3))  # (N, C)
    return out, (x, pool_height, pool_width, stride)
    ### END SOLUTION


def max_pool_backward_naive(dout, cache):
    """Gradient of max pooling: each output's gradient goes to the maximum of its window.

    Where windows overlap the gradients add up; of equal maxima any one takes it, or all
    of them a share.
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016), Section 3.

    Args:
        dout: (N, C, H_out, W_out).
        cache: from max_pool_forward_naive.

    Returns:
        dx (N, C, H, W).

    Raises:
        ValueError: dout has not four axes.
    """
    _check_axes("dout", dout, "N, C, H_out, W_out")
    ### BEGIN SOLUTION
    x, pool_height, pool_width, stride = cache
    N, C, H, W = x.shape
    H_out = 1 + (H - pool_height) // stride
    W_out = 1 + (W - pool_width) // stride
    _check_shape("dout", dout, (N, C, H_out, W_out))
    size = (N, C, pool_height, pool_width)

    dx = np.zeros_like(x)
    for i in range(H_out):
        for j in range(W_out):
            top, left = i * stride, j * stride
            window = x[:, :, top : top + pool_height, left : left + pool_width]
            first = window.reshape(N, C, -1).argmax(axis=2)  # (N, C)
            chosen = np.arange(pool_height * pool_width) == first[:, :, None]
            here = dout[:, :, i, j, None, None] * chosen.reshape(size)
            dx[:, :, top : top + pool_height, left : left + pool_width] += here
    return dx
    ### END SOLUTION


# Normalisation of images


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    """Batch normalisation of images: every channel is normalised over N, H and W.

    out = gamma_c * (x - mean_c) / sqrt(var_c + eps) + beta_c.
    Ioffe, Szegedy, "Batch Normalization" (2015), Section 3.2.

    Args:
        x: (N, C, H, W).
        gamma: (C,), the scale.
        beta: (C,), the shift.
        bn_param: as for batchnorm_forward, with running_mean and running_var (C,).

    Returns:
        out (N, C, H, W), cache.

    Raises:
        ValueError: a shape is wrong, or the mode is neither 'train' nor 'test'.
    """
    _check_axes("x", x, "N, C, H, W")
    _check_shape("gamma", gamma, (x.shape[1],))
    _check_shape("beta", beta, (x.shape[1],))
    _read_mode("bn_param", bn_param)
    ### BEGIN SOLUTION
    N, C, H, W = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, C)  # (N * H * W, C): a channel is a feature
    out, cache = batchnorm_forward(rows, gamma, beta, bn_param)
    return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), cache
    ### END SOLUTION


def spatial_batchnorm_backward(dout, cache):
    """Gradients of spatial batch normalisation.

    Ioffe, Szegedy, "Batch Normalization" (2015), Section 3.2.

    Args:
        dout: (N, C, H, W).
        cache: from spatial_batchnorm_forward.

    Returns:
        dx (N, C, H, W), dgamma (C,), dbeta (C,).

    Raises:
        ValueError: dout has not four axes.
    """
    _check_axes("dout", dout, "N, C, H, W")
    ### BEGIN SOLUTION
    N, C, H, W = dout.shape
    rows = dout.transpose(0, 2, 3, 1).reshape(-1, C)  # (N * H * W, C)
    dx, dgamma, dbeta = batchnorm_backward(rows, cache)
    return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), dgamma, dbeta
    ### END SOLUTION


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    """Group normalisation: the channels of an image in G groups, each normalised by itself.

    out = gamma_c * (x - mean) / sqrt(var + eps) + beta_c, with the mean and biased variance over
    the C / G neighbouring channels of a group and over H and W, for each example by itself.
    One group is layer normalisation of the image, C groups are instance normalisation.
    Wu, He, "Group Normalization" (2018), Section 3.

    Args:
        x: (N, C, H, W).
        gamma: (1, C, 1, 1) or (C,), the scale of each channel.
        beta: (1, C, 1, 1) or (C,), the shift of each channel.
        G: number of groups, a divisor of C.
        gn_param: dictionary with
            eps: added to the variance inside the root; 1e-5.

    Returns:
        out (N, C, H, W), cache.

    Raises:
        ValueError: a shape is wrong, or G does not divide C.
    """
    _check_axes("x", x, "N, C, H, W")
    _check_shape("gamma", gamma, (1, x.shape[1], 1, 1), (x.shape[1],))
    _check_shape("beta", beta, (1, x.shape[1], 1, 1), (x.shape[1],))
    _check_groups("G", G, x.shape[1])
    ### BEGIN SOLUTION
    eps = gn_param.get("eps", 1e-5)
    N, C, H, W = x.shape
    rows = x.reshape(N * G, -1)  # (N * G, C / G * H * W): a group of an example is a row
    std = np.sqrt(rows.var(axis=1, keepdims=True) + eps)  # (N * G, 1)
    rows_hat = (rows - rows.mean(axis=1, keepdims=True)) / std
    x_hat = rows_hat.reshape(x.shape)

    gamma = gamma.reshape(1, C, 1, 1)
    out = gamma * x_hat + beta.reshape(1, C, 1, 1)
    return out, (x_hat, std, gamma, G)
    ### END SOLUTION


def spatial_groupnorm_backward(dout, cache):
    """Gradients of group normalisation.

    With dx_hat = gamma_c * dout, and means over a group of an example:
    dx = (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)) / sqrt(var + eps).
    Wu, He, "Group Normalization" (2018), Section 3.

    Args:
        dout: (N, C, H, W).
        cache: from spatial_groupnorm_forward.

    Returns:
        dx (N, C, H, W), dgamma (1, C, 1, 1), dbeta (1, C, 1, 1).

    Raises:
        ValueError: dout has not four axes.
    """
    _check_axes("dout", dout, "N, C, H, W")
    ### BEGIN SOLUTION
    x_hat, std, gamma, G = cache
    _check_shape("dout", dout, x_hat.shape)
    N = dout.shape[0]
    dbeta = dout.sum(axis=(0, 2, 3), keepdims=True)  # (1, C, 1, 1)
    dgamma = (dout * x_hat).sum(axis=(0, 2, 3), keepdims=True)

    rows = (dout * gamma).reshape(N * G, -1)  # (N * G, C / G * H * W)
    rows_hat = x_hat.reshape(N * G, -1)
    by_mean = rows.mean(axis=1, keepdims=True)
    by_var = rows_hat * (rows * rows_hat).mean(axis=1, keepdims=True)
    dx = ((rows - by_mean - by_var) / std).reshape(dout.shape)
    return dx, dgamma, dbeta
    ### END SOLUTION


def spatial_instancenorm_forward(x, gamma, beta, in_param):
    """Instance normalisation: every channel of every image is normalised over H and W.

    out = gamma_c * (x - mean_nc) / sqrt(var_nc + eps) + beta_c, with the biased variance.
    Ulyanov, Vedaldi, Lempitsky, "Instance Normalization" (2016), Section 2.

    Args:
        x: (N, C, H, W).
        gamma: (C,), the scale.
        beta: (C,), the shift.
        in_param: dictionary with
            eps: added to the variance inside the root; 1e-5.

    Returns:
        out (N, C, H, W), cache.

    Raises:
        ValueError: a shape is wrong.
    """
    _check_axes("x", x, "N, C, H, W")
    _check_shape("gamma", gamma, (x.shape[1],))
    _check_shape("beta", beta, (x.shape[1],))
    ### BEGIN SOLUTION
    eps = in_param.get("eps", 1e-5)
    std = np.sqrt(x.var(axis=(2, 3), keepdims=True) + eps)  # (N, C, 1, 1)
    x_hat = (x - x.mean(axis=(2, 3), keepdims=True)) / std
    gamma = gamma.reshape(1, -1, 1, 1)
    out = gamma * x_hat + beta.reshape(1, -1, 1, 1)
    return out, (x_hat, std, gamma)
    ### END SOLUTION


def spatial_instancenorm_backward(dout, cache):
    """Gradients of instance normalisation.

    With dx_hat = gamma_c * dout, and means over H and W:
    dx = (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)) / sqrt(var + eps).
    Ulyanov, Vedaldi, Lempitsky, "Instance Normalization" (2016), Section 2.

    Args:
        dout: (N, C, H, W).
        cache: from spatial_instancenorm_forward.

    Returns:
        dx (N, C, H, W), dgamma (C,), dbeta (C,).

    Raises:
        ValueError: dout has not four axes.
    """
    _check_axes("dout", dout, "N, C, H, W")
    ### BEGIN SOLUTION
    x_hat, std, gamma = cache
    _check_shape("dout", dout, x_hat.shape)
    dbeta = dout.sum(axis=(0, 2, 3))
    dgamma = (dout * x_hat).sum(axis=(0, 2, 3))
    dx_hat = dout * gamma
    by_mean = dx_hat.mean(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
    by_var = x_hat * (dx_hat * x_hat).mean(axis=(2, 3), keepdims=True)
    dx = (dx_hat - by_mean - by_var) / std
    return dx, dgamma, dbeta
    ### END SOLUTION


def switchable_norm_forward(x, gamma, beta, sn_param):
    """Switchable normalisation: learned weights mix instance, layer and batch statistics.

    out = gamma_c * (x - sum_k w_k mean_k) / sqrt(sum_k v_k var_k + eps) + beta_c,
    w = softmax(lambda_mean), v = softmax(lambda_var), where k runs over IN (over H and W), LN
    (over C, H and W) and BN (over N, H and W), with biased variances. In training the batch's BN
    statistics are used and the running ones written back, as in batchnorm_forward; in test mode
    the running ones take their place.
    Luo et al., "Differentiable Learning-to-Normalize via Switchable Normalization" (2018),
    Section 2, Equations 3 to 5; running statistics in the place of its batch average.

    Args:
        x: (N, C, H, W).
        gamma: (C,), the scale.
        beta: (C,), the shift.
        sn_param: dictionary with
            lambda_mean, lambda_var: (3,), the logits of the weights of IN, LN, BN; required.
            mode: 'train' or 'test'; 'train'.
            eps: added to the mixed variance inside the root; 1e-5.
            momentum: share of the running statistics that is kept; 0.9.
            running_mean: (C,), of BN; zeros.
            running_var: (C,), of BN; zeros.

    Returns:
        out (N, C, H, W), cache.

    Raises:
        ValueError: a shape is wrong, or the mode is neither 'train' nor 'test'.
    """
    _check_axes("x", x, "N, C, H, W")
    _check_shape("gamma", gamma, (x.shape[1],))
    _check_shape("beta", beta, (x.shape[1],))
    _check_shape("sn_param['lambda_mean']", sn_param.get("lambda_mean"), (3,))
    _check_shape("sn_param['lambda_var']", sn_param.get("lambda_var"), (3,))
    with_mode = {"mode": "train", **sn_param}
    mode, eps, momentum, running_mean, running_var = _read_batchnorm("sn_param", with_mode, x)
    ### BEGIN SOLUTION
    logits = np.stack([sn_param["lambda_mean"], sn_param["lambda_var"]]).astype(x.dtype)  # (2, 3)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)

    mean_in = x.mean(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
    var_in = x.var(axis=(2, 3), keepdims=True)
    # The variance of a union: the mean of the variances and the variance of the means. It is
    # the paper's mean of squares less square of the mean, without the cancellation.
    mean_ln = mean_in.mean(axis=1, keepdims=True)  # (N, 1, 1, 1)
    var_ln = var_in.mean(axis=1, keepdims=True) + mean_in.var(axis=1, keepdims=True)
    if mode == "train":
        mean_bn = mean_in.mean(axis=0, keepdims=True)  # (1, C, 1, 1)
        var_bn = var_in.mean(axis=0, keepdims=True) + mean_in.var(axis=0, keepdims=True)
        kept, new = momentum, 1 - momentum
        sn_param["running_mean"] = kept * running_mean + new * mean_bn.reshape(-1)
        sn_param["running_var"] = kept * running_var + new * var_bn.reshape(-1)
    else:
        mean_bn = running_mean.reshape(1, -1, 1, 1)
        var_bn = running_var.reshape(1, -1, 1, 1)

    means, variances = (mean_in, mean_ln, mean_bn), (var_in, var_ln, var_bn)
    mean = sum(w * m for w, m in zip(weights[0], means, strict=True))  # (N, C, 1, 1)
    var = sum(v * s for v, s in zip(weights[1], variances, strict=True))
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    gamma = gamma.reshape(1, -1, 1, 1)
    out = gamma * x_hat + beta.reshape(1, -1, 1, 1)
    return out, (x, x_hat, std, gamma, weights, means, variances, mode)
    ### END SOLUTION


def switchable_norm_backward(dout, cache):
    """Gradients of switchable normalisation, for the logits of its weights too.

    A logit's gradient is that of a softmax: dlambda_k = w_k (dw_k - sum_j w_j dw_j).
    Luo et al., "Differentiable Learning-to-Normalize via Switchable Normalization" (2018),
    Section 2, Equations 3 to 5.

    Args:
        dout: (N, C, H, W).
        cache: from switchable_norm_forward.

    Returns:
        dx (N, C, H, W), dgamma (C,), dbeta (C,), dlambda_mean (3,), dlambda_var (3,).

    Raises:
        ValueError: dout has not four axes.
    """
    _check_axes("dout", dout, "N, C, H, W")
    ### BEGIN SOLUTION
    x, x_hat, std, gamma, weights, means, variances, mode = cache
    _check_shape("dout", dout, x.shape)
    N, C, H, W = dout.shape
    dbeta = dout.sum(axis=(0, 2, 3))
    dgamma = (dout * x_hat).sum(axis=(0, 2, 3))

    dx = dout * gamma / std
    dmean = -dx.sum(axis=(2, 3), keepdims=True)  # (N, C, 1, 1), as the mixed mean
    dvar = -0.5 * (dx * x_hat).sum(axis=(2, 3), keepdims=True) / std

    # The axes of (N, C) that IN, LN and BN share a statistic over, and the pixels in it.
    shared = ((), H * W), ((1,), C * H * W), ((0,), N * H * W)
    for k, (axes, pixels) in enumerate(shared if mode == "train" else shared[:2]):
        by_mean = weights[0, k] * dmean.sum(axis=axes, keepdims=True)
        by_var = weights[1, k] * dvar.sum(axis=axes, keepdims=True)
        dx = dx + (by_mean + 2 * by_var * (x - means[k])) / pixels

    dweights = np.array(
        [[(dmean * m).sum() for m in means], [(dvar * s).sum() for s in variances]]
    )  # (2, 3)
    centred = dweights - (weights * dweights).sum(axis=1, keepdims=True)
    dlambda_mean, dlambda_var = weights * centred
    return dx, dgamma, dbeta, dlambda_mean, dlambda_var
    ### END SOLUTION


# What the layers check of their arguments, and read from their dictionaries


def _check_shape(name, array, *allowed):
    """Raise ValueError, naming the argument, unless its shape is one of those allowed."""
    if np.shape(array) not in allowed:
        expected = " or ".join(map(str, allowed))
        raise ValueError(f"{name}: expected shape {expected}, got {np.shape(array)}")


def _check_axes(name, array, axes):
    """Raise ValueError, naming the argument, unless it has as many axes as are named."""
    if np.ndim(array) != len(axes.split(",")):
        raise ValueError(f"{name}: expected shape ({axes}), got {np.shape(array)}")


def _check_features(name, array, features):
    """Raise ValueError unless the array has an axis of examples and so many features in each."""
    if np.ndim(array) < 1 or np.prod(np.shape(array)[1:], dtype=int) != features:
        raise ValueError(
            f"{name}: expected shape (N, d_1, ..., d_k) with {features} features an example, "
            f"as many as w has rows, got {np.shape(array)}"
        )


def _check_labels(name, labels, classes):
    """Raise ValueError unless the labels are integers from 0 to classes - 1."""
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name}: expected integer labels, got dtype {labels.dtype}")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"{name}: expected labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )


def _check_fits(name, window, height, width):
    """Raise ValueError unless a window of (rows, columns) fits into an image of that size."""
    if window[0] > height or window[1] > width:
        raise ValueError(
            f"{name}: expected a window within the (padded) image of shape {(height, width)}, "
            f"got {tuple(window)}"
        )


def _check_groups(name, groups, channels):
    """Raise ValueError unless so many groups divide the channels."""
    if not isinstance(groups, (int, np.integer)) or groups < 1 or channels % groups:
        raise ValueError(f"{name}: expected a divisor of the {channels} channels, got {groups!r}")


def _read_integers(name, param, **at_least):
    """Return the named entries; raise ValueError unless each is an integer and large enough."""
    for key, least in at_least.items():
        value = param.get(key)
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name}[{key!r}]: expected an integer >= {least}, got {value!r}")
    return [int(param[key]) for key in at_least]


def _read_mode(name, param):
    """Return param['mode']; raise ValueError unless it is 'train' or 'test'."""
    mode = param.get("mode")
    if mode not in ("train", "test"):
        raise ValueError(f"{name}['mode']: expected 'train' or 'test', got {mode!r}")
    return mode


def _read_batchnorm(name, param, x):
    """Return mode, eps, momentum, running_mean and running_var for x (N, D) or (N, C, H, W).

    The running statistics are in the precision of x, and zeros when there are none yet.
    """
    mode = _read_mode(name, param)
    features = x.shape[1]
    running = []
    for key in ("running_mean", "running_var"):
        value = param.get(key, np.zeros(features))
        _check_shape(f"{name}[{key!r}]", value, (features,))
        running.append(np.asarray(value, dtype=np.result_type(x, np.float32)))
    return mode, float(param.get("eps", 1e-5)), float(param.get("momentum", 0.9)), *running


def _read_dropout(name, param):
    """Return mode, keep probability and a source of random numbers (seeded if there is a seed)."""
    mode = _read_mode(name, param)
    p = param.get("p")
    if p is None or not 0 < p <= 1:
        raise ValueError(f"{name}['p']: expected a keep probability in (0, 1], got {p!r}")
    seed = param.get("seed")
    return mode, float(p), np.random if seed is None else np.random.RandomState(seed)
