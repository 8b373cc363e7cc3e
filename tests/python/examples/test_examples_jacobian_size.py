"""The example jacobian_size."""

import numpy as np

import chainrule as cr

EXAMPLE = "jacobian_size"


def test_the_shapes_are_those_that_jacobian_returns(example):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    in_x, in_w = cr.jacobian(cr.matmul, argnums=(0, 1))(x, w)
    assert (in_x.shape, in_w.shape) == example.jacobian_shapes(x.shape, w.shape)


def test_the_pullback_contracts_the_jacobian_it_does_not_build(example):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    in_x, in_w = cr.jacobian(cr.matmul, argnums=(0, 1))(x, w)
    dx, dw = example.pullback_gradients(x, w)
    np.testing.assert_allclose(dx, in_x.sum((0, 1)), rtol=1e-13)
    np.testing.assert_allclose(dw, in_w.sum((0, 1)), rtol=1e-13)


def test_entries_and_bytes_are_printed_not_allocated(printed):
    # 64 * 4096 outputs times 64 * 4096 or 4096 * 4096 inputs, four bytes each.
    assert f"{(64 * 4096) ** 2:,} entries, {4 * (64 * 4096) ** 2:,} bytes (0.27 TB)" in printed
    assert f"{64 * 4096**3:,} entries, {4 * 64 * 4096**3:,} bytes (17.59 TB)" in printed
