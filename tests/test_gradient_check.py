"""Numerical gradients: right values, and inputs left as they were."""

import numpy as np
import pytest

from cs231n.gradient_check import (
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    grad_check_sparse,
    rel_error,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_gradient_of_a_number(rng, capsys):
    """Is the gradient of sum(x^3) 3 x^2, whatever the shape and memory order of x?"""
    for x in (rng.normal(size=(2, 3, 2)), rng.normal(size=(4, 3)).T, np.array(2.0)):
        before = x.copy()
        grad = eval_numerical_gradient(lambda x: np.sum(x**3), x, verbose=False)
        np.testing.assert_allclose(grad, 3 * x**2, atol=1e-8)
        np.testing.assert_array_equal(x, before)
    assert capsys.readouterr().out == ""


def test_verbose(capsys):
    """Does verbose print a line for each entry?"""
    eval_numerical_gradient(np.sum, np.ones(3))
    assert capsys.readouterr().out.splitlines()[2].startswith("(2,) 1.0")


def test_gradient_of_an_array(rng):
    """Is the gradient contracted with df, even when f returns a view of its argument?"""
    x, w, df = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=(3, 2))
    grad = eval_numerical_gradient_array(lambda x: x @ w, x, df)
    np.testing.assert_allclose(grad, df @ w.T, atol=1e-8)
    df = rng.normal(size=(4, 3))
    np.testing.assert_allclose(eval_numerical_gradient_array(lambda x: x.T, x, df), df.T, atol=1e-8)


def test_restored_after_an_error():
    """Is x as it was when f raises in the middle?"""
    x = np.arange(3.0)

    def f(x):
        raise RuntimeError

    for call in (
        lambda: eval_numerical_gradient(f, x),
        lambda: eval_numerical_gradient_array(f, x, x),
        lambda: grad_check_sparse(f, x, x),
    ):
        with pytest.raises(RuntimeError):
            call()
        np.testing.assert_array_equal(x, [0, 1, 2])


def test_whole_numbers_are_refused():
    """Is an array of whole numbers, in which a small step would vanish, refused?"""
    x = np.arange(3)
    for call in (
        lambda: eval_numerical_gradient(np.sum, x),
        lambda: eval_numerical_gradient_array(np.sum, x, 1),
        lambda: grad_check_sparse(np.sum, x, x),
    ):
        with pytest.raises(ValueError, match="x must be a NumPy array of floats"):
            call()


@pytest.mark.parametrize("dtype, value", [("float32", 300.0), ("float32", 150.0), ("float16", 1.0)])
def test_a_step_that_precision_does_not_hold_is_refused(dtype, value):
    """Is it said that float64 is needed, where the gradient would be 0 or half as large again?"""
    x = np.full(3, value, dtype)
    with pytest.raises(ValueError, match="is lost beside .*float64"):
        eval_numerical_gradient(np.sum, x)
    assert (x == value).all()
    small = np.ones(2, np.float32)
    np.testing.assert_allclose(eval_numerical_gradient(np.sum, small, verbose=False), 1, rtol=0.05)


def test_sparse_check(rng, capsys):
    """Does the check of random entries tell a right gradient from a wrong one?"""
    x = rng.normal(size=(5, 4))
    right = grad_check_sparse(lambda x: np.sum(x**2), x, 2 * x, num_checks=7)
    assert len(capsys.readouterr().out.splitlines()) == 7
    wrong = grad_check_sparse(lambda x: np.sum(x**2), x, 3 * x)
    assert right < 1e-6 and wrong == pytest.approx(0.2, abs=1e-6)


def test_relative_error():
    """Is it the largest |x - y| / (|x| + |y|), and 0 where both are 0?"""
    assert rel_error(np.array([1.0, 0.0, 3.0]), np.array([1.0, 0.0, 1.0])) == 0.5
    assert rel_error(0.0, 0.0) == 0
