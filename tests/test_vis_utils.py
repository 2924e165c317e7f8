"""Grids of images."""

import numpy as np
import pytest

from cs231n.vis_utils import visualize_grid


def test_places_and_values():
    """Is each image in its place, stretched to the full range, with black between?"""
    Xs = np.random.default_rng(0).normal(size=(5, 4, 6, 3))
    grid = visualize_grid(Xs, ubound=1.0, padding=2)
    assert grid.shape == (3 * 4 + 2 * 2, 3 * 6 + 2 * 2, 3)
    last = grid[6:10, 8:14]
    np.testing.assert_allclose(last, (Xs[4] - Xs[4].min()) / np.ptp(Xs[4]))
    assert not grid[4:6].any() and not grid[:, 6:8].any() and not grid[12:].any()


def test_flat_image():
    """Is an image of one colour drawn without a division by zero?"""
    assert not visualize_grid(np.full((1, 2, 2, 3), 7.0)).any()


def test_bytes():
    """Do images of small integers keep their differences?"""
    image = np.array([[0, 255], [100, 200]], dtype=np.uint8).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(visualize_grid(image), image[0])


@pytest.mark.parametrize("shape", [(4, 4, 3), (0, 4, 4, 3)])
def test_wrong_shape(shape):
    """Is anything but a stack of images refused?"""
    with pytest.raises(ValueError, match="Xs must have the shape"):
        visualize_grid(np.zeros(shape))
