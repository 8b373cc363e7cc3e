"""Normalisers that learn nothing from the data: inputs as they are, or brought to a fixed range."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .base import Normaliser, as_finite


class Identity(Normaliser):
    """Inputs as they are, as float32; `fit` takes note of their shape alone.

    >>> import numpy as np
    >>> x = np.array([[0, 128], [255, 1]], np.uint8)
    >>> Identity().fit(x)(x)
    array([[  0., 128.],
           [255.,   1.]], dtype=float32)
    """

    kind = "identity"
    state_names = ()

    def _fit(self, x: np.ndarray) -> None:
        for _ in self._blocks(x):
            pass  # for the check of each block: NaN is refused here as everywhere

    def _apply(self, block: np.ndarray) -> np.ndarray:
        return block

    def _state(self) -> dict[str, np.ndarray]:
        return {}

    @classmethod
    def _from_state(cls, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Identity:
        del arrays
        normaliser = cls()
        normaliser._shape = shape
        return normaliser


class Scale(Normaliser):
    """(x - offset) * factor for fixed numbers; `fit` takes note of the inputs' shape alone.

    `Scale(0, 1 / 255)` brings uint8 to [0, 1], `Scale(127.5, 1 / 127.5)` to [-1, 1]. `offset` and `factor`
    must be finite, `factor` not 0.

    >>> import numpy as np
    >>> x = np.array([[0, 51, 255]], np.uint8)
    >>> Scale(0, 1 / 255).fit(x)(x)
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    kind = "scale"
    state_names = ("offset", "factor")

    def __init__(self, offset: float = 0.0, factor: float = 1.0) -> None:
        """Set the two numbers."""
        super().__init__()
        self.offset = as_finite("Scale", "offset", offset)
        self.factor = as_finite("Scale", "factor", factor)
        if self.factor == 0:
            raise ValueError("Scale: factor is 0, which makes all inputs 0: give another factor")

    def _fit(self, x: np.ndarray) -> None:
        for _ in self._blocks(x):
            pass  # for the check of each block: NaN is refused here as everywhere

    def _apply(self, block: np.ndarray) -> np.ndarray:
        block -= self.offset
        block *= self.factor
        return block

    def _state(self) -> dict[str, np.ndarray]:
        return {"offset": np.array(self.offset), "factor": np.array(self.factor)}

    @classmethod
    def _from_state(cls, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Scale:
        normaliser = cls(arrays["offset"].item(), arrays["factor"].item())
        normaliser._shape = shape
        return normaliser
