"""The fully connected network from sandwich layers, with a list of caches."""

import numpy as np

from cs231n import layer_utils, layers


class FullyConnectedNet:
    def __init__(
        self,
        hidden_dims,
        input_dim=3 * 32 * 32,
        num_classes=10,
        dropout=1,
        normalization=None,
        reg=0.0,
        weight_scale=1e-2,
        dtype=np.float32,
        seed=None,
    ):
        self.normalization, self.reg, self.dtype = normalization, reg, dtype
        self.num_layers = len(hidden_dims) + 1
        self.use_dropout = dropout != 1
        self.dropout_param = {"mode": "train", "p": dropout, "seed": seed}
        self.bn_params = [{"mode": "train"} for _ in hidden_dims]
        dims = [input_dim] + list(hidden_dims) + [num_classes]
        self.params = {}
        for i in range(self.num_layers):
            W = np.random.normal(0, weight_scale, (dims[i], dims[i + 1]))
            self.params["W" + str(i + 1)] = W.astype(dtype)
            self.params["b" + str(i + 1)] = np.zeros(dims[i + 1], dtype=dtype)
            if normalization and i < self.num_layers - 1:
                self.params["gamma" + str(i + 1)] = np.ones(dims[i + 1], dtype=dtype)
                self.params["beta" + str(i + 1)] = np.zeros(dims[i + 1], dtype=dtype)

    def loss(self, X, y=None):
        h, caches = X.astype(self.dtype), []
        self.dropout_param["mode"] = "test" if y is None else "train"
        kinds = {"batchnorm": "affine_bn_relu", "layernorm": "affine_ln_relu"}
        kind = kinds.get(self.normalization, "affine_relu")
        for i in range(1, self.num_layers):
            args = [self.params[f"W{i}"], self.params[f"b{i}"]]
            if self.normalization:
                self.bn_params[i - 1]["mode"] = self.dropout_param["mode"]
                args += [self.params[f"gamma{i}"], self.params[f"beta{i}"]]
                args += [self.bn_params[i - 1]]
            h, cache = getattr(layer_utils, kind + "_forward")(h, *args)
            drop = None
            if self.use_dropout:
                h, drop = layers.dropout_forward(h, self.dropout_param)
            caches.append((cache, drop))
        L = self.num_layers
        scores, cache = layers.affine_forward(h, self.params[f"W{L}"], self.params[f"b{L}"])
        if y is None:
            return scores
        loss, d = layers.softmax_loss(scores, y)
        grads = {}
        d, grads[f"W{L}"], grads[f"b{L}"] = layers.affine_backward(d, cache)
        for i in range(L - 1, 0, -1):
            cache, drop = caches.pop()
            if self.use_dropout:
                d = layers.dropout_backward(d, drop)
            names = [f"W{i}", f"b{i}"]
            names += [f"gamma{i}", f"beta{i}"] if self.normalization else []
            d, *found = getattr(layer_utils, kind + "_backward")(d, cache)
            grads.update(zip(names, found, strict=True))
        for i in range(1, L + 1):
            W = self.params[f"W{i}"]
            loss = loss + 0.5 * self.reg * np.sum(W * W)
            grads[f"W{i}"] = (grads[f"W{i}"] + self.reg * W).astype(self.dtype)
        return loss, grads
