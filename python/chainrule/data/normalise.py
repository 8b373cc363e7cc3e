"""Input normalisation: fitted on the training set alone, then applied to any inputs of the same shape.

LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.3, tell why.
"""

from __future__ import annotations

import numpy as np

from chainrule import _core


def _blocks(x):
    """The examples in blocks of about 32 MB as float64: a whole data set in float64 would fill the memory."""
    size = max(1, (1 << 22) // max(1, x[:1].size))
    return (x[i : i + size] for i in range(0, max(1, len(x)), size))


def _within_float32(x):
    most = np.finfo(np.float32).max
    return np.clip(x, -most, most)


class Normaliser:
    """What the normalisers share: they are fitted once, and take inputs of the shape they were fitted on."""

    kind: str

    def fit(self, x) -> Normaliser:
        """Learn from training inputs (N, ...). Returns the normaliser."""
        x = self._checked(x, fitting=True)
        self._fit(x)
        self.input_shape = x.shape[1:]
        return self

    def __call__(self, x) -> np.ndarray:
        """Normalised inputs as float32. ValueError before `fit`, and for inputs of another shape."""
        x = self._checked(x, fitting=False)
        # Computed in float64: values that are large beside their spread would lose it in float32.
        blocks = (_within_float32(self._apply(block)) for block in _blocks(x))
        first = next(blocks)
        result = np.empty((len(x), *first.shape[1:]), np.float32)
        result[: len(first)] = first
        done = len(first)
        for block in blocks:
            result[done : done + len(block)] = block
            done += len(block)
        return result

    def byte_table(self) -> np.ndarray:
        """What each byte becomes in each channel: (256, C) float32, the bits that a call gives.

        ValueError where that depends on the byte's place or on other values, and before `fit`.
        """
        if not hasattr(self, "input_shape"):
            raise ValueError(f"{type(self).__name__}: fit it on the training inputs first")
        if not self._same_everywhere():
            raise ValueError(
                f"{type(self).__name__}: what a byte becomes depends on its place or on other values: "
                "normalise the whole array"
            )
        channels = self.input_shape[-1]
        values = np.repeat(np.arange(256.0)[:, None], channels, axis=1)
        return _within_float32(self._apply(values)).astype(np.float32)

    def state_dict(self) -> dict[str, np.ndarray]:
        """What was learnt, as arrays; `normaliser_from_state` makes the normaliser again."""
        if not hasattr(self, "input_shape"):
            raise ValueError(f"{type(self).__name__}: it has not been fitted")
        state = {name: np.array(getattr(self, name)) for name in self._learnt}
        return {"input_shape": np.array(self.input_shape, np.int64), **state}

    _learnt: tuple[str, ...] = ()

    def _learnt_shapes(self, name):
        """The shapes that a learnt array can have."""
        return ((),)

    def _same_everywhere(self) -> bool:
        """Whether a value's result depends on itself and its channel alone."""
        return False

    def _fit(self, x):
        """Learn from checked inputs; nothing to learn by default."""

    def _apply(self, x):
        raise TypeError(f"{type(self).__name__}._apply is not defined: a normaliser defines it")

    def _checked(self, x, fitting):
        name = type(self).__name__
        x = np.asarray(x)
        if x.dtype.kind not in "buif":
            raise TypeError(f"{name}: inputs are {x.dtype}, not numbers")
        if x.ndim < 2 or (fitting and x.size == 0):
            raise ValueError(f"{name}: inputs have shape {x.shape}: give (N, ...), with examples to fit on")
        if not fitting:
            if not hasattr(self, "input_shape"):
                raise ValueError(f"{name}: fit it on the training inputs first")
            if x.shape[1:] != self.input_shape:
                raise ValueError(
                    f"{name}: inputs of shape {x.shape[1:]}, it was fitted on {self.input_shape}"
                )
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise ValueError(f"{name}: inputs hold NaN or infinite values")
        return x


class Identity(Normaliser):
    """Inputs as float32, unchanged."""

    kind = "none"

    def _same_everywhere(self):
        return True

    def _apply(self, x):
        return x


class Scale(Normaliser):
    """(x - offset) * factor, as from 0..255 to 0..1 with Scale(0, 1 / 255)."""

    kind = "scale"
    _learnt = ("offset", "factor")

    def __init__(self, offset=0.0, factor=1.0):
        self.offset = float(offset)
        self.factor = float(factor)
        if not (np.isfinite(self.offset) and np.isfinite(self.factor)):
            raise ValueError(f"Scale: offset {offset} and factor {factor} must be finite")

    def _same_everywhere(self):
        return True

    def _apply(self, x):
        return (x.astype(np.float64) - self.offset) * self.factor


class Standardise(Normaliser):
    """Mean 0 and standard deviation 1.

    Args:
        per: 'feature' (each pixel and channel by itself), 'channel' (the last axis), or 'all' (one pair).

    A feature that never varies in the training set becomes 0, on all inputs: nothing is known of its scale.

    >>> import chainrule as cr, numpy as np
    >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> cr.data.Standardise().fit(x)(x)
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """

    kind = "standard"
    _learnt = ("mean", "deviation")

    def __init__(self, per="feature"):
        if per not in ("feature", "channel", "all"):
            raise ValueError(f"Standardise: per={per!r} is not 'feature', 'channel' or 'all'")
        self.per = per

    def _learnt_shapes(self, name):
        return (self.input_shape, self.input_shape[-1:], ())

    def _fit(self, x):
        axes = {"feature": 0, "channel": tuple(range(x.ndim - 1)), "all": None}[self.per]
        self.mean = x.mean(axis=axes, dtype=np.float64)
        # Constant features are found by their values: the deviation of many 0.1 is a rounding error, not 0.
        varies = x.min(axis=axes) != x.max(axis=axes)
        squares = sum(np.square(block - self.mean).sum(axis=axes) for block in _blocks(x))
        spread = np.sqrt(squares / (x.size / self.mean.size))
        deviation = np.where(varies, spread, np.inf)
        self.deviation = np.where(deviation > 0, deviation, np.inf)

    def _same_everywhere(self):
        return self.mean.size == 1 or self.mean.shape == self.input_shape[-1:]

    def _apply(self, x):
        return (x - self.mean) / self.deviation


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
        mean = flat.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((features, features))
        for block in _blocks(flat):
            centred = block - mean
            covariance += _core.matmul(centred.T, centred)
        variances, directions = np.linalg.eigh(covariance / len(flat))
        variances, directions = variances[::-1][:keep], directions[:, ::-1][:, :keep]
        if self.whiten:
            # A variance of 0 comes out of eigh as round-off of the largest: below that there is no direction.
            floor = max(variances[0], 0.0) * features * np.finfo(np.float64).eps
            real = variances > floor
            directions = directions * np.where(
                real, 1 / np.sqrt(np.where(real, variances, 1.0) + self.epsilon), 0.0
            )
        self.mean, self.projection = mean, directions

    def _apply(self, x):
        flat = x.reshape(len(x), -1).astype(np.float64)
        # The library's own product: NumPy's gives other bits with another number of threads.
        return _core.matmul(flat - self.mean, self.projection)


def normaliser_from_state(kind: str, state: dict[str, np.ndarray]) -> Normaliser:
    """The normaliser whose `kind` and `state_dict()` these are; it gives the same bits.

    Errors: ValueError for an unknown kind or missing arrays.
    """
    for cls in (Identity, Scale, Standardise, Whiten):
        if cls.kind == kind:
            missing = {"input_shape", *cls._learnt} - state.keys()
            if missing:
                raise ValueError(f"normaliser_from_state: {kind} lacks {sorted(missing)}")
            normaliser = cls()
            normaliser.input_shape = tuple(int(n) for n in np.ravel(state["input_shape"]))
            for name in cls._learnt:
                value = np.array(state[name])
                expected = normaliser._learnt_shapes(name)
                if value.dtype != np.float64 or np.isnan(value).any() or value.shape not in expected:
                    raise ValueError(
                        f"normaliser_from_state: {kind} {name} is {value.dtype} {value.shape} for inputs "
                        f"{normaliser.input_shape}: these arrays belong to another normaliser"
                    )
                setattr(normaliser, name, value)
            return normaliser
    raise ValueError(f"normaliser_from_state: kind {kind!r} is not known")
