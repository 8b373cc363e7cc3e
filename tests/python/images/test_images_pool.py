"""Pooling beside PyTorch, and its conventions: ties, NaN, infinities, padding and last windows."""

import numpy as np
import pytest
import torch
import torch_images as reference
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.gates import pool


def searched(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def gradient_of(function, x, gradient=None):
    leaf = cr.tensor(x, dtype=x.dtype, requires_grad=True)
    y = function(leaf)
    y.backward(np.ones(y.shape, y.dtype) if gradient is None else gradient)
    return y.numpy(), leaf.grad.numpy()


def torch_gradient_of(function, x, gradient):
    leaf = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = function(leaf)
    (dx,) = torch.autograd.grad(y, leaf, torch.tensor(gradient.astype(np.float64)))
    return y.detach().numpy(), dx.numpy()


LENGTHS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17])
CHANNELS = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33])


@st.composite
def windows(draw):
    """Sizes to the whole image, strides over the size, padding up to half of it, which is what PyTorch takes."""
    shape = (draw(st.integers(1, 3)), draw(LENGTHS), draw(LENGTHS), draw(CHANNELS))
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)) | st.sampled_from([(1, 17), (17, 17)]))
    stride = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)) | st.none())
    padding = tuple(draw(st.integers(0, s // 2)) for s in size)
    assume(all(n + 2 * p >= s for n, p, s in zip(shape[1:3], padding, size, strict=True)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return shape, {"size": size, "stride": stride, "padding": padding}, dtype


@searched(120)
@given(drawn=windows(), ceil_mode=st.booleans())
@example(drawn=((1, 17, 17, 3), {"size": (17, 17)}, np.float32), ceil_mode=False)
@example(
    drawn=((1, 5, 5, 1), {"size": (2, 2), "stride": (3, 3), "padding": (1, 1)}, np.float32), ceil_mode=True
)
def test_max_pool2d_is_torchs(drawn, ceil_mode):
    shape, chosen, dtype = drawn
    chosen = {**chosen, "ceil_mode": ceil_mode}
    rng = np.random.default_rng(0)
    # Few values: many ties. PyTorch too takes the first.
    x = rng.integers(-3, 3, shape).astype(dtype)
    y = cr.max_pool2d(x, **chosen)
    gradient = rng.integers(-8, 8, y.shape).astype(dtype)
    y, dx = gradient_of(lambda x: cr.max_pool2d(x, **chosen), x, gradient)
    expected, expected_dx = torch_gradient_of(lambda x: reference.max_pool2d(x, **chosen), x, gradient)
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dx, expected_dx)  # sums of small integers are exact


@searched(120)
@given(drawn=windows(), counted=st.booleans())
def test_average_pool2d_is_torchs(drawn, counted):
    shape, chosen, dtype = drawn
    chosen = {**chosen, "count_include_pad": counted}
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    gradient = rng.standard_normal(cr.average_pool2d(x, **chosen).shape).astype(dtype)
    y, dx = gradient_of(lambda x: cr.average_pool2d(x, **chosen), x, gradient)
    expected, expected_dx = torch_gradient_of(lambda x: reference.average_pool2d(x, **chosen), x, gradient)
    assert y.dtype == dx.dtype == dtype and y.shape == expected.shape
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance * 3)
    np.testing.assert_allclose(dx, expected_dx, rtol=0, atol=tolerance * 3)


@searched(60)
@given(drawn=windows(), counted=st.booleans())
def test_scatter_and_gather_and_both_averages_are_adjoints(drawn, counted):
    shape, chosen, _ = drawn
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    window = pool.pool_window(
        "pool", x, chosen["size"], chosen.get("stride"), chosen.get("padding", 0), False
    )
    gate = pool.MaxPool2d(window)
    y = gate(x)
    indices = gate.kept[0]
    assert indices.dtype == (np.uint8 if np.prod(chosen["size"]) <= 256 else np.int32)
    u, g = rng.standard_normal(shape), rng.standard_normal(y.shape)
    gathered = pool.MaxPool2dGather(indices, shape, window)(u)
    scattered = pool.MaxPool2dScatter(indices, shape, window)(g)
    np.testing.assert_allclose(np.vdot(gathered, g), np.vdot(u, scattered), rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(pool.MaxPool2dGather(indices, shape, window)(x), y)
    window = (*window[:-1], int(counted))
    averaged = pool.AveragePool2d(window)(u)
    spread = pool.AveragePool2dAdjoint(shape, window)(g)
    np.testing.assert_allclose(np.vdot(averaged, g), np.vdot(u, spread), rtol=1e-11, atol=1e-11)


def test_padding_over_half_the_window():
    """Up to one below the size, past what PyTorch takes: what is padded never wins and counts as zeros."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 4, 5, 3))
    for size, padding in [((3, 3), (2, 2)), ((4, 2), (3, 1)), ((5, 4), (4, 3))]:
        widths = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
        low = np.pad(x, widths, constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(low, size, axis=(1, 2))
        np.testing.assert_array_equal(cr.max_pool2d(x, size, 1, padding), windows.max((-1, -2)))
        zeros = np.lib.stride_tricks.sliding_window_view(np.pad(x, widths), size, axis=(1, 2))
        met = np.isfinite(windows).sum((-1, -2))
        np.testing.assert_allclose(cr.average_pool2d(x, size, 1, padding), zeros.mean((-1, -2)), atol=1e-14)
        np.testing.assert_allclose(
            cr.average_pool2d(x, size, 1, padding, count_include_pad=False),
            zeros.sum((-1, -2)) / met,
            atol=1e-14,
        )


# ---- Ties, NaN and infinities -------------------------------------------------------------------------------


def image(rows):
    return np.array(rows, float)[None, :, :, None]


def test_of_equal_values_the_first_in_rows_gets_the_gradient():
    _, dx = gradient_of(lambda x: cr.max_pool2d(x, 2), image([[1, 2, 5, 5], [2, 2, 5, 5]]))
    assert dx[0, :, :, 0].tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]
    _, dx = gradient_of(lambda x: cr.max_pool2d(x, 2, 1), image([[3, 3, 3], [3, 3, 3]]))
    assert dx[0, :, :, 0].tolist() == [[1, 1, 0], [0, 0, 0]]
    # -0.0 and 0.0 are equal.
    y, dx = gradient_of(lambda x: cr.max_pool2d(x, 2), image([[-1, -0.0], [0.0, -1]]))
    assert dx[0, :, :, 0].tolist() == [[0, 1], [0, 0]] and np.signbit(y).all()
    # Behind padding too, and in windows of more pixels than a byte counts.
    _, dx = gradient_of(lambda x: cr.max_pool2d(x, 2, 2, 1), image([[7, 7], [7, 7]]))
    assert dx[0, :, :, 0].tolist() == [[1, 1], [1, 1]]
    _, dx = gradient_of(lambda x: cr.max_pool2d(x, 17), np.ones((1, 17, 17, 2)))
    assert dx[0, 0, 0].tolist() == [1, 1] and dx.sum() == 2


@pytest.mark.parametrize("channels", [1, 3, 8, 16, 19])
def test_nan_wins_over_every_number_and_the_first_nan_gets_the_gradient(channels):
    for dtype in (np.float32, np.float64):
        for place in range(4):
            x = np.full((1, 2, 2, channels), np.inf, dtype)
            x.reshape(4, channels)[place, -1] = np.nan
            y, dx = gradient_of(lambda x: cr.max_pool2d(x, 2), x)
            assert np.isnan(y[0, 0, 0, -1]) and (y[0, 0, 0, :-1] == np.inf).all()
            assert dx.reshape(4, channels)[place, -1] == 1 and dx.sum() == channels
        x = np.full((1, 2, 2, channels), np.nan, dtype)
        _, dx = gradient_of(lambda x: cr.max_pool2d(x, 2), x)
        assert dx[0, 0, 0].tolist() == [1] * channels and dx.sum() == channels


def test_windows_of_minus_infinity_alone_send_their_gradient_to_their_first_pixel():
    x = np.full((1, 3, 3, 2), -np.inf, np.float32)
    y, dx = gradient_of(lambda x: cr.max_pool2d(x, 2, 1), x)
    assert (y == -np.inf).all() and dx[0, :, :, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    # The first pixel of a window that begins in the padding is the image's own.
    y, dx = gradient_of(lambda x: cr.max_pool2d(x, 3, 2, 1), x)
    assert (y == -np.inf).all() and dx[0, :, :, 1].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_the_largest_finite_numbers_lose_nothing():
    big = np.finfo(np.float32).max
    x = np.array([[-big, -big], [-big, -big]], np.float32)[None, :, :, None]
    assert cr.max_pool2d(x, 2).item() == -big
    assert cr.average_pool2d(x[:, :1, :1], 1).item() == -big


def test_nan_in_an_average_stays_in_its_windows():
    x = np.zeros((1, 4, 4, 1))
    x[0, 0, 0] = np.nan
    y = cr.average_pool2d(x, 2)[0, :, :, 0]
    assert np.isnan(y[0, 0]) and np.isnan(y).sum() == 1


# ---- Averages and last windows by hand -----------------------------------------------------------------------


def test_count_include_pad_either_way():
    x = image([[4.0]])
    assert cr.average_pool2d(x, 3, 1, 1).item() == pytest.approx(4 / 9)
    assert cr.average_pool2d(x, 3, 1, 1, count_include_pad=False).item() == 4
    x = image([[1, 2], [3, 4]])
    assert cr.average_pool2d(x, 2, 2, 1).ravel().tolist() == [0.25, 0.5, 0.75, 1]
    assert cr.average_pool2d(x, 2, 2, 1, False).ravel().tolist() == [1, 2, 3, 4]
    _, dx = gradient_of(lambda x: cr.average_pool2d(x, 2, 2, 1), x)
    assert dx.ravel().tolist() == [0.25] * 4


def test_ceil_mode_counts_a_last_window_that_begins_within_the_data():
    x = image([[1, 2, 3, 4, 5]])
    assert cr.max_pool2d(x, (1, 2)).ravel().tolist() == [2, 4]
    assert cr.max_pool2d(x, (1, 2), ceil_mode=True).ravel().tolist() == [2, 4, 5]
    # Size 1, stride 3 on 5: the window after 0 and 3 would begin at 6, past the data.
    assert cr.max_pool2d(x, 1, (1, 3), ceil_mode=True).ravel().tolist() == [1, 4]
    _, dx = gradient_of(lambda x: cr.max_pool2d(x, (1, 2), ceil_mode=True), x)
    assert dx.ravel().tolist() == [0, 1, 0, 1, 1]


def test_nothing_in_gives_nothing_out():
    for function in (cr.max_pool2d, cr.average_pool2d):
        for shape in [(0, 4, 4, 2), (2, 4, 4, 0)]:
            y, dx = gradient_of(lambda x, f=function: f(x, 2), np.ones(shape, np.float32))
            assert y.shape == (shape[0], 2, 2, shape[3]) and dx.shape == shape
    for function in (cr.global_average_pool2d, cr.global_max_pool2d):
        for shape in [(0, 4, 4, 2), (2, 4, 4, 0)]:
            y, dx = gradient_of(function, np.ones(shape, np.float32))
            assert y.shape == (shape[0], shape[3]) and dx.shape == shape


def test_global_pools_by_hand():
    x = np.stack([image([[1, 2], [3, 6]]), image([[5, 5], [0, 5]])], -1)[..., 0, :]
    y, dx = gradient_of(cr.global_average_pool2d, x)
    assert y.tolist() == [[3, 3.75]] and (dx == 0.25).all()
    y, dx = gradient_of(cr.global_max_pool2d, x)
    assert y.tolist() == [[6, 5]]
    assert dx[..., 0].ravel().tolist() == [0, 0, 0, 1] and dx[..., 1].ravel().tolist() == [1, 0, 0, 0]


def test_the_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 37, 41, 33)).astype(np.float32)
    functions = [
        lambda x: cr.max_pool2d(x, 3, 2, 1),
        lambda x: cr.average_pool2d(x, 3, 1, 1),
        lambda x: cr.average_pool2d(x, 2, count_include_pad=False),
        cr.global_average_pool2d,
        cr.global_max_pool2d,
    ]
    for function in functions:
        found = []
        for threads in (1, 2, 3):
            cr.set_num_threads(threads)
            found.append(gradient_of(function, x))
        for y, dx in found[1:]:
            np.testing.assert_array_equal(y, found[0][0])
            np.testing.assert_array_equal(dx, found[0][1])
