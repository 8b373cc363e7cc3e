"""Matrix multiplication, which closes with itself under differentiation."""

from __future__ import annotations

from chainrule import _core
from chainrule.autodiff.box import Box, shape_of
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import add, add_tangents
from chainrule.gates.shape import as_array, reshape, swap_last_axes
from chainrule.gates.summation import sum_to


class Matmul(Gate):
    """z = x y for matrices and batches of them: dx = dz y^T, dy = x^T dz, each of its input's shape."""

    def forward(self, x, y):
        self.kept = x, y
        return _core.matmul(x, y)

    def backward(self, gradient):
        x, y = self.kept
        dx = dy = None
        if self.wants(0):
            dx = sum_to(matmul(gradient, swap_last_axes(y)), x.shape)
        if self.wants(1):
            if len(y.shape) == 2 and len(x.shape) > 2:
                # One product over all rows of the batch, instead of a batch of products and its sum.
                rows = reshape(x, (-1, x.shape[-1]))
                dy = matmul(swap_last_axes(rows), reshape(gradient, (-1, gradient.shape[-1])))
            else:
                dy = sum_to(matmul(swap_last_axes(x), gradient), y.shape)
        return dx, dy

    def jvp(self, x_tangent, y_tangent):
        x, y = self.kept
        return add_tangents(
            None if x_tangent is None else matmul(x_tangent, y),
            None if y_tangent is None else matmul(x, y_tangent),
        )


def matmul(x, y):
    """The matrix product, as numpy.matmul: vectors, matrices, and batches whose leading axes broadcast.

    Args:
        x: (..., n, k), or (k,).
        y: (..., k, m), or (k,).

    Returns (..., n, m), without the axis of an operand that is a vector. float32 or float64. Transposed and
    other strided arrays are read where they lie. An empty inner dimension gives zeros.

    Errors: ValueError naming both shapes when they do not fit; 0-d arrays and numbers are refused.

    >>> import chainrule as cr, numpy as np
    >>> cr.matmul(np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    if (
        not (isinstance(x, Box) or isinstance(y, Box))
        and getattr(x, "ndim", 0) > 1
        and getattr(y, "ndim", 0) > 1
    ):
        return _core.matmul(x, y)
    x, y = as_array(x, "matmul"), as_array(y, "matmul", "y")
    x_shape, y_shape = shape_of(x), shape_of(y)
    if len(x_shape) > 1 and len(y_shape) > 1:
        return Matmul()(x, y)
    if not x_shape or not y_shape:
        raise ValueError(f"matmul: {x_shape} x {y_shape}: an operand is a number: use multiply")
    inner = y_shape[-2] if len(y_shape) > 1 else y_shape[0]
    if x_shape[-1] != inner:
        raise ValueError(f"matmul: {x_shape} x {y_shape}: inner dimensions {x_shape[-1]} and {inner} differ")
    left = x if len(x_shape) > 1 else reshape(x, (1, -1))
    right = y if len(y_shape) > 1 else reshape(y, (-1, 1))
    product = shape_of(left)[:-1] if len(y_shape) == 1 else shape_of(right)[:-2] + shape_of(right)[-1:]
    if len(x_shape) == 1 and len(y_shape) == 1:
        product = ()
    return reshape(Matmul()(left, right), product)


def linear(x, weight, bias=None):
    """Scores f(x, W, b) = x W + b, the linear classifier of the lectures.

    Args:
        x: (..., in).
        weight: (in, out).
        bias: (out,), or None.

    Returns (..., out).

    Errors: ValueError naming the shapes that do not fit.
    """
    if bias is None:
        return matmul(x, weight)
    weight, bias = as_array(weight, "linear", "weight"), as_array(bias, "linear", "bias")
    if shape_of(bias) != shape_of(weight)[1:]:
        raise ValueError(
            f"linear: weight {shape_of(weight)} and bias {shape_of(bias)}: give (in, out) and (out,)"
        )
    return add(matmul(x, weight), bias)
