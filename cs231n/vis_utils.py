"""Images side by side in one picture."""

from math import ceil, sqrt

import numpy as np


def visualize_grid(Xs, ubound=255.0, padding=1):
    """Arrange images in a square grid, each stretched to the range 0 to ubound.

    - Xs: images (N, H, W, C)
    - ubound: value of the brightest entry of each image
    - padding: black pixels between neighbours

    Returns the grid (rows * (H + padding) - padding, columns * (W + padding) - padding, C).
    Raises ValueError when Xs is not of that shape.
    """
    Xs = np.asarray(Xs)
    if Xs.ndim != 4 or Xs.shape[0] == 0:
        raise ValueError(f"Xs must have the shape (N, H, W, C) with N at least 1, not {Xs.shape}")
    N, H, W, C = Xs.shape
    size = ceil(sqrt(N))
    step_y, step_x = H + padding, W + padding
    grid = np.zeros((size * step_y - padding, size * step_x - padding, C))
    for n, image in enumerate(Xs):
        y, x = n // size * step_y, n % size * step_x
        low, high = float(image.min()), float(image.max())
        spread = high - low if high > low else 1.0  # an image of one colour is drawn black
        grid[y : y + H, x : x + W] = ubound * (image - low) / spread
    return grid
