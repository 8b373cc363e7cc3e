"""Derivatives through loops whose length depends on their data, recursion and early return.

    python examples/data_dependent_loop.py

The functions are plain Python. What ran is what is differentiated: the steps taken at this point, in either mode.

Source: Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 2 (control flow: "AD is
blind with respect to any operation, including control flow statements, which do not directly alter numeric values").
"""

import numpy as np

import chainrule as cr


def halve(x):
    """x halved until it is at most 1. The derivative is 1 / 2^k, k the number of halvings."""
    while x > 1.0:
        x = x / 2.0
    return x


def square_root(x, tolerance=1e-14):
    """Heron's method until two iterates agree: the loop's length depends on x. Its derivative is 1 / (2 sqrt x)."""
    root = 0.0 * x + 1.0
    for _ in range(100):
        better = 0.5 * (root + x / root)
        if abs(better - root) <= tolerance * better:
            return better
        root = better
    return root


def power(x, n):
    """x^n by repeated squaring, a recursion."""
    if n == 0:
        return 0.0 * x + 1.0
    half = power(x * x, n // 2)
    return half * x if n % 2 else half


def both_modes(f, x):
    """The derivative of f at x by reverse and by forward mode."""
    x = np.array(x)
    return float(cr.grad(f)(x)), float(cr.jvp(f, (x,), (np.array(1.0),))[1])


def main():
    cases = [
        *(
            (f"halve until at most 1, x = {x}", halve, x, 1 / 2 ** np.ceil(np.log2(x)))
            for x in (3.0, 10.0, 1000.0)
        ),
        *((f"square root by Heron's method, x = {x}", square_root, x, 0.5 / np.sqrt(x)) for x in (2.0, 1e6)),
        *(
            (f"x^{n} by recursion, x = 1.1", lambda x, n=n: power(x, n), 1.1, n * 1.1 ** (n - 1))
            for n in (5, 12)
        ),
    ]
    print(f"{'':42s} {'reverse':>22s} {'forward':>22s} {'closed form':>22s}")
    for name, f, x, expected in cases:
        reverse, forward = both_modes(f, x)
        print(f"{name:42s} {reverse:22.15g} {forward:22.15g} {expected:22.15g}")


if __name__ == "__main__":
    main()
