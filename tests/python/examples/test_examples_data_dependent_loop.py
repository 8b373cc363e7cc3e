"""The example data_dependent_loop."""

import numpy as np
import pytest

EXAMPLE = "data_dependent_loop"


@pytest.mark.parametrize("x, halvings", [(0.7, 0), (1.0, 0), (3.0, 2), (10.0, 4), (1000.0, 10)])
def test_halving(example, x, halvings):
    assert example.both_modes(example.halve, x) == (0.5**halvings, 0.5**halvings)


@pytest.mark.parametrize("x", [0.25, 2.0, 1e6])
def test_the_square_root(example, x):
    assert float(example.square_root(np.array(x))) == pytest.approx(x**0.5, rel=1e-14)
    assert example.both_modes(example.square_root, x) == pytest.approx((0.5 / x**0.5,) * 2, rel=1e-12)


@pytest.mark.parametrize("n", [0, 1, 5, 12, 31])
def test_the_recursion(example, n):
    expected = n * 1.1 ** (n - 1)
    assert example.both_modes(lambda x: example.power(x, n), 1.1) == pytest.approx((expected,) * 2, rel=1e-13)


def test_the_table(printed):
    rows = [line.split()[-3:] for line in printed.splitlines()[1:]]
    assert len(rows) == 7
    for row in rows:
        reverse, forward, closed = map(float, row)
        assert reverse == pytest.approx(closed, rel=1e-12) and forward == pytest.approx(closed, rel=1e-12)
