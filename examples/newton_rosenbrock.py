"""Newton's method with the exact Hessian on Rosenbrock's function, from (-1.2, 1).

    python examples/newton_rosenbrock.py

Each step solves H p = -g with g from `cr.grad` and H from `cr.hessian`, nothing else: no line search, no step size.
Near the minimum at (1, 1) the error of an iterate is at most a constant times the square of the error before.

Source: Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 4.1; Rosenbrock, An
Automatic Method for Finding the Greatest or Least Value of a Function, 1960; Nocedal and Wright, Numerical
Optimization, 2006, section 3.3.
"""

import numpy as np

import chainrule as cr


def rosenbrock(v):
    """(1 - x)^2 + 100 (y - x^2)^2 for v = (x, y)."""
    return (1.0 - v[0]) ** 2 + 100.0 * (v[1] - v[0] ** 2) ** 2


def newton(f, start, steps=20, tolerance=1e-12):
    """The iterates of Newton's method, `start` first, until the gradient is shorter than `tolerance`."""
    gradient, hessian = cr.grad(f), cr.hessian(f)
    iterates = [np.asarray(start, np.float64)]
    for _ in range(steps):
        g = gradient(iterates[-1])
        if np.linalg.norm(g) < tolerance:
            break
        iterates.append(iterates[-1] - np.linalg.solve(hessian(iterates[-1]), g))
    return iterates


def main():
    iterates = newton(rosenbrock, (-1.2, 1.0))
    print("  k            x            y              f        error   error / (error before)^2")
    before = None
    for k, v in enumerate(iterates):
        error = np.linalg.norm(v - 1.0)
        ratio = "" if not before else f"{error / before**2:.3f}"
        print(f"{k:3d} {v[0]:12.8f} {v[1]:12.8f} {float(rosenbrock(v)):14.6e} {error:12.3e}   {ratio}")
        before = error


if __name__ == "__main__":
    main()
