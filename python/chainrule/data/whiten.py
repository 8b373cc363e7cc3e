"""Decorrelation and whitening of inputs by principal component analysis."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .normaliser import Float64, Normaliser, State, blocks


class Whiten(Normaliser):
    """Rotate inputs to the training set's principal axes, and scale each axis to variance 1.

    Inputs (N, ...) are flattened to (N, F). With the mean m and the covariance U diag(v) U^T of
    the training set (divided by N - 1; v descending)::

        y = (x - m) U                              whiten=False: decorrelated
        y = (x - m) U / sqrt(v + epsilon)          whiten=True: variance v / (v + epsilon), near 1

    ``components`` keeps the directions of the greatest variance, all F by default; the result is
    (N, components). ``epsilon`` (0 or more, in the squared unit of the inputs) keeps directions
    that hardly vary from being blown up; with 0, the covariance of the whitened training set is
    the identity.

    Directions without variance (at or below the rounding error of the greatest: v no more than
    max(N, F) 2^-52 times it; there are always some when N <= F) count as v = 0. Whitened, they
    are 0 for every input, never divided by zero; with ``whiten=False`` they are kept, so that a
    full rotation preserves all distances.

    A direction's sign is arbitrary; here its entry of greatest magnitude is positive. Fitting
    takes F x F float64 values of memory and time in F^3.

    After ``fit``: ``mean`` (F,), ``directions`` (F, components), ``variances`` (components,).

    Raises ``ValueError`` for components below 1 or above F, fewer than two training inputs, and
    negative or non-finite epsilon. Source: https://cs231n.github.io/neural-networks-2/.

    >>> x = np.array([[3.0, 1.0], [-3.0, -1.0], [1.0, -3.0], [-1.0, 3.0]])
    >>> np.cov(Whiten(epsilon=0.0).fit(x)(x).T).round(6).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    True
    """

    kind = "whiten"
    state_names = ("components", "whiten", "epsilon", "mean", "directions", "variances")

    def __init__(
        self, components: int | None = None, whiten: bool = True, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        if components is not None:
            try:
                components = operator.index(components)
            except TypeError:
                raise TypeError(
                    f"Whiten: components is {components!r}: give an integer or None"
                ) from None
            if components < 1:
                raise ValueError(f"Whiten: components is {components}: give 1 or more")
        if not isinstance(whiten, bool):
            raise TypeError(f"Whiten: whiten is {whiten!r}: give True or False")
        if isinstance(epsilon, bool) or not isinstance(
            epsilon, int | float | np.integer | np.floating
        ):
            raise TypeError(f"Whiten: epsilon is {epsilon!r}: give a number")
        if not 0 <= epsilon < math.inf:
            raise ValueError(f"Whiten: epsilon is {epsilon}: give a finite number, 0 or more")
        self.components = components
        self.whiten = whiten
        self.epsilon = float(epsilon)
        self.mean: Float64 = np.zeros(0)
        self.directions: Float64 = np.zeros((0, 0))
        self.variances: Float64 = np.zeros(0)

    def _learn(self, x: NDArray[Any]) -> None:
        count, features = len(x), x.size // len(x)
        kept = features if self.components is None else self.components
        if kept > features:
            raise ValueError(f"Whiten: {kept} components of {features} features: give fewer")
        if count < 2:
            raise ValueError("Whiten: 1 training input has no covariance: give two or more")
        flat = x.reshape(count, features)
        mean = np.zeros(features)
        for _, block in blocks(flat):
            mean += block.sum(axis=0)
        mean /= count
        covariance = np.zeros((features, features))
        for _, block in blocks(flat):
            block -= mean
            covariance += block.T @ block
        covariance /= count - 1
        self._refuse_overflow(mean, covariance)

        variances, directions = np.linalg.eigh(covariance)  # ascending
        variances, directions = variances[::-1][:kept], directions[:, ::-1][:, :kept]
        rounding = max(count, features) * np.finfo(np.float64).eps * variances[0]
        largest = np.abs(directions).argmax(axis=0)
        signs = np.sign(directions[largest, np.arange(kept)])
        self.mean = mean
        self.directions = np.ascontiguousarray(directions * signs)
        self.variances = np.where(variances > rounding, variances, 0.0)

    def _apply(self, block: Float64) -> Float64:
        flat = block.reshape(len(block), -1)
        flat -= self.mean
        rotated = flat @ self.directions
        if self.whiten:
            varying = self.variances > 0
            deviations = np.sqrt(self.variances + self.epsilon)
            rotated *= np.divide(1.0, deviations, out=np.zeros_like(deviations), where=varying)
        return rotated

    def _output_shape(self) -> tuple[int, ...]:
        return self.variances.shape

    def _state(self) -> dict[str, ArrayLike]:
        return {
            "components": np.int64(self.components or 0),  # 0: all of them
            "whiten": np.int64(self.whiten),
            "epsilon": self.epsilon,
            "mean": self.mean,
            "directions": self.directions,
            "variances": self.variances,
        }

    @classmethod
    def _restored(cls, state: State) -> Whiten:
        features = math.prod(state.shape)
        components = state.integer("components", 0, features)
        restored = cls(
            components or None,
            bool(state.integer("whiten", 0, 1)),
            float(state.floats("epsilon", (), least=0.0)),
        )
        kept = components or features
        restored.mean = state.floats("mean", (features,))
        restored.directions = state.floats("directions", (features, kept))
        restored.variances = state.floats("variances", (kept,), least=0.0)
        return restored
