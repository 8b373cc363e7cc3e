"""The example numerical_error."""

import numpy as np
import sympy

EXAMPLE = "numerical_error"


def test_the_function_is_the_fourth_iterate_and_its_derivative_exact(example):
    x = sympy.Symbol("x")
    iterate = x
    for _ in range(3):
        iterate = 4 * iterate * (1 - iterate)
    assert sympy.expand(example.f(x) - iterate) == 0
    exact = sympy.diff(example.f(x), x).subs(x, sympy.Rational(0.2)).evalf(30)
    assert example.exact_derivative() == float(exact)


def test_truncation_falls_and_round_off_grows(example):
    steps = np.array([1e-3, 1e-4, 1e-5, 1e-12, 1e-13, 1e-14])
    table = example.errors(steps)
    forward, central = table["forward difference"], table["central difference"]
    # Order 1 and order 2 while truncation rules.
    np.testing.assert_allclose(forward[:2] / forward[1:3], 10, rtol=0.15)
    np.testing.assert_allclose(central[:2] / central[1:3], 100, rtol=0.05)
    # Then round-off: about eps |f| / h.
    assert (forward[3:] > 1e-17 / steps[3:]).all() and (forward[3:] < 2e-15 / steps[3:]).all()
    # Automatic differentiation is as exact as the arithmetic at every step.
    assert (table["automatic differentiation"] <= 4 * np.spacing(example.exact_derivative())).all()
    # The least errors are about sqrt(eps) and eps^(2/3) of the size of f.
    best = example.errors()
    assert 1e-9 < min(best["forward difference"]) < 1e-6
    assert 1e-12 < min(best["central difference"]) < 1e-8


def test_the_plot_is_drawn(printed, tmp_path):
    import matplotlib.image

    assert "wrote numerical_error.png" in printed
    assert [line.split()[0] for line in printed.splitlines()[1:-1]] == [f"1e-{k:02d}" for k in range(1, 16)]
    picture = matplotlib.image.imread(tmp_path / "numerical_error.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
