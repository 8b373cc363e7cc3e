"""Every gate in both modes and to second order: the gate table walked by the transforms.

For an output y = f(x), a direction t and weights w: J t is forward mode, J^T w reverse mode, and the derivative of
<w, J t> in x is one vector, whichever modes it is computed by.
"""

import numpy as np
import pytest
from gate_table import COMPOSITIONS, GATES

import chainrule as cr

CASES = [
    pytest.param(case, id=f"{name}-{case.label}")
    for name, cases in [
        *((gate.__name__, cases) for gate, cases in GATES.items()),
        *COMPOSITIONS.items(),
    ]
    for case in cases
    if np.prod([max(np.prod(size), 1) for _, size in case.inputs]) < 2000
    and all(np.prod(size) > 0 for _, size in case.inputs)
    and case.result_dtype is None  # differences need float64 throughout
]


def test_every_gate_and_composition_has_a_case_small_enough():
    walked = {p.id.split("-")[0] for p in CASES}
    missing = {gate.__name__ for gate in GATES} | COMPOSITIONS.keys()
    assert missing - walked <= {"Astype"}


def directions(values, seed):
    rng = np.random.default_rng(seed)
    return tuple(np.asarray(rng.uniform(-1, 1, v.shape)) for v in values)


def inner(a, b):
    """The inner product of two nests of arrays or Tensors."""
    return sum((x * y).sum() for x, y in zip(a, b, strict=True))


def moved(values, tangents, h):
    return [v + h * t for v, t in zip(values, tangents, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_both_modes_and_second_order(case):
    values = case.values(np.float64)
    f = case.function
    y = np.asarray(f(*values))
    t = directions(values, 1)
    (w,) = directions([y], 2)

    value, jt = cr.jvp(f, values, t)
    np.testing.assert_array_equal(value, y)
    _, pullback = cr.vjp(f, *values)
    jtw = pullback(w)

    # Forward and reverse mode agree: <w, J t> = <J^T w, t>.
    forward, reverse = float(np.vdot(w, jt)), float(inner(jtw, t))
    scale = max(1.0, float(np.abs(w * jt).sum()))
    assert abs(forward - reverse) <= 1e-12 * scale

    # Against central differences along t.
    h = 1e-6
    difference = (f(*moved(values, t, h)) - f(*moved(values, t, -h))) / (2 * h)
    np.testing.assert_allclose(jt, difference, rtol=1e-6, atol=1e-7)

    # linearize gives the same tangent from one recorded run.
    linear_value, linear = cr.linearize(f, *values)
    np.testing.assert_array_equal(linear_value, y)
    np.testing.assert_allclose(linear(*t), jt, rtol=1e-12, atol=1e-12)

    # Second order: the derivative of <w, J(x) t> in x, by four routes.
    def gradient(*x):
        return cr.grad(lambda *x: cr.sum(f(*x) * w), argnums=tuple(range(len(values))))(*x)

    def slope(*x):
        return cr.sum(cr.jvp(f, x, t)[1] * w)

    everything = tuple(range(len(values)))
    forward_over_reverse = cr.jvp(gradient, values, t)[1]
    reverse_over_forward = cr.grad(slope, argnums=everything)(*values)
    reverse_over_reverse = cr.grad(lambda *x: inner(gradient(*x), t), argnums=everything)(*values)
    above, below = gradient(*moved(values, t, h)), gradient(*moved(values, t, -h))
    for i, exact in enumerate(forward_over_reverse):
        scale = 1 + np.abs(exact).max()
        np.testing.assert_allclose(reverse_over_forward[i], exact, rtol=1e-10, atol=1e-11 * scale)
        np.testing.assert_allclose(reverse_over_reverse[i], exact, rtol=1e-10, atol=1e-11 * scale)
        np.testing.assert_allclose((above[i] - below[i]) / (2 * h), exact, rtol=2e-6, atol=1e-6 * scale)
    forward_over_forward = cr.jvp(lambda *x: cr.jvp(f, x, t)[1], values, t)[1]
    np.testing.assert_allclose(
        np.vdot(w, forward_over_forward), inner(forward_over_reverse, t), rtol=1e-10, atol=1e-10
    )
