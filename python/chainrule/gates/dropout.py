"""Dropout, by random numbers that are counted and not kept."""

from __future__ import annotations

import operator

import numpy as np

from chainrule import _core
from chainrule.autodiff.gate import Gate
from chainrule.gates.normalise import check_number
from chainrule.gates.shape import as_array


class Dropout(Gate):
    """y = x / (1 - p) where the place is kept, else 0: a diagonal map, its own adjoint."""

    linear = True

    def __init__(self, p, key):
        self.p = p
        self.key = key

    def forward(self, x):
        return _core.dropout(x, self.p, self.key)

    def backward(self, gradient):
        return Dropout(self.p, self.key)(gradient)


def dropout(x, p=0.5, training=True, key=None):
    """x with each value set to 0 with probability p, the others divided by 1 - p; x itself outside training.

    Srivastava et al., Dropout, 2014, in the inverted form that leaves evaluation alone. Which values stay follows
    from the key and a value's place alone, by the counting generator Philox (Salmon et al., 2011): the same mask
    for any number of threads, and again in the backward pass without being kept.

    Args:
        x: float32 or float64.
        p: from 0 to 1; 1 gives zeros.
        key: an integer from 0 to 2^64 - 1 that chooses the mask; when it is left out, the next number of the
            library's generator (`chainrule.manual_seed`).

    Errors: ValueError for p or key out of range, TypeError for a p that is no number or a key that is no integer.

    >>> import chainrule as cr, numpy as np
    >>> y = cr.dropout(np.ones(1000), p=0.25, key=1)
    >>> sorted({round(float(v), 3) for v in y})
    [0.0, 1.333]
    """
    check_number("dropout", "p", p, 1)
    x = as_array(x, "dropout")
    if not training or p == 0:
        return x
    if key is None:
        from chainrule.random import generator

        key = int(generator().integers(0, 2**63, dtype=np.uint64))
    try:
        number = operator.index(key)
    except TypeError:
        raise TypeError(f"dropout: key {key!r} is not an integer") from None
    if not 0 <= number < 2**64:
        raise ValueError(f"dropout: key {number}: give an integer from 0 to 2^64 - 1")
    return Dropout(float(p), number)(x)
