"""Whitening: inputs without correlation, as principal components or in the place of the pixels.

LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.3, tell why.
"""

from __future__ import annotations

import numpy as np

from chainrule import _core
from chainrule.data import normalise
from chainrule.data.normalise import Normaliser, flattened


def _principal_components(flat):
    """Mean, variances from the largest down, and directions as columns, of inputs (N, features)."""
    mean = flat.mean(axis=0, dtype=np.float64)
    # Features that do not vary are found by their values: the deviation of many 0.1 is a rounding error, not 0.
    varies = flat.min(axis=0) != flat.max(axis=0)
    covariance = np.zeros((flat.shape[1], flat.shape[1]))
    for block in normalise.blocks(flat):
        centred = np.where(varies, block - mean, 0.0)
        # NumPy's product sees that this one is symmetric, and does half of it.
        covariance += centred.T @ centred
    variances, directions = np.linalg.eigh(covariance / len(flat))
    return mean, variances[::-1], directions[:, ::-1]


def _inverse_deviations(variances, epsilon):
    """1 / sqrt(variance + epsilon), and 0 where a direction has no variance."""
    # A variance of 0 comes out of eigh as round-off of the largest: below that there is no direction.
    real = variances > max(variances[0], 0.0) * len(variances) * np.finfo(np.float64).eps
    return np.where(real, 1 / np.sqrt(np.where(real, variances, 1.0) + epsilon), 0.0)


class Whiten(Normaliser):
    """Decorrelation: the principal components of the inputs, each of variance 1 when `whiten`.

    Inputs are flattened to (N, features). Component i is the direction of the i-th largest variance in the
    training set (principal component analysis); variances are means over N, and the sign of a direction is
    arbitrary. The decomposition is LAPACK's: its last bits depend on the machine and on the threads of NumPy's
    linear algebra; what a fitted normaliser makes of inputs does not.

    Args:
        components: how many to keep; None keeps all.
        whiten: divide each by its standard deviation; False rotates alone.
        epsilon: added to the variances before dividing, so that directions without variance stay near 0.

    >>> import chainrule as cr, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 3)) @ np.array([[2.0, 1, 0], [0, 1, 1], [0, 0, 0.5]])
    >>> z = cr.data.Whiten().fit(x)(x)
    >>> bool(np.allclose(np.cov(z.T), np.eye(3), atol=0.01))
    True
    """

    kind = "whiten"
    _learnt = ("mean", "projection")

    def __init__(self, components=None, whiten=True, epsilon=1e-8):
        if components is not None and components < 1:
            raise ValueError(f"Whiten: components={components} is below 1")
        if not epsilon >= 0:
            raise ValueError(f"Whiten: epsilon={epsilon} is below 0")
        self.components = components
        self.whiten = whiten
        self.epsilon = epsilon

    def _learnt_shapes(self, name):
        features = int(np.prod(self.input_shape))
        if name == "mean":
            return ((features,),)
        return tuple((features, k) for k in range(1, features + 1))

    def _fit(self, x):
        flat = x.reshape(len(x), -1)
        features = flat.shape[1]
        keep = features if self.components is None else self.components
        if keep > features:
            raise ValueError(f"Whiten: {keep} components of inputs with {features} features")
        mean, variances, directions = _principal_components(flat)
        directions = directions[:, :keep]
        if self.whiten:
            directions = directions * _inverse_deviations(variances, self.epsilon)[:keep]
        self.mean, self.projection = mean, directions

    def _apply(self, x):
        flat = flattened(x).astype(np.float64)
        # The library's own product: NumPy's gives other bits with another number of threads.
        return _core.matmul(flat - self.mean, self.projection)


class ZCA(Normaliser):
    """Whitening that changes inputs as little as it can: the result has the inputs' shape and looks like them.

    W (x - mean) with W = U diag(1 / sqrt(variance + epsilon)) U^T, U the principal directions of the training set:
    of all matrices that whiten, the one whose result is nearest to its input (Bell and Sejnowski, The independent
    components of natural scenes are edge filters, 1997; Krizhevsky, Learning Multiple Layers of Features from Tiny
    Images, 2009, appendix A). Directions that do not vary in the training set become 0. W is applied in float32,
    after the mean is taken off in float64. Its last bits depend on LAPACK, as those of `Whiten`.

    Args:
        epsilon: added to the variances; it keeps directions of little variance, which are mostly noise, small.
            The default is that of Maxout (Goodfellow et al., 2013) and of the nets that follow it, Network in
            Network and the All-CNN, for images of unit variance as `GCN` gives.

    >>> import chainrule as cr, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 3)) @ np.array([[2.0, 1, 0], [0, 1, 1], [0, 0, 0.5]])
    >>> z = cr.data.ZCA(epsilon=0).fit(x)(x)
    >>> bool(np.allclose(np.cov(z.T), np.eye(3), atol=0.01))
    True
    """

    kind = "zca"
    _learnt = ("mean", "matrix")

    def __init__(self, epsilon=0.1):
        if not 0 <= epsilon < np.inf:
            raise ValueError(f"ZCA: epsilon={epsilon} is not finite and at least 0")
        self.epsilon = epsilon

    def _learnt_shapes(self, name):
        features = int(np.prod(self.input_shape))
        return ((features,),) if name == "mean" else ((features, features),)

    def _learnt_dtype(self, name):
        return np.float64 if name == "mean" else np.float32

    def _fit(self, x):
        self.mean, variances, directions = _principal_components(x.reshape(len(x), -1))
        scaled = directions * _inverse_deviations(variances, self.epsilon)
        self.matrix = _core.matmul(scaled, directions.T).astype(np.float32)

    def _apply(self, x):
        centred = (flattened(x) - self.mean).astype(np.float32)
        return _core.matmul(centred, self.matrix).reshape(x.shape)
