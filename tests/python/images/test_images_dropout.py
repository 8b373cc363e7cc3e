"""Dropout: masks that follow from a key, the rate, and the generator they are drawn from."""

import numpy as np
import pytest

import chainrule as cr


def mask(shape, p, key, dtype=np.float32):
    return cr.dropout(np.ones(shape, dtype), p, key=key) != 0


def test_the_mask_is_the_same_for_any_number_of_threads():
    found = []
    for threads in (1, 2, 3):
        cr.set_num_threads(threads)
        found.append(cr.dropout(np.ones(300_001, np.float32), 0.3, key=5))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_the_mask_follows_from_the_key_and_the_place_alone():
    whole = mask((100_003,), 0.4, 9)
    np.testing.assert_array_equal(mask((1000,), 0.4, 9), whole[:1000])
    np.testing.assert_array_equal(mask((10, 100), 0.4, 9).ravel(), whole[:1000])
    np.testing.assert_array_equal(mask((1000,), 0.4, 9, np.float64), whole[:1000])
    # A value kept at one rate is kept at every lower one.
    assert (mask((1000,), 0.2, 9) | ~whole[:1000]).all()


def test_different_keys_give_different_masks():
    masks = {key: mask((4096,), 0.5, key) for key in (0, 1, 2, 2**32, 2**63, 2**64 - 1)}
    keys = list(masks)
    for i, a in enumerate(keys):
        for b in keys[:i]:
            # Independent masks agree in half the places: within 5 sigma of 2048, sigma 32.
            assert abs(int((masks[a] == masks[b]).sum()) - 2048) < 160, (a, b)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_the_rate_is_p_within_five_sigma(p):
    n = 400_000
    for key in (1, 2**40 + 3):
        dropped = n - int(mask((n,), p, key).sum())
        assert abs(dropped - n * p) < 5 * (n * p * (1 - p)) ** 0.5


def test_neighbours_are_independent():
    n = 400_000
    kept = mask((n,), 0.5, 11).astype(float) - 0.5
    for distance in (1, 2, 3, 4, 5, 8, 16, 64, 256, 1024):
        # A sum of n values of +-1/4.
        assert abs((kept[distance:] * kept[:-distance]).sum()) < 5 * n**0.5 / 4, distance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kept_values_are_scaled_exactly(dtype):
    x = np.random.default_rng(0).standard_normal(1000).astype(dtype)
    for p in (0.5, 0.75, 0.1, 0.3):
        y = cr.dropout(x, p, key=3)
        kept = mask((1000,), p, 3, dtype)
        scale = dtype(1 / (1 - p))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, np.where(kept, x * scale, 0))


def test_the_ends_of_the_range():
    x = np.array([1.0, np.nan, np.inf, -2.0])
    np.testing.assert_array_equal(cr.dropout(x, 0), x)
    np.testing.assert_array_equal(cr.dropout(x, 0, key=3), x)
    np.testing.assert_array_equal(cr.dropout(x, 1, key=3), np.zeros(4))
    np.testing.assert_array_equal(cr.dropout(x, 1.0), np.zeros(4))
    leaf = cr.tensor(x, dtype=np.float64, requires_grad=True)
    cr.dropout(leaf, 1).sum().backward()
    assert leaf.grad.numpy().tolist() == [0] * 4


def test_outside_training_it_is_nothing():
    x = cr.tensor(np.ones(5), requires_grad=True)
    assert cr.dropout(x, 0.5, training=False) is x
    cr.manual_seed(1)
    first = cr.random.generator().bit_generator.state
    cr.dropout(x, 0.5, training=False)
    cr.dropout(x, 0)
    assert cr.random.generator().bit_generator.state == first


def test_what_is_dropped_is_zero_even_where_it_was_nan():
    x = np.full(1000, np.nan)
    y = cr.dropout(x, 0.5, key=1)
    np.testing.assert_array_equal(np.isnan(y), mask((1000,), 0.5, 1))
    assert (y[~np.isnan(y)] == 0).all()


def test_the_same_mask_forward_and_backward_and_in_every_mode():
    x = np.random.default_rng(1).standard_normal((50, 7))
    kept = mask(x.shape, 0.4, 21, np.float64) / 0.6
    leaf = cr.tensor(x, dtype=np.float64, requires_grad=True)
    g = np.random.default_rng(2).standard_normal(x.shape)
    cr.dropout(leaf, 0.4, key=21).backward(g)
    np.testing.assert_allclose(leaf.grad.numpy(), g * kept, rtol=1e-15)

    # With a key drawn at the call.
    leaf = cr.tensor(x, dtype=np.float64, requires_grad=True)
    y = cr.dropout(leaf, 0.4)
    y.backward(np.ones(x.shape))
    np.testing.assert_array_equal(leaf.grad.numpy() != 0, y.numpy() != 0)
    value, tangent = cr.jvp(lambda x: cr.dropout(x, 0.4), (x,), (np.ones(x.shape),))
    np.testing.assert_array_equal(tangent != 0, value != 0)
    value, gradient = cr.value_and_grad(lambda x: (cr.dropout(x, 0.4) ** 2).sum())(x)
    assert float((gradient * x).sum()) == pytest.approx(2 * float(value), rel=1e-12)


def test_manual_seed_starts_the_masks_again():
    x = np.ones(200, np.float32)

    def draw():
        cr.manual_seed(12)
        return [cr.dropout(x) for _ in range(3)]

    first, second = draw(), draw()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != first[1]).any() and (first[1] != first[2]).any()
    cr.manual_seed(13)
    assert (cr.dropout(x) != first[0]).any()


def test_odd_layouts_and_empty_arrays():
    x = np.random.default_rng(3).standard_normal((30, 20)).astype(np.float32)
    expected = cr.dropout(x, 0.3, key=8)
    np.testing.assert_array_equal(cr.dropout(np.array(x, order="F"), 0.3, key=8), expected)
    np.testing.assert_array_equal(cr.dropout(x[::-1].copy()[::-1], 0.3, key=8), expected)
    assert cr.dropout(np.ones((0, 3)), 0.3).shape == (0, 3)
    assert cr.dropout(2.0, 0.3, key=8).shape == ()
