"""Numerical gradients, and the check of analytic ones against them."""

import re

import numpy as np
import pytest

import chainrule as cr

NAN = float("nan")


# ---- numerical_gradient ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, f, derivative",
    [
        ("square", lambda x: (x**2).sum(), lambda x: 2 * x),
        ("exp", lambda x: cr.exp(x).sum(), np.exp),
        ("log", lambda x: cr.log(x).sum(), lambda x: 1 / x),
        ("sin", lambda x: cr.sin(x).sum(), np.cos),
        ("product", lambda x: x[0, 0] * x[1, 2], None),
    ],
)
def test_central_differences_are_the_derivative(name, f, derivative):
    x = np.random.default_rng(0).uniform(0.5, 3, (2, 3))
    if derivative is None:
        expected = np.zeros((2, 3))
        expected[0, 0], expected[1, 2] = x[1, 2], x[0, 0]
    else:
        expected = derivative(x)
    np.testing.assert_allclose(cr.numerical_gradient(f, x), expected, rtol=1e-9, atol=1e-10)


def test_the_error_of_a_cubic_is_the_step_squared():
    # By hand: ((x + h)^3 - (x - h)^3) / 2h = 3 x^2 + h^2.
    for h in (0.5, 0.1, 0.01):
        numerical = cr.numerical_gradient(lambda x: x**3, np.array(2.0), step=h)
        assert float(numerical) == pytest.approx(12 + h * h, rel=1e-12)


def test_it_has_the_points_shape_and_dtype_and_calls_with_what_it_was_given():
    for dtype in (np.float32, np.float64):
        for shape in [(), (3,), (2, 3), (0,), (2, 0)]:
            seen = set()

            def f(x, seen=seen):
                seen.add(type(x))
                assert x.dtype == dtype  # noqa: B023
                return cr.sum(x * 2.0)

            x = np.ones(shape, dtype)
            for point, kind in ((x, np.ndarray), (cr.tensor(x), cr.Tensor)):
                gradient = cr.numerical_gradient(f, point)
                assert type(gradient) is np.ndarray and (gradient.shape, gradient.dtype) == (shape, dtype)
                np.testing.assert_allclose(gradient, 2, rtol=1e-3 if dtype == np.float32 else 1e-9)
                assert seen <= {kind}
                seen.clear()


def test_a_float_is_a_float32_tensor():
    gradient = cr.numerical_gradient(lambda x: x * x, 3.0)
    assert gradient.dtype == np.float32 and gradient.shape == ()
    assert float(gradient) == pytest.approx(6, rel=1e-3)


def test_the_point_is_left_as_it_is():
    x = np.array([1.0, 2.0])

    def destroys(x):
        total = float((x * x).sum())
        x[:] = 0
        return total

    np.testing.assert_allclose(cr.numerical_gradient(destroys, x), [2, 4], rtol=1e-9)
    assert x.tolist() == [1, 2]
    x.flags.writeable = False
    np.testing.assert_allclose(cr.numerical_gradient(lambda x: (x * x).sum(), x[::-1]), [4, 2], rtol=1e-9)


def test_the_step_follows_the_dtype_and_the_size_of_x():
    steps = {}
    for dtype, x in ((np.float32, 0.5), (np.float64, 0.5), (np.float64, 1e6)):
        seen = []
        cr.numerical_gradient(lambda x, seen=seen: seen.append(float(x)) or 0.0, np.array(x, dtype))
        steps[dtype, x] = (max(seen) - min(seen)) / 2
    assert steps[np.float32, 0.5] == pytest.approx(np.finfo(np.float32).eps ** (1 / 3), rel=1e-2)
    assert steps[np.float64, 0.5] == pytest.approx(np.finfo(np.float64).eps ** (1 / 3), rel=1e-6)
    assert steps[np.float64, 1e6] == pytest.approx(1e6 * steps[np.float64, 0.5], rel=1e-6)


def test_float32_differences_use_the_step_that_survived_rounding():
    # 100 + 1e-3 is no float32: the slope of a line still comes out as 1.
    x = np.array([100.0, 1.0], np.float32)
    np.testing.assert_array_equal(cr.numerical_gradient(lambda x: x[0] + x[1], x[:1].repeat(2)), [1, 1])
    numerical = cr.numerical_gradient(lambda x: float(x[0]) + float(x[1]), x, step=1e-3)
    np.testing.assert_allclose(numerical, [1, 1], rtol=1e-7)


def test_nan_is_seen():
    numerical = cr.numerical_gradient(lambda x: x[0] + cr.sqrt(x[1]), np.array([1.0, -1.0]))
    assert np.isnan(numerical).all()


@pytest.mark.parametrize(
    "f, x, step, error, message",
    [
        (np.sum, np.ones(3, np.int64), None, TypeError, "x is int64: give float32 or float64"),
        (np.sum, np.ones(3, np.float16), None, TypeError, "x is float16"),
        (np.sum, np.ones(3, complex), None, TypeError, "x is complex128"),
        (np.sum, 3, None, TypeError, "x is int64"),
        (np.sum, "abc", None, TypeError, "x is <U3"),
        (np.sum, None, None, TypeError, "x is object"),
        (lambda x: x, np.ones(3), None, ValueError, "f returned shape (3,): it must return one number"),
        (lambda x: "a", np.ones(3), None, TypeError, "f returned a str"),
        (lambda x: None, np.ones(3), None, TypeError, "f returned a NoneType"),
        (lambda x: 1j, np.ones(3), None, TypeError, "f returned a complex"),
        (np.sum, np.ones(3), 0, ValueError, "step 0 is not a positive, finite number"),
        (np.sum, np.ones(3), -0.1, ValueError, "step -0.1 is not"),
        (np.sum, np.ones(3), NAN, ValueError, "step nan is not"),
        (np.sum, np.ones(3), np.inf, ValueError, "step inf is not"),
        (np.sum, np.ones(3), "small", ValueError, "step 'small' is not"),
        (np.sum, np.ones(3), 1e-30, ValueError, "step 1e-30 is lost to rounding beside 1 in float64"),
    ],
)
def test_what_it_cannot_differentiate(f, x, step, error, message):
    with pytest.raises(error, match=re.escape(f"numerical_gradient: {message}")):
        cr.numerical_gradient(f, x, step)


# ---- check_gradients ---------------------------------------------------------------------------------------


def with_slope(slope):
    """x^2, with a rule that claims another slope than 2 x."""

    class Square(cr.Gate):
        def forward(self, x):
            self.keep(x)
            return x * x

        def backward(self, gradient):
            return gradient * slope(self.kept[0])

    return lambda x: Square()(x)


def test_right_gradients_pass():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 4)), rng.standard_normal((4, 3))
    labels = rng.integers(0, 3, 5)
    cr.check_gradients(lambda x, w: cr.softmax_cross_entropy(x @ w, labels), [x, w])
    cr.check_gradients(
        lambda x, w: cr.softmax_cross_entropy(x @ w, labels), [v.astype(np.float32) for v in (x, w)]
    )
    cr.check_gradients(lambda x, w: cr.tanh(x @ w), (cr.tensor(x), w))
    cr.check_gradients(lambda x: cr.exp(x), x)
    cr.check_gradients(lambda x: x * x, 3.0)
    cr.check_gradients(lambda x: x * x, np.ones((0, 3)))
    cr.check_gradients(with_slope(lambda x: 2 * x), x)


def test_a_wrong_gradient_is_told_with_input_index_and_both_values():
    def slope(x):
        wrong = 2 * x
        wrong[1, 0] += 1.0
        return wrong

    with pytest.raises(cr.GradientError) as caught:
        cr.check_gradients(
            lambda a, x: cr.sum(a) + cr.sum(with_slope(slope)(x)), [np.ones(2), np.full((2, 2), 3.0)]
        )
    text = str(caught.value)
    # By hand: the slope of x^2 at 3 is 6; the rule says 7; |7 - 6| / 7 = 0.143.
    assert text.startswith(
        "check_gradients: 1 entries differ by more than 1e-07 + 1e-05 |numerical|; the worst:\n"
    )
    found = re.search(r"input 1, index \(1, 0\): analytic 7, numerical (\S+), relative error (\S+)", text)
    assert found, text
    assert float(found[1]) == pytest.approx(6, rel=1e-6)
    assert float(found[2]) == pytest.approx(1 / 7, rel=1e-2)


def test_the_worst_entries_come_first_and_only_so_many():
    def slope(x):
        return 2 * x * np.array([1.0, 1.01, 3.0, 1.1, 0.5, 1.0])

    with pytest.raises(cr.GradientError) as caught:
        cr.check_gradients(lambda x: cr.sum(with_slope(slope)(x)), np.ones(6), worst=3)
    text = str(caught.value)
    assert "4 entries differ" in text
    assert re.findall(r"index \((\d),\)", text) == ["2", "4", "3"]


def test_errors_do_not_hide_in_a_symmetric_sum():
    # A transposed result has the same plain sum, and the same gradient of it.
    class Transposed(cr.Gate):
        def forward(self, x):
            return x.T.copy()

        def backward(self, gradient):
            return gradient

    with pytest.raises(cr.GradientError):
        cr.check_gradients(lambda x: Transposed()(x), np.arange(9.0).reshape(3, 3))


def test_nan_fails_in_either_gradient():
    with pytest.raises(cr.GradientError, match="numerical nan, relative error nan"):
        cr.check_gradients(lambda x: cr.log(x), np.array([-1.0, 1.0]))
    with pytest.raises(cr.GradientError, match=r"index \(0,\): analytic nan, numerical 2"):
        cr.check_gradients(lambda x: cr.sum(with_slope(lambda x: x * NAN)(x)), np.ones(1))


def test_a_missing_gradient_is_a_gradient_of_zero():
    with pytest.raises(cr.GradientError, match="analytic 0, numerical"):
        cr.check_gradients(lambda x: cr.sum(x.detach() * 2.0), np.ones(2))
    cr.check_gradients(lambda x: cr.sum(x.detach() * 0.0), np.ones(2))


def test_a_kink_is_found():
    with pytest.raises(cr.GradientError, match=r"analytic 0, numerical 0\.5"):
        cr.check_gradients(lambda x: cr.sum(cr.relu(x)), np.zeros(1))


def test_tolerances_are_the_callers():
    f = with_slope(lambda x: 2.001 * x)
    cr.check_gradients(f, np.ones(3), rtol=1e-3)
    cr.check_gradients(f, np.ones(3), rtol=0, atol=1e-2)
    with pytest.raises(cr.GradientError, match=r"more than 0 \+ 0\.0001 \|numerical\|"):
        cr.check_gradients(f, np.ones(3), rtol=1e-4, atol=0)


def test_inputs_are_left_as_they_are():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    cr.check_gradients(lambda x: x * x, x)
    assert x.grad is None and x.tolist() == [1, 2]


@pytest.mark.parametrize(
    "f, inputs, options, error, message",
    [
        (cr.sum, [], {}, ValueError, "no inputs given"),
        (cr.sum, np.ones(3, np.int64), {}, TypeError, "input 0 is int64: give float32 or float64"),
        (cr.sum, [np.ones(3), np.ones(3, bool)], {}, TypeError, "input 1 is bool"),
        (cr.sum, 3, {}, TypeError, "input 0 is int64"),
        (cr.sum, None, {}, TypeError, "input 0 is object"),
        (cr.sum, "ab", {}, TypeError, "input 0 is <U1"),
        (lambda x: None, np.ones(3), {}, TypeError, "f returned a NoneType"),
        (lambda x: "a", np.ones(3), {}, TypeError, "f returned a str"),
        (cr.sum, np.ones(3), {"step": 0.0}, ValueError, "step 0.0 is not a positive, finite number"),
        (cr.sum, np.ones(3), {"rtol": -1.0}, ValueError, "rtol -1.0 is not a number of at least 0"),
        (cr.sum, np.ones(3), {"atol": NAN}, ValueError, "atol nan is not"),
    ],
)
def test_what_it_cannot_check(f, inputs, options, error, message):
    with pytest.raises(error, match=re.escape(f"check_gradients: {message}")):
        cr.check_gradients(f, inputs, **options)
