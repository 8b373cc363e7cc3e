"""The library's random generator, from which layers and dropout draw when they are given none of their own."""

from __future__ import annotations

import operator
from contextlib import contextmanager

import numpy as np

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Restart the generator that layers and dropout without one of their own draw from. It starts at seed 0.

    Errors: ValueError for a negative seed, TypeError for what is no integer.
    """
    global _generator
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"manual_seed: {seed!r} is not an integer") from None
    if number < 0:
        raise ValueError(f"manual_seed: {seed} is negative")
    _generator = np.random.default_rng(number)


def generator() -> np.random.Generator:
    """The generator as it stands now."""
    return _generator


@contextmanager
def draws_again(state):
    """A context in which the generator draws on from `state`, one of its bit generator's; afterwards as before."""
    bits = _generator.bit_generator
    before, bits.state = bits.state, state
    try:
        yield
    finally:
        bits.state = before
