"""Matrix multiplication, which closes with itself under differentiation."""

from __future__ import annotations

import math

from chainrule import _core
from chainrule.autodiff.box import Box, shape_of
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import add_tangents
from chainrule.gates.epilogue import WithEpilogue
from chainrule.gates.shape import as_array, promoted, reshape, swap_last_axes
from chainrule.gates.summation import sum_to
from chainrule.precision import state


class Matmul(Gate):
    """z = x y for matrices and batches of them: dx = dz y^T, dy = x^T dz, each of its input's shape."""

    def __init__(self, bfloat16=False):
        self.bfloat16 = bfloat16

    def forward(self, x, y):
        self.kept = x, y
        return _core.matmul(x, y, None, False, self.bfloat16)

    def backward(self, gradient):
        x, y = self.kept
        dx = dy = None
        if self.wants(0):
            dx = sum_to(_product(gradient, swap_last_axes(y), self.bfloat16), x.shape)
        if self.wants(1):
            if len(y.shape) == 2:
                dy = _of_rows(x, gradient, self.bfloat16)
            else:
                dy = sum_to(_product(swap_last_axes(x), gradient, self.bfloat16), y.shape)
        return dx, dy

    def jvp(self, x_tangent, y_tangent):
        x, y = self.kept
        return add_tangents(
            None if x_tangent is None else _product(x_tangent, y, self.bfloat16),
            None if y_tangent is None else _product(x, y_tangent, self.bfloat16),
        )


class Linear(WithEpilogue):
    """y = x w (+ b) (then relu): dx = dy w^T, dw = x^T dy and db = the sum of dy, over all rows of x."""

    def __init__(self, relu=False, bfloat16=False):
        self.relu = relu
        self.bfloat16 = bfloat16

    def forward(self, x, w, bias=None):
        y = _core.matmul(x, w, bias, self.relu, self.bfloat16)
        self.kept = (x, w, y) if self.relu else (x, w)
        return y

    def backward(self, gradient):
        x, w = self.kept[:2]
        gradient, db = self.through_epilogue(gradient)
        return self.each(
            _product(gradient, swap_last_axes(w), self.bfloat16) if self.wants(0) else None,
            _of_rows(x, gradient, self.bfloat16) if self.wants(1) else None,
            db,
        )

    def jvp(self, x_tangent, w_tangent, bias_tangent=None):
        x, w = self.kept[:2]
        tangent = add_tangents(
            None if x_tangent is None else _product(x_tangent, w, self.bfloat16),
            None if w_tangent is None else _product(x, w_tangent, self.bfloat16),
        )
        return self.with_epilogue(tangent, bias_tangent)


def _product(x, y, bfloat16):
    """x y for matrices and batches of them."""
    if isinstance(x, Box) or isinstance(y, Box):
        return Matmul(bfloat16)(x, y)
    return _core.matmul(x, y, None, False, bfloat16)


def _of_rows(x, gradient, bfloat16):
    """x^T gradient over all rows of both: one product, instead of a batch of products and its sum."""
    if len(x.shape) > 2:
        rows = math.prod(x.shape[:-1])  # -1 has no meaning beside an axis of 0
        x = reshape(x, (rows, x.shape[-1]))
        gradient = reshape(gradient, (rows, gradient.shape[-1]))
    return _product(swap_last_axes(x), gradient, bfloat16)


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
        return _core.matmul(x, y, None, False, state.bfloat16)
    x, y = as_array(x, "matmul"), as_array(y, "matmul", "y")
    x_shape, y_shape = shape_of(x), shape_of(y)
    if len(x_shape) > 1 and len(y_shape) > 1:
        return Matmul(state.bfloat16)(x, y)
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
    return reshape(Matmul(state.bfloat16)(left, right), product)


def linear(x, weight, bias=None):
    """Scores f(x, W, b) = x W + b, the linear classifier of the lectures.

    Args:
        x: (..., in).
        weight: (in, out).
        bias: (out,), or None.

    Returns (..., out).

    Errors: ValueError naming the shapes that do not fit.
    """
    return _linear(x, weight, bias, False)


def linear_relu(x, weight, bias=None):
    """relu(linear(...)) as one gate: the activation is applied on the way to memory.

    The derivative of relu is 0 at 0. `nn.Sequential` uses it for a Linear that a ReLU follows.
    """
    return _linear(x, weight, bias, True)


def _linear(x, weight, bias, relu):
    x, weight = as_array(x, "linear"), as_array(weight, "linear", "weight")
    x_shape, weight_shape = shape_of(x), shape_of(weight)
    if len(weight_shape) != 2 or not x_shape or x_shape[-1] != weight_shape[0]:
        raise ValueError(
            f"linear: x {x_shape}, weight {weight_shape}: give (..., in) and (in, out) of the same in"
        )
    operands = (x, weight)
    if bias is not None:
        bias = as_array(bias, "linear", "bias")
        if shape_of(bias) != weight_shape[1:]:
            raise ValueError(
                f"linear: weight {weight_shape} and bias {shape_of(bias)}: give (in, out) and (out,)"
            )
        operands = (promoted(x, bias), weight, bias)
    gate = Linear(relu, state.bfloat16)
    if len(x_shape) > 1:
        return gate(*operands)
    return reshape(gate(reshape(operands[0], (1, -1)), *operands[1:]), weight_shape[1:])
