# ruff: noqa: F403, F405 (a star, so that a layers.py without all of the layers will do)
"""A convolutional network of three layers."""

import numpy as np

from ..layer_utils import *
from ..layers import *


class ThreeLayerConvNet:
    """conv - ReLU - 2x2 max pool - affine - ReLU - affine - softmax.

    The padding is (filter_size - 1) // 2 and the stride 1, so the convolution keeps H and W.

    Attributes:
        params: dictionary of W1 (num_filters, C, filter_size, filter_size), b1 (num_filters,),
            W2 (num_filters * (H // 2) * (W // 2), hidden_dim), b2 (hidden_dim,),
            W3 (hidden_dim, num_classes), b3 (num_classes,).
        reg, dtype: as given.
        conv_param, pool_param: of the convolution and of the pooling.
    """

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
        """Draw the parameters with `np.random`, so that `np.random.seed` repeats them.

        W is from a normal distribution, b is 0.

        Args:
            input_dim: (C, H, W) of an image.
            num_filters: number of filters of the convolution.
            filter_size: their height and width, an odd number.
            hidden_dim: size of the hidden affine layer.
            num_classes: number of scores.
            weight_scale: standard deviation of the W.
            reg: strength of the L2 regularisation of the W.
            dtype: the type that the network computes in.

        Raises:
            ValueError: input_dim has not three entries, or filter_size is not odd.
        """
        if len(input_dim) != 3:
            raise ValueError(f"input_dim: expected (C, H, W), got {input_dim!r}")
        if filter_size % 2 != 1:
            raise ValueError(f"filter_size: expected an odd number, got {filter_size!r}")
        self.reg = float(reg)  # a NumPy float64 would turn float32 gradients into float64
        self.dtype = dtype
        # Nobody asks for the gradient of the images: with needs_dx False the backward gives None.
        self.conv_param = {"stride": 1, "pad": (filter_size - 1) // 2, "needs_dx": False}
        self.pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}

        self.params = {}
        raise NotImplementedError(
            "ThreeLayerConvNet.__init__: not written yet. "
            "Write it in cs231n/classifiers/cnn.py; "
            "notebooks/ConvNets.ipynb explains it."
        )

        for name, value in self.params.items():
            self.params[name] = value.astype(dtype)

    def loss(self, X, y=None):
        """Scores of a batch of images, or its loss and the gradients.

        The loss is the mean softmax loss and 0.5 * reg * sum(W^2) over the three W.

        Args:
            X: (N, C, H, W).
            y: (N,), integer labels; or None.

        Returns:
            Without y: scores (N, num_classes).
            With y: loss, and a dictionary of gradients with the keys and shapes of params.

        Raises:
            ValueError: X does not fit input_dim, or y does not fit X.
        """
        X = np.asarray(X, dtype=self.dtype)
        raise NotImplementedError(
            "ThreeLayerConvNet.loss: not written yet. "
            "Write it in cs231n/classifiers/cnn.py; "
            "notebooks/ConvNets.ipynb explains it."
        )
