"""The example hypergradients."""

import numpy as np
import pytest

import chainrule as cr

EXAMPLE = "hypergradients"


def test_training_is_sgd_by_hand(example):
    (x, labels), _ = example.digits()
    point = example.as_arrays(example.HYPERPARAMETERS)
    w, v = np.zeros((64, 10)), np.zeros((64, 10))
    for step in range(7):
        rows = slice(step * 20 % 120, step * 20 % 120 + 20)
        p = np.exp(x[rows] @ w)
        p /= p.sum(1, keepdims=True)
        v = 0.8 * v + x[rows].T @ (p - np.eye(10)[labels[rows]]) / 20 + 0.01 * w
        w = w - 0.5 * v
    np.testing.assert_allclose(example.train(point, (x, labels), steps=7), w, rtol=1e-11, atol=1e-13)


def test_through_one_hundred_steps_against_numerical_differences(example):
    point = example.as_arrays(example.HYPERPARAMETERS)
    gradient = cr.grad(example.validation_loss)(point)
    for name, centre in point.items():
        numerical = cr.numerical_gradient(
            lambda x, name=name: example.validation_loss({**point, name: x}), centre, step=1e-5
        )
        assert float(gradient[name]) == pytest.approx(float(numerical), rel=1e-5), name


def test_both_modes_agree(example):
    point = example.as_arrays(example.HYPERPARAMETERS)
    ones = example.as_arrays(dict.fromkeys(point, 1.0))
    f = lambda p: example.validation_loss(p, steps=20)  # noqa: E731
    along = cr.jvp(f, (point,), (ones,))[1]
    assert float(along) == pytest.approx(sum(float(g) for g in cr.grad(f)(point).values()), rel=1e-11)


def test_errors_are_printed_small(printed):
    rows = printed.splitlines()[-3:]
    assert [row.split()[0] for row in rows] == ["learning", "momentum", "l2"]
    assert all(float(row.split()[-1]) < 1e-6 for row in rows)
