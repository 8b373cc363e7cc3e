"""Convolution and its gradients, beside PyTorch's in float64 over a grid of shapes, by every algorithm."""

import zlib

import numpy as np
import pytest
import torch
import torch_images as reference
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.gates.convolution import Conv2d, Conv2dInputGradient, Conv2dWeightGradient, window_of

ALGORITHMS = ("auto", "direct", "winograd")
EPS32 = np.finfo(np.float32).eps


def searched(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Problem:
    """A convolution with random values: the arrays, the settings, and all results in float64 by PyTorch."""

    def __init__(self, x, w, dtype=np.float64, **given):
        rng = np.random.default_rng(zlib.crc32(repr((x, w, given)).encode()))
        self.settings = given
        self.x, self.w, self.bias = (rng.standard_normal(size).astype(dtype) for size in (x, w, w[3:]))
        self.window = window_of("conv2d", x, w[:2], *self.ordered())
        top, bottom, left, right = self.window[2:6]
        self.torch_settings = {
            "stride": self.window[:2],
            "padding": ((top, bottom), (left, right)),
            "dilation": self.window[6:8],
            "groups": self.window[8],
        }
        self.gradient = rng.standard_normal(self.torch(self.x, self.w, self.bias)[0].shape).astype(dtype)
        self.exact = self.torch(self.x, self.w, self.bias, self.gradient)
        # The sums of absolute products, in which errors are measured.
        self.size = self.torch(*map(np.abs, (self.x, self.w, self.bias, self.gradient)))

    def ordered(self):
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        return [self.settings.get(name, default) for name, default in defaults.items()]

    def torch(self, x, w, bias, gradient=None):
        inputs = [torch.tensor(v.astype(np.float64), requires_grad=True) for v in (x, w, bias)]
        y = reference.conv2d(*inputs, **self.torch_settings)
        if gradient is None:
            return (y.detach().numpy(),)
        parts = torch.autograd.grad(y, inputs, torch.tensor(gradient.astype(np.float64)))
        return [y.detach().numpy(), *(p.numpy() for p in parts)]

    def results(self):
        """y, dx, dw and db by the library, as backward gives them."""
        leaves = [cr.tensor(v, dtype=v.dtype, requires_grad=True) for v in (self.x, self.w, self.bias)]
        y = cr.conv2d(*leaves, **self.settings)
        y.backward(self.gradient)
        return [y.numpy(), *(leaf.grad.numpy() for leaf in leaves)]

    def has_winograd(self):
        square = self.w.shape[0] == self.w.shape[1] in (3, 5)
        return square and self.window[:2] + self.window[6:] == (1, 1, 1, 1, 1)


def check(problem, algorithm):
    cr.set_conv_algorithm(algorithm)
    results = problem.results()
    dtype = problem.x.dtype
    scale = np.finfo(dtype).eps / EPS32
    tiles = algorithm != "direct" and problem.has_winograd()
    for name, got, exact, size in zip(
        ("y", "dx", "dw", "db"), results, problem.exact, problem.size, strict=True
    ):
        assert got.shape == exact.shape and got.dtype == dtype, name
        error = np.abs(got - exact)
        # Winograd's errors spread over a tile, those of direct sums belong to each.
        bound = 5e-6 * size.max(initial=0) if tiles else 1e-6 * size
        assert (error <= bound * scale + 1e-30).all(), (name, float(error.max()))
    x, w, bias = problem.x, problem.w, problem.bias
    fused = cr.conv2d_relu(x, w, bias, **problem.settings)
    np.testing.assert_array_equal(fused, np.maximum(results[0], 0))
    plain = cr.conv2d(x, w, **problem.settings) + bias
    np.testing.assert_allclose(plain, results[0], rtol=0, atol=8e-6 * scale * problem.size[0].max(initial=0))


# One below and above the sizes of blocks (12, 16, 32) and tiles (4), primes, and small ones.
LENGTHS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 15, 16, 17, 19, 23, 31, 33])
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 15, 16, 17, 24, 31, 32, 33])
BATCHES = st.integers(1, 3)
DTYPES = st.sampled_from([np.float32, np.float64])


@st.composite
def problems(draw):
    """Any stride, padding, dilation and groups: strides over the kernel, padding over it, windows past the edge."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, filters = draw(CHANNELS), draw(CHANNELS)
    depthwise = draw(st.sampled_from([False, False, False, True]))
    if depthwise:
        groups, channels, filters = channels, 1, draw(st.sampled_from([1, 1, 2, 3]))
    elif groups > 1:
        channels, filters = draw(st.integers(1, 7)), draw(st.integers(1, 18))
    x = (draw(BATCHES), draw(LENGTHS), draw(LENGTHS), channels * groups)
    w = (draw(st.integers(1, 5)), draw(st.integers(1, 5)), channels, filters * groups)
    sides = st.tuples(st.integers(0, 6), st.integers(0, 6))
    chosen = {
        "stride": draw(st.tuples(st.integers(1, 6), st.integers(1, 6)) | st.just(1)),
        "padding": draw(st.tuples(sides, sides) | st.integers(0, 2) | st.sampled_from(["same", "valid"])),
        "dilation": draw(st.tuples(st.integers(1, 4), st.integers(1, 4)) | st.just(1)),
        "groups": groups,
    }
    assume(np.prod(x) * np.prod(w) < 4e7)
    window = window_of("conv2d", x, w[:2], *chosen.values())
    assume(x[1] + window[2] + window[3] > (w[0] - 1) * window[6])
    assume(x[2] + window[4] + window[5] > (w[1] - 1) * window[7])
    return x, w, chosen, draw(DTYPES)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@searched(45)
@given(drawn=problems())
@example(drawn=((2, 32, 33, 31), (3, 3, 31, 33), {"padding": "same"}, np.float32))
@example(drawn=((1, 1, 1, 1), (1, 1, 1, 1), {}, np.float32))
@example(drawn=((1, 2, 2, 3), (3, 5, 3, 4), {"padding": 9, "stride": 7}, np.float32))
@example(drawn=((1, 1, 1, 2), (2, 2, 2, 3), {"padding": 5, "dilation": 9}, np.float64))
@example(drawn=((1, 16, 16, 32), (16, 16, 32, 12), {}, np.float32))
@example(drawn=((3, 9, 9, 33), (1, 1, 33, 31), {"stride": 2}, np.float32))
@example(drawn=((2, 12, 11, 33), (3, 3, 1, 33), {"groups": 33, "padding": 1}, np.float32))
def test_values_and_gradients_are_torchs(algorithm, drawn):
    x, w, chosen, dtype = drawn
    check(Problem(x, w, dtype, **chosen), algorithm)


@st.composite
def tiled(draw):
    """Where Winograd exists: 3x3 and 5x5, stride 1, any padding below the kernel, outputs down to one pixel."""
    kernel = draw(st.sampled_from([3, 5]))
    side = st.integers(0, kernel)
    padding = ((draw(side), draw(side)), (draw(side), draw(side)))
    height, width = (draw(st.integers(max(1, kernel - sum(sides)), 19)) for sides in padding)
    x = (draw(BATCHES), height, width, draw(CHANNELS))
    return x, (kernel, kernel, x[3], draw(CHANNELS)), {"padding": padding}, draw(DTYPES)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@searched(35)
@given(drawn=tiled())
@example(drawn=((1, 5, 5, 1), (5, 5, 1, 1), {}, np.float32))
@example(drawn=((2, 1, 1, 33), (3, 3, 33, 17), {"padding": 1}, np.float32))
@example(drawn=((1, 17, 18, 24), (3, 3, 24, 24), {"padding": 1}, np.float32))
def test_where_winograd_exists(algorithm, drawn):
    x, w, chosen, dtype = drawn
    check(Problem(x, w, dtype, **chosen), algorithm)


LARGE = [
    ((2, 24, 23, 64), (3, 3, 64, 48), {"padding": 1}),
    ((4, 8, 8, 128), (3, 3, 128, 128), {"padding": "same"}),
    ((2, 14, 15, 33), (5, 5, 33, 31), {"padding": 2}),
    ((1, 2, 2, 96), (3, 3, 96, 96), {"padding": 1}),
]


@pytest.mark.parametrize("x, w, chosen", LARGE)
def test_the_documented_bounds_in_float32(x, w, chosen):
    problem = Problem(x, w, np.float32, **chosen)
    for name in ("direct", "winograd"):
        cr.set_conv_algorithm(name)
        for got, exact, size in zip(problem.results(), problem.exact, problem.size, strict=True):
            error = np.abs(got - exact)
            if name == "direct":  # a few 1e-7 of the sum of absolute products
                assert (error <= 5e-7 * size).all()
            else:  # some 1e-5 of the largest output
                assert error.max() <= 5e-5 * np.abs(exact).max()


def test_algorithms_differ_where_they_should_and_float64_auto_is_direct():
    x, w, chosen = LARGE[0]
    for dtype, same_as_auto in ((np.float32, "winograd"), (np.float64, "direct")):
        problem = Problem(x, w, dtype, **chosen)
        found = {}
        for name in ALGORITHMS:
            cr.set_conv_algorithm(name)
            found[name] = problem.results()[:3]
        for auto, direct, tiles in zip(*found.values(), strict=True):
            assert (direct != tiles).any()
            np.testing.assert_array_equal(auto, {"direct": direct, "winograd": tiles}[same_as_auto])


def test_the_algorithm_is_named_and_read_back():
    for name in ALGORITHMS:
        cr.set_conv_algorithm(name)
        assert cr.get_conv_algorithm() == name
    with pytest.raises(
        ValueError, match="set_conv_algorithm: 'Direct' is not known: use auto, direct or win"
    ):
        cr.set_conv_algorithm("Direct")
    assert cr.get_conv_algorithm() == "winograd"


# ---- Adjoints -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@searched(20)
@given(drawn=problems() | tiled())
def test_the_three_gates_are_each_others_adjoints(algorithm, drawn):
    x_shape, w_shape, chosen, _ = drawn
    cr.set_conv_algorithm(algorithm)
    p = Problem(x_shape, w_shape, **chosen)
    x, w, g = p.x, p.w, p.gradient
    y = Conv2d(p.window)(x, w)
    dx = Conv2dInputGradient(x_shape[1:3], p.window)(g, w)
    dw = Conv2dWeightGradient(w_shape[:2], p.window)(x, g)
    products = [np.vdot(y, g), np.vdot(x, dx), np.vdot(w, dw)]
    scale = np.vdot(np.abs(x), np.abs(dx)) + np.vdot(p.size[0], np.abs(g))
    tolerance = 1e-13 if algorithm == "winograd" else 1e-14
    np.testing.assert_allclose(products, products[0], rtol=0, atol=tolerance * scale)


@st.composite
def transposed(draw):
    """An image and weights of a convolution, and how many rows and columns it does not reach."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = draw(st.integers(1, 5)), draw(st.integers(1, 13))
    stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    room = [(k - 1) * dilation + 1 + (n - 1) * stride for k, n in zip(kernel, size, strict=True)]
    padding = draw(st.integers(0, max(0, (min(room) - 1) // 2)))
    extra = draw(st.integers(0, max(stride, dilation) - 1))
    chosen = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "output_padding": extra,
    }
    return (draw(BATCHES), *size, filters * groups), (*kernel, channels, filters * groups), chosen


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@searched(40)
@given(drawn=transposed())
@example(drawn=((2, 7, 8, 33), (3, 3, 17, 33), {"padding": 1}))
@example(drawn=((2, 7, 8, 33), (5, 5, 17, 33), {"padding": 2}))
def test_conv_transpose2d_is_torchs_and_the_adjoint_of_conv2d(algorithm, drawn):
    size, w_shape, chosen = drawn
    cr.set_conv_algorithm(algorithm)
    rng = np.random.default_rng(1)
    g, w = rng.standard_normal(size), rng.standard_normal(w_shape)
    bias = rng.standard_normal(w_shape[2] * chosen.get("groups", 1))
    y = cr.conv_transpose2d(g, w, **chosen)
    expected = reference.conv_transpose2d(torch.tensor(g), torch.tensor(w), **chosen).numpy()
    assert y.shape == expected.shape
    scale = np.abs(expected).max() + 1
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(
        cr.conv_transpose2d(g, w, bias, **chosen), y + bias, rtol=0, atol=1e-13 * scale
    )

    plain = {k: v for k, v in chosen.items() if k != "output_padding"}
    x = rng.standard_normal(y.shape)
    forward = cr.conv2d(x, w, **plain)
    # With an output padding of a stride and more, the convolution gives more than the image that was given.
    forward = forward[:, : size[1], : size[2]]
    np.testing.assert_allclose(
        np.vdot(forward, g), np.vdot(x, y), rtol=1e-10, atol=1e-11 * scale * x.size**0.5
    )


# ---- Padding by name, empty and odd arrays ------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_keeps_the_size_over_the_stride_with_the_odd_zero_after(stride, dilation):
    for size in range(1, 14):
        for kernel in (1, 2, 3, 4, 5):
            x = np.zeros((1, size, size + 1, 1))
            w = np.ones((kernel, kernel, 1, 1))
            y = cr.conv2d(x, w, stride=stride, padding="same", dilation=dilation)
            assert y.shape == (1, -(-size // stride), -(-(size + 1) // stride), 1)
    # By hand: of 4 values by a kernel of 2, the one zero comes after.
    x = np.arange(1.0, 5).reshape(1, 1, 4, 1)
    assert cr.conv2d(x, np.ones((1, 2, 1, 1)), padding="same").ravel().tolist() == [3, 5, 7, 4]
    y = cr.conv2d(x, np.ones((1, 2, 1, 1)), padding="valid")
    assert y.ravel().tolist() == [3, 5, 7]


def test_the_same_padding_in_each_way_to_say_it():
    p = Problem((1, 5, 6, 2), (3, 3, 2, 2))
    for a, b in [(1, (1, 1)), ((1, 2), ((1, 1), (2, 2))), (0, "valid"), ([1, 2], [[1, 1], [2, 2]])]:
        np.testing.assert_array_equal(cr.conv2d(p.x, p.w, padding=a), cr.conv2d(p.x, p.w, padding=b))
    np.testing.assert_array_equal(cr.conv2d(p.x, p.w, stride=np.int64(2)), cr.conv2d(p.x, p.w, stride=(2, 2)))


def gradients(function, *arrays):
    leaves = [cr.tensor(a, dtype=a.dtype, requires_grad=True) for a in arrays]
    y = function(*leaves)
    y.backward(np.ones(y.shape, y.dtype))
    return [y.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def test_nothing_in_gives_the_bias_and_nothing_out(algorithm):
    bias = np.array([1.5, -2.0, 3.0], np.float32)

    def ones(*shape):
        return np.ones(shape, np.float32)

    # No images.
    y, dx, dw, db = gradients(lambda *a: cr.conv2d(*a, padding=1), ones(0, 5, 5, 2), ones(3, 3, 2, 3), bias)
    assert y.shape == (0, 5, 5, 3) and dx.shape == (0, 5, 5, 2)
    assert not dw.any() and not db.any() and dw.shape == (3, 3, 2, 3)
    # No channels: sums of nothing.
    y, dx, dw, db = gradients(cr.conv2d, ones(2, 4, 5, 0), ones(3, 3, 0, 3), bias)
    assert (y == bias).all() and y.shape == (2, 2, 3, 3)
    assert dx.shape == (2, 4, 5, 0) and dw.shape == (3, 3, 0, 3) and db.tolist() == [12, 12, 12]
    assert (cr.conv2d_relu(ones(2, 4, 5, 0), ones(3, 3, 0, 3), bias) == np.maximum(bias, 0)).all()
    # No filters.
    y, dx, dw, db = gradients(cr.conv2d, ones(2, 4, 5, 2), ones(3, 3, 2, 0), bias[:0])
    assert y.shape == (2, 2, 3, 0) and not dx.any() and dx.shape == (2, 4, 5, 2) and dw.shape == (3, 3, 2, 0)
    # No pixels but those of the padding.
    y, dx, dw, db = gradients(lambda *a: cr.conv2d(*a, padding=2), ones(2, 0, 3, 2), ones(3, 3, 2, 3), bias)
    assert (y == bias).all() and y.shape == (2, 2, 5, 3) and dx.shape == (2, 0, 3, 2) and not dw.any()
    # The way back through relu in the same pass.
    for x, w in [((0, 5, 5, 2), (3, 3, 2, 3)), ((2, 4, 5, 0), (3, 3, 0, 3)), ((2, 4, 5, 2), (3, 3, 2, 0))]:
        found = gradients(cr.conv2d_relu, ones(*x), ones(*w), bias[: w[3]])
        apart = gradients(lambda *a: cr.relu(cr.conv2d(*a)), ones(*x), ones(*w), bias[: w[3]])
        for a, b in zip(found, apart, strict=True):
            np.testing.assert_array_equal(a, b)
    # No images, channels or filters of a transposed one.
    assert cr.conv_transpose2d(ones(0, 2, 2, 3), ones(3, 3, 2, 3)).shape == (0, 4, 4, 2)
    assert (cr.conv_transpose2d(ones(1, 2, 2, 0), ones(2, 2, 3, 0), bias) == bias).all()
    assert cr.conv_transpose2d(ones(1, 2, 2, 3), ones(2, 2, 0, 3)).shape == (1, 3, 3, 0)


def layouts(x):
    room = np.full(tuple(2 * n + 1 for n in x.shape), np.nan, x.dtype)
    strided = room[tuple(slice(1, None, 2) for _ in x.shape)]
    strided[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    turned = x[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1]
    return {
        "strided": strided,
        "Fortran": np.array(x, order="F"),
        "read-only": read_only,
        "negative strides": turned,
        "channels first": np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
    }


def test_memory_layout_changes_nothing(algorithm):
    p = Problem((2, 9, 11, 26), (3, 3, 26, 25), np.float32, padding=1)
    expected = p.results()
    for name, x in layouts(p.x).items():
        w, g = layouts(p.w)[name], layouts(p.gradient)[name]
        before = [v.copy() for v in (x, w, g)]
        np.testing.assert_array_equal(cr.conv2d(x, w, p.bias, padding=1), expected[0], name)
        dx = Conv2dInputGradient(x.shape[1:3], p.window)(g, w)
        np.testing.assert_array_equal(dx, expected[1], name)
        np.testing.assert_array_equal(Conv2dWeightGradient((3, 3), p.window)(x, g), expected[2], name)
        for v, kept in zip((x, w, g), before, strict=True):
            np.testing.assert_array_equal(v, kept)
    # Repeated rows: a stride of 0.
    x = np.broadcast_to(p.x[:1], (3, *p.x.shape[1:]))
    np.testing.assert_array_equal(cr.conv2d(x, p.w), cr.conv2d(x.copy(), p.w))


def test_float32_with_float64_gives_float64_and_each_gradient_its_inputs_dtype():
    single, double = np.float32, np.float64
    p = Problem((1, 4, 4, 2), (3, 3, 2, 3), single)
    for dtypes in [(double, single, single), (single, double, single), (single, single, double)]:
        arrays = [v.astype(d) for v, d in zip((p.x, p.w, p.bias), dtypes, strict=True)]
        y, *found = gradients(cr.conv2d, *arrays)
        assert y.dtype == double
        np.testing.assert_allclose(y, p.exact[0], rtol=1e-13, atol=1e-13)
        assert [g.dtype for g in found] == list(dtypes)
        transposed = cr.conv_transpose2d(arrays[0], arrays[1].transpose(0, 1, 3, 2), arrays[2])
        assert transposed.dtype == double


def test_integers_beside_floats_are_converted():
    w = np.ones((2, 2, 1, 1), np.float32)
    x = np.arange(9).reshape(1, 3, 3, 1)
    assert cr.conv2d(x, w).ravel().tolist() == [8, 12, 20, 24]
    assert cr.conv2d(x.tolist(), w).dtype == np.float32


# ---- NaN and infinities -------------------------------------------------------------------------------------


def test_nan_reaches_every_output_whose_window_holds_it(algorithm):
    for kernel, channels in [(3, 3), (3, 26), (5, 2), (2, 2)]:
        p = Problem((1, 12, 12, channels), (kernel, kernel, channels, 25), np.float32, padding=1)
        x = p.x.copy()
        x[0, 6, 7, -1] = np.nan
        y = cr.conv2d(x, p.w, padding=1)
        touched = cr.conv2d(np.isnan(x).astype(float), np.ones(p.w.shape), padding=1) > 0.5
        assert np.isnan(y[touched]).all()
        if algorithm == "direct":
            assert not np.isnan(y[~touched]).any()
        assert np.isnan(cr.conv2d_relu(x, p.w, padding=1)[touched]).all()


def test_infinities_of_direct_sums():
    cr.set_conv_algorithm("direct")
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1] = np.inf
    w = np.ones((2, 2, 1, 1))
    assert (cr.conv2d(x, w) == np.inf).all() and (cr.conv2d(x, -w) == -np.inf).all()
    assert (cr.conv2d_relu(x, -w) == 0).all()


# ---- Threads ------------------------------------------------------------------------------------------------

PARALLEL = [
    ((3, 33, 29, 34), (3, 3, 34, 37), {"padding": 1}),
    ((2, 9, 9, 40), (5, 5, 40, 26), {"padding": 2}),
    ((1, 4, 4, 130), (3, 3, 130, 70), {"padding": 1}),
    ((5, 33, 31, 3), (3, 3, 3, 16), {"stride": 2, "padding": 1}),
    ((4, 28, 28, 1), (5, 5, 1, 6), {}),
    ((3, 17, 19, 65), (1, 1, 65, 33), {}),
    ((9, 6, 6, 16), (6, 6, 16, 40), {}),
    ((3, 20, 21, 37), (3, 3, 1, 37), {"groups": 37, "padding": 1}),
    ((3, 20, 21, 24), (3, 2, 6, 40), {"groups": 4, "dilation": 2}),
    ((2, 25, 60, 8), (3, 3, 8, 9), {"stride": 3, "padding": 4}),
]


@pytest.mark.parametrize("x, w, chosen", PARALLEL)
def test_the_same_bits_for_any_number_of_threads(algorithm, x, w, chosen):
    for dtype in (np.float32, np.float64):
        p = Problem(x, w, dtype, **chosen)
        found = []
        for threads in (1, 2, 3):
            cr.set_num_threads(threads)
            found.append(p.results())
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("x, filters", [((4, 40, 33, 3), 37), ((3, 100, 60, 1), 1), ((2, 5, 5, 8), 600)])
def test_the_way_back_through_relu_and_bias(x, filters):
    p = Problem(x, (3, 3, x[3], filters), np.float32, padding=1)
    found = []
    for threads in (1, 2, 3):
        cr.set_num_threads(threads)
        leaves = [cr.tensor(v, requires_grad=True) for v in (p.x, p.w, p.bias)]
        y = cr.conv2d_relu(*leaves, padding=1)
        y.backward(p.gradient)
        found.append([y.numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    open_gates = np.where(found[0][0] > 0, p.gradient.astype(np.float64), 0)
    scale = np.abs(open_gates).sum((0, 1, 2))
    assert (np.abs(found[0][3] - open_gates.sum((0, 1, 2))) <= 1e-6 * scale).all()


def test_twice_gives_the_same_bits(algorithm):
    p = Problem((2, 13, 11, 27), (3, 3, 27, 30), np.float32, padding=1)
    for a, b in zip(p.results(), p.results(), strict=True):
        np.testing.assert_array_equal(a, b)
