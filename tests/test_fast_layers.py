"""The fast layers: always the numbers of the naive ones."""

import multiprocessing
import os
import threading
import time
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cs231n import fast_blocks, fast_columns, fast_layers, fast_rows, layers
from cs231n.im2col import col2im_indices, get_im2col_indices, im2col_indices, output_size

CONVOLUTIONS = ["fast", "im2col", "strides"]
POOLINGS = ["fast", "im2col"]


def assert_equal_numbers(actual, expected):
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


def call(forward, backward, *arguments, seed=0):
    """Forward, then backward with a random upstream gradient: (out, gradients...)."""
    out, cache = forward(*arguments)
    dout = np.random.default_rng(seed).normal(size=out.shape).astype(out.dtype)
    grads = backward(dout, cache)
    return (out, *(grads if isinstance(grads, tuple) else (grads,)))


def convolution(kind):
    return (getattr(fast_layers, f"conv_{way}_{kind}") for way in ("forward", "backward"))


def pooling(kind):
    return (getattr(fast_layers, f"max_pool_{way}_{kind}") for way in ("forward", "backward"))


def drawn(N, C, size, F, field, stride, pad, seed=0):
    """(x, w, b, conv_param) of these sizes."""
    rng = np.random.default_rng(seed)
    x, w, b = (rng.normal(size=shape) for shape in ((N, C, *size), (F, C, *field), F))
    return x, w, b, {"stride": stride, "pad": pad}


@st.composite
def convolutions(draw):
    """(x, w, b, conv_param), with images and kernels that need not be square.

    Seldom many channels: the naive layers are slow.
    """
    small = st.integers(1, 4)
    N, F, HH, WW, stride = (draw(small) for _ in range(5))
    C = draw(small | st.just(17))
    pad = draw(st.integers(0, 3))
    H = draw(st.integers(max(1, HH - 2 * pad), 9))
    W = draw(st.integers(max(1, WW - 2 * pad), 9))
    return drawn(N, C, (H, W), F, (HH, WW), stride, pad, draw(st.integers(0, 1000)))


@st.composite
def poolings(draw):
    """(x, pool_param), often with ties, windows that overlap or do not tile."""
    N, C, HH, WW, stride = (draw(st.integers(1, 4)) for _ in range(5))
    H, W = draw(st.integers(HH, 9)), draw(st.integers(WW, 9))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = rng.normal(size=(N, C, H, W)).round(draw(st.sampled_from([0, 15])))
    return x, {"pool_height": HH, "pool_width": WW, "stride": stride}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@given(case=convolutions())
def test_convolution(kind, case):
    """Do forward and backward agree with the naive convolution, at any stride and padding?"""
    assert_equal_numbers(
        call(*convolution(kind), *case),
        call(layers.conv_forward_naive, layers.conv_backward_naive, *case),
    )


@pytest.mark.parametrize("block_bytes", [1, fast_blocks.BLOCK_BYTES])
@pytest.mark.parametrize("way", [fast_columns, fast_rows])
@given(case=convolutions())
@example(case=drawn(2, 3, (16, 16), 2, (5, 5), stride=1, pad=2))  # 256 pixels stand apart
@example(case=drawn(2, 3, (5, 7), 2, (2, 3), stride=3, pad=4))  # whole fields are padding
@example(case=drawn(3, 2, (7, 9), 3, (1, 1), stride=3, pad=1))  # rows and columns without a window
@example(case=drawn(1, 2, (5, 4), 3, (1, 1), stride=2, pad=2))  # an output as large as the image
@example(case=drawn(1, 17, (4, 4), 19, (7, 7), stride=2, pad=3))
@example(case=drawn(2, 3, (4, 4), 2, (3, 3), stride=10, pad=4))  # no window meets the image
@example(case=drawn(0, 3, (4, 4), 2, (3, 3), stride=1, pad=1))
def test_both_ways_to_convolve(way, block_bytes, case):
    """Are both right for shapes that the other one takes, in one block or in one an image?"""
    expected = call(layers.conv_forward_naive, layers.conv_backward_naive, *case)
    with (
        mock.patch.object(fast_layers, "_way", lambda *_: way),
        mock.patch.object(fast_blocks, "BLOCK_BYTES", block_bytes),
    ):
        assert_equal_numbers(call(*convolution("fast"), *case), expected)


@pytest.mark.parametrize("way", [fast_columns, fast_rows])
def test_no_gradient_of_images(way):
    """Are dw and db the same where dx is not wanted, and dx None?"""
    x, w, b, param = drawn(3, 4, (6, 5), 2, (3, 3), stride=2, pad=1)
    with mock.patch.object(fast_layers, "_way", lambda *_: way):
        _, _, dw, db = call(*convolution("fast"), x, w, b, param)
        _, dx, *without = call(*convolution("fast"), x, w, b, {**param, "needs_dx": False})
    assert dx is None
    assert_equal_numbers(without, (dw, db))


@pytest.mark.parametrize("kind", POOLINGS)
@given(case=poolings())
def test_pooling(kind, case):
    """Do forward and backward agree with the naive pooling, where the first maximum wins?"""
    assert_equal_numbers(
        call(*pooling(kind), *case),
        call(layers.max_pool_forward_naive, layers.max_pool_backward_naive, *case),
    )


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pooling_by_reshape(size):
    """Does pooling of windows that tile agree with the naive pooling, with ties too?"""
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 6, 12)).astype(float)
    case = x, {"pool_height": size, "pool_width": size, "stride": size}
    expected = call(layers.max_pool_forward_naive, layers.max_pool_backward_naive, *case)
    assert_equal_numbers(call(*pooling("reshape"), *case), expected)


@pytest.mark.parametrize("height, width, stride", [(2, 3, 2), (2, 2, 1), (4, 4, 4)])
def test_pooling_by_reshape_needs_tiles(height, width, stride):
    """Is a window that does not tile refused, with the requirement?"""
    param = {"pool_height": height, "pool_width": width, "stride": stride}
    with pytest.raises(ValueError, match="needs pool_height = pool_width = stride"):
        fast_layers.max_pool_forward_reshape(np.zeros((1, 1, 6, 6)), param)


@pytest.mark.parametrize("layout", ["float32", "transposed", "sliced", "batch"])
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolution_layouts(kind, channels, layout):
    """Do other dtypes, memory orders and batches of many blocks give the same numbers?"""
    N = 300 if layout == "batch" else 6
    x, w, b, param = drawn(N, channels, (9, 8), 5, (3, 3), stride=1, pad=1)
    expected = call(layers.conv_forward_naive, layers.conv_backward_naive, x, w, b, param)
    if layout == "float32":
        x, w, b = (array.astype(np.float32) for array in (x, w, b))
    elif layout == "transposed":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif layout == "sliced":
        x = np.repeat(x, 2, axis=3)[:, :, :, ::2]
    actual = call(*convolution(kind), x, w, b, param)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == x.dtype
        atol = 1e-3 if layout == "float32" else 1e-10
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_keeps_float32(kind):
    """Do float32 images stay float32, and large batches right?"""
    x = np.random.default_rng(0).normal(size=(300, 4, 8, 8)).astype(np.float32)
    case = x, {"pool_height": 2, "pool_width": 2, "stride": 2}
    expected = call(layers.max_pool_forward_naive, layers.max_pool_backward_naive, *case)
    assert_equal_numbers(call(*pooling(kind), *case), expected)


@pytest.mark.parametrize(
    "N, C, F, size, field, stride",
    [
        (256, 16, 16, 16, 3, 1),
        (64, 3, 32, 32, 7, 1),
        (64, 128, 64, 16, 1, 1),
        (64, 32, 32, 8, 5, 1),
        (2, 32, 32, 128, 3, 1),
        (2, 16, 128, 64, 3, 1),
        (64, 64, 128, 32, 1, 2),
        (64, 16, 16, 32, 3, 2),
        (64, 16, 32, 32, 5, 2),
        (64, 16, 32, 32, 5, 4),
        (64, 16, 16, 32, 2, 5),
        (1, 16, 16, 256, 3, 2),
        (1, 16, 16, 256, 3, 4),
    ],
)
def test_memory(N, C, F, size, field, stride, monkeypatch):
    """Does a convolution take less memory, besides its results, than twice its columns would?"""
    x = np.ones((N, C, size, size), dtype=np.float32)
    w, b = np.ones((F, C, field, field), dtype=np.float32), np.ones(F, dtype=np.float32)
    param = {"stride": stride, "pad": field // 2}
    across = output_size(size, field, field // 2, stride)
    columns = N * C * field**2 * across**2 * x.itemsize
    monkeypatch.setattr(fast_blocks, "_kept", threading.local())  # what other tests had kept
    tracemalloc.start()
    out, cache = fast_layers.conv_forward_fast(x, w, b, param)
    forward = tracemalloc.get_traced_memory()[1] - out.nbytes
    tracemalloc.reset_peak()
    dx, _, _ = fast_layers.conv_backward_fast(out, cache)
    backward = tracemalloc.get_traced_memory()[1] - out.nbytes - dx.nbytes
    tracemalloc.stop()
    assert forward < 2 * columns and backward < 2 * columns


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_threads_have_a_core_each():
    """Does each thread run on a core of its own, and the caller's stay as free as it was?"""
    cores = os.sched_getaffinity(0)
    meet = threading.Barrier(len(cores))

    def work(_):
        meet.wait(timeout=60)
        return os.sched_getaffinity(0)

    fast_blocks._threads.cache_clear()
    found = fast_blocks.in_blocks(work, 2 * len(cores), fast_blocks.BLOCK_BYTES)
    assert sorted(map(tuple, found)) == sorted((core,) for core in cores)
    assert os.sched_getaffinity(0) == cores


def test_scratch():
    """Is an array used again, for any smaller shape, and one that is too large new each time?"""
    first, again = (fast_blocks.scratch("test", (2, 4), np.float32) for _ in range(2))
    other = fast_blocks.scratch("other", (2, 4), np.float32)
    smaller = fast_blocks.scratch("test", (3,), np.float64)
    assert np.shares_memory(first, again) and np.shares_memory(first, smaller)
    assert not np.shares_memory(first, other) and smaller.dtype == np.float64
    large = [fast_blocks.scratch("test", (fast_blocks.KEPT_BYTES + 1,), np.int8) for _ in range(2)]
    assert not np.shares_memory(*large)


def test_a_forked_process():
    """Does a process that was forked after a convolution convolve with threads of its own?"""
    case = drawn(300, 3, (9, 8), 5, (3, 3), stride=1, pad=1)
    expected, _ = fast_layers.conv_forward_fast(*case)
    with mock.patch.object(fast_blocks, "BLOCK_BYTES", 1 << 12):
        fast_layers.conv_forward_fast(*case)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            out, _ = pool.apply_async(fast_layers.conv_forward_fast, case).get(timeout=60)
    np.testing.assert_array_equal(out, expected)


def test_arguments_stay():
    """Are the arguments, and the upstream gradient, as they were?"""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((2, 3, 5, 5), (4, 3, 3, 3), 4, (2, 4, 5, 5))]
    copies = [array.copy() for array in arrays]
    x, w, b, dout = arrays
    for kind in CONVOLUTIONS:
        forward, backward = convolution(kind)
        backward(dout, forward(x, w, b, {"stride": 1, "pad": 1})[1])
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_kernel_that_does_not_fit(kind):
    """Is a kernel larger than the padded image refused?"""
    forward, _ = convolution(kind)
    x, w = np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 6, 6))
    with pytest.raises(ValueError, match="does not fit"):
        forward(x, w, np.zeros(1), {"stride": 1, "pad": 1})


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_wrong_shapes_of_a_convolution_are_named(kind):
    """Is each argument of a wrong shape named, and no dout broadcast or cut?"""
    forward, backward = convolution(kind)
    x, w, b = np.ones((2, 4, 6, 5)), np.ones((3, 4, 3, 3)), np.ones(3)
    param = {"stride": 1, "pad": 1}
    wrong = {"x": (x[0], w, b), "w": (x, w[:, :2], b), "b": (x, w, b[:2])}
    for name, arrays in wrong.items():
        with pytest.raises(ValueError, match=f"^{name}: expected shape .*, got "):
            forward(*arrays, param)
    out, cache = forward(x, w, b, param)
    for dout in (out[:1], out[0], np.concatenate([out, out])):
        with pytest.raises(ValueError, match=r"^dout: expected shape \(2, 3, 6, 5\), got "):
            backward(dout, cache)


@pytest.mark.parametrize("kind", [*POOLINGS, "reshape"])
def test_wrong_shapes_of_a_pooling_are_named(kind):
    """Is each argument of a wrong shape named, and no dout broadcast or cut?"""
    forward, backward = pooling(kind)
    x, param = np.ones((2, 4, 6, 4)), {"pool_height": 2, "pool_width": 2, "stride": 2}
    with pytest.raises(ValueError, match=r"^x: expected shape \(N, C, H, W\), got \(4, 6, 4\)"):
        forward(x[0], param)
    out, cache = forward(x, param)
    for dout in (out[:1], out[0], np.concatenate([out, out])):
        with pytest.raises(ValueError, match=r"^dout: expected shape \(2, 4, 3, 2\), got "):
            backward(dout, cache)


@given(case=convolutions())
def test_im2col(case):
    """Are the columns those that the indices name, and is col2im their transpose?"""
    x, w, _, param = case
    stride, pad = param["stride"], param["pad"]
    field = w.shape[2:]
    k, i, j = get_im2col_indices(x.shape, *field, pad, stride)
    cols = im2col_indices(x, *field, pad, stride)
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    picked = padded[:, k, i, j]  # (N, rows, positions)
    np.testing.assert_array_equal(cols.reshape(len(k), -1, len(x)), picked.transpose(1, 2, 0))
    other = np.random.default_rng(0).normal(size=cols.shape)
    back = col2im_indices(other, x.shape, *field, pad, stride)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.sum(back * x), np.sum(cols * other), atol=1e-9)


@pytest.mark.skipif(fast_blocks._cores() < 2, reason="one core is one thread")
def test_threads_that_convolve_at_once_leave_blas_as_it_was():
    """Has BLAS as many threads after calls that overlapped as before?"""
    blas = fast_blocks._blas()
    with blas.limit(limits=2, user_api="blas"):
        before = [library["num_threads"] for library in blas.info()]

        def convolve():
            fast_blocks.in_blocks(lambda _: time.sleep(0.1), 64, fast_blocks.BLOCK_BYTES)

        first, second = (threading.Thread(target=convolve) for _ in range(2))
        first.start()
        time.sleep(0.05)
        second.start()
        first.join()
        second.join()
        assert [library["num_threads"] for library in blas.info()] == before


def test_a_window_of_nothing_is_refused():
    """Is a window of 0 rows an error that says what a window must be?"""
    for pool in (fast_layers.max_pool_forward_fast, fast_layers.max_pool_forward_im2col):
        with pytest.raises(ValueError, match="window and stride must be at least 1"):
            pool(np.zeros((1, 1, 4, 4)), {"pool_height": 0, "pool_width": 2, "stride": 2})
