"""The leaves of what transforms take and give: checked on the way in, told apart by level on the way out."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, box_result, shape_of, unbox
from chainrule.autodiff.nest import flatten


def as_value(operation, leaf):
    """A leaf of the inputs as an array or Box of the levels outside."""
    if type(leaf) is float:
        leaf = box_result(np.asarray(leaf, np.float32))
    array = unbox(leaf)
    if not isinstance(array, (np.ndarray, np.floating)) or array.dtype not in (np.float32, np.float64):
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(
            f"{operation}: an input is {kind}, which has no derivative: give float32 or float64 (as 3.0, not 3)"
        )
    return leaf if isinstance(leaf, (Box, np.ndarray)) else np.asarray(leaf)


def as_values(operation, nest):
    leaves, structure = flatten(nest)
    return [as_value(operation, leaf) for leaf in leaves], structure


def as_outputs(operation, nest):
    """The leaves of what a function returned, as arrays or Boxes."""
    leaves, structure = flatten(nest)
    values = [leaf if isinstance(leaf, (Box, np.ndarray)) else np.asarray(leaf) for leaf in leaves]
    for value in values:
        if unbox(value).dtype.kind not in "biuf":
            raise TypeError(
                f"{operation}: the function returned {unbox(value).dtype}: it must return numbers"
            )
    return values, structure


def split_aux(operation, result, has_aux):
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"{operation}: with has_aux=True the function must return (value, auxiliary data)")
    return result


def matched(operation, what, nest, structure, values):
    """The leaves of tangents or cotangents, checked against the values they belong to."""
    leaves, own = flatten(nest)
    if own != structure:
        raise ValueError(
            f"{operation}: the {what} are nested otherwise than the values they belong to: give a nest of the same "
            "tuples, lists, keys and None"
        )
    matched = []
    for leaf, value in zip(leaves, values, strict=True):
        dtype, shape = unbox(value).dtype, shape_of(value)
        if isinstance(leaf, (int, float)):
            leaf = np.asarray(leaf, dtype)
        if shape_of(leaf) != shape:
            raise ValueError(
                f"{operation}: {what} of shape {shape_of(leaf)} for a value of shape {shape}: they do not broadcast, "
                "give the value's shape"
            )
        if unbox(leaf).dtype != dtype:
            raise TypeError(
                f"{operation}: {what} of {unbox(leaf).dtype} for a value of {dtype}: convert them"
            )
        matched.append(leaf if isinstance(leaf, (Box, np.ndarray)) else np.asarray(leaf))
    return matched


def strip(trace, value):
    """A value as the levels outside `trace` see it."""
    return value.value if isinstance(value, Box) and value.trace is trace else value


class Given:
    """Arrays that are somebody's: what is returned beside them gets memory of its own."""

    def __init__(self, arrays):
        self.arrays = list(arrays)

    def own(self, array):
        """The array, or a copy where it is one of these, or part of another. It then is one of these."""
        if isinstance(array, np.ndarray):
            if isinstance(array.base, np.ndarray) or any(array is other for other in self.arrays):
                array = array.copy()
            self.arrays.append(array)
        return array


def like(value, derivative):
    """A derivative as a Tensor where the value is one outside all transforms, else as an array or Box."""
    if isinstance(derivative, Box):
        return derivative
    derivative = np.asarray(derivative)  # sums of 0-d arrays are NumPy scalars
    return box_result(derivative) if isinstance(value, Box) and value.trace is None else derivative
