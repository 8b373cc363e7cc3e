"""The example one_by_one_convolution."""

import re

import numpy as np

import chainrule as cr

EXAMPLE = "one_by_one_convolution"


def test_it_is_a_product_across_channels(example):
    x, weight, bias, _ = example.problem()
    expected = np.einsum("nhwc,cf->nhwf", x, weight[0, 0]) + bias
    np.testing.assert_allclose(cr.conv2d(x, weight, bias), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(example.by_matmul(x, weight, bias), expected, rtol=1e-12, atol=1e-12)


def test_so_are_its_gradients(example):
    x, weight, bias, upstream = example.problem()
    dx, dw, db = example.gradients(cr.conv2d, x, weight, bias, upstream)
    np.testing.assert_allclose(dx, upstream @ weight[0, 0].T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dw[0, 0], np.einsum("nhwc,nhwf->cf", x, upstream), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(db, upstream.sum(axis=(0, 1, 2)), rtol=1e-12, atol=1e-12)
    for one, other in zip(
        (dx, dw, db), example.gradients(example.by_matmul, x, weight, bias, upstream), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_two_in_a_row_are_a_perceptron_at_each_pixel(example):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 4, 3, 5))
    layers = [(rng.standard_normal((1, 1, a, b)), rng.standard_normal(b)) for a, b in ((5, 7), (7, 2))]
    maps = x
    for weight, bias in layers:
        maps = cr.relu(cr.conv2d(maps, weight, bias))
    for place in np.ndindex(2, 4, 3):
        np.testing.assert_allclose(maps[place], example.perceptron(x[place], layers), rtol=1e-12, atol=1e-12)


def test_a_fully_connected_layer_is_a_convolution_as_large_as_the_image(example):
    rng = np.random.default_rng(6)
    x, weight, bias = rng.standard_normal((3, 4, 5, 2)), rng.standard_normal((40, 6)), rng.standard_normal(6)
    found = example.fully_connected_as_convolution(x, weight, bias)
    np.testing.assert_allclose(found, x.reshape(3, 40) @ weight + bias, rtol=1e-12, atol=1e-12)


def test_what_is_printed_is_rounding(printed):
    apart = [float(number) for number in re.findall(r"(\S+) apart", printed)]
    assert len(apart) == 6 and max(apart) < 1e-12
