"""Standardisation: mean 0 and standard deviation 1 in each feature, channel, or over all values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from .base import Normaliser, as_finite, inverse_deviation

Per = Literal["feature", "channel", "all"]
_PER: tuple[str, ...] = get_args(Per)


class Standardise(Normaliser):
    """(x - mean) / sqrt(variance + epsilon), both estimated on the training set.

    `per` says what shares a mean and a variance: "feature", the N values at one place of the input (each
    pixel and channel for itself); "channel", all values with the same index on the last axis; "all", all
    values. For inputs (N, features), "channel" and "feature" are the same. The variance divides by the number of values
    (not one less). What is constant in the training set becomes 0, in test data as well,
    whatever `epsilon`, since nothing is known of its scale. An `epsilon` >= 0 above the variance of noise
    keeps nearly constant features small.

    After `fit`, `mean` and `variance` are float64 arrays of shape input_shape, (channels,) or ().

    >>> import numpy as np
    >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> standardise = Standardise(per="feature").fit(x)
    >>> standardise(x)
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    >>> standardise(np.array([[2.0, 6.0]]))
    array([[0., 0.]], dtype=float32)
    """

    kind = "standardise"
    state_names = ("mean", "variance", "epsilon", "per")

    def __init__(self, per: Per = "feature", epsilon: float = 0.0) -> None:
        """Set what shares a mean, and what is added to the variance."""
        super().__init__()
        if per not in _PER:
            raise ValueError(f"Standardise: per is {per!r}: give one of {', '.join(_PER)}")
        self.per = per
        self.epsilon = as_finite("Standardise", "epsilon", epsilon, 0.0)
        self.mean: np.ndarray
        self.variance: np.ndarray

    def _fit(self, x: np.ndarray) -> None:
        axes = tuple(range({"feature": 1, "channel": x.ndim - 1, "all": x.ndim}[self.per]))
        shape = x.shape[len(axes) :]
        total, low, high = np.zeros(shape), np.full(shape, np.inf), np.full(shape, -np.inf)
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is found at the end
            for _, block in self._blocks(x):
                total += block.sum(axis=axes)
                low = np.minimum(low, block.min(axis=axes))
                high = np.maximum(high, block.max(axis=axes))
            count = x.size // max(1, int(np.prod(shape)))
            constant = low == high
            # The mean of equal values is not always that value after rounding: take the value itself.
            mean = np.where(constant, low, total / count)
            squares = np.zeros(shape)
            for _, block in self._blocks(x):
                block -= mean
                np.square(block, out=block)
                squares += block.sum(axis=axes)
            variance = np.where(constant, 0.0, squares / count)
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            raise ValueError("Standardise: inputs are too large for a variance: scale them first")
        self._take(mean, variance)

    def _take(self, mean: np.ndarray, variance: np.ndarray) -> None:
        self.mean, self.variance = mean, variance
        self._factor = inverse_deviation(variance, self.epsilon)

    def _apply(self, block: np.ndarray) -> np.ndarray:
        block -= self.mean
        block *= self._factor
        return block

    def _state(self) -> dict[str, np.ndarray]:
        return {
            "mean": self.mean.copy(),
            "variance": self.variance.copy(),
            "epsilon": np.array(self.epsilon),
            "per": np.array(_PER.index(self.per), np.int64),
        }

    @classmethod
    def _from_state(cls, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Standardise:
        number = int(arrays["per"].item())
        if not 0 <= number < len(_PER):
            raise ValueError(f"per is {number}, not 0..{len(_PER) - 1}")
        normaliser = cls(_PER[number], arrays["epsilon"].item())  # type: ignore[arg-type]
        expected = {"feature": shape, "channel": shape[-1:], "all": ()}[normaliser.per]
        mean, variance = arrays["mean"], arrays["variance"]
        if mean.shape != expected or variance.shape != expected:
            raise ValueError(
                f"mean {mean.shape} and variance {variance.shape} are not {expected}, "
                f"as inputs {shape} need per {normaliser.per}"
            )
        if (variance < 0).any():
            raise ValueError("variance is negative")
        normaliser._take(mean.astype(np.float64), variance.astype(np.float64))
        normaliser._shape = shape
        return normaliser
