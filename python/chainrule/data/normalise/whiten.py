"""Decorrelation: principal components of the training set, and PCA whitening."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..checks import as_integer
from .base import Normaliser, as_finite, inverse_deviation


class Whiten(Normaliser):
    """Inputs in the coordinates of the training set's principal components.

    Inputs (N, ...) are flattened to (N, features) and centred, x - mean, then projected on the eigenvectors V
    of the training set's covariance S = V diag(variances) V^T (divided by N), largest variance first. With
    `whiten=False` that is all: (x - mean) V is decorrelated, its covariance diagonal. With `whiten=True`
    each coordinate is divided by sqrt(variance + epsilon): its covariance is the identity, but for
    `epsilon`, which keeps directions of little variance (noise) from being blown up; choose it in the square of
    the inputs' unit. Directions in which the training set does not vary at all become 0, in test data
    as well.

    `components` keeps the first K; None keeps min(N, features), which is also the most there are. Results
    are (N, K) float32. The sign of each direction is chosen so that its largest entry (the first, where
    several are) is positive.

    After `fit`, `mean` (features,), `variances` (K,) and `directions` (features, K) are float64 arrays. The state
    grows with features x K: 75 MB for whole images of 32 x 32 x 3, of which a few hundred components keep
    nearly all the variance.

    Source: A. Bell, T. Sejnowski, The independent components of natural scenes are edge filters, Vision
    Research 37(23), 1997; Stanford CS231n notes, Setting up the data and the model.

    >>> import numpy as np
    >>> x = np.array([[2.0, 1.0], [-2.0, -1.0], [1.0, -2.0], [-1.0, 2.0], [4.0, 2.0], [-4.0, -2.0]])
    >>> y = Whiten(epsilon=0).fit(x)(x)
    >>> np.allclose(y.T @ y / len(y), np.eye(2), atol=1e-6)
    True
    """

    kind = "whiten"
    state_names = ("mean", "variances", "directions", "epsilon", "components", "whiten")

    def __init__(
        self, epsilon: float = 1e-5, components: int | None = None, whiten: bool = True
    ) -> None:
        """Set what is added to variances, how many directions are kept, whether they are scaled."""
        super().__init__()
        self.epsilon = as_finite("Whiten", "epsilon", epsilon, 0.0)
        if components is not None:
            components = as_integer("Whiten", "components", components, 1)
        self.components = components
        if not isinstance(whiten, (bool, np.bool_)):
            raise TypeError(f"Whiten: whiten is {whiten!r}: give True or False")
        self.whiten = bool(whiten)
        self.mean: np.ndarray
        self.variances: np.ndarray
        self.directions: np.ndarray

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(K,): one value for each direction kept; known after `fit`."""
        return (self.directions.shape[1],) if self.input_shape else ()

    def _fit(self, x: np.ndarray) -> None:
        x = x.reshape(len(x), -1)
        count, features = x.shape
        most = min(count, features)
        kept = most if self.components is None else self.components
        if kept > most:
            raise ValueError(
                f"Whiten: components is {kept}, {count} inputs of {features} features have "
                f"{most}: ask for at most that many"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is found before it is used
            mean = sum(block.sum(axis=0) for _, block in self._blocks(x)) / count
            moments = self._gram(x, mean) if features <= count else self._centred(x, mean)
        if not np.isfinite(moments).all():
            raise ValueError("Whiten: inputs are too large for a covariance: scale them first")
        if features <= count:
            variances, directions = np.linalg.eigh(moments / count)
            variances, directions = variances[::-1], directions[:, ::-1]
        else:  # fewer inputs than features: the covariance would be the larger matrix
            _, singular, transposed = np.linalg.svd(moments, full_matrices=False)
            variances, directions = singular**2 / count, transposed.T
        # Rounding leaves a little, of either sign, where the exact variance is 0.
        rounding = variances[0] * max(count, features) * np.finfo(np.float64).eps
        variances = np.where(variances > rounding, variances, 0.0)[:kept]
        directions = directions[:, :kept]
        largest = np.abs(directions).argmax(axis=0)
        signs = np.where(directions[largest, np.arange(kept)] < 0, -1.0, 1.0)
        self._take(mean, variances, np.ascontiguousarray(directions * signs))

    def _gram(self, x: np.ndarray, mean: np.ndarray) -> np.ndarray:
        gram = np.zeros((x.shape[1], x.shape[1]))
        for _, block in self._blocks(x):
            block -= mean
            gram += block.T @ block
        return gram

    def _centred(self, x: np.ndarray, mean: np.ndarray) -> np.ndarray:
        centred = np.empty(x.shape)
        for rows, block in self._blocks(x):
            np.subtract(block, mean, out=centred[rows])
        return centred

    def _take(self, mean: np.ndarray, variances: np.ndarray, directions: np.ndarray) -> None:
        self.mean, self.variances, self.directions = mean, variances, directions
        scale = inverse_deviation(variances, self.epsilon) if self.whiten else (variances > 0) * 1.0
        self._projection = directions * scale

    def _apply(self, block: np.ndarray) -> np.ndarray:
        block = block.reshape(len(block), -1)
        block -= self.mean
        return block @ self._projection

    def _state(self) -> dict[str, np.ndarray]:
        return {
            "mean": self.mean.copy(),
            "variances": self.variances.copy(),
            "directions": self.directions.copy(),
            "epsilon": np.array(self.epsilon),
            "components": np.array(self.components or 0, np.int64),  # 0 stands for None
            "whiten": np.array(int(self.whiten), np.int64),
        }

    @classmethod
    def _from_state(cls, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Whiten:
        normaliser = cls(
            arrays["epsilon"].item(),
            int(arrays["components"].item()) or None,
            bool(arrays["whiten"].item()),
        )
        features = int(np.prod(shape))
        mean, variances, directions = (arrays[n] for n in ("mean", "variances", "directions"))
        kept = directions.shape[-1] if directions.ndim == 2 else 0
        shapes = (mean.shape, variances.shape, directions.shape)
        if kept == 0 or shapes != ((features,), (kept,), (features, kept)):
            raise ValueError(
                f"mean {mean.shape}, variances {variances.shape} and directions {directions.shape} "
                f"do not fit inputs {shape}"
            )
        if (variances < 0).any():
            raise ValueError("variances are negative")
        normaliser._take(*(a.astype(np.float64) for a in (mean, variances, directions)))
        normaliser._shape = shape
        return normaliser
