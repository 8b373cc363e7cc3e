"""Activations where they are hard: infinities, large values, the far tails, NaN and kinks."""

import math

import numpy as np
import pytest
import torch

import chainrule as cr

DTYPES = (np.float32, np.float64)
inf, nan = np.inf, np.nan

# Limits at -inf and inf of value, slope and second derivative.
LIMITS = {
    "gelu": ((0, inf), (0, 1), (0, 0)),
    "silu": ((0, inf), (0, 1), (0, 0)),
    "softplus": ((0, inf), (0, 1), (0, 0)),
    "elu": ((-1, inf), (0, 1), (0, 0)),
    "leaky_relu": ((-inf, inf), (0.01, 1), (0, 0)),
}
TORCH = {
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "elu": torch.nn.functional.elu,
    "leaky_relu": torch.nn.functional.leaky_relu,
}


def slope(function):
    return cr.grad(lambda x: function(x).sum())


def bend(function):
    return lambda x: cr.jvp(slope(function), (x,), (np.ones_like(x),))[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_at_the_infinities_and_nan(name, dtype):
    function = getattr(cr, name)
    x = np.array([-inf, inf], dtype)
    for derivative, expected in zip((function, slope(function), bend(function)), LIMITS[name], strict=True):
        np.testing.assert_array_equal(derivative(x), np.array(expected, dtype))
    alone = np.array([nan], dtype)
    assert np.isnan(function(alone)).all() and np.isnan(slope(function)(alone)).all()
    # In vectors and in what is left over, without touching its neighbours.
    for place in range(37):
        x = np.zeros(37, dtype)
        x[place] = nan
        y = function(x)
        assert np.isnan(y[place]) and np.isnan(y).sum() == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_large_values_keep_value_slope_and_second_derivative(name, dtype):
    function = getattr(cr, name)
    big = np.finfo(dtype).max
    x = np.array([50, 100, 710, 1e4, 3e19, 1e30, big], dtype)
    np.testing.assert_array_equal(function(x), x)
    np.testing.assert_array_equal(slope(function)(x), np.ones_like(x))
    assert (np.abs(bend(function)(x)) < 1e-15).all()
    low = np.array([-1e4, -3e19, -1e30, -big], dtype)
    at_minus_infinity = [limits[0] for limits in LIMITS[name]]
    if name == "leaky_relu":
        np.testing.assert_allclose(function(low), low * dtype(0.01), rtol=1e-6)
    else:
        np.testing.assert_array_equal(function(low), np.full(4, at_minus_infinity[0], dtype))
    np.testing.assert_array_equal(slope(function)(low), np.full(4, at_minus_infinity[1], dtype))
    np.testing.assert_array_equal(bend(function)(low), np.zeros(4, dtype))


@pytest.mark.parametrize("name", LIMITS)
def test_values_and_slopes_have_the_digits_of_their_dtype(name):
    """float32 against float64."""
    x = np.concatenate([np.linspace(-12, 12, 2001), [-1e-20, 1e-20, 1e-3, -1e-3, -30, -60]]).astype(
        np.float32
    )
    exact = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = TORCH[name](exact)
    (dy,) = torch.autograd.grad(y.sum(), exact)
    y, dy = y.detach().numpy(), dy.numpy()
    if name == "gelu":  # PyTorch's is 0 in the tail
        y = np.array([v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.astype(np.float64)])
    function = getattr(cr, name)
    # The exponents of the tails, x^2 / 2 in gelu, multiply their own error.
    relative = 1e-6 + 1.5e-7 * x.astype(np.float64) ** 2
    assert (np.abs(function(x) - y) <= relative * np.abs(y) + 1e-38).all()
    # Near a slope's own zero (silu, gelu) digits are those of the terms that cancel.
    assert (np.abs(slope(function)(x) - dy) <= 3e-6 * np.abs(dy) + 3e-7).all()


def test_softplus_has_the_digits_of_its_tail():
    x = np.array([-20.0, -50.0, -300.0, -700.0])
    np.testing.assert_allclose(cr.softplus(x), np.log1p(np.exp(x)), rtol=1e-14)
    np.testing.assert_allclose(cr.softplus(x.astype(np.float32)[:2]), np.exp(x[:2]), rtol=1e-6)


def test_gelu_has_the_digits_of_its_tail():
    x = np.array([-1.0, -3.0, -6.0, -10.0, -20.0, -30.0])
    exact = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x]
    # e^(-x^2 / 2) multiplies the error of its exponent, up to 450 here.
    np.testing.assert_allclose(cr.gelu(x), exact, rtol=5e-13)


def test_elu_has_the_digits_of_small_arguments():
    x = np.array([-1e-3, -1e-8, -1e-15, -1e-300, -0.0, 0.0])
    np.testing.assert_allclose(cr.elu(x), np.expm1(x), rtol=1e-14)
    np.testing.assert_allclose(cr.elu(x, 2.5), 2.5 * np.expm1(x), rtol=1e-14)


def test_slopes_at_zero_are_as_documented():
    zero = np.array([0.0, -0.0])
    assert slope(lambda x: cr.leaky_relu(x, 0.2))(zero).tolist() == [0.2, 0.2]
    assert slope(lambda x: cr.elu(x, 0.7))(zero).tolist() == [0.7, 0.7]
    # The same where rules are made of gates.
    _, by_pushing = cr.jvp(lambda x: cr.grad(lambda x: cr.elu(x, 0.7).sum())(x), (zero,), (np.ones(2),))
    assert by_pushing.tolist() == [0.7, 0.7]


def test_elu_above_zero_does_not_overflow_in_its_second_derivative():
    x = np.array([1000.0, 1e300, -1000.0])
    assert bend(cr.elu)(x).tolist() == [0, 0, 0]


def test_nan_keeps_its_slope_under_transforms():
    x = np.array([nan, 1.0])
    for name in LIMITS:
        first = slope(getattr(cr, name))
        found = []

        def keep(x, first=first, found=found):
            value = first(x)
            found.append(value)
            return value.sum()

        cr.grad(keep)(x)
        assert np.isnan(np.asarray(cr.stop_gradient(found[0]))[0]), name


def test_odd_settings():
    x = np.array([-2.0, 3.0])
    assert cr.leaky_relu(x, 0).tolist() == [0, 3] and cr.leaky_relu(x, -1).tolist() == [2, 3]
    assert cr.leaky_relu(x, 2).tolist() == [-4, 3] and cr.elu(x, 0).tolist() == [0, 3]
    np.testing.assert_allclose(cr.elu(x, -1), [1 - math.exp(-2), 3], rtol=1e-15)


def test_the_same_bits_for_any_number_of_threads():
    x = (np.random.default_rng(0).standard_normal(200_003) * 4).astype(np.float32)
    for name in LIMITS:
        found = []
        for threads in (1, 2, 3):
            cr.set_num_threads(threads)
            function = getattr(cr, name)
            found.append((function(x), slope(function)(x)))
        for y, dy in found[1:]:
            np.testing.assert_array_equal(y, found[0][0])
            np.testing.assert_array_equal(dy, found[0][1])
