# ruff: noqa: F403, F405 (a star, so that a layers.py without all of the layers will do)
"""Sandwich layers: a few layers that often come together, as one.

A forward returns `(out, cache)`, and its backward takes `dout` and that cache, as in layers.
Wrong arguments raise the ValueError of the layer that they belong to.
"""

from .fast_layers import (
    conv_backward_fast,
    conv_forward_fast,
    max_pool_backward_fast,
    max_pool_forward_fast,
)
from .layers import *


def affine_relu_forward(x, w, b):
    """Affine layer, then ReLU.

    Args:
        x: (N, d_1, ..., d_k), with D = d_1 * ... * d_k.
        w: (D, M).
        b: (M,).

    Returns:
        out (N, M), cache.
    """
    a, affine_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (affine_cache, relu_cache)


def affine_relu_backward(dout, cache):
    """Gradients of affine_relu_forward.

    Args:
        dout: (N, M).
        cache: from affine_relu_forward.

    Returns:
        dx (N, d_1, ..., d_k), dw (D, M), db (M,).
    """
    affine_cache, relu_cache = cache
    da = relu_backward(dout, relu_cache)
    return affine_backward(da, affine_cache)


def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    """Affine layer, then batch normalisation, then ReLU.

    Args:
        x: (N, d_1, ..., d_k), with D = d_1 * ... * d_k.
        w: (D, M).
        b: (M,).
        gamma: (M,).
        beta: (M,).
        bn_param: as for batchnorm_forward.

    Returns:
        out (N, M), cache.
    """
    raise NotImplementedError(
        "affine_bn_relu_forward: not written yet. "
        "Write it in cs231n/layer_utils.py; "
        "notebooks/BatchNorm.ipynb explains it."
    )


def affine_bn_relu_backward(dout, cache):
    """Gradients of affine_bn_relu_forward.

    Args:
        dout: (N, M).
        cache: from affine_bn_relu_forward.

    Returns:
        dx (N, d_1, ..., d_k), dw (D, M), db (M,), dgamma (M,), dbeta (M,).
    """
    raise NotImplementedError(
        "affine_bn_relu_backward: not written yet. "
        "Write it in cs231n/layer_utils.py; "
        "notebooks/BatchNorm.ipynb explains it."
    )


def affine_ln_relu_forward(x, w, b, gamma, beta, ln_param):
    """Affine layer, then layer normalisation, then ReLU.

    Args:
        x: (N, d_1, ..., d_k), with D = d_1 * ... * d_k.
        w: (D, M).
        b: (M,).
        gamma: (M,).
        beta: (M,).
        ln_param: as for layernorm_forward.

    Returns:
        out (N, M), cache.
    """
    raise NotImplementedError(
        "affine_ln_relu_forward: not written yet. "
        "Write it in cs231n/layer_utils.py; "
        "notebooks/BatchNorm.ipynb explains it."
    )


def affine_ln_relu_backward(dout, cache):
    """Gradients of affine_ln_relu_forward.

    Args:
        dout: (N, M).
        cache: from affine_ln_relu_forward.

    Returns:
        dx (N, d_1, ..., d_k), dw (D, M), db (M,), dgamma (M,), dbeta (M,).
    """
    raise NotImplementedError(
        "affine_ln_relu_backward: not written yet. "
        "Write it in cs231n/layer_utils.py; "
        "notebooks/BatchNorm.ipynb explains it."
    )


def conv_relu_forward(x, w, b, conv_param):
    """Convolution, then ReLU.

    Args:
        x: (N, C, H, W).
        w: (F, C, HH, WW).
        b: (F,).
        conv_param: as for conv_forward_naive.

    Returns:
        out (N, F, H_out, W_out), cache.
    """
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, relu_cache)


def conv_relu_backward(dout, cache):
    """Gradients of conv_relu_forward.

    Args:
        dout: (N, F, H_out, W_out).
        cache: from conv_relu_forward.

    Returns:
        dx (N, C, H, W), or None if conv_param has needs_dx False; dw (F, C, HH, WW), db (F,).
    """
    conv_cache, relu_cache = cache
    da = relu_backward(dout, relu_cache)
    return conv_backward_fast(da, conv_cache)


def conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param):
    """Convolution, then spatial batch normalisation, then ReLU.

    Args:
        x: (N, C, H, W).
        w: (F, C, HH, WW).
        b: (F,).
        gamma: (F,).
        beta: (F,).
        conv_param: as for conv_forward_naive.
        bn_param: as for spatial_batchnorm_forward.

    Returns:
        out (N, F, H_out, W_out), cache.
    """
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    normed, bn_cache = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(normed)
    return out, (conv_cache, bn_cache, relu_cache)


def conv_bn_relu_backward(dout, cache):
    """Gradients of conv_bn_relu_forward.

    Args:
        dout: (N, F, H_out, W_out).
        cache: from conv_bn_relu_forward.

    Returns:
        dx (N, C, H, W), or None if conv_param has needs_dx False; dw (F, C, HH, WW), db (F,),
        dgamma (F,), dbeta (F,).
    """
    conv_cache, bn_cache, relu_cache = cache
    dnormed = relu_backward(dout, relu_cache)
    da, dgamma, dbeta = spatial_batchnorm_backward(dnormed, bn_cache)
    dx, dw, db = conv_backward_fast(da, conv_cache)
    return dx, dw, db, dgamma, dbeta


def conv_relu_pool_forward(x, w, b, conv_param, pool_param):
    """Convolution, then ReLU, then max pooling.

    Args:
        x: (N, C, H, W).
        w: (F, C, HH, WW).
        b: (F,).
        conv_param: as for conv_forward_naive.
        pool_param: as for max_pool_forward_naive.

    Returns:
        out (N, F, H_pooled, W_pooled), cache.
    """
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    rectified, relu_cache = relu_forward(a)
    out, pool_cache = max_pool_forward_fast(rectified, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(dout, cache):
    """Gradients of conv_relu_pool_forward.

    Args:
        dout: (N, F, H_pooled, W_pooled).
        cache: from conv_relu_pool_forward.

    Returns:
        dx (N, C, H, W), or None if conv_param has needs_dx False; dw (F, C, HH, WW), db (F,).
    """
    conv_cache, relu_cache, pool_cache = cache
    drectified = max_pool_backward_fast(dout, pool_cache)
    da = relu_backward(drectified, relu_cache)
    return conv_backward_fast(da, conv_cache)
