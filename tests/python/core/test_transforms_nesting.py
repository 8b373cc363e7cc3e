"""Transforms inside transforms: no perturbation is confused, whatever the modes, the depth and the expressions."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr

ONE = np.array(1.0)

# Ways to the derivative of a scalar function of a scalar.
WAYS = {
    "forward": lambda f: lambda x: cr.jvp(f, (x,), (ONE,))[1],
    "reverse": cr.grad,
    "pullback": lambda f: lambda x: cr.vjp(f, x)[1](1.0)[0],
    "linearize": lambda f: lambda x: cr.linearize(f, x)[1](1.0),
    "columns": lambda f: cr.jacobian(f, mode="forward"),
    "rows": lambda f: cr.jacobian(f, mode="reverse"),
    "recomputed": lambda f: cr.grad(cr.checkpoint(f)),
}
MODES = ("forward", "reverse")
ways = st.sampled_from(sorted(WAYS))


@pytest.mark.parametrize("inner", WAYS)
@pytest.mark.parametrize("outer", WAYS)
def test_perturbations_are_not_confused(outer, inner):
    # Siskind and Pearlmutter 2005: d/dx [x d/dy (x + y)] is 1 and d/dx [x d/dy (x y)] is 2 at (1, 1).
    add = WAYS[outer](lambda x: x * WAYS[inner](lambda y: x + y)(ONE))
    multiply = WAYS[outer](lambda x: x * WAYS[inner](lambda y: x * y)(ONE))
    assert float(add(ONE)) == 1
    assert float(multiply(ONE)) == 2


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("middle", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_three_variables_of_three_levels_are_kept_apart(outer, middle, inner):
    # d/dx [x d/dy [y d/dz (x y z + z^2)]] at (x, y, z) = (2, 3, 5): the innermost is x y + 2 z; times y its
    # derivative in y is 2 x y + 2 z = 6 x + 10; times x its derivative in x is 12 x + 10 = 34.
    f = WAYS[outer](
        lambda x: (
            x
            * WAYS[middle](lambda y: y * WAYS[inner](lambda z: x * y * z + z * z)(np.array(5.0)))(
                np.array(3.0)
            )
        )
    )
    assert float(f(np.array(2.0))) == 34


def test_a_derivative_depends_on_the_function_and_the_point_alone():
    def f(x):
        return cr.grad(lambda y: y**2 * x)(x)  # 2 x^2

    assert float(cr.grad(f)(np.array(3.0))) == 12
    assert float(cr.jvp(f, (np.array(3.0),), (ONE,))[1]) == 12
    assert float(f(np.array(3.0))) == 18


def test_plain_tensors_inside_a_transform_are_constants_of_it():
    w = cr.tensor(2.0, dtype="float64", requires_grad=True)
    gradient = cr.grad(lambda x: w * x**2)(np.array(3.0))
    assert float(gradient) == 12
    gradient.backward()  # d/dw of 2 w x
    assert w.grad.item() == 6


def test_an_exception_inside_a_transform_leaves_the_levels_as_they_were():
    def fails(x):
        raise KeyError("the function's own")

    for transform in (cr.grad(fails), lambda x: cr.jvp(fails, (x,), (ONE,)), cr.hessian(fails)):
        with pytest.raises(KeyError, match="the function's own"):
            transform(ONE)
    assert float(cr.grad(cr.grad(lambda x: x**3))(np.array(2.0))) == 12


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_a_checkpoint_may_close_over_values_of_any_level(outer, inner):
    # f closes over x of the outer level while y of the inner one is its argument, and the other way round.
    over_outer = WAYS[outer](lambda x: x * WAYS[inner](cr.checkpoint(lambda y: x * y**2))(np.array(3.0)))
    over_inner = WAYS[outer](
        lambda x: x * WAYS[inner](lambda y: cr.checkpoint(lambda z: z * y**2)(x))(np.array(3.0))
    )
    own_level = WAYS[outer](lambda x: cr.checkpoint(lambda z: z * x**2)(x * 1.0) + cr.checkpoint(cr.sin)(ONE))
    assert float(over_outer(np.array(2.0))) == 24  # 6 x^2, differentiated
    assert float(over_inner(np.array(2.0))) == 24
    assert float(own_level(np.array(2.0))) == 12


def test_a_checkpoint_that_returns_its_input_or_a_constant():
    for x in (np.array(2.0), cr.tensor(2.0)):
        assert float(cr.grad(cr.checkpoint(lambda x: x))(x)) == 1
        assert float(cr.grad(cr.checkpoint(lambda x: ONE))(x)) == 0
    w = cr.tensor(2.0, requires_grad=True)
    (3.0 * cr.checkpoint(lambda x: x)(w)).backward()
    assert w.grad.item() == 3


def test_recording_switched_off_is_no_matter_to_a_transform():
    with cr.no_grad():
        assert float(cr.grad(lambda x: x**3)(np.array(2.0))) == 12
        assert float(cr.hessian(lambda x: x**3)(np.array(2.0))) == 12


def test_threads_have_levels_of_their_own():
    def work(seed):
        x = np.array(0.1 * seed)
        # The innermost two give 12 y^2 x at y = x, which is 12 x^3.
        f = cr.grad(lambda x: cr.jvp(cr.grad(lambda y: y**4 * x), (x,), (ONE,))[1])
        return [float(f(x)) for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        for seed, results in enumerate(pool.map(work, range(1, 9)), 1):
            assert results == pytest.approx([36 * (0.1 * seed) ** 2] * 50)


# ---- Random expressions under random compositions, against sympy -------------------------------------------

UNARY = {
    "sin": (cr.sin, sympy.sin),
    "cos": (cr.cos, sympy.cos),
    "exp of sin": (lambda a: cr.exp(cr.sin(a)), lambda a: sympy.exp(sympy.sin(a))),
    "tanh": (cr.tanh, sympy.tanh),
    "sigmoid": (cr.sigmoid, lambda a: 1 / (1 + sympy.exp(-a))),
    "square": (cr.square, lambda a: a**2),
    "log": (lambda a: cr.log(1.5 + cr.sin(a)), lambda a: sympy.log(sympy.Rational(3, 2) + sympy.sin(a))),
    "root": (lambda a: cr.sqrt(2.0 + cr.cos(a)), lambda a: sympy.sqrt(2 + sympy.cos(a))),
}
BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / (2 + b * b),
}


def expressions(variables):
    return st.recursive(
        st.sampled_from(variables),
        lambda parts: st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), parts),
            st.tuples(st.sampled_from(sorted(BINARY)), parts, parts),
        ),
        max_leaves=4,
    )


def evaluate(expression, values, symbolic):
    """An expression over {variable: value}, by the library or by sympy."""
    if isinstance(expression, str):
        return values[expression]
    name, *parts = expression
    parts = [evaluate(part, values, symbolic) for part in parts]
    return UNARY[name][symbolic](*parts) if name in UNARY else BINARY[name](*parts)


def close(computed, expected):
    assert float(computed) == pytest.approx(float(expected), rel=1e-8, abs=1e-8)


@settings(max_examples=40)
@given(expressions(["x"]), st.lists(ways, min_size=1, max_size=3), st.floats(-1, 1))
def test_any_composition_of_transforms_gives_the_higher_derivative(expression, composition, point):
    f = lambda x: evaluate(expression, {"x": x}, 0)  # noqa: E731
    for way in composition:
        f = WAYS[way](f)
    x = sympy.Symbol("x")
    exact = sympy.diff(evaluate(expression, {"x": x}, 1), x, len(composition))
    close(f(np.array(point)), exact.subs(x, sympy.Rational(point)).evalf(25))


@settings(max_examples=40)
@given(
    expressions(["x", "y"]),
    expressions(["x"]),
    expressions(["x", "d"]),
    ways,
    st.lists(ways, min_size=1, max_size=2),
    st.floats(-1, 1),
)
def test_a_derivative_inside_a_function_that_is_differentiated(inner, place, outer, way, composition, point):
    # g(x) = outer(x, d), d = the derivative of inner(x, y) in y at y = place(x).
    def g(x):
        d = WAYS[way](lambda y: evaluate(inner, {"x": x, "y": y}, 0))
        return evaluate(outer, {"x": x, "d": d(evaluate(place, {"x": x}, 0))}, 0)

    for transform in composition:
        g = WAYS[transform](g)
    x, y = sympy.symbols("x y")
    d = sympy.diff(evaluate(inner, {"x": x, "y": y}, 1), y).subs(y, evaluate(place, {"x": x}, 1))
    exact = sympy.diff(evaluate(outer, {"x": x, "d": d}, 1), x, len(composition))
    close(g(np.array(point)), exact.subs(x, sympy.Rational(point)).evalf(25))


@given(st.lists(st.sampled_from(MODES), min_size=5, max_size=6), st.floats(-0.9, 0.9))
def test_fifth_and_sixth_derivatives(composition, point):
    f = lambda x: cr.exp(0.5 * x) * cr.sin(x)  # noqa: E731
    for mode in composition:
        f = WAYS[mode](f)
    # e^(x/2) sin x is the imaginary part of e^(c x), c = 1/2 + i.
    c = 0.5 + 1j
    close(f(np.array(point)), (c ** len(composition) * np.exp(c * point)).imag)


# ---- Checkpoints that draw random numbers ------------------------------------------------------------------


def dropped(x):
    return cr.sum(cr.dropout(cr.dropout(x, 0.5) * 2.0, 0.25))


def test_a_checkpoint_draws_the_same_mask_again():
    cr.manual_seed(3)
    plain = cr.value_and_grad(dropped)(np.ones(1000))
    after = cr.random.generator().integers(1 << 40)
    cr.manual_seed(3)
    checked = cr.value_and_grad(cr.checkpoint(dropped))(np.ones(1000))
    assert plain[0] == checked[0]
    np.testing.assert_array_equal(plain[1], checked[1])
    # Once the function has run, the generator stands where it would without the checkpoint.
    assert cr.random.generator().integers(1 << 40) == after


def test_a_checkpoint_on_tensors_draws_the_same_mask_again():
    x = cr.tensor(np.ones(1000), requires_grad=True)
    cr.manual_seed(3)
    cr.checkpoint(dropped)(x).backward()
    cr.manual_seed(3)
    _, gradient = cr.value_and_grad(dropped)(np.ones(1000))
    np.testing.assert_array_equal(x.grad.numpy(), gradient)


def test_nested_checkpoints_draw_the_same_masks_again():
    twice = cr.checkpoint(lambda x: cr.checkpoint(dropped)(cr.dropout(x, 0.5)))
    once = lambda x: dropped(cr.dropout(x, 0.5))  # noqa: E731
    results = []
    for f in (once, twice):
        cr.manual_seed(5)
        results.append(cr.value_and_grad(f)(np.ones(200)))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
