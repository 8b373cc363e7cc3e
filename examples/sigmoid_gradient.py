"""The sigmoid and its gradient over -6 to 6, the gradient from the engine's own derivative.

    python examples/sigmoid_gradient.py [sigmoid_gradient.png]

The gradient is at most 1/4 and vanishes on both sides: why deep nets of sigmoids learn slowly.

Source: the lectures on linear classifiers and backpropagation, CS231n, Stanford.
"""

import sys

import numpy as np

import chainrule as cr


def curves(points=241):
    """x, sigmoid(x) and its derivative at each x, from one tangent of ones through the function."""
    x = np.linspace(-6, 6, points)
    value, gradient = cr.jvp(cr.sigmoid, (x,), (np.ones_like(x),))
    return x, value, gradient


def draw(path):
    """Both curves as a PNG."""
    from matplotlib.figure import Figure

    x, value, gradient = curves()
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="x", ylabel="value", xlim=(-6, 6), ylim=(-0.03, 1.03))
    axes.plot(x, value, color="#2563eb", label="sigmoid(x)")
    axes.plot(x, gradient, color="#d9480f", label="its gradient")
    axes.axhline(0.25, color="#6b7280", linewidth=0.8, linestyle=":")
    axes.annotate("1/4", (5.5, 0.265), color="#6b7280")
    axes.legend(frameon=False, loc="upper left")
    axes.grid(color="#e5e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "sigmoid_gradient.png"
    print("    x    sigmoid   gradient")
    for x, value, gradient in zip(*curves(13), strict=True):
        print(f"{x:5.1f} {value:10.6f} {gradient:10.6f}")
    draw(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
