"""The library's random generator, from which layers and dropout draw when they are given none of their own."""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Restart the generator that layers and dropout without one of their own draw from. It starts at seed 0.

    Errors: ValueError for a negative seed.
    """
    global _generator
    if seed < 0:
        raise ValueError(f"manual_seed: {seed} is negative")
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """The generator as it stands now."""
    return _generator
