"""Indexing and slicing, and its adjoint, which adds values where indices repeat."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, as_setting, box_result, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.shape import as_array
from chainrule.gates.summation import is_integer


class Index(Gate):
    """y = x[i]; its adjoint adds the gradient at i into zeros."""

    linear = True

    def __init__(self, where):
        self.where = where

    def forward(self, x):
        self.kept = (x.shape,)
        return np.array(x[self.where], order="C")

    def backward(self, gradient):
        return IndexAdd(self.where, self.kept[0])(gradient)


class IndexAdd(Gate):
    """y = 0; y[i] += x: the adjoint of Index. Repeated indices add."""

    linear = True

    def __init__(self, where, shape):
        self.where = where
        self.shape = shape

    def forward(self, x):
        y = np.zeros(self.shape, x.dtype)
        parts = self.where if isinstance(self.where, tuple) else (self.where,)
        if any(isinstance(part, np.ndarray) and part.dtype != bool for part in parts):
            np.add.at(y, self.where, x)
        else:
            y[self.where] = x  # slices, numbers and masks name no place twice
        return y

    def backward(self, gradient):
        return index(gradient, self.where)


def _plain(part):
    """A part of an index as NumPy's own kinds: sequences of any type become arrays, whose repetitions are seen."""
    numpys = (
        isinstance(part, (np.ndarray, str, bytes))
        or not hasattr(part, "__len__")
        or hasattr(part, "__index__")
    )
    return part if numpys and not isinstance(part, Box) else as_setting(part)


def index(x, where):
    """x[where], with basic slices, integers, None, Ellipsis, and integer or boolean arrays, as NumPy has them.

    The result has memory of its own. Where an index repeats, the gradients add.

    Errors: IndexError out of range, or where the index does not fit x's dimensions; TypeError for slices between
    other things than integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> x[[0, 0, 2]].sum().backward()
    >>> x.grad.numpy()
    array([2., 0., 1.], dtype=float32)
    """
    x = as_array(x, "index")
    parts = where if isinstance(where, tuple) else (where,)
    plain = tuple(_plain(p) for p in parts)
    # An empty list has no dtype of its own; as an index it names nothing.
    plain = tuple(
        p.astype(np.int64) if isinstance(p, np.ndarray) and p.size == 0 and p.dtype != bool else p
        for p in plain
    )
    where = plain if isinstance(where, tuple) else plain[0]
    try:
        if is_integer(x):
            result = np.array(unbox(x)[where], order="C")
            return box_result(result) if isinstance(x, Box) else result
        return Index(where)(x)
    except (IndexError, TypeError) as error:
        raise type(error)(f"index: {error} (an array of shape {shape_of(x)})") from None
