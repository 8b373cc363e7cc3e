"""The Helmholtz free energy of a mixed fluid: what its gradient costs in both modes, as the fluids grow in number.

    python examples/helmholtz.py

    f(x) = R T sum_i log(x_i / (1 - b^T x))
           - x^T A x / (sqrt(8) b^T x) log((1 + (1 + sqrt 2) b^T x) / (1 + (1 - sqrt 2) b^T x))

Reverse mode takes the gradient in one sweep back, at a few times the cost of f whatever n; forward mode needs a sweep
for each of the n inputs. Times are the least of several runs; the function is timed as it is, on Tensors.

Source: Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 3.2, as printed there;
Griewank, On Automatic Differentiation, 1989, has x_i in front of the first logarithm.
"""

import argparse
import time

import numpy as np

import chainrule as cr

R, T = 1.0, 1.0


def constants(n, seed=0):
    """x, b and a symmetric A for which the energy exists: 0 < b^T x < 1."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0.0, 0.1, (n, n))
    return rng.uniform(0.1, 1.0, n) / n, rng.uniform(0.1, 1.0, n), (a + a.T) / 2


def helmholtz(x, b, a):
    """The free energy of a mixture x with constants b and A, of the Peng-Robinson equation of state."""
    bx = cr.sum(b * x)
    mixing = R * T * cr.sum(cr.log(x / (1.0 - bx)))
    attraction = cr.sum(x * cr.matmul(a, x)) / (np.sqrt(8.0) * bx)
    return mixing - attraction * cr.log((1.0 + (1.0 + np.sqrt(2.0)) * bx) / (1.0 + (1.0 - np.sqrt(2.0)) * bx))


def reverse_gradient(x, b, a):
    """The gradient in one sweep back, by `backward`."""
    leaf = cr.tensor(x, requires_grad=True)
    helmholtz(leaf, b, a).backward()
    return leaf.grad.numpy()


def forward_gradient(x, b, a):
    """The gradient from a sweep forward along each input."""
    return cr.jacobian(lambda x: helmholtz(x, b, a), mode="forward")(x)


def least_times(functions, repetitions):
    """The least seconds of each function, called in turns."""
    best = [float("inf")] * len(functions)
    for _ in range(repetitions):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def cost_ratios(n, repetitions=50):
    """The gradient's cost over the function's: (reverse, forward)."""
    x, b, a = constants(n)
    tensor = cr.tensor(x)
    forward_repetitions = max(2, repetitions // n)
    alone, reverse = least_times(
        [lambda: helmholtz(tensor, b, a), lambda: reverse_gradient(x, b, a)], repetitions
    )
    (forward,) = least_times([lambda: forward_gradient(x, b, a)], forward_repetitions)
    return reverse / alone, forward / alone


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions = parser.parse_args().repetitions
    cr.set_num_threads(1)
    print("   n   reverse / function   forward / function   largest relative difference")
    for n in (8, 16, 32, 64, 128, 256, 512):
        reverse, forward = cost_ratios(n, repetitions)
        x, b, a = constants(n)
        difference = np.abs(reverse_gradient(x, b, a) / forward_gradient(x, b, a) - 1).max()
        print(f"{n:4d} {reverse:20.2f} {forward:20.1f} {difference:22.1e}")


if __name__ == "__main__":
    main()
