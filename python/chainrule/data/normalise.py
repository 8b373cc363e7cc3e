"""Input normalisation: fitted on the training set alone, then applied to any inputs of the same shape.

LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.3, tell why.
"""

from __future__ import annotations

import math

import numpy as np


def blocks(x):
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
        results = (_within_float32(self._apply(block)) for block in blocks(x))
        first = next(results)
        result = np.empty((len(x), *first.shape[1:]), np.float32)
        result[: len(first)] = first
        done = len(first)
        for block in results:
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

    def _learnt_dtype(self, name):
        """What a learnt array holds."""
        return np.float64

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
        squares = sum(np.square(block - self.mean).sum(axis=axes) for block in blocks(x))
        spread = np.sqrt(squares / (x.size / self.mean.size))
        deviation = np.where(varies, spread, np.inf)
        self.deviation = np.where(deviation > 0, deviation, np.inf)

    def _same_everywhere(self):
        return self.mean.size == 1 or self.mean.shape == self.input_shape[-1:]

    def _apply(self, x):
        mean, deviation = self.mean, self.deviation
        if mean.size == 1:  # one value, whatever the shape of an input
            mean, deviation = mean.reshape(()), deviation.reshape(())
        return (x - mean) / deviation


def flattened(x):
    """Inputs (N, ...) as (N, features), for any N."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


class GCN(Normaliser):
    """Global contrast normalisation: each input by itself loses its mean and is divided by its contrast.

    scale (x - mean) / sqrt(bias + variance), over all pixels and channels of an input at once (Goodfellow, Bengio
    and Courville, Deep Learning, 2016, equation 12.3). Nothing is learnt but the shape. Maxout (Goodfellow et al.,
    2013), and after it Network in Network and the All-CNN, give CIFAR-10's images a norm of 55, which is
    scale = 55 / sqrt(3072) = 0.992, and whiten them by ZCA next.

    Args:
        scale: the contrast that results, above 0.
        bias: added to the variance, so that an input of little contrast is raised less; at least 0.

    An input that does not vary becomes 0.

    >>> import chainrule as cr, numpy as np
    >>> x = np.array([[1.0, 3.0, 5.0], [7.0, 7.0, 7.0]])
    >>> cr.data.GCN().fit(x)(x).round(3)
    array([[-1.225,  0.   ,  1.225],
           [ 0.   ,  0.   ,  0.   ]], dtype=float32)
    """

    kind = "gcn"
    _learnt = ("scale", "bias")

    def __init__(self, scale=1.0, bias=0.0):
        if not 0 < scale < np.inf:
            raise ValueError(f"GCN: scale={scale} is not above 0 and finite")
        if not 0 <= bias < np.inf:
            raise ValueError(f"GCN: bias={bias} is not finite and at least 0")
        self.scale = float(scale)
        self.bias = float(bias)

    def _apply(self, x):
        flat = flattened(x)
        # Inputs that do not vary are found by their values: a mean of many 0.1 is off by a rounding error.
        varies = flat.min(axis=1, keepdims=True) != flat.max(axis=1, keepdims=True)
        centred = flat - flat.mean(axis=1, dtype=np.float64, keepdims=True)
        contrast = np.sqrt(self.bias + np.square(centred).mean(axis=1, keepdims=True))
        varies &= contrast > 0
        centred *= np.where(varies, self.scale / np.where(varies, contrast, 1.0), 0.0)
        return centred.reshape(x.shape)
