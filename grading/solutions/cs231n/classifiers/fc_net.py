# ruff: noqa: F403, F405 (a star, so that a layers.py without all of the layers will do)
"""A fully connected network of any depth, with normalisation and dropout as options."""

import numpy as np

from ..layer_utils import *
from ..layers import *


class FullyConnectedNet:
    """{affine - [batch or layer norm] - ReLU - [dropout]} x (L - 1) - affine - softmax.

    Attributes:
        params: dictionary of W1, b1, ..., WL, bL, W of shape (inputs, outputs) and b (outputs,);
            with a normalisation also gamma1, beta1, ..., gamma(L-1), beta(L-1), each (outputs,).
        num_layers: L, the number of affine layers.
        normalization, reg, dtype: as given.
        use_dropout: whether the keep probability is below 1.
        dropout_param: the dropout_param of every dropout layer; {} without dropout.
        bn_params: one bn_param or ln_param for each normalised layer; [] without normalisation.
    """

    def __init__(
        self,
        hidden_dims,
        input_dim=3 * 32 * 32,
        num_classes=10,
        dropout_keep_ratio=1,
        normalization=None,
        reg=0.0,
        weight_scale=1e-2,
        dtype=np.float32,
        seed=None,
    ):
        """Draw the parameters with `np.random`, so that `np.random.seed` repeats them.

        W is from a normal distribution, b and beta are 0, gamma is 1.

        Args:
            hidden_dims: list of the sizes of the L - 1 hidden layers.
            input_dim: number of features of an example.
            num_classes: number of scores.
            dropout_keep_ratio: the keep probability of dropout, in (0, 1]; 1 is no dropout.
            normalization: None, 'batchnorm' or 'layernorm'.
            reg: strength of the L2 regularisation of the W.
            weight_scale: standard deviation of the W.
            dtype: the type that the network computes in.
            seed: fixes dropout's masks (for gradient checks), not the parameters; optional.

        Raises:
            ValueError: the keep probability or the normalisation is none of these.
        """
        if normalization not in (None, "batchnorm", "layernorm"):
            raise ValueError(
                f"normalization: expected None, 'batchnorm' or 'layernorm', got {normalization!r}"
            )
        if not 0 < dropout_keep_ratio <= 1:
            raise ValueError(
                "dropout_keep_ratio: expected a keep probability in (0, 1], "
                f"got {dropout_keep_ratio!r}"
            )
        self.normalization = normalization
        self.use_dropout = dropout_keep_ratio != 1
        self.reg = float(reg)  # a NumPy float64 would turn float32 gradients into float64
        self.num_layers = 1 + len(hidden_dims)
        self.dtype = dtype

        self.dropout_param = {}
        if self.use_dropout:
            self.dropout_param = {"mode": "train", "p": dropout_keep_ratio}
            if seed is not None:
                self.dropout_param["seed"] = seed
        # Each layer keeps running statistics of its own.
        self.bn_params = []
        if normalization is not None:
            self.bn_params = [{"mode": "train"} for _ in hidden_dims]

        self.params = {}
        ### BEGIN SOLUTION
        sizes = [input_dim, *hidden_dims, num_classes]
        for layer, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
            self.params[f"W{layer}"] = weight_scale * np.random.randn(inputs, outputs)
            self.params[f"b{layer}"] = np.zeros(outputs)
            if normalization is not None and layer < self.num_layers:
                self.params[f"gamma{layer}"] = np.ones(outputs)
                self.params[f"beta{layer}"] = np.zeros(outputs)
        ### END SOLUTION

        for name, value in self.params.items():
            self.params[name] = value.astype(dtype)

    def loss(self, X, y=None):
        """Scores of a batch, or its loss and the gradients.

        The loss is the mean softmax loss and 0.5 * reg * sum(W^2) over all W; not over b, gamma
        or beta. Without labels the network runs in test mode, with them in training mode.

        Args:
            X: (N, d_1, ..., d_k), with d_1 * ... * d_k = input_dim.
            y: (N,), integer labels; or None.

        Returns:
            Without y: scores (N, num_classes).
            With y: loss, and a dictionary of gradients with the keys and shapes of params.

        Raises:
            ValueError: the examples have not input_dim features, or y does not fit.
        """
        X = np.asarray(X, dtype=self.dtype)
        mode = "test" if y is None else "train"
        for param in [self.dropout_param, *self.bn_params]:
            param["mode"] = mode
        ### BEGIN SOLUTION
        params, last = self.params, self.num_layers
        if self.normalization == "batchnorm":
            norm_forward, norm_backward = batchnorm_forward, batchnorm_backward
        else:
            norm_forward, norm_backward = layernorm_forward, layernorm_backward

        hidden, caches = X, {}
        for i in range(1, last):
            hidden, affine = affine_forward(hidden, params[f"W{i}"], params[f"b{i}"])
            norm = dropout = None
            if self.normalization is not None:
                gamma, beta = params[f"gamma{i}"], params[f"beta{i}"]
                hidden, norm = norm_forward(hidden, gamma, beta, self.bn_params[i - 1])
            hidden, relu = relu_forward(hidden)
            if self.use_dropout:
                hidden, dropout = dropout_forward(hidden, self.dropout_param)
            caches[i] = affine, norm, relu, dropout
        scores, affine = affine_forward(hidden, params[f"W{last}"], params[f"b{last}"])
        if y is None:
            return scores

        loss, dscores = softmax_loss(scores, y)
        grads = {}
        dhidden, grads[f"W{last}"], grads[f"b{last}"] = affine_backward(dscores, affine)
        for i in reversed(range(1, last)):
            affine, norm, relu, dropout = caches[i]
            if self.use_dropout:
                dhidden = dropout_backward(dhidden, dropout)
            dhidden = relu_backward(dhidden, relu)
            if self.normalization is not None:
                dhidden, grads[f"gamma{i}"], grads[f"beta{i}"] = norm_backward(dhidden, norm)
            dhidden, grads[f"W{i}"], grads[f"b{i}"] = affine_backward(dhidden, affine)

        for i in range(1, last + 1):
            W = params[f"W{i}"]
            loss += 0.5 * self.reg * np.sum(W**2)
            grads[f"W{i}"] += self.reg * W
        return loss, grads
        ### END SOLUTION
