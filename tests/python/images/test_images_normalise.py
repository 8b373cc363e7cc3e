"""Batch and layer normalisation beside PyTorch: running values, large means, threads, empty arrays."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chainrule as cr


def searched(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def gradients(function, arrays, gradient):
    leaves = [cr.tensor(a, dtype=a.dtype, requires_grad=True) for a in arrays]
    y = function(*leaves)
    y.backward(gradient)
    return [y.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def torch_gradients(function, arrays, gradient):
    leaves = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in arrays]
    y = function(*leaves)
    parts = torch.autograd.grad(y, leaves, torch.tensor(gradient.astype(np.float64)))
    return [y.detach().numpy(), *(p.numpy() for p in parts)]


ACTIVATIONS = {None: lambda y: y, "relu": torch.relu, "gelu": torch.nn.functional.gelu}


def torch_batch_norm(x, w, b, activation, epsilon):
    """Over all axes but the last."""
    flat = x.reshape(-1, x.shape[-1])
    y = torch.nn.functional.batch_norm(flat, None, None, w, b, training=True, eps=epsilon).reshape(x.shape)
    return ACTIVATIONS[activation](y)


def compare(got, expected, dtype):
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape and a.dtype == dtype
        tolerance = 200 * np.finfo(dtype).eps * (1 + np.abs(b).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


ROWS = st.sampled_from([1, 2, 3, 7, 16, 31, 33])
COLUMNS = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33])
DTYPES = st.sampled_from([np.float32, np.float64])


@searched(60)
@given(
    shape=st.tuples(st.integers(2, 4), ROWS, ROWS, COLUMNS) | st.tuples(st.integers(2, 40), COLUMNS),
    activation=st.sampled_from(list(ACTIVATIONS)),
    epsilon=st.sampled_from([1e-5, 1e-3, 0.5]),
    dtype=DTYPES,
)
def test_batch_norm_is_torchs(shape, activation, epsilon, dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(dtype) for s in (shape, shape[-1:], shape[-1:])]
    gradient = rng.standard_normal(shape).astype(dtype)
    if activation == "relu":
        # Outputs at 0 to the last digit may fall on either side: send those no gradient.
        y = torch_batch_norm(*map(torch.tensor, arrays), None, epsilon).numpy()
        gradient[np.abs(y) < 1e-5] = 0
    got = gradients(lambda *a: cr.batch_norm(*a, activation=activation, epsilon=epsilon), arrays, gradient)
    if shape[0] == 2 and len(shape) == 2:
        # Of two values each is the other's mirror image: dx nearly cancels, and float32 keeps few of its digits.
        got[1], arrays_64 = got[1].astype(dtype), [a.astype(np.float64) for a in arrays]
        expected = torch_gradients(lambda *a: torch_batch_norm(*a, activation, epsilon), arrays_64, gradient)
        np.testing.assert_allclose(got[0], expected[0], atol=2e-3 if dtype is np.float32 else 1e-9)
        return
    expected = torch_gradients(lambda *a: torch_batch_norm(*a, activation, epsilon), arrays, gradient)
    compare(got, expected, dtype)


@searched(60)
@given(
    shape=st.tuples(ROWS, COLUMNS) | st.tuples(st.integers(1, 3), ROWS, st.integers(2, 5), COLUMNS),
    dimensions=st.integers(1, 2),
    epsilon=st.sampled_from([1e-5, 1e-3]),
    dtype=DTYPES,
)
def test_layer_norm_is_torchs(shape, dimensions, epsilon, dtype):
    rng = np.random.default_rng(0)
    inner = shape[-dimensions:]
    arrays = [rng.standard_normal(s).astype(dtype) for s in (shape, inner, inner)]
    if np.prod(inner) <= 2:
        arrays[0] *= 0  # one value, or two, are all deviation: the quotient would keep no digits to compare
    gradient = rng.standard_normal(shape).astype(dtype)
    got = gradients(lambda *a: cr.layer_norm(*a, dimensions, epsilon), arrays, gradient)
    expected = torch_gradients(
        lambda x, w, b: torch.nn.functional.layer_norm(x, inner, w, b, epsilon), arrays, gradient
    )
    if np.prod(inner) <= 2:
        got, expected = [got[0], got[2], got[3]], [expected[0], expected[2], expected[3]]
    compare(got, expected, dtype)


# ---- Running values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_running_values_and_evaluation_are_torchs_over_several_steps(dtype, momentum):
    rng = np.random.default_rng(4)
    layer = cr.nn.BatchNorm2d(5, momentum=momentum, dtype=dtype)
    twin = torch.nn.BatchNorm2d(5, momentum=momentum, dtype=torch.float64)
    for step in range(5):
        x = (rng.standard_normal((4, 3, 2, 5)) * (1 + step) + step).astype(dtype)
        y = layer(x)
        expected = twin(torch.tensor(x.astype(np.float64)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), atol=100 * np.finfo(dtype).eps)
        rtol = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(layer.running_mean, twin.running_mean.numpy(), rtol=rtol, atol=rtol * 10)
        np.testing.assert_allclose(layer.running_var, twin.running_var.numpy(), rtol=rtol)
    layer.eval()
    twin.eval()
    before = layer.state_dict()
    x = rng.standard_normal((2, 3, 3, 5)).astype(dtype)
    expected = twin(torch.tensor(x.astype(np.float64)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(
        layer(x).numpy(), expected.detach().numpy(), rtol=1e-5 if dtype is np.float32 else 1e-13, atol=1e-5
    )
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_in_evaluation_are_torchs(activation):
    rng = np.random.default_rng(5)
    x, w, b = rng.standard_normal((3, 2, 2, 4)), rng.standard_normal(4), rng.standard_normal(4)
    mean, variance = rng.standard_normal(4), rng.uniform(0.5, 2, 4)
    gradient = rng.standard_normal(x.shape)

    def expected(x, w, b):
        y = torch.nn.functional.batch_norm(
            x.reshape(-1, 4), torch.tensor(mean), torch.tensor(variance), w, b, training=False
        )
        return ACTIVATIONS[activation](y).reshape(x.shape)

    got = gradients(
        lambda x, w, b: cr.batch_norm(x, w, b, mean, variance, training=False, activation=activation),
        (x, w, b),
        gradient,
    )
    for a, e in zip(got, torch_gradients(expected, (x, w, b), gradient), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


def test_one_of_the_running_values_alone_and_float64_ones_beside_float32():
    x = np.array([[1.0], [3.0]], np.float32)
    mean, variance = np.zeros(1), np.zeros(1)
    cr.batch_norm(x, running_mean=mean, momentum=0.5)
    cr.batch_norm(x, running_var=variance, momentum=0.5)
    # By hand: mean 2, variance about it 1, unbiased 2.
    assert mean.tolist() == [1.0] and variance.tolist() == [1.0]


def test_an_empty_batch_changes_nothing():
    mean, variance = np.ones(3, np.float32), np.ones(3, np.float32)
    with pytest.raises(
        ValueError, match=r"batch_norm: x \(0, 3\) has 0 values a channel: training needs two"
    ):
        cr.batch_norm(np.ones((0, 3), np.float32), running_mean=mean, running_var=variance)
    assert mean.tolist() == variance.tolist() == [1, 1, 1]
    y = cr.batch_norm(np.ones((0, 2, 2, 3), np.float32), None, None, mean, variance, training=False)
    assert y.shape == (0, 2, 2, 3)
    assert cr.layer_norm(np.ones((0, 3), np.float32)).shape == (0, 3)


def test_no_channels():
    y, dx = gradients(cr.batch_norm, [np.ones((2, 3, 0), np.float32)], np.ones((2, 3, 0), np.float32))
    assert y.shape == dx.shape == (2, 3, 0)


def test_a_variance_of_zero_follows_ieee_without_a_warning():
    x = np.array([[0.0], [1.0]])
    y = cr.batch_norm(x, running_mean=np.zeros(1), running_var=np.zeros(1), training=False, epsilon=0.0)
    np.testing.assert_array_equal(y, [[np.nan], [np.inf]])
    # With an epsilon equal values give the bias.
    y = cr.batch_norm(np.full((5, 2), 0.1, np.float32), np.ones(2, np.float32), np.full(2, 7, np.float32))
    assert (y == 7).all()
    assert (cr.layer_norm(np.full((2, 5), 0.1, np.float32)) == 0).all()


# ---- Digits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [1e4, -3e5])
def test_a_large_mean_costs_no_digits(offset):
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((32, 7, 7, 3))
    x = (noise + offset).astype(np.float32)
    exact = x.astype(np.float64)
    centre, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    expected = (exact - centre) / np.sqrt(variance + 1e-5)
    # float32 holds the mean to half a unit of its last place, and no better can be asked of a difference with it.
    unit = np.spacing(np.float32(abs(offset)))
    y = cr.batch_norm(x)
    assert np.abs(y - expected).max() <= 2 * unit
    running_var = np.ones(3, np.float32)
    cr.batch_norm(x, running_var=running_var, momentum=1.0)
    # About a mean that is off by half a unit a variance is off by the square of that.
    np.testing.assert_allclose(running_var, exact.var((0, 1, 2), ddof=1), rtol=1e-5, atol=1.1 * unit**2 / 4)
    rows = x.reshape(-1, 147)
    exact = rows.astype(np.float64)
    expected = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-5)
    assert np.abs(cr.layer_norm(rows) - expected).max() <= 3 * unit


def test_variances_are_never_negative_and_do_not_overflow():
    x = np.full((1000, 3), 1e4 + 0.1, np.float32)
    running_var = np.ones(3, np.float32)
    y = cr.batch_norm(x, running_var=running_var, momentum=1.0)
    assert (running_var >= 0).all() and np.isfinite(y).all()
    # Squares of the values would overflow; those of their distances from the mean do not.
    x = 1e25 + np.array([[0.0], [1e18], [2e18], [3e18]], np.float32).astype(np.float32)
    assert np.isfinite(cr.batch_norm(x)).all()


def test_nan_stays_in_its_channel_or_row():
    x = np.random.default_rng(7).standard_normal((4, 3))
    x[1, 2] = np.nan
    y = cr.batch_norm(x)
    assert np.isnan(y[:, 2]).all() and np.isfinite(y[:, :2]).all()
    for activation in ("relu", "gelu"):
        assert np.isnan(cr.batch_norm(x, activation=activation)[:, 2]).all()
    y = cr.layer_norm(x)
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2, 3]]).all()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_activation_in_the_same_pass_gives_the_same_values_and_gradients(activation):
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((5, 6, 7, 19), (19,), (19,))]
    gradient = rng.standard_normal(arrays[0].shape).astype(np.float32)
    fused = gradients(lambda *a: cr.batch_norm(*a, activation=activation), arrays, gradient)
    apart = gradients(lambda *a: getattr(cr, activation)(cr.batch_norm(*a)), arrays, gradient)
    np.testing.assert_allclose(fused[0], apart[0], rtol=1e-6, atol=1e-12)
    for a, b in zip(fused[1:], apart[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_float64_weights_make_the_result_float64():
    x = np.random.default_rng(9).standard_normal((4, 3)).astype(np.float32)
    weight = np.ones(3)
    for y in (cr.batch_norm(x, weight), cr.layer_norm(x, bias=np.zeros(3))):
        assert y.dtype == np.float64
    mean, variance = np.zeros(3), np.ones(3)
    assert cr.batch_norm(x, weight, None, mean, variance, training=False).dtype == np.float64
    # Running values hold no dtype of the result.
    assert cr.batch_norm(x, None, None, mean, variance, training=False).dtype == np.float32
    leaf = cr.tensor(x, requires_grad=True)
    cr.batch_norm(leaf, weight).sum().backward()
    assert leaf.grad.dtype == np.float32


@pytest.mark.parametrize("shape", [(8, 20, 21, 33), (3000, 7), (2, 4000, 3), (5, 4096)])
def test_the_same_bits_for_any_number_of_threads(shape):
    rng = np.random.default_rng(10)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in (shape, shape[-1:], shape[-1:])]
    gradient = rng.standard_normal(shape).astype(np.float32)
    for function in (cr.batch_norm, cr.layer_norm):
        found = []
        for threads in (1, 2, 3):
            cr.set_num_threads(threads)
            found.append(gradients(function, arrays, gradient))
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(a, b)
