"""What all normalisers share: checks of the input, blockwise evaluation in float64, the state.

What is estimated and how it is applied is left to the classes derived from `Normaliser`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, TypeVar

import numpy as np

_BLOCK = (
    1 << 20
)  # values in a block: 8 MB of float64, so that a large data set is never copied whole

Fitted = TypeVar("Fitted", bound="Normaliser")


class Normaliser:
    """Base class: a map of inputs (N, ...) to float32, fitted on the training set.

    `fit` and the call take integers or floats of any width and compute in float64. They raise `TypeError`
    for other dtypes, and `ValueError` for fewer than two axes, for no values, and for NaN or infinity; the
    call also does before `fit`, for inputs of another shape than those fitted on, and for a result beyond
    float32.

    `kind` names the class in a checkpoint; see `normaliser_from_state`.
    """

    kind: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        """Begin unfitted."""
        self._shape: tuple[int, ...] | None = None

    def fit(self: Fitted, x: np.ndarray) -> Fitted:
        """Learn from the training inputs x (N, ...), forgetting what was learnt before; returns self."""
        x = self._as_inputs(x)
        self._fit(x)
        self._shape = x.shape[1:]
        return self

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map inputs (N, *input_shape) to (N, *output_shape) float32, C-contiguous, in new memory."""
        shape = self.input_shape
        x = self._as_inputs(x)
        if x.shape[1:] != shape:
            raise ValueError(
                f"{self._name}: inputs are (N, {_inside(x.shape[1:])}), it was fitted on "
                f"(N, {_inside(shape)}): give inputs of that shape"
            )
        result = np.empty((len(x), *self.output_shape), np.float32)
        for rows, block in self._blocks(x):
            with np.errstate(over="ignore"):  # what becomes infinite is found in the next line
                result[rows] = self._apply(block)
            if not np.isfinite(result[rows]).all():
                raise ValueError(
                    f"{self._name}: a result is beyond float32: give inputs nearer to those fitted on"
                )
        return result

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, known after `fit`."""
        if self._shape is None:
            raise ValueError(
                f"{self._name}: used before fit: call fit with the training inputs first"
            )
        return self._shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one result, known after `fit`."""
        return self.input_shape

    def state_dict(self) -> dict[str, np.ndarray]:
        """All settings and everything learnt, as copies: float64 and int64 arrays by name."""
        return {"shape": np.array(self.input_shape, np.int64), **self._state()}

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _as_inputs(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        if x.dtype.kind not in "iuf":
            raise TypeError(f"{self._name}: inputs are {x.dtype}: give integers or floats")
        if x.ndim < 2 or x.size == 0:
            raise ValueError(
                f"{self._name}: inputs are {x.shape}: give (N, ...) with at least one value"
            )
        return x

    def _blocks(self, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of rows and the float64 copies of x there, which the receiver may overwrite."""
        step = max(1, _BLOCK // (x.size // len(x)))
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            with np.errstate(
                over="ignore"
            ):  # a long double beyond float64 is found in the next line
                block = x[rows].astype(np.float64)
            if not np.isfinite(block).all():
                raise ValueError(f"{self._name}: inputs hold NaN or infinity: remove them first")
            yield rows, block

    def _fit(self, x: np.ndarray) -> None:
        """Learn from x, of checked dtype and shape; leave everything as it was when raising."""
        raise NotImplementedError

    def _apply(self, block: np.ndarray) -> np.ndarray:
        """The map of a float64 block that may be overwritten, still in float64."""
        raise NotImplementedError

    def _state(self) -> dict[str, np.ndarray]:
        """The arrays `state_names` of `state_dict`."""
        raise NotImplementedError

    @classmethod
    def _from_state(
        cls: type[Fitted], arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]
    ) -> Fitted:
        """The normaliser of these `state_names` and this input shape; the arrays may be wrong."""
        raise NotImplementedError


def _inside(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def as_finite(name: str, setting: str, value: float, minimum: float | None = None) -> float:
    """A setting as a finite float, not below `minimum`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name}: {setting} is {value!r}: give a number")
    number = float(value)
    if not np.isfinite(number) or (minimum is not None and number < minimum):
        wanted = (
            "a finite number" if minimum is None else f"a finite number of at least {minimum:g}"
        )
        raise ValueError(f"{name}: {setting} is {number:g}: give {wanted}")
    return number


def inverse_deviation(variance: np.ndarray, epsilon: float) -> np.ndarray:
    """1 / sqrt(variance + epsilon), and 0 where the variance is 0: no variation, no signal."""
    varies = variance > 0
    return np.where(varies, 1.0 / np.sqrt(np.where(varies, variance + epsilon, 1.0)), 0.0)
