"""What the transforms refuse: each error says what to do instead."""

import numpy as np
import pytest

import chainrule as cr

ONE = np.array(1.0)


def test_grad_of_a_function_that_returns_no_scalar():
    with pytest.raises(ValueError, match=r"grad: the function returned \(3,\), not one number"):
        cr.grad(lambda x: x * 2.0)(np.ones(3))
    with pytest.raises(ValueError, match="not one number"):
        cr.grad(lambda x: (x.sum(), x.sum()))(np.ones(3))


@pytest.mark.parametrize(
    "x", [3, np.arange(3), cr.tensor([1, 2]), np.array([True]), np.ones(2, complex), "x"]
)
def test_inputs_without_a_derivative(x):
    for transform in (
        cr.grad(lambda x: x),
        lambda x: cr.vjp(lambda x: x, x),
        lambda x: cr.jvp(lambda x: x, (x,), (x,)),
    ):
        with pytest.raises(TypeError, match="has no derivative"):
            transform(x)


def test_tangents_of_another_shape_dtype_or_nest():
    x = np.ones(3)
    with pytest.raises(ValueError, match=r"jvp: tangents of shape \(2,\) for a value of shape \(3,\)"):
        cr.jvp(cr.sin, (x,), (np.ones(2),))
    with pytest.raises(TypeError, match="jvp: tangents of float32 for a value of float64"):
        cr.jvp(cr.sin, (x,), (np.ones(3, np.float32),))
    with pytest.raises(ValueError, match="nested otherwise"):
        cr.jvp(cr.sin, (x,), (x, x))
    with pytest.raises(TypeError, match="as tuples"):
        cr.jvp(cr.sin, x, x)
    _, pullback = cr.vjp(cr.sin, x)
    with pytest.raises(ValueError, match=r"vjp: cotangents of shape \(\) for a value of shape \(3,\)"):
        pullback(1.0)


def test_a_tensor_that_leaked_out_of_its_transform():
    leaked = []

    def f(x):
        leaked.append(x * 2.0)
        return x**2

    for run in (lambda: cr.grad(f)(np.array(3.0)), lambda: cr.jvp(f, (np.array(3.0),), (ONE,))):
        run()
        with pytest.raises(RuntimeError, match="a Tensor of a finished transform was used outside it"):
            leaked[-1] + 1.0


def test_other_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="jacobian: mode 'sideways'"):
        cr.jacobian(cr.sin, mode="sideways")
    with pytest.raises(IndexError, match="argnums 1: there are 1 positional"):
        cr.grad(lambda x: x, argnums=1)(ONE)
    with pytest.raises(TypeError, match="has_aux=True"):
        cr.grad(lambda x: x, has_aux=True)(ONE)
    with pytest.raises(TypeError, match=r"must return \(value, pullback\)"):
        cr.custom_gradient(lambda x: x)(ONE)
    with pytest.raises(ValueError, match="are no parameters of the model"):
        cr.functional_call(cr.nn.Linear(2, 2), {"colour": np.ones(2)}, np.ones((1, 2)))
    with pytest.raises(ValueError, match="trace: mode"):
        cr.trace(cr.sin, ONE, mode="sideways")


def test_backward_twice_through_a_freed_graph():
    x = cr.tensor(2.0, requires_grad=True)
    y = x**2
    y.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward"):
        y.backward()
