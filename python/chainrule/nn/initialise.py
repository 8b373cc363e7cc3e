"""Random initialisation of weights, from seeded generators.

Weights are (in, out) for a linear layer and (..., in, out) with a receptive field before them for others:
fan_in and fan_out count the field.
"""

from __future__ import annotations

import math

import numpy as np

from chainrule.random import generator


def as_generator(rng) -> np.random.Generator:
    """None: the library's generator. A Generator: itself. An integer: a new generator with that seed."""
    if rng is None:
        return generator()
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)


def fans(shape) -> tuple[int, int]:
    """(fan_in, fan_out): inputs that reach one output, and outputs that one input reaches."""
    if len(shape) < 2:
        raise ValueError(
            f"initialise: shape {tuple(shape)} has no input and output axes: give (..., in, out)"
        )
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def he_normal(shape, rng=None, dtype=np.float32):
    """Normal with variance 2 / fan_in, which keeps the size of activations through relu.

    He et al., Delving Deep into Rectifiers, 2015, equation 10.

    Args:
        shape: (..., in, out).
        rng: a numpy Generator, an integer seed, or None for the library's generator.

    >>> from chainrule.nn import initialise
    >>> initialise.he_normal((784, 100), rng=0).std().round(3)  # sqrt(2 / 784) = 0.0505
    np.float32(0.051)
    """
    return (as_generator(rng).standard_normal(shape) * math.sqrt(2 / max(fans(shape)[0], 1))).astype(dtype)


def he_uniform(shape, rng=None, dtype=np.float32):
    """Uniform with the variance of he_normal: within +- sqrt(6 / fan_in)."""
    limit = math.sqrt(6 / max(fans(shape)[0], 1))
    return as_generator(rng).uniform(-limit, limit, shape).astype(dtype)


def glorot_normal(shape, rng=None, dtype=np.float32):
    """Normal with variance 2 / (fan_in + fan_out), for tanh and linear layers.

    Glorot and Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks, 2010.
    """
    return (as_generator(rng).standard_normal(shape) * math.sqrt(2 / max(sum(fans(shape)), 1))).astype(dtype)


def glorot_uniform(shape, rng=None, dtype=np.float32):
    """Uniform with the variance of glorot_normal: within +- sqrt(6 / (fan_in + fan_out)), their equation 16."""
    limit = math.sqrt(6 / max(sum(fans(shape)), 1))
    return as_generator(rng).uniform(-limit, limit, shape).astype(dtype)


def zeros(shape, rng=None, dtype=np.float32):
    """All 0: for biases, and for linear classifiers, whose loss is convex."""
    return np.zeros(shape, dtype)


by_name = {
    "he": he_normal,
    "he_uniform": he_uniform,
    "glorot": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "zeros": zeros,
}
