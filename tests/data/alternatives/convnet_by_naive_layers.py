"""The convolutional network from the naive layers."""

import numpy as np

from cs231n import layers


class ThreeLayerConvNet:
    def __init__(
        self,
        input_dim=(3, 32, 32),
        num_filters=32,
        filter_size=7,
        hidden_dim=100,
        num_classes=10,
        weight_scale=1e-3,
        reg=0.0,
        dtype=np.float32,
    ):
        self.reg, self.dtype = reg, dtype
        self.conv = {"stride": 1, "pad": (filter_size - 1) // 2}
        self.pool = {"pool_height": 2, "pool_width": 2, "stride": 2}
        C, H, W = input_dim
        size = num_filters * H * W // 4
        shapes = [(num_filters, C, filter_size, filter_size), (size, hidden_dim)]
        shapes.append((hidden_dim, num_classes))
        self.params = {}
        for i, shape in enumerate(shapes, 1):
            self.params[f"W{i}"] = (weight_scale * np.random.randn(*shape)).astype(dtype)
            self.params[f"b{i}"] = np.zeros(shape[0] if i == 1 else shape[1], dtype=dtype)

    def loss(self, X, y=None):
        W1, b1, W2, b2, W3, b3 = (self.params[k] for k in ("W1", "b1", "W2", "b2", "W3", "b3"))
        out, c1 = layers.conv_forward_naive(X.astype(self.dtype), W1, b1, self.conv)
        out, c2 = layers.relu_forward(out)
        out, c3 = layers.max_pool_forward_naive(out, self.pool)
        out, c4 = layers.affine_forward(out, W2, b2)
        out, c5 = layers.relu_forward(out)
        scores, c6 = layers.affine_forward(out, W3, b3)
        if y is None:
            return scores
        loss, d = layers.softmax_loss(scores, y)
        loss += self.reg / 2 * (np.sum(W1**2) + np.sum(W2**2) + np.sum(W3**2))
        d, dW3, db3 = layers.affine_backward(d, c6)
        d, dW2, db2 = layers.affine_backward(layers.relu_backward(d, c5), c4)
        d = layers.relu_backward(layers.max_pool_backward_naive(d, c3), c2)
        _, dW1, db1 = layers.conv_backward_naive(d, c1)
        grads = {"W1": dW1 + self.reg * W1, "b1": db1, "W2": dW2 + self.reg * W2, "b2": db2}
        return loss, {**grads, "W3": dW3 + self.reg * W3, "b3": db3}
