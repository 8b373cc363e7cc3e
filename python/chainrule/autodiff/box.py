"""A value and its place in a graph: what the reverse walk needs of a Tensor, and no more.

`chainrule.tensor` derives `Tensor` from it, with operators and methods; gates build their results through
`box_result`, so that nothing in this package looks up at the operations.
"""

from __future__ import annotations

import threading

import numpy as np


class Box:
    """A value, the gate that made it (None for a leaf), and its gradient after a backward pass.

    Outside every transform the value is a NumPy array and `trace` is None. Inside, a Box belongs to one trace
    and holds a value of a lower level: an array, or a Box of an enclosing transform. See `trace.py`.

    `watch` is unset until somebody takes or changes a leaf's memory; see `change.py`.
    """

    is_gate = False
    __slots__ = ("__weakref__", "gate", "grad", "read", "requires_grad", "tangent", "trace", "value", "watch")

    def __init__(self, value, gate=None):
        self.value = value
        self.gate = gate
        self.grad = None
        self.requires_grad = gate is not None
        self.trace = None


class _Recording(threading.local):
    """Whether gates record a graph; each thread has its own switch."""

    on = True


recording = _Recording()


class no_grad:
    """A context in which gates record no graph: results need no gradient and keep nothing.

    Works as a decorator too. Affects the calling thread alone.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, 2.0], requires_grad=True)
    >>> with cr.no_grad():
    ...     y = w * 3.0
    >>> y.requires_grad
    False
    """

    def __init__(self):
        self._before = []  # one for each time that this context is entered

    def __enter__(self):
        self._before.append(recording.on)
        recording.on = False

    def __exit__(self, *exception):
        recording.on = self._before.pop()

    def __call__(self, function):
        def without_graph(*args, **kwargs):
            with no_grad():
                return function(*args, **kwargs)

        without_graph.__name__ = getattr(function, "__name__", "without_graph")
        without_graph.__doc__ = function.__doc__
        return without_graph


result_type = Box


def use_result_type(cls):
    """Make `cls`, a subclass of Box, the type of results."""
    global result_type
    result_type = cls
    return cls


def box_result(value, gate=None):
    """A result of the registered type."""
    return result_type(value, gate)


def unbox(value):
    """The array at the bottom of a Box; anything else as it is."""
    while isinstance(value, Box):
        value = value.value
    return value


def as_setting(value) -> np.ndarray:
    """Labels, an index or a condition as an array that a gate may hold: a copy of a Tensor's, whose `data` may be
    changed before the backward pass."""
    return np.array(unbox(value)) if isinstance(value, Box) else np.asarray(value)


def shape_of(value) -> tuple[int, ...]:
    """The shape of a Tensor, array, or number (which has ())."""
    if type(value) is np.ndarray or isinstance(value, (np.ndarray, Box)):
        return value.shape
    return np.shape(value)
