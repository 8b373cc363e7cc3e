"""How large the Jacobian of a matrix product would be, and what a vector-Jacobian product takes instead.

    python examples/jacobian_size.py

The generalised Jacobian of Y = X W has the shape Y.shape + X.shape, or Y.shape + W.shape. For a batch of 64 rows and a
layer of 4096 by 4096 it would not fit into any memory; nearly all of it is zeros. The pullback turns the gradient in Y
into those in X and W with two more products.

Source: Johnson, Derivatives, Backpropagation, and Vectorization, CS231n handout, 2017.
"""

import math
import time

import numpy as np

import chainrule as cr


def jacobian_shapes(x_shape, w_shape):
    """The shapes of the Jacobians of X W in X and in W."""
    y_shape = (x_shape[0], w_shape[1])
    return y_shape + x_shape, y_shape + w_shape


def describe(name, shape, itemsize=4):
    """One line: the entries of an array of this shape, and its bytes in float32."""
    entries = math.prod(shape)
    size = entries * itemsize
    return f"{name}: shape {shape}, {entries:,} entries, {size:,} bytes ({size / 1e12:.2f} TB)"


def pullback_gradients(x, w):
    """The gradients of sum(X W) in X and W: vector-Jacobian products that build no Jacobian."""
    y, pullback = cr.vjp(cr.matmul, x, w)
    return pullback(np.ones_like(y))


def main():
    x_shape, w_shape = (64, 4096), (4096, 4096)
    in_x, in_w = jacobian_shapes(x_shape, w_shape)
    print("Y = X W with X of 64 x 4096 and W of 4096 x 4096. Not allocated:")
    print(describe("Jacobian in X", in_x))
    print(describe("Jacobian in W", in_w))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape, dtype=np.float32), rng.standard_normal(w_shape, dtype=np.float32)
    start = time.perf_counter()
    dx, dw = pullback_gradients(x, w)
    print(
        f"both vector-Jacobian products: {dx.nbytes + dw.nbytes:,} bytes, "
        f"{1e3 * (time.perf_counter() - start):.0f} ms with the product itself"
    )


if __name__ == "__main__":
    main()
