"""Gates that move values without computing: reshape, transpose, concatenate, stack, pad."""

from __future__ import annotations

import math
import operator

import numpy as np

from chainrule.autodiff.box import Box, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.axes import normalise_axes, normalise_axis


class Reshape(Gate):
    """The same values in another shape; its adjoint reshapes back."""

    linear = True

    def __init__(self, shape):
        self.shape = shape

    def forward(self, x):
        self.kept = (x.shape,)
        return x.reshape(self.shape)

    def backward(self, gradient):
        return reshape(gradient, self.kept[0])


def reshape(x, shape):
    """x with the same values, in C order, in another shape.

    Args:
        x: array or Tensor of any shape.
        shape: an int or a tuple; one entry may be -1, which takes what is left.

    Errors: ValueError when the number of values differs.

    >>> import chainrule as cr, numpy as np
    >>> cr.reshape(np.arange(6.0), (2, -1)).shape
    (2, 3)
    """
    shape = as_sizes("reshape", shape)
    x = as_array(x, "reshape")
    if shape and min(shape) < 0 and (min(shape) < -1 or shape.count(-1) > 1):
        raise ValueError(f"reshape: {shape_of(x)} to {shape}: one size may be -1, and no other is negative")
    try:
        return Reshape(shape)(x)
    except ValueError:
        raise ValueError(
            f"reshape: {shape_of(x)} does not fit {shape}: the number of values differs"
        ) from None


class Transpose(Gate):
    """Permuted axes; its adjoint is the inverse permutation."""

    linear = True

    def __init__(self, axes):
        self.axes = axes

    def forward(self, x):
        return x.transpose(self.axes)

    def backward(self, gradient):
        return transpose(gradient, tuple(np.argsort(self.axes)))


def transpose(x, axes=None):
    """x with its axes permuted: axis i of the result is axis `axes[i]` of x. A view, not a copy.

    Args:
        x: array or Tensor.
        axes: a permutation of the axes; None reverses them.

    Errors: ValueError when `axes` is no permutation.

    >>> import chainrule as cr, numpy as np
    >>> cr.transpose(np.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_array(x, "transpose")
    dimensions = len(shape_of(x))
    if axes is None:
        return Transpose(tuple(range(dimensions))[::-1])(x)
    order = (axes,) if isinstance(axes, int) else tuple(axes)
    if len(normalise_axes("transpose", order, dimensions)) != dimensions:
        raise ValueError(f"transpose: axes {order} are no permutation of {dimensions} dimensions")
    return Transpose(tuple(a % dimensions for a in order))(x)


def swap_last_axes(x):
    """The matrix transpose: the last two axes exchanged, for matrices and batches of them."""
    if type(x) is np.ndarray:
        return x.swapaxes(-1, -2)
    dimensions = len(x.shape)
    return transpose(x, (*range(dimensions - 2), dimensions - 1, dimensions - 2))


class Astype(Gate):
    """The same values in another floating dtype; its adjoint converts back."""

    linear = True

    def __init__(self, dtype):
        self.dtype = dtype

    def forward(self, x):
        self.kept = (x.dtype,)
        return x.astype(self.dtype)

    def backward(self, gradient):
        return Astype(self.kept[0])(gradient)


class Concatenate(Gate):
    """Arrays joined along an axis; its adjoint cuts the gradient apart."""

    linear = True

    def __init__(self, axis):
        self.axis = axis

    def forward(self, *arrays):
        self.kept = tuple(a.shape[self.axis] for a in arrays)
        return np.concatenate(arrays, axis=self.axis)

    def backward(self, gradient):
        from chainrule.gates.index import index

        parts, start = [], 0
        for size in self.kept:
            where = (slice(None),) * self.axis + (slice(start, start + size),)
            parts.append(index(gradient, where))
            start += size
        return tuple(parts)


def concatenate(arrays, axis=0):
    """Arrays joined along an existing axis.

    Args:
        arrays: a sequence of arrays or Tensors whose shapes agree except along `axis`.
        axis: the axis to join along.

    Errors: ValueError for no arrays, an axis that does not exist, or shapes that disagree (naming them).

    >>> import chainrule as cr, numpy as np
    >>> cr.concatenate([np.zeros((2, 3)), np.ones((1, 3))]).shape
    (3, 3)
    """
    arrays = as_arrays(arrays, "concatenate")
    shapes = [shape_of(a) for a in arrays]
    if not arrays:
        raise ValueError("concatenate: no arrays given")
    axis = normalise_axis("concatenate", axis, len(shapes[0]))
    rests = {shape[:axis] + shape[axis + 1 :] if len(shape) == len(shapes[0]) else shape for shape in shapes}
    if len(rests) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"concatenate: shapes {shapes} differ elsewhere than along axis {axis}")
    return Concatenate(axis)(*arrays)


def stack(arrays, axis=0):
    """Arrays of one shape, joined along a new axis.

    >>> import chainrule as cr, numpy as np
    >>> cr.stack([np.zeros(3), np.ones(3)], axis=1).shape
    (3, 2)

    Errors: ValueError for no arrays, or shapes that differ (naming them).
    """
    arrays = as_arrays(arrays, "stack")
    shapes = [shape_of(a) for a in arrays]
    if not arrays:
        raise ValueError("stack: no arrays given")
    if len(set(shapes)) != 1:
        raise ValueError(f"stack: shapes {shapes} differ")
    axis = normalise_axis("stack", axis, len(shapes[0]) + 1)
    shape = (*shapes[0][:axis], 1, *shapes[0][axis:])
    return concatenate([reshape(a, shape) for a in arrays], axis)


class Pad(Gate):
    """A constant around the array; its adjoint cuts the middle out."""

    def __init__(self, widths, value):
        self.widths = widths
        self.value = value

    def forward(self, x):
        return np.pad(x, self.widths, constant_values=self.value) if self.widths else x.copy()

    def backward(self, gradient):
        from chainrule.gates.index import index

        shape = shape_of(gradient)
        middle = tuple(slice(b, n - a) for (b, a), n in zip(self.widths, shape, strict=True))
        return index(gradient, middle)

    def jvp(self, tangent):
        return Pad(self.widths, 0.0)(tangent)


def pad(x, widths, value=0.0):
    """x with `value` written around it.

    Args:
        x: array or Tensor.
        widths: (before, after) for each axis, none negative; one int for all, as in numpy.pad.
        value: the constant, a number; a whole one for an array of integers.

    Errors: ValueError for negative widths, other than one pair an axis, or a result too large to exist; TypeError
    for widths that are no integers, or a value that is no number.

    >>> import chainrule as cr, numpy as np
    >>> cr.pad(np.ones(2), ((1, 2),))
    array([0., 1., 1., 0., 0.])
    """
    x = as_array(x, "pad")
    dimensions = len(shape_of(x))
    try:
        pairs = np.broadcast_to(np.asarray(widths), (dimensions, 2))
    except ValueError:
        raise ValueError(
            f"pad: widths {widths} are not one (before, after) for each of {dimensions} axes"
        ) from None
    if pairs.dtype.kind not in "iu":
        raise TypeError(f"pad: widths {widths} must be integers")
    if pairs.size and pairs.min() < 0:
        raise ValueError(f"pad: widths {widths} must be at least 0")
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"pad: value {value!r} is no number")
    if unbox(x).dtype.kind in "biu" and value != int(value):
        raise TypeError(f"pad: value {value} for an array of {unbox(x).dtype}: give a whole number")
    pairs = tuple((int(before), int(after)) for before, after in pairs)
    sizes = tuple(size + sum(pair) for size, pair in zip(shape_of(x), pairs, strict=True))
    if math.prod(sizes) >= 1 << 60:
        raise ValueError(f"pad: {shape_of(x)} with widths {widths} has the shape {sizes}: too large to exist")
    return Pad(pairs, value)(x)


# float32, float64, booleans and integers, as NumPy's letters.
_characters = frozenset("fd?bBhHiIlLqQ")


def as_array(x, operation="", argument="x"):
    """x as an array or Tensor, for gates that read its shape. Numbers and lists of them become float32.

    TypeError that names the operation and argument for anything else, and for other dtypes than float32, float64,
    integers and booleans.
    """
    value = unbox(x)
    if isinstance(value, np.ndarray):
        array = x
    elif isinstance(x, (list, tuple)) and any(isinstance(item, Box) for item in x):
        raise TypeError(
            f"{_named(operation, argument)} is a list of Tensors, not a Tensor: join them with stack or concatenate"
        )
    else:
        try:
            array = value = np.asarray(float(x) if type(x) is int else x)
        except ValueError:  # lists of different lengths
            array = value = np.asarray(None)
        if value.dtype.char in _characters:
            return array if isinstance(x, np.generic) else array.astype(np.float32)
    if value.dtype.char not in _characters:
        got = (
            f"an array of {value.dtype}"
            if isinstance(x, (np.ndarray, np.generic, Box))
            else f"a {type(x).__name__}"
        )
        raise TypeError(
            f"{_named(operation, argument)} is {got}: give a float32 or float64 array, a Tensor of one, or a number"
        )
    return array


def _named(operation, argument):
    return f"{operation}: {argument}" if operation else argument


def as_arrays(values, operation):
    """A sequence of arrays or Tensors, each as `as_array` takes it. TypeError for what is no sequence."""
    try:
        values = list(values)
    except TypeError:
        raise TypeError(
            f"{operation}: arrays is a {type(values).__name__}: give a sequence of arrays"
        ) from None
    return [as_array(a, operation, f"array {i}") for i, a in enumerate(values)]


def as_sizes(operation, shape) -> tuple[int, ...]:
    """A shape as a tuple of Python integers; one integer stands for itself."""
    try:
        shape = (operator.index(shape),)
    except TypeError:
        try:
            shape = tuple(operator.index(size) for size in shape)
        except TypeError:
            raise TypeError(f"{operation}: shape {shape!r} must hold integers") from None
    return shape


def promoted(x, *beside):
    """x, in float64 where an array beside it is, for gates whose result takes the dtype of x."""
    if unbox(x).dtype == np.float32 and any(unbox(v).dtype == np.float64 for v in beside):
        return Astype(np.dtype(np.float64))(x)
    return x
