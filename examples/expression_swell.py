"""Expression swell: the logistic map l_1 = x, l_(n+1) = 4 l_n (1 - l_n), by symbols and by automatic differentiation.

    python examples/expression_swell.py

The symbolic derivative by the product rule repeats every factor it does not differentiate, so that its operations
multiply with n; the graph grows by three gates a step, and reverse mode runs each gate's rule once. Both give the
same number. Needs sympy.

Source: Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 2.2 and table 1.
"""

import numpy as np
import sympy

import chainrule as cr

POINT = 0.2


def logistic(x, n):
    """l_n for anything that multiplies: a number, an array, a Tensor, a symbol."""
    for _ in range(n - 1):
        x = 4.0 * x * (1.0 - x)
    return x


def symbolic(n):
    """l_n and its derivative as sympy expressions, as the rules give them, not simplified."""
    x = sympy.Symbol("x")
    value = x
    for _ in range(n - 1):
        value = 4 * value * (1 - value)
    return value, sympy.diff(value, x)


def operations(expression):
    """How many operations it takes to evaluate an expression as it stands."""
    return int(sympy.count_ops(expression))


def by_symbols(n, point=POINT):
    """The derivative of l_n at a point, in 30 digits until the last."""
    x = sympy.Symbol("x")
    return float(symbolic(n)[1].subs(x, sympy.Rational(point)).evalf(30))


def by_differentiation(n, point=POINT):
    """The derivative of l_n at a point from the engine, and how many gates the graph has."""
    x = cr.tensor(np.array(point), requires_grad=True)
    value = logistic(x, n)
    gates = len(cr.Graph(value).nodes) if value.gate is not None else 0
    value.backward()
    return x.grad.item(), gates


def main():
    x = sympy.Symbol("x")
    print(
        "n   operations in l_n   in its derivative   simplified   gates   l_n'(0.2) by symbols      by the engine"
    )
    for n in range(1, 5):
        expression, derivative = symbolic(n)
        value, gates = by_differentiation(n)
        print(
            f"{n} {operations(expression):16d} {operations(derivative):18d} "
            f"{operations(sympy.simplify(derivative)):14d} {gates:8d} {by_symbols(n):22.15g} {value:18.15g}"
        )
    print("\nl_4' as the rules give it:\n ", sympy.diff(symbolic(4)[0], x))


if __name__ == "__main__":
    main()
