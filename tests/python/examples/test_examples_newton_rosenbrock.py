"""The example newton_rosenbrock."""

import itertools

import numpy as np

EXAMPLE = "newton_rosenbrock"


def test_the_iterates_are_those_of_the_closed_form(example):
    # Gradient and Hessian by hand; the path over (0.76, -3.18) is that of the textbooks.
    def step(v):
        x, y = v
        g = np.array([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])
        h = np.array([[2 - 400 * (y - 3 * x**2), -400 * x], [-400 * x, 200]])
        return v - np.linalg.solve(h, g)

    iterates = example.newton(example.rosenbrock, (-1.2, 1.0))
    expected = np.array([-1.2, 1.0])
    for v in iterates:
        np.testing.assert_allclose(v, expected, rtol=1e-7)
        expected = step(expected)
    np.testing.assert_allclose(iterates[1], [-1.1752809, 1.3806742], atol=1e-7)
    np.testing.assert_allclose(iterates[2], [0.7631149, -3.1750339], atol=1e-6)
    assert len(iterates) <= 8
    np.testing.assert_allclose(iterates[-1], [1, 1], atol=1e-14)


def test_convergence_is_quadratic(example):
    errors = [np.linalg.norm(v - 1) for v in example.newton(example.rosenbrock, (-1.2, 1.0))]
    for before, error in itertools.pairwise(errors):
        assert error <= 1.0 * before**2 + 1e-15


def test_a_quadratic_takes_one_step(example):
    a = np.array([[3.0, 1.0], [1.0, 2.0]])
    iterates = example.newton(lambda v: 0.5 * (v * (a @ v)).sum() - v.sum(), (7.0, -5.0))
    assert len(iterates) == 2
    np.testing.assert_allclose(iterates[-1], np.linalg.solve(a, [1, 1]), rtol=1e-14)


def test_every_iterate_is_printed(example, printed):
    rows = printed.splitlines()[1:]
    assert len(rows) == len(example.newton(example.rosenbrock, (-1.2, 1.0)))
    assert rows[0].split()[1:3] == ["-1.20000000", "1.00000000"]
