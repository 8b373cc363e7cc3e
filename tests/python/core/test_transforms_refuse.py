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


TRANSFORMS = {
    "grad": lambda f: cr.grad(f)(np.array(3.0)),
    "vjp": lambda f: cr.vjp(f, np.array(3.0))[1](1.0),
    "jvp": lambda f: cr.jvp(f, (np.array(3.0),), (ONE,)),
    "linearize": lambda f: cr.linearize(f, np.array(3.0))[1](1.0),
    "jacobian": lambda f: cr.jacobian(f)(np.array(3.0)),
    "hessian": lambda f: cr.hessian(f)(np.array(3.0)),
    "hvp": lambda f: cr.hvp(f, (np.array(3.0),), (ONE,)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_tensor_that_leaked_out_of_its_transform(name):
    leaked = []

    def f(x):
        leaked.append(x * 2.0)
        return x**2

    TRANSFORMS[name](f)
    for use in (
        lambda: leaked[-1] + 1.0,
        lambda: cr.sin(leaked[-1]),
        lambda: cr.grad(lambda y: y * leaked[-1])(ONE),
    ):
        with pytest.raises(
            RuntimeError, match=r"a Tensor of a finished transform was used outside it: return what"
        ):
            use()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_backward_on_a_tensor_of_a_transform(name):
    def f(x):
        (x * 2.0).backward()
        return x**2

    with pytest.raises(RuntimeError, match=r"belongs to a transform .*: nest chainrule.grad"):
        TRANSFORMS[name](f)


@pytest.mark.parametrize("transform", [cr.grad, cr.value_and_grad, cr.vjp, cr.jvp])
def test_the_docstring_states_that_no_dependence_is_a_zero(transform):
    text = " ".join(transform.__doc__.split())
    assert "does not depend on" in text and (" is 0" in text or " 0 where" in text)


def test_outputs_without_a_derivative():
    for f in (lambda x: cr.sum(x > 0), lambda x: x.astype(np.int64)):
        with pytest.raises(TypeError, match="grad: the function returned int64, which has no derivative"):
            cr.grad(f)(ONE)
    for result in ("text", cr.Graph):
        with pytest.raises(TypeError, match="it must return numbers"):
            cr.grad(lambda x, result=result: result)(ONE)


def test_a_custom_rule_knows_its_arguments_alone():
    def f(x):
        return cr.custom_gradient(lambda z: (z * x, lambda g: g * x))(2.0 * x)

    for transform in (cr.grad(f), lambda x: cr.jvp(f, (x,), (ONE,))):
        with pytest.raises(TypeError, match="none of its arguments: pass it as one"):
            transform(ONE)
    one_of_two = cr.custom_gradient(lambda x, y: (x * y, lambda g: g))
    with pytest.raises(ValueError, match="gave 1 gradients for 2 inputs"):
        one_of_two(cr.tensor(1.0, requires_grad=True), cr.tensor(2.0)).backward()


def test_a_checkpoint_of_other_than_one_array():
    with pytest.raises(TypeError, match="checkpoint: the function returned tuple: it must return one array"):
        cr.checkpoint(lambda x: (x, x))(cr.tensor(1.0))


def test_other_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="jacobian: mode 'sideways'"):
        cr.jacobian(cr.sin, mode="sideways")
    with pytest.raises(IndexError, match="argnums 1: there are 1 positional"):
        cr.grad(lambda x: x, argnums=1)(ONE)
    with pytest.raises(TypeError, match=r"argnums 1.5: give an integer"):
        cr.grad(lambda x: x, argnums=1.5)(ONE)
    with pytest.raises(ValueError, match=r"argnums \(0, -1\) names an argument twice"):
        cr.grad(lambda x: x, argnums=(0, -1))(ONE)
    with pytest.raises(TypeError, match="hvp: give the primals and the tangents as tuples"):
        cr.hvp(lambda x: x, ONE, ONE)
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
