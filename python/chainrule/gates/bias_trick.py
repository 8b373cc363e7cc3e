"""The bias trick: x W + b as one product, by a column of ones in x and b as the last row of W."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of, unbox
from chainrule.gates.shape import as_array, concatenate, reshape


def append_ones(x):
    """x (..., D) with a last column of ones: (..., D + 1), in x's dtype.

    Errors: ValueError for a 0-d x.
    """
    x = as_array(x, "append_ones")
    if not shape_of(x):
        raise ValueError("append_ones: x is a number: give (..., features)")
    return concatenate([x, np.ones((*shape_of(x)[:-1], 1), unbox(x).dtype)], axis=-1)


def fold_bias(weight, bias):
    """W (D, C) with b (C,) as a last row: (D + 1, C), so that append_ones(x) @ fold_bias(W, b) = x W + b.

    >>> import chainrule as cr, numpy as np
    >>> x, w, b = np.ones((2, 3)), np.ones((3, 4)), np.arange(4.0)
    >>> bool((cr.append_ones(x) @ cr.fold_bias(w, b) == x @ w + b).all())
    True

    Errors: ValueError when the shapes do not fit.
    """
    weight, bias = as_array(weight, "fold_bias", "weight"), as_array(bias, "fold_bias", "bias")
    if len(shape_of(weight)) != 2 or shape_of(bias) != shape_of(weight)[1:]:
        raise ValueError(
            f"fold_bias: weight {shape_of(weight)} and bias {shape_of(bias)}: give (D, C) and (C,)"
        )
    return concatenate([weight, reshape(bias, (1, -1))], axis=0)
