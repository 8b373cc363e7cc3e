"""The example newton_cg_softmax."""

import numpy as np
import pytest

import chainrule as cr

EXAMPLE = "newton_cg_softmax"


def test_conjugate_gradients_solve_the_system(example):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 6))
    a = a @ a.T + np.eye(6)
    g = rng.normal(size=6)
    p, products = example.conjugate_gradients(lambda v: a @ v, g, 1e-10, 50)
    np.testing.assert_allclose(p, -np.linalg.solve(a, g), rtol=1e-8)
    assert products <= 8  # six but for rounding


def test_the_minimum_is_reached_superlinearly(example):
    x, labels = example.digits()
    x, labels = x[:300], labels[:300]
    loss = example.softmax_loss(x, labels, l2=1e-3)
    w, history = example.newton_cg(loss, np.zeros((65, 10)))
    # The gradient by hand vanishes there.
    p = np.exp(x @ w)
    p /= p.sum(1, keepdims=True)
    gradient = x.T @ (p - np.eye(10)[labels]) / len(x) + 2e-3 * w
    assert np.linalg.norm(gradient) < 1e-9
    norms = [norm for _, norm, _ in history]
    assert len(norms) <= 15
    assert norms[-1] < norms[-2] ** 1.3 and norms[-2] < norms[-3] ** 1.3
    assert history[0][0] == pytest.approx(np.log(10), abs=1e-12)
    values = [value for value, _, _ in history]
    assert values == sorted(values, reverse=True)


def test_no_hessian_is_built(example, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a Hessian was asked for")

    monkeypatch.setattr(cr, "hessian", never)
    monkeypatch.setattr(cr, "jacobian", never)
    x, labels = example.digits()
    _, history = example.newton_cg(
        example.softmax_loss(x[:100], labels[:100], 1e-2), np.zeros((65, 10)), steps=2
    )
    assert len(history) == 2


def test_the_run_ends_at_a_minimum(printed):
    last = printed.splitlines()[-1]
    assert float(last.split()[4].rstrip(",")) < 1e-10
    assert float(last.split()[-1]) > 0.99
