"""The example expression_swell."""

import itertools

import pytest

EXAMPLE = "expression_swell"


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_symbols_and_the_engine_give_one_number(example, n):
    value, gates = example.by_differentiation(n)
    assert value == pytest.approx(example.by_symbols(n), rel=1e-12)
    assert gates == 3 * (n - 1)


def test_the_derivatives_of_the_surveys_table(example):
    # Table 1: 1; 4 (1 - x) - 4x; 16 (1 - x)(1 - 2x)^2 - 16 x (1 - 2x)^2 - 64 x (1 - x)(1 - 2x); the fourth too.
    x = 0.2
    assert example.by_symbols(2) == pytest.approx(4 * (1 - x) - 4 * x, rel=1e-14)
    third = 16 * (1 - x) * (1 - 2 * x) ** 2 - 16 * x * (1 - 2 * x) ** 2 - 64 * x * (1 - x) * (1 - 2 * x)
    assert example.by_symbols(3) == pytest.approx(third, rel=1e-13)
    u = 1 - 8 * x + 8 * x * x
    fourth = 128 * x * (1 - x) * (-8 + 16 * x) * (1 - 2 * x) ** 2 * u + 64 * (1 - x) * (1 - 2 * x) ** 2 * u**2
    fourth -= 64 * x * (1 - 2 * x) ** 2 * u**2 + 256 * x * (1 - x) * (1 - 2 * x) * u**2
    assert example.by_symbols(4) == pytest.approx(fourth, rel=1e-13)


def test_the_symbolic_derivative_swells(example):
    counts = [example.operations(example.symbolic(n)[1]) for n in range(1, 6)]
    assert all(after > 3 * before for before, after in itertools.pairwise(counts[1:]))
    growth = [example.by_differentiation(n)[1] for n in range(1, 6)]
    assert growth == [0, 3, 6, 9, 12]


def test_four_rows_are_printed(printed):
    assert [line.split()[0] for line in printed.splitlines()[1:5]] == ["1", "2", "3", "4"]
