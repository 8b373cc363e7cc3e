"""The backward pass applies relu's derivative while it writes the gradient that goes to a relu."""

from itertools import pairwise

import numpy as np
import pytest

import chainrule as cr
from chainrule import _core
from chainrule.autodiff.reverse import walk


@pytest.fixture(autouse=True)
def automatic():
    yield
    cr.set_conv_algorithm("auto")


# x, weights, window: (stride, padding top, bottom, left, right, dilation, groups)
SHAPES = {
    "Winograd": ((2, 9, 7, 24), (3, 3, 24, 33), (1, 1, 1, 1, 1, 1, 1, 1, 1)),
    "Winograd, 5 x 5": ((1, 8, 8, 24), (5, 5, 24, 40), (1, 1, 2, 2, 2, 2, 1, 1, 1)),
    "Winograd, few outputs": ((2, 2, 2, 32), (3, 3, 32, 32), (1, 1, 1, 1, 1, 1, 1, 1, 1)),
    "tiles": ((2, 9, 11, 17), (3, 2, 17, 19), (1, 1, 1, 1, 0, 2, 1, 1, 1)),
    "tiles of one pixel's channels": ((3, 5, 7, 37), (1, 1, 37, 21), (1, 1, 0, 0, 0, 0, 1, 1, 1)),
    "rows that no output reads": ((1, 9, 8, 16), (1, 2, 16, 5), (3, 3, 0, 0, 0, 0, 1, 1, 1)),
    "stride and dilation": ((2, 11, 10, 18), (3, 3, 18, 9), (2, 3, 2, 1, 0, 2, 2, 1, 1)),
    "few channels": ((2, 12, 31, 3), (5, 5, 3, 6), (1, 1, 2, 2, 2, 2, 1, 1, 1)),
    "depthwise": ((2, 6, 7, 21), (3, 3, 1, 21), (1, 1, 1, 1, 1, 1, 1, 1, 21)),
    "groups": ((2, 6, 7, 20), (3, 3, 10, 6), (1, 1, 1, 1, 1, 1, 1, 1, 2)),
    "the window is the image": ((3, 4, 4, 7), (4, 4, 7, 9), (1, 1, 0, 0, 0, 0, 1, 1, 1)),
}


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "winograd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_the_masked_gradient_is_the_gradient_under_the_mask(name, dtype, algorithm, bfloat16):
    x_shape, w_shape, window = SHAPES[name]
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    x[rng.random(x_shape) < 0.1] = 0
    x.ravel()[3] = np.nan
    cr.set_conv_algorithm(algorithm)
    gradient = rng.standard_normal(_core.conv2d(x, w, None, window, False).shape).astype(dtype)
    plain = _core.conv2d_input_gradient(gradient, w, None, *x_shape[1:3], window, False, bfloat16)
    masked = _core.conv2d_input_gradient(gradient, w, None, *x_shape[1:3], window, False, bfloat16, x)
    np.testing.assert_array_equal(masked, np.where(x > 0, plain, 0))


def test_a_mask_has_the_images_shape():
    w, gradient = np.ones((1, 1, 2, 3), np.float32), np.ones((1, 4, 4, 3), np.float32)
    window = (1, 1, 0, 0, 0, 0, 1, 1, 1)
    for shape in [(1, 4, 4, 3), (4, 4, 2), (2, 4, 4, 2)]:
        with pytest.raises(ValueError, match=r"conv2d_input_gradient: mask \(.*\) for x of \(1, 4, 4, 2\)"):
            _core.conv2d_input_gradient(
                gradient, w, None, 4, 4, window, False, False, np.ones(shape, np.float32)
            )


def convolutions(rng, *channels, size=3):
    return [
        (
            cr.tensor(0.3 * rng.standard_normal((size, size, a, b)), requires_grad=True),
            cr.tensor(0.1 * rng.standard_normal(b), requires_grad=True),
        )
        for a, b in pairwise(channels)
    ]


def fused(x, parameters):
    for w, b in parameters:
        x = cr.conv2d_relu(x, w, b, padding=1)
    return x


def apart(x, parameters):
    for w, b in parameters:
        x = cr.relu(cr.conv2d(x, w, b, padding=1))
    return x


def chain(x, parameters, convolve):
    return convolve(x, parameters)


def pooled(x, parameters, convolve):
    return convolve(cr.max_pool2d(convolve(x, parameters[:1]), 2), parameters[1:])


def branched(x, parameters, convolve):
    """A relu that two read: neither may let its gradient through on its own account."""
    y = convolve(x, parameters[:1])
    return convolve(y, parameters[1:]) + cr.sum(y)


def relus_of_no_bias(x, parameters, convolve):
    y = x
    for w, _ in parameters:
        y = cr.conv2d_relu(y, w, padding=1) if convolve is fused else cr.relu(cr.conv2d(y, w, padding=1))
    return y


@pytest.mark.parametrize("net", [chain, pooled, branched, relus_of_no_bias])
def test_gradients_are_those_of_a_relu_apart(net):
    rng = np.random.default_rng(1)
    x = cr.tensor(rng.standard_normal((2, 8, 6, 5)), requires_grad=True)
    parameters = convolutions(rng, 5, 7, 6, 4)
    found = []
    for convolve in (fused, apart):
        for tensor in [x, *(p for pair in parameters for p in pair)]:
            tensor.grad = None
        cr.sum(net(x, parameters, convolve) ** 2).backward()
        found.append([t.grad for t in [x, *(p for pair in parameters for p in pair)]])
    for got, expected in zip(*found, strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-9, atol=1e-11)


def test_a_relu_that_is_a_root_too_gets_its_own_gradient_through_relu():
    rng = np.random.default_rng(2)
    x = cr.tensor(rng.standard_normal((1, 5, 5, 3)), requires_grad=True)
    first, second = convolutions(rng, 3, 4, 2)
    found = []
    for convolve in (fused, apart):
        y = convolve(x, [first])
        z = convolve(y, [second])
        arrived = {}

        def send(leaf, gradient, upstream, arrived=arrived):
            arrived[id(leaf)] = gradient

        walk([(z.gate, np.ones(z.shape)), (y.gate, np.full(y.shape, 2.0))], send, False)
        found.append(arrived[id(x)])
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-11)


def test_a_graph_is_walked_twice_with_the_same_gradients():
    rng = np.random.default_rng(3)
    x = cr.tensor(rng.standard_normal((1, 6, 6, 3)), requires_grad=True)
    loss = cr.sum(fused(x, convolutions(rng, 3, 4, 2)))
    loss.backward(retain_graph=True)
    first, x.grad = x.grad.numpy().copy(), None
    loss.backward()
    np.testing.assert_array_equal(first, x.grad.numpy())


def test_second_derivatives_pass_through_fused_relus():
    rng = np.random.default_rng(4)
    parameters = convolutions(rng, 2, 3, 2)

    def f(x, convolve):
        return cr.sum(convolve(x, parameters) ** 3)

    x = rng.standard_normal((1, 4, 4, 2))
    v = rng.standard_normal(x.shape)
    products = [cr.hvp(lambda x, c=c: f(x, c), (x,), (v,)) for c in (fused, apart)]
    np.testing.assert_allclose(*(np.asarray(p) for p in products), rtol=1e-8, atol=1e-9)
