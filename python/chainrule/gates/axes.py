"""How any set of axes becomes the middle one of (outer, n, inner), the form that the kernels take."""

from __future__ import annotations

import math
import operator

import numpy as np


def normalise_axes(operation: str, axis, dimensions: int) -> tuple[int, ...]:
    """The axes in rising order, none negative; all of them for None.

    ValueError for an axis out of range or named twice, TypeError for one that is no integer.
    """
    if axis is None:
        return tuple(range(dimensions))
    if not isinstance(axis, (tuple, list)):
        axis = (axis,)
    axes = []
    for a in axis:
        try:
            number = operator.index(a)
        except TypeError:
            raise TypeError(f"{operation}: axis {a!r} is not an integer") from None
        if not -dimensions <= number < dimensions:
            raise ValueError(
                f"{operation}: axis {number} does not exist in an array of {dimensions} dimensions"
            )
        axes.append(number % dimensions)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{operation}: axis {tuple(axis)} names an axis twice")
    return tuple(sorted(axes))


def normalise_axis(operation: str, axis, dimensions: int) -> int:
    """One axis, not negative. Errors as for `normalise_axes`, and TypeError for several axes or None."""
    if axis is None or isinstance(axis, (tuple, list)):
        raise TypeError(f"{operation}: axis {axis!r} is not an integer")
    return normalise_axes(operation, axis, dimensions)[0]


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape after reducing `axes`."""
    if keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def to_middle(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, int, int, int]:
    """x and the sizes (outer, n, inner) under which `axes` are its middle axis.

    Axes beside each other need no copy; others are moved to the end first.
    """
    shape = x.shape
    if not axes:
        return x, x.size, 1, 1
    first, last = axes[0], axes[-1]
    if last - first + 1 != len(axes):
        rest = [i for i in range(x.ndim) if i not in axes]
        x = np.ascontiguousarray(x.transpose(*rest, *axes))
        n = math.prod(shape[i] for i in axes)
        return x, math.prod(shape[i] for i in rest), n, 1
    return (
        x,
        math.prod(shape[:first]),
        math.prod(shape[first : last + 1]),
        math.prod(shape[last + 1 :]),
    )
