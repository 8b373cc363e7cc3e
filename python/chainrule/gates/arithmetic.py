"""Arithmetic and comparison, elementwise, with NumPy's broadcasting.

Operands are float32 or float64 arrays, Tensors of them, or numbers. Python numbers take the dtype of the array
beside them; float32 with float64 gives float64; an integer array beside a floating one is converted to it. A
gradient arrives in the shape and dtype of the operand it belongs to. Shapes that do not broadcast are a
ValueError that names them, other types a TypeError.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from chainrule import _core
from chainrule.autodiff.box import Box, box_result, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.summation import sum_like, sum_to


class Add(Gate):
    """z = x + y: dz/dx = dz/dy = 1, so the gradient goes to both inputs as it is."""

    linear = True

    def forward(self, x, y):
        z = _core.add(x, y)  # which checks x and y
        self.kept = shape_of(x), shape_of(y)
        return z

    def backward(self, gradient):
        x_shape, y_shape = self.kept
        return sum_to(gradient, x_shape), sum_to(gradient, y_shape)


class Subtract(Gate):
    """z = x - y: dz/dx = 1, dz/dy = -1."""

    linear = True

    def forward(self, x, y):
        z = _core.subtract(x, y)  # which checks x and y
        self.kept = shape_of(x), shape_of(y)
        return z

    def backward(self, gradient):
        x_shape, y_shape = self.kept
        return (
            sum_to(gradient, x_shape) if self.wants(0) else None,
            negative(sum_to(gradient, y_shape)) if self.wants(1) else None,
        )


class Multiply(Gate):
    """z = x y: dz/dx = y, dz/dy = x: each input's gradient is scaled by the other input."""

    def forward(self, x, y):
        self.kept = x, y
        return _core.multiply(x, y)

    def backward(self, gradient):
        x, y = self.kept
        return (
            sum_like(x, multiply(gradient, y)) if self.needs[0] else None,
            sum_like(y, multiply(gradient, x)) if self.needs[1] else None,
        )

    def jvp(self, x_tangent, y_tangent):
        x, y = self.kept
        return add_tangents(
            None if x_tangent is None else multiply(x_tangent, y),
            None if y_tangent is None else multiply(x, y_tangent),
        )


class Divide(Gate):
    """z = x / y: dz/dx = 1 / y, dz/dy = -z / y."""

    def forward(self, x, y):
        z = _core.divide(x, y)
        self.kept = x, y, z
        return z

    def backward(self, gradient):
        x, y, z = self.kept
        over_y = divide(gradient, y)
        return (
            sum_to(over_y, shape_of(x)) if self.wants(0) else None,
            sum_to(negative(multiply(over_y, z)), shape_of(y)) if self.wants(1) else None,
        )

    def jvp(self, x_tangent, y_tangent):
        _x, y, z = self.kept
        return add_tangents(
            None if x_tangent is None else divide(x_tangent, y),
            None if y_tangent is None else negative(divide(multiply(z, y_tangent), y)),
        )


class Negative(Gate):
    """z = -x: dz/dx = -1."""

    linear = True

    def forward(self, x):
        return _core.negative(x)

    def backward(self, gradient):
        return negative(gradient)


class Power(Gate):
    """z = x^y: dz/dx = y x^(y-1), dz/dy = x^y ln x."""

    def forward(self, x, y):
        z = _core.power(x, y)
        # What is kept as it was given is known as the input again at a higher level. The rule computes with x and y
        # alone: integers take the dtype here that they were computed in. An exponent that is a number stays one, to be
        # folded.
        y = y if isinstance(y, (int, float)) else _floating(y, z.dtype)
        self.kept = _floating(x, z.dtype), y, z
        return z

    def backward(self, gradient):
        x, y, _z = self.kept
        return (
            sum_to(multiply(gradient, self.slope_in_base()), shape_of(x)) if self.wants(0) else None,
            sum_to(multiply(gradient, self.slope_in_exponent()), shape_of(y)) if self.wants(1) else None,
        )

    def jvp(self, x_tangent, y_tangent):
        return add_tangents(
            None if x_tangent is None else multiply(x_tangent, self.slope_in_base()),
            None if y_tangent is None else multiply(y_tangent, self.slope_in_exponent()),
        )

    def slope_in_base(self):
        x, y, _ = self.kept
        if isinstance(y, (int, float)):
            # Constants fold: 2 x for a square, and 0 x^-1 must not be NaN at x = 0.
            if y == 0:
                return 0.0
            return multiply(x if y == 2 else power(x, y - 1), float(y))
        # 0 x^-1 must not be NaN at x = 0; elsewhere it is 0, and has derivatives.
        return multiply(y, power(x, where_nonzero(either_nonzero(x, y), subtract(y, 1.0), 1.0)))

    def slope_in_exponent(self):
        from chainrule.gates.functions import log

        # 0^y is constant 0 in y > 0: its slope there is 0, not 0 * -inf.
        x, _, z = self.kept
        return multiply(z, log(where_nonzero(x, x, 1.0)))


def add_tangents(a, b):
    """The sum of two tangents, where None is 0."""
    return b if a is None else a if b is None else add(a, b)


def _floating(x, dtype):
    return x if isinstance(x, np.ndarray) and x.dtype.kind == "f" else np.asarray(x, dtype)


def either_nonzero(x, y):
    return (np.asarray(unbox(x)) != 0) | (np.asarray(unbox(y)) != 0)


def where_nonzero(condition, x, y):
    """x where `condition` is not 0, else y."""
    from chainrule.gates.select import where

    return where(np.asarray(unbox(condition)) != 0, x, y)


def add(x, y):
    """x + y.

    >>> import chainrule as cr, numpy as np
    >>> cr.add(np.ones((2, 1)), np.arange(3.0)).shape
    (2, 3)
    """
    return Add()(x, y)


def subtract(x, y):
    """x - y."""
    return Subtract()(x, y)


def multiply(x, y):
    """x y, elementwise. Where a value is used twice its two gradients add: d(x x)/dx = 2 x."""
    if type(x) is ndarray and type(y) is ndarray:
        return _core.multiply(x, y)
    return Multiply()(x, y)


def divide(x, y):
    """x / y. Division by 0 gives inf or NaN, as IEEE 754 has it, without a warning."""
    return Divide()(x, y)


def negative(x):
    """-x."""
    return Negative()(x)


def power(x, y):
    """x to the power y.

    A negative x with a y that is no integer gives NaN. At x = 0 the gradient in y is taken as 0, and that in x
    of x^0 as 0.

    >>> import chainrule as cr
    >>> x = cr.tensor(3.0, requires_grad=True)
    >>> cr.power(x, 2).backward()
    >>> x.grad.item()
    6.0
    """
    return Power()(x, y)


def square(x):
    """x^2, elementwise."""
    return Power()(x, 2)


def _comparison(ufunc):
    def compare(x, y):
        try:
            x_value, y_value = np.asarray(unbox(x)), np.asarray(unbox(y))
        except ValueError:
            raise TypeError(f"{ufunc.__name__}: x or y is a list of lists of different lengths") from None
        try:
            # Python numbers stay what they are, so that they take the dtype of the array beside them.
            result = np.asarray(ufunc(unbox(x), unbox(y)))
        except ValueError:
            raise ValueError(
                f"{ufunc.__name__}: shapes {x_value.shape} and {y_value.shape} do not broadcast"
            ) from None
        except TypeError:
            raise TypeError(
                f"{ufunc.__name__}: {x_value.dtype} and {y_value.dtype} cannot be compared: give numbers"
            ) from None
        return box_result(result) if isinstance(x, Box) or isinstance(y, Box) else result

    compare.__name__ = compare.__qualname__ = ufunc.__name__
    compare.__doc__ = (
        f"numpy.{ufunc.__name__} of two arrays or Tensors: booleans, which carry no gradient.\n\n"
        "    Comparing with NaN is False, except for not_equal. ValueError when the shapes do not broadcast.\n    "
    )
    return compare


equal = _comparison(np.equal)
not_equal = _comparison(np.not_equal)
less = _comparison(np.less)
less_equal = _comparison(np.less_equal)
greater = _comparison(np.greater)
greater_equal = _comparison(np.greater_equal)
