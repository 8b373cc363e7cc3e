"""What a derivative is at a kink or a tie: the docstring's convention, in both modes and again at second order."""

import numpy as np
import pytest

import chainrule as cr


def by_modes(f, *values):
    """The derivative of sum(f) in each input: by backward, by pullback, and tangent by tangent."""
    values = [np.array(v, np.float64) for v in values]
    leaves = [cr.tensor(v, requires_grad=True) for v in values]
    cr.sum(f(*leaves)).backward()
    tape = [leaf.grad.numpy() for leaf in leaves]
    everything = tuple(range(len(values)))
    reverse = cr.grad(lambda *x: cr.sum(f(*x)), argnums=everything)(*values)
    forward = cr.jacobian(lambda *x: cr.sum(f(*x)), argnums=everything, mode="forward")(*values)
    return {"tape": tape, "reverse": reverse, "forward": forward}


KINKS = {
    "relu at 0": (cr.relu, [[0.0, -0.0, 1.0, -1.0]], [[0, 0, 1, 0]]),
    "abs at 0": (cr.abs, [[0.0, -0.0, 2.0, -2.0]], [[0, 0, 1, -1]]),
    "sign": (lambda x: cr.sign(x) + 0.0 * x, [[0.0, 1.0, -1.0]], [[0, 0, 0]]),
    "maximum at a tie": (cr.maximum, [[1.0, 2.0, 4.0], [1.0, 3.0, 2.0]], [[1, 0, 1], [0, 1, 0]]),
    "minimum at a tie": (cr.minimum, [[1.0, 2.0, 4.0], [1.0, 3.0, 2.0]], [[1, 1, 0], [0, 0, 1]]),
    "maximum with itself": (lambda x: cr.maximum(x, x), [[1.0]], [[1]]),
    "maximum with a number": (lambda x: cr.maximum(x, 0.0), [[0.0, -1.0, 1.0]], [[1, 0, 1]]),
    "clip at its limits": (lambda x: cr.clip(x, -1, 1), [[-2.0, -1.0, 0.0, 1.0, 2.0]], [[0, 1, 1, 1, 0]]),
    "max of equal values": (
        lambda x: cr.max(x, axis=1),
        [[[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]],
        [[[0, 1, 0], [1, 0, 0]]],
    ),
    "min of equal values": (lambda x: cr.min(x, axis=0), [[[1.0, 2.0], [1.0, 3.0]]], [[[1, 1], [0, 0]]]),
    "max over two axes": (cr.max, [[[3.0, 3.0], [3.0, 1.0]]], [[[1, 0], [0, 0]]]),
    # The margin of class 1 is 1 - 2 + 1 = 0: no gradient; that of class 2 is 2 - 2 + 1 > 0.
    "hinge at margin 0": (lambda x: cr.multiclass_hinge(x, [0]), [[[2.0, 1.0, 2.0]]], [[[-1, 0, 1]]]),
    "squared hinge at margin 0": (
        lambda x: cr.multiclass_hinge(x, [0], squared=True),
        [[[2.0, 1.0, 2.0]]],
        [[[-2, 0, 2]]],
    ),
    # One window of equal values, and one whose largest comes twice.
    "max_pool2d at a tie": (
        lambda x: cr.max_pool2d(cr.reshape(x, (1, 2, 4, 1)), 2),
        [[[1.0, 1.0, 0.0, 3.0], [1.0, 1.0, 3.0, 2.0]]],
        [[[1, 0, 0, 1], [0, 0, 0, 0]]],
    ),
    "global_max_pool2d at a tie": (
        lambda x: cr.global_max_pool2d(cr.reshape(x, (1, 2, 2, 1))),
        [[0.0, 3.0, 3.0, 3.0]],
        [[0, 1, 0, 0]],
    ),
    "conv2d_relu at 0": (
        lambda x: cr.conv2d_relu(cr.reshape(x, (1, 1, 3, 1)), np.ones((1, 1, 1, 1))),
        [[0.0, 1.0, -1.0]],
        [[0, 1, 0]],
    ),
    "leaky_relu at 0": (lambda x: cr.leaky_relu(x, 0.1), [[0.0, 1.0, -1.0]], [[0.1, 1, 0.1]]),
    "elu at 0": (lambda x: cr.elu(x, 2.0), [[0.0, 1.0]], [[2.0, 1]]),
    "x^2 at 0": (lambda x: x**2, [[0.0]], [[0]]),
    "x^0 at 0": (lambda x: x**0, [[0.0, 2.0]], [[0, 0]]),
    "0^y": (cr.power, [[0.0, 0.0], [2.0, 3.0]], [[0, 0], [0, 0]]),
    "elastic net at 0": (lambda x: cr.elastic_net([x], 0.5, 0.1), [[0.0, 2.0]], [[0, 0.9]]),
    "where": (lambda x: cr.where(x > 0, x, 0.0), [[0.0, 1.0]], [[0, 1]]),
    "sqrt at 0": (cr.sqrt, [[0.0]], [[np.inf]]),
}


@pytest.mark.parametrize("name", KINKS)
def test_both_modes_follow_the_convention(name):
    f, values, expected = KINKS[name]
    for mode, gradients in by_modes(f, *values).items():
        for gradient, wanted in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(gradient, wanted, rtol=1e-14, err_msg=mode)


@pytest.mark.parametrize(
    "name",
    [
        "relu at 0",
        "abs at 0",
        "maximum with itself",
        "max over two axes",
        "hinge at margin 0",
        "max_pool2d at a tie",
    ],
)
def test_the_second_derivative_at_a_kink_is_that_of_the_piece(name):
    f, values, _ = KINKS[name]
    x = np.array(values[0])
    hessian = cr.hessian(lambda x: cr.sum(f(x)))(x)
    np.testing.assert_array_equal(hessian, np.zeros(x.shape * 2))
    again = cr.jacobian(cr.grad(lambda x: cr.sum(f(x))), mode="reverse")(x)
    np.testing.assert_array_equal(again, hessian)


@pytest.mark.parametrize(
    "function, words",
    [
        (cr.relu, "gradient at 0 is 0"),
        (cr.abs, "gradient at 0 is 0"),
        (cr.maximum, "where they are equal, to x"),
        (cr.minimum, "where they are equal, to x"),
        (cr.max, "goes to the first of equal values"),
        (cr.min, "goes to the first of equal values"),
        (cr.max_pool2d, "goes to the first of equal values"),
        (cr.leaky_relu, "derivative at 0 is the slope"),
        (cr.elu, "derivative at 0 is alpha"),
        (cr.conv2d_relu, "derivative of relu is 0 at 0"),
        (cr.global_max_pool2d, "goes to the first of equal values"),
        (cr.clip, "1 inside and at the limits"),
        (cr.multiclass_hinge, "a margin of exactly 0 sends no gradient"),
        (cr.elastic_net, "sign(0) = 0"),
        (cr.power, "At x = 0"),
        (cr.sqrt, "gradient at 0 is inf"),
        (cr.sign, "sends no gradient"),
    ],
)
def test_the_docstring_says_so(function, words):
    assert words in " ".join(function.__doc__.split())
