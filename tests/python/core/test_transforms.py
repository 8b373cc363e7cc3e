"""The transforms: worked cases, arguments and results, and each transform by itself."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import sympy

import chainrule as cr

ONE = np.array(1.0)


def derivative(mode, f):
    """d/dx of a scalar function of a scalar, by the mode's own transform."""
    if mode == "reverse":
        return cr.grad(f)
    return lambda x: cr.jvp(f, (x,), (ONE,))[1]


MODES = ("forward", "reverse")


# ---- Worked cases -------------------------------------------------------------------------------------------


def survey(x1, x2):
    return cr.log(x1) + x1 * x2 - cr.sin(x2)


def test_the_surveys_example():
    # Baydin et al. 2018, tables 2 and 3: ln x1 + x1 x2 - sin x2 at (2, 5).
    x1, x2 = np.array(2.0), np.array(5.0)
    value, tangent = cr.jvp(survey, (x1, x2), (1.0, 0.0))
    assert round(float(value), 3) == 11.652
    assert float(tangent) == pytest.approx(5.5, abs=1e-12)
    gradient = cr.grad(survey, (0, 1))(x1, x2)
    assert float(gradient[0]) == pytest.approx(5.5, abs=1e-12)
    assert float(gradient[1]) == pytest.approx(2 - math.cos(5), abs=1e-12)  # 1.716


def test_every_row_of_the_surveys_tables():
    x1, x2 = np.array(2.0), np.array(5.0)
    # By hand: v1 = ln 2, v2 = 2 * 5, v3 = v1 + v2, v4 = sin 5, v5 = v3 - v4.
    values = [2, 5, math.log(2), 10, math.log(2) + 10, math.sin(5), math.log(2) + 10 - math.sin(5)]
    forward = cr.trace(survey, x1, x2, mode="forward")
    assert [float(row["value"]) for row in forward.rows] == pytest.approx(values, abs=1e-12)
    assert [float(row["tangent"]) for row in forward.rows] == pytest.approx(
        [1, 0, 0.5, 5, 5.5, 0, 5.5], abs=1e-12
    )
    reverse = cr.trace(survey, x1, x2)
    adjoints = [5.5, 2 - math.cos(5), 1, 1, 1, -1, 1]
    assert [float(row["adjoint"]) for row in reverse.rows] == pytest.approx(adjoints, abs=1e-12)
    expressions = ["x1", "x2", "log(v-1)", "v-1 * v0", "v1 + v2", "sin(v0)", "v3 - v4"]
    assert [row["expression"] for row in reverse.rows] == expressions
    assert str(forward).splitlines() == [
        "     expression    value  tangent",
        "v-1  x1                2        1",
        "v0   x2                5        0",
        "v1   log(v-1)     0.6931      0.5",
        "v2   v-1 * v0         10        5",
        "v3   v1 + v2       10.69      5.5",
        "v4   sin(v0)     -0.9589        0",
        "v5   v3 - v4       11.65      5.5",
    ]
    assert [line.split()[-1] for line in str(reverse).splitlines()[1:]] == [
        *("5.5", "1.716", "1", "1", "1", "-1", "1")
    ]
    assert [row[:4].strip() for row in str(reverse).splitlines()[1:]] == [
        "v-1",
        "v0",
        "v1",
        "v2",
        "v3",
        "v4",
        "v5",
    ]


def rosenbrock(v):
    return (1.0 - v[0]) ** 2 + 100.0 * (v[1] - v[0] ** 2) ** 2


def test_rosenbrocks_hessian_at_its_minimum():
    # By hand: ((2 + 800 x^2, -400 x), (-400 x, 200)) at (1, 1), where the second bracket is 0.
    np.testing.assert_allclose(cr.hessian(rosenbrock)(np.ones(2)), [[802, -400], [-400, 200]], rtol=1e-13)


@pytest.mark.parametrize("orders", [a + b + c + d for a in "fr" for b in "fr" for c in "fr" for d in "fr"])
def test_third_and_fourth_derivatives_are_the_closed_forms(orders):
    x = np.array(0.7)
    tanh = math.tanh(0.7)
    s = 1 - tanh**2
    closed = {
        "power": (60 * 0.7**2, 120 * 0.7),
        # (sin x e^x)''' = 2 e^x (cos x - sin x), '''' = -4 e^x sin x
        "product": (2 * math.exp(0.7) * (math.cos(0.7) - math.sin(0.7)), -4 * math.exp(0.7) * math.sin(0.7)),
        # tanh''' = s (6 t^2 - 2), tanh'''' = s (16 t - 24 t^3), s = 1 - t^2
        "tanh": (s * (6 * tanh**2 - 2), s * (16 * tanh - 24 * tanh**3)),
    }
    functions = {"power": lambda x: x**5, "product": lambda x: cr.sin(x) * cr.exp(x), "tanh": cr.tanh}
    for name, f in functions.items():
        for i, mode in enumerate(orders):
            f = derivative("forward" if mode == "f" else "reverse", f)
            if i >= 2:
                assert float(f(x)) == pytest.approx(closed[name][i - 2], abs=1e-9)


def test_higher_derivatives_of_a_softmax_loss_along_a_line():
    # With scores (a t, 0): loss = ln(1 + e^(-a t)) for class 0; its derivatives in t come from the sigmoid's.
    a, t = 1.3, np.array(0.4)

    def loss(t):
        scores = cr.reshape(cr.stack([t * a, t * 0.0]), (1, 2))
        return cr.softmax_cross_entropy(scores, [0])

    p = 1 / (1 + math.exp(-a * 0.4))
    q = p * (1 - p)
    third = -(a**3) * q * (2 * p - 1)
    fourth = a**4 * q * (1 - 6 * p + 6 * p**2)
    for modes in ("ffff", "rrrr", "frfr"):
        f = loss
        for i, mode in enumerate(modes):
            f = derivative("forward" if mode == "f" else "reverse", f)
            if i >= 2:
                assert float(f(t)) == pytest.approx((third, fourth)[i - 2], abs=1e-9)


def test_hessian_of_softmax_cross_entropy_is_diag_p_minus_p_p():
    scores = np.random.default_rng(0).normal(size=(1, 5))
    hessian = cr.hessian(lambda s: cr.softmax_cross_entropy(s, [3]))(scores)
    p = cr.softmax(scores)[0]
    np.testing.assert_allclose(hessian[0, :, 0], np.diag(p) - np.outer(p, p), atol=1e-14)


def test_jacobian_of_matmul_has_the_generalised_shape():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    expected = np.einsum("ik,lj->ijkl", np.eye(2), b)
    for mode in ("auto", "forward", "reverse"):
        jacobian = cr.jacobian(lambda a: cr.matmul(a, b), mode=mode)(a)
        assert jacobian.shape == (2, 4, 2, 3)
        np.testing.assert_allclose(jacobian, expected, atol=1e-15)


@pytest.mark.parametrize("mode", MODES)
def test_a_while_loop_is_differentiated_along_its_path(mode):
    def halve(x):
        while x > 1:
            x = x / 2
        return x

    assert float(derivative(mode, halve)(np.array(10.0))) == 1 / 16


def logistic(x, steps):
    for _ in range(steps):
        x = 4 * x * (1 - x)
    return x


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_logistic_map(mode, steps):
    x = sympy.Symbol("x")
    expected = sympy.diff(logistic(x, steps), x).subs(x, sympy.Rational(0.2)).evalf(30)
    computed = derivative(mode, lambda x: logistic(x, steps))(np.array(0.2))
    assert float(computed) == pytest.approx(float(expected), rel=1e-12)


def early_return(x):
    """Newton's method for the cube root, left from inside the loop."""
    root = 1.0 * x
    for _ in range(200):
        if abs(root**3 - x) < 1e-13 * x:
            return root
        root = root - (root**3 - x) / (3.0 * root**2)
    raise AssertionError("no convergence")


def continued_fraction(x, depth):
    """1 + x / (1 + x / (1 + ...)), a recursion."""
    return 1.0 + x / continued_fraction(x, depth - 1) if depth else 1.0 + 0.0 * x


@pytest.mark.parametrize("mode", MODES)
def test_branches_recursion_and_early_return(mode):
    def branches(x):
        total = 0.0 * x
        for power in range(1, 5):
            total = total + (x**power if power % 2 else cr.sin(power * x))
        return total if total > 0 else -total

    x = 0.3
    expected = 1 + 2 * math.cos(2 * x) + 3 * x**2 + 4 * math.cos(4 * x)
    assert float(derivative(mode, branches)(np.array(x))) == pytest.approx(expected, rel=1e-12)
    root = derivative(mode, early_return)(np.array(27.0))
    assert float(root) == pytest.approx(1 / 27, rel=1e-10)  # 1 / (3 x^(2/3))
    # The limit y = (1 + sqrt(1 + 4 x)) / 2 has the derivative 1 / sqrt(1 + 4 x).
    fraction = derivative(mode, lambda x: continued_fraction(x, 60))(np.array(2.0))
    assert float(fraction) == pytest.approx(1 / 3, rel=1e-12)


# ---- Nests, argnums, aux ------------------------------------------------------------------------------------


class Point(NamedTuple):
    x: object
    y: object


def test_arguments_and_results_may_be_any_nest():
    def f(p, scale):
        return {"sum": p["a"][0] + p["b"].x * scale, "product": [p["a"][0] * p["b"].y]}

    point = {"a": [np.array(2.0)], "b": Point(np.array(3.0), np.array(4.0))}
    value, pullback = cr.vjp(f, point, np.array(5.0))
    assert float(value["sum"]) == 17 and float(value["product"][0]) == 8
    gradient, scale = pullback({"sum": ONE, "product": [ONE]})
    assert isinstance(gradient["b"], Point)
    assert (float(gradient["a"][0]), float(gradient["b"].x), float(gradient["b"].y)) == (5, 5, 2)
    assert float(scale) == 3
    tangent = cr.jvp(f, (point, np.array(5.0)), ({"a": [ONE], "b": Point(ONE, ONE)}, ONE))[1]
    assert float(tangent["sum"]) == 1 + 5 + 3 and float(tangent["product"][0]) == 6
    jacobian = cr.jacobian(f)(point, np.array(5.0))
    assert float(jacobian["product"][0]["b"].y) == 2


def test_argnums_and_aux():
    def f(x, y, power=2):
        return x**power * y, {"x": x, "note": "kept"}

    value, gradient = cr.value_and_grad(f, argnums=(1, 0), has_aux=True)(
        np.array(3.0), np.array(2.0), power=3
    )
    assert float(value[0]) == 54 and value[1]["note"] == "kept"
    assert float(value[1]["x"]) == 3 and isinstance(value[1]["x"], np.ndarray)
    assert [float(g) for g in gradient] == [27, 54]
    assert float(cr.grad(lambda x, y: x * y, argnums=-1)(np.array(3.0), np.array(2.0))) == 3


def test_arrays_give_arrays_and_tensors_give_tensors():
    assert type(cr.grad(lambda x: x**2)(np.array(3.0))) is np.ndarray
    assert type(cr.grad(lambda x: x**2)(cr.tensor(3.0))) is cr.Tensor
    assert cr.grad(lambda x: x**2)(3.0).dtype == np.float32
    assert cr.grad(lambda x: x**2)(np.float64(3.0)).dtype == np.float64


def test_an_output_that_does_not_depend_on_the_input_has_derivative_zero():
    x = np.arange(3.0)
    np.testing.assert_array_equal(cr.grad(lambda x: cr.tensor(1.0))(x), np.zeros(3))
    np.testing.assert_array_equal(cr.grad(lambda x, y: y.sum())(x, x), np.zeros(3))
    _, tangent = cr.jvp(lambda x: np.ones(2), (x,), (x,))
    np.testing.assert_array_equal(tangent, np.zeros(2))
    assert cr.jacobian(lambda x: np.ones(2))(x).shape == (2, 3)


# ---- The transforms one by one ------------------------------------------------------------------------------


def test_hvp_is_the_hessian_times_the_vector():
    x, v = np.array([-1.2, 1.0]), np.array([0.3, -2.0])
    np.testing.assert_allclose(cr.hvp(rosenbrock, (x,), (v,)), cr.hessian(rosenbrock)(x) @ v, rtol=1e-12)


def test_linearize_runs_the_function_once():
    runs = []

    def f(x, y):
        runs.append(1)
        return cr.sigmoid(x * y) + cr.sum(x)

    x, y = np.array([1.0, 2.0]), np.array(0.5)
    _, linear = cr.linearize(f, x, y)
    for tangents in ((np.ones(2), ONE), (np.array([0.0, 1.0]), np.array(0.0))):
        np.testing.assert_allclose(linear(*tangents), cr.jvp(f, (x, y), tangents)[1], rtol=1e-14)
    assert len(runs) == 3  # once to linearize, once for each jvp


def test_directional_derivative_along_the_gradient_is_its_squared_length():
    x = np.array([-1.2, 1.0])
    gradient = cr.grad(rosenbrock)(x)
    along = cr.directional_derivative(rosenbrock, (x,), (gradient,))
    assert float(along) == pytest.approx(gradient @ gradient, rel=1e-12)


def test_stop_gradient_holds_at_every_level():
    assert float(cr.grad(lambda x: x * cr.stop_gradient(x))(np.array(3.0))) == 3
    assert float(cr.grad(cr.grad(lambda x: x * cr.stop_gradient(x)))(np.array(3.0))) == 0
    assert float(cr.jvp(cr.stop_gradient, (np.array(3.0),), (ONE,))[1]) == 0
    w = cr.tensor(3.0, requires_grad=True)
    (w * cr.stop_gradient(w)).backward()
    assert w.grad.item() == 3


@cr.custom_gradient
def log1pexp(x):
    """ln(1 + e^x) with the stable derivative 1 - 1 / (1 + e^x)."""
    e = cr.exp(x)
    return cr.log(1.0 + e), lambda g: g * (1.0 - 1.0 / (1.0 + e))


def test_a_custom_gradient_is_used_in_both_modes_and_again():
    x = np.array(0.5)
    p = 1 / (1 + math.exp(-0.5))
    assert float(log1pexp(x)) == pytest.approx(math.log1p(math.exp(0.5)))
    for mode in MODES:
        assert float(derivative(mode, log1pexp)(x)) == pytest.approx(p, rel=1e-12)
        for second in MODES:
            again = derivative(second, derivative(mode, log1pexp))(x)
            assert float(again) == pytest.approx(p * (1 - p), rel=1e-10)
    w = cr.tensor(0.5, dtype="float64", requires_grad=True)
    log1pexp(w).backward()
    assert w.grad.item() == pytest.approx(p, rel=1e-12)
    assert float(cr.grad(log1pexp)(np.array(100.0))) == 1  # where the formula's own derivative is inf / inf


def test_checkpoint_changes_no_gradient():
    x = np.array([0.3, -0.8])
    f = lambda x: cr.sum(cr.tanh(cr.sin(x) * x))  # noqa: E731
    for transform in (cr.grad, cr.hessian, lambda f: cr.grad(lambda x: cr.sum(cr.grad(f)(x) ** 2))):
        np.testing.assert_allclose(transform(cr.checkpoint(f))(x), transform(f)(x), rtol=1e-12)
    np.testing.assert_allclose(
        cr.jvp(cr.checkpoint(f), (x,), (np.ones(2),))[1], cr.jvp(f, (x,), (np.ones(2),))[1], rtol=1e-12
    )


def test_checkpoint_sends_gradients_to_parameters_it_closes_over():
    layer = cr.nn.Linear(3, 2, rng=0)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    layer(x).sum().backward()
    expected = {name: p.grad.numpy().copy() for name, p in layer.named_parameters()}
    layer.zero_grad()
    cr.checkpoint(layer)(cr.tensor(x)).sum().backward()
    for name, p in layer.named_parameters():
        np.testing.assert_array_equal(p.grad.numpy(), expected[name])


def test_functional_call_leaves_the_model_as_it_was():
    model = cr.models.MLP(4, (3,), 2, seed=0)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    labels = np.array([0, 1, 1, 0, 1])
    before = model.state_dict()

    def loss(params):
        return model.loss(cr.functional_call(model, params, x), labels)

    gradient = cr.grad(loss)(before)
    model.loss(model(x), labels).backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(gradient[name], parameter.grad.numpy(), rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(parameter.data, before[name])
    assert all(isinstance(p, cr.nn.Parameter) for p in model.parameters())
