"""What rows of the gate table are made of: a case, the domains that inputs come from, and shapes to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

# ---- Domains: where inputs are drawn from -------------------------------------------------------------------


def normal(rng, size):
    return rng.standard_normal(size)


def positive(rng, size):
    return rng.uniform(0.5, 2.0, size)


def away_from_zero(rng, size):
    """Nothing near the kink of abs, relu and sign."""
    return rng.uniform(0.2, 2.0, size) * rng.choice([-1.0, 1.0], size)


def inside_one(rng, size):
    """Outputs of tanh and sigmoid."""
    return rng.uniform(0.1, 0.9, size)


def distinct(rng, size):
    """No two values closer than 0.1: no ties in max, min, maximum and minimum."""
    count = int(np.prod(size))
    return rng.permutation((np.arange(count) - count // 2) * 0.1).reshape(size)


def distinct_too(rng, size):
    """As `distinct`, and 0.05 away from each value of it."""
    return distinct(rng, size) + 0.05 - 0.1 * (rng.random() < 0.5)


def distribution(rng, size):
    p = rng.uniform(0.2, 1.0, size)
    return p / p.sum(-1, keepdims=True) if p.size else p


@dataclass(frozen=True)
class Case:
    """One function at inputs of given shapes.

    Attributes:
        label: what tells it from the row's other cases.
        function: of the library, on arrays or Tensors.
        reference: the same on torch tensors.
        inputs: (domain, shape) for each argument.
        result_dtype: None where the result has the dtype of the inputs.
        nan: whether a NaN among the inputs is accepted.
    """

    label: str
    function: Callable
    reference: Callable
    inputs: tuple
    result_dtype: type | None = None
    nan: bool = True

    def values(self, dtype=np.float64):
        rng = np.random.default_rng(20240607)
        return [np.asarray(domain(rng, size), dtype=dtype) for domain, size in self.inputs]


def case(label, function, reference, *inputs, **options):
    return Case(f"{label}{[size for _, size in inputs]}", function, reference, inputs, **options)


UNARY_SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4), (0,), (0, 3), (131,)]
PAIRS = [
    ((), ()),
    ((3, 4), (3, 4)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 3, 4)),
    ((3, 1), (1, 4)),
    ((2, 1, 3), (4, 1)),
    ((), (3,)),
    ((3, 2), ()),
    ((1,), (5,)),
    ((0, 3), (3,)),
    ((0, 1), (1, 4)),
    ((11, 13), (11, 13)),
    ((9, 17), (17,)),
]

EQUAL_SHAPES = [(size, size) for size in UNARY_SHAPES]


def unary(function, reference, domain=normal):
    return [case("", function, reference, (domain, size)) for size in UNARY_SHAPES]


def binary(function, reference, left=normal, right=normal, pairs=PAIRS):
    return [case("", function, reference, (left, a), (right, b)) for a, b in pairs]


def with_number(function, reference, number, domain=normal):
    """A Python number on either side."""
    return [
        case(f"x,{number}", lambda x: function(x, number), lambda x: reference(x, number), (domain, (2, 3))),
        case(
            f"{number},x",
            lambda x: function(number, x),
            lambda x: reference(torch.tensor(number, dtype=x.dtype), x),
            (domain, (2, 3)),
        ),
    ]
