"""Numerical against automatic differentiation as the step shrinks from 1e-1 to 1e-15.

    python examples/numerical_error.py [numerical_error.png]

A large step truncates Taylor's series: the error falls with h for forward differences, with h^2 for central ones. A
small step subtracts nearly equal numbers: round-off grows as 1/h. Automatic differentiation has no step; its error is
that of the arithmetic.

Source: Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 2.1 and figure 3, with
its function f(x) = 64 x (1 - x) (1 - 2x)^2 (1 - 8x + 8x^2)^2 (the logistic map's fourth iterate) at x = 0.2.
"""

import sys
from fractions import Fraction

import numpy as np

import chainrule as cr

POINT = 0.2
STEPS = np.logspace(-1, -15, 141)


def f(x):
    """The survey's example function; works on numbers, fractions, arrays and Tensors."""
    return 64 * x * (1 - x) * (1 - 2 * x) ** 2 * (1 - 8 * x + 8 * x**2) ** 2


def exact_derivative(x=POINT):
    """f' at the double x, from the product rule in fractions: no rounding at all, until the last."""
    x = Fraction(x)
    u, v, w = x * (1 - x), (1 - 2 * x) ** 2, (1 - 8 * x + 8 * x**2) ** 2
    du, dv, dw = 1 - 2 * x, -4 * (1 - 2 * x), 2 * (1 - 8 * x + 8 * x**2) * (16 * x - 8)
    return float(64 * (du * v * w + u * dv * w + u * v * dw))


def errors(steps=STEPS, x=POINT):
    """{method: |its derivative - the exact one|} for each step, in float64."""
    exact = exact_derivative(x)
    forward = np.array([(f(x + h) - f(x)) / h for h in steps])
    central = np.array([(f(x + h) - f(x - h)) / (2 * h) for h in steps])
    automatic = float(cr.grad(f)(np.array(x)))
    return {
        "forward difference": np.abs(forward - exact),
        "central difference": np.abs(central - exact),
        "automatic differentiation": np.full(len(steps), abs(automatic - exact)),
    }


def draw(path, steps=STEPS):
    """The survey's plot, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xscale="log",
        yscale="log",
        xlabel="step h",
        ylabel="absolute error of f'(0.2)",
        title="Truncation on the right, round-off on the left",
    )
    colours = {"forward difference": "#2563eb", "central difference": "#d9480f"}
    for name, error in errors(steps).items():
        # An error of 0 has no place on a logarithmic axis: draw it at one unit in the last place.
        style = {"color": "#1f2329", "linestyle": "--"} if name not in colours else {"color": colours[name]}
        shown = np.maximum(error, np.spacing(abs(exact_derivative())))
        axes.plot(steps, shown, label=name, linewidth=1.5, **style)
    axes.legend(frameon=False)
    axes.grid(color="#e5e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "numerical_error.png"
    steps = 10.0 ** -np.arange(1, 16)
    table = errors(steps)
    print("   step h   " + "   ".join(table))
    for i, h in enumerate(steps):
        print(f"{h:9.0e}   " + "   ".join(f"{error[i]:{len(name)}.1e}" for name, error in table.items()))
    draw(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
