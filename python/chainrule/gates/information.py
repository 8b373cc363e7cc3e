"""Entropy, cross-entropy and Kullback-Leibler divergence of distributions: H(p, q) = H(p) + KL(p || q).

A distribution is a row of probabilities along `axis`; natural logarithms, so the unit is the nat. Terms with
p = 0 count 0 (the limit of p ln p, and no weight on ln q); q = 0 where p > 0 gives inf. The loss to train a
classifier with is `softmax_cross_entropy`, which starts from scores.
"""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of, unbox
from chainrule.gates.arithmetic import add, multiply, negative
from chainrule.gates.axes import normalise_axes
from chainrule.gates.functions import log
from chainrule.gates.select import where
from chainrule.gates.shape import as_array
from chainrule.gates.summation import sum


def _distributions(operation, axis, *values):
    """The values as arrays, checked to be distributions' numbers of shapes that broadcast."""
    values = [as_array(v, operation, name) for name, v in zip("pq", values, strict=False)]
    for name, v in zip("pq", values, strict=False):
        data = unbox(v)
        if data.dtype.kind != "f":
            raise TypeError(
                f"{operation}: {name} is an array of {data.dtype}: convert it with .astype(np.float32) first"
            )
        if data.ndim == 0:
            raise ValueError(f"{operation}: {name} is a number: give probabilities along an axis")
        if data.size and not data.min() >= 0:  # NaN fails too
            raise ValueError(f"{operation}: {name} has the entry {data.min()}: probabilities are 0 or more")
    try:
        shape = np.broadcast_shapes(*(shape_of(v) for v in values))
    except ValueError:
        raise ValueError(
            f"{operation}: p {shape_of(values[0])} and q {shape_of(values[1])} do not broadcast"
        ) from None
    normalise_axes(operation, axis, len(shape))
    return values


def _weighted_log(p, q):
    """p ln q, 0 where p is 0."""
    some = (np.asarray(unbox(p)) > 0) | (np.asarray(unbox(q)) > 0)
    # The logarithm is taken of 1 where both are 0, so that no inf or NaN reaches the product or its gradient; the slope
    # in p is ln q where p alone is 0.
    return multiply(p, log(where(some, q, 1.0)))


def entropy(p, axis=-1):
    """H(p) = -sum p ln p along `axis`.

    >>> import chainrule as cr, numpy as np
    >>> float(cr.entropy(np.array([0.5, 0.5])).round(6))
    0.693147

    Errors: ValueError for a negative or NaN entry.
    """
    (p,) = _distributions("entropy", axis, p)
    return negative(sum(_weighted_log(p, p), axis))


def cross_entropy(p, q, axis=-1):
    """H(p, q) = -sum p ln q along `axis`: the nats that data from p cost when coded for q.

    >>> import chainrule as cr, numpy as np
    >>> p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    >>> bool(np.isclose(cr.cross_entropy(p, q), cr.entropy(p) + cr.kl_divergence(p, q)))
    True

    Errors: ValueError for a negative or NaN entry, or shapes that do not broadcast.
    """
    p, q = _distributions("cross_entropy", axis, p, q)
    return negative(sum(_weighted_log(p, q), axis))


def kl_divergence(p, q, axis=-1):
    """KL(p || q) = sum p ln(p / q) along `axis`: 0 where p = q, positive otherwise, not symmetric.

    Errors: ValueError for a negative or NaN entry, or shapes that do not broadcast.
    """
    p, q = _distributions("kl_divergence", axis, p, q)
    return sum(add(_weighted_log(p, p), negative(_weighted_log(p, q))), axis)
