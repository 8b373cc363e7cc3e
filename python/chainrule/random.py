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


def get_rng_state() -> np.ndarray:
    """The state of the library's generator, (6,) uint64: `set_rng_state` goes on from it.

    The halves of the two 128-bit numbers of NumPy's PCG64, the higher first, and what it holds back for draws of 32
    bits: an array, so that it can be saved beside a model's.

    >>> import chainrule as cr, numpy as np
    >>> state = cr.get_rng_state()
    >>> first = cr.dropout(np.ones(100), 0.5)
    >>> cr.set_rng_state(state)
    >>> bool((cr.dropout(np.ones(100), 0.5) == first).all())
    True
    """
    state = _generator.bit_generator.state
    numbers = [half for name in ("state", "inc") for half in divmod(state["state"][name], 1 << 64)]
    return np.array([*numbers, state["has_uint32"], state["uinteger"]], np.uint64)


def set_rng_state(state) -> None:
    """Let the library's generator go on from what `get_rng_state` gave.

    Errors: TypeError for what is no array of uint64; ValueError for another shape, or numbers that are no state.
    """
    state = np.asarray(state)
    if state.dtype != np.uint64:
        raise TypeError(f"set_rng_state: the state is of {state.dtype}: give what get_rng_state gave, uint64")
    if state.shape != (6,):
        raise ValueError(
            f"set_rng_state: the state has shape {state.shape}: give what get_rng_state gave, (6,)"
        )
    high, low, inc_high, inc_low, has_uint32, uinteger = map(int, state)
    if has_uint32 > 1 or uinteger >= 1 << 32 or inc_low % 2 == 0:
        raise ValueError(
            "set_rng_state: these numbers are no state of the generator: give what get_rng_state gave"
        )
    _generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


@contextmanager
def draws_again(state):
    """A context in which the generator draws on from `state`, one of its bit generator's; afterwards as before."""
    bits = _generator.bit_generator
    before, bits.state = bits.state, state
    try:
        yield
    finally:
        bits.state = before
