"""What all input normalisations share: checks, working in blocks, and the state to be saved.

The formulas stand in normalise.py and whiten.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]
Fitted = TypeVar("Fitted", bound="Normaliser")

_BLOCK = 1 << 20  # values in float64 at a time: 8 MB, however large the data set


class Normaliser(ABC):
    """A map of inputs (N, ...) to float32, whose numbers come from a training set alone.

    ``fit(x)`` learns them and returns the normaliser, ``normaliser(x)`` applies them to any inputs
    of the fitted shape, ``state_dict()`` and ``normaliser_from_state(kind, arrays)`` save and
    restore them exactly. Arithmetic is in float64, whatever the dtype of x.

    Both calls raise ``ValueError`` for x that is empty, has fewer than two dimensions or holds NaN
    or infinity, and for results beyond float32; ``TypeError`` for x that is neither integer nor
    floating point. Applying raises ``ValueError`` before ``fit`` and for inputs of another shape
    than the fitted one.
    """

    kind: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._shape: tuple[int, ...] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, as fitted."""
        if self._shape is None:
            raise ValueError(f"{type(self).__name__}: not fitted: call fit(training inputs) first")
        return self._shape

    def fit(self: Fitted, x: ArrayLike) -> Fitted:
        """Learn from training inputs x (N, ...); what an earlier fit learnt is forgotten."""
        array = self._inputs(x)
        self._refuse_non_finite(array)
        with np.errstate(all="ignore"):
            self._learn(array)
        self._shape = array.shape[1:]
        return self

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """The normalised inputs, float32."""
        shape = self.input_shape
        array = self._inputs(x)
        if array.shape[1:] != shape:
            raise ValueError(
                f"{type(self).__name__}: inputs of shape {array.shape[1:]}, fitted to {shape}: "
                f"give (N, {', '.join(map(str, shape))})"
            )
        out = np.empty((len(array), *self._output_shape()), np.float32)
        with np.errstate(all="ignore"):
            for rows, block in blocks(array):
                out[rows] = self._apply(block)
        # NaN and infinity reach the result by any of the formulas, so one look at it is enough.
        if not np.isfinite(out).all():
            self._refuse_non_finite(array)
            raise ValueError(
                f"{type(self).__name__}: results beyond float32: inputs up to "
                f"{np.abs(array.astype(np.float64)).max():g} are too far from those fitted"
            )
        return out

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that the fitted normaliser is, as numeric arrays (copies) by name."""
        state = {"shape": np.array(self.input_shape, np.int64), **self._state()}
        return {name: np.array(value) for name, value in state.items()}

    def _inputs(self, x: ArrayLike) -> NDArray[Any]:
        array = np.asarray(x)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{type(self).__name__}: inputs of dtype {array.dtype}: give numbers")
        if array.ndim < 2 or array.size == 0:
            raise ValueError(
                f"{type(self).__name__}: inputs of shape {array.shape}: give (N, ...), not empty"
            )
        return array

    def _refuse_non_finite(self, x: NDArray[Any]) -> None:
        finite = np.isfinite(x)
        if not finite.all():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), x.shape))
            raise ValueError(
                f"{type(self).__name__}: input {index} is {x[index]}: give finite values"
            )

    def _refuse_overflow(self, *learnt: Float64) -> None:
        if not all(np.isfinite(values).all() for values in learnt):
            raise ValueError(
                f"{type(self).__name__}: the inputs' sums overflow float64: scale them first"
            )

    def _output_shape(self) -> tuple[int, ...]:
        return self.input_shape

    @abstractmethod
    def _learn(self, x: NDArray[Any]) -> None:
        """Set the numbers from x (N, ...); on an error, leave them as they were."""

    @abstractmethod
    def _apply(self, block: Float64) -> Float64:
        """Map a block of inputs, which it may overwrite."""

    @abstractmethod
    def _state(self) -> Mapping[str, ArrayLike]:
        """The arrays of ``state_names``."""

    @classmethod
    @abstractmethod
    def _restored(cls, state: State) -> Normaliser:
        """A normaliser with the numbers of the state; ``_shape`` is set by the caller."""


def blocks(x: NDArray[Any]) -> Iterator[tuple[slice, Float64]]:
    """x (N, ...) in runs of rows, each a fresh float64 array."""
    rows = max(1, _BLOCK // (x.size // len(x)))
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        yield part, x[part].astype(np.float64)


class State:
    """Saved arrays of one kind of normaliser, each checked as it is taken out."""

    def __init__(self, kind: str, arrays: Mapping[str, ArrayLike], names: tuple[str, ...]) -> None:
        self._kind = kind
        if {*arrays} != {"shape", *names}:
            raise ValueError(
                f"normaliser_from_state: {kind} holds {', '.join(sorted(arrays)) or 'nothing'}: "
                f"it needs {', '.join(sorted(('shape', *names)))}"
            )
        self._arrays = {name: np.asarray(value) for name, value in arrays.items()}
        shape = self._arrays["shape"]
        if shape.ndim != 1 or shape.size == 0 or shape.dtype.kind not in "iu" or shape.min() < 1:
            raise self.error("shape", "(dimensions,) positive integers")
        self.shape = tuple(int(length) for length in shape)

    def error(self, name: str, needed: str) -> ValueError:
        value = self._arrays[name]
        held = f"{value.dtype} {value.shape}" if value.ndim else f"{value.dtype} {value}"
        return ValueError(f"normaliser_from_state: {self._kind} {name} is {held}: needs {needed}")

    def floats(
        self, name: str, shape: tuple[int, ...], least: float = -np.inf, *, free: bool = False
    ) -> Float64:
        """A float64 copy of a finite array; with ``free``, its last length may be any above 0."""
        value = self._arrays[name]
        if free and value.ndim == len(shape) and value.shape[-1] > 0:
            shape = (*shape[:-1], value.shape[-1])
        if value.shape != shape or value.dtype.kind != "f":
            raise self.error(name, f"floating point {shape}")
        if not np.isfinite(value).all() or value.min() < least:
            raise self.error(name, f"finite values of {least:g} or more")
        return value.astype(np.float64)

    def integer(self, name: str, least: int, most: int) -> int:
        value = self._arrays[name]
        if value.shape != () or value.dtype.kind not in "iu" or not least <= int(value) <= most:
            raise self.error(name, f"one integer from {least} to {most}")
        return int(value)
