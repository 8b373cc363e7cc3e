"""Normalisers one after another, and any normaliser from its state."""

from __future__ import annotations

import numpy as np

from chainrule.data.normalise import GCN, Identity, Normaliser, Scale, Standardise
from chainrule.data.whiten import ZCA, Whiten


class Pipeline(Normaliser):
    """Normalisers one after another, each fitted on what those before it make of the training inputs.

    Pipeline(GCN(scale=55 / sqrt(3072)), ZCA()) is what Maxout, Network in Network and the All-CNN do to CIFAR-10.

    Args:
        parts: two or more normalisers, no pipelines among them.

    >>> import chainrule as cr
    >>> images = cr.data.load_digits().train.images
    >>> fitted = cr.data.Pipeline(cr.data.GCN(), cr.data.ZCA()).fit(images)
    >>> fitted.kind, fitted(images).shape
    ('gcn+zca', (1442, 8, 8, 1))
    """

    def __init__(self, *parts):
        for part in parts:
            if not isinstance(part, Normaliser) or isinstance(part, Pipeline):
                raise TypeError(f"Pipeline: {type(part).__name__} is not a normaliser of one step")
        if len(parts) < 2:
            raise ValueError(f"Pipeline: {len(parts)} parts: give two or more")
        self.parts = parts

    @property
    def kind(self) -> str:
        """The parts' kinds, joined by +."""
        return "+".join(part.kind for part in self.parts)

    def _fit(self, x):
        for part in self.parts[:-1]:
            x = part.fit(x)(x)
        self.parts[-1].fit(x)

    def _apply(self, x):
        for part in self.parts:
            x = part._apply(x)
        return x

    def state_dict(self):
        """What was learnt, as arrays: those of part i are called i.name."""
        return {
            f"{i}.{name}": value
            for i, part in enumerate(self.parts)
            for name, value in part.state_dict().items()
        }


_KINDS = {cls.kind: cls for cls in (Identity, Scale, Standardise, GCN, Whiten, ZCA)}


def normaliser_from_state(kind: str, state: dict[str, np.ndarray]) -> Normaliser:
    """The normaliser whose `kind` and `state_dict()` these are; it gives the same bits.

    Errors: ValueError for an unknown kind, missing arrays, or arrays of another normaliser.
    """
    kinds = kind.split("+")
    if len(kinds) == 1:
        return _one_from_state(kind, state)
    parts = []
    for i, part in enumerate(kinds):
        prefix = f"{i}."
        own = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        parts.append(_one_from_state(part, own))
    pipeline = Pipeline(*parts)
    pipeline.input_shape = parts[0].input_shape
    return pipeline


def _one_from_state(kind, state):
    if kind not in _KINDS:
        raise ValueError(f"normaliser_from_state: kind {kind!r} is not known")
    normaliser = _KINDS[kind]()
    missing = {"input_shape", *normaliser._learnt} - state.keys()
    if missing:
        raise ValueError(f"normaliser_from_state: {kind} lacks {sorted(missing)}")
    normaliser.input_shape = tuple(int(n) for n in np.ravel(state["input_shape"]))
    for name in normaliser._learnt:
        value = np.array(state[name])
        if (
            value.dtype != normaliser._learnt_dtype(name)
            or np.isnan(value).any()
            or value.shape not in normaliser._learnt_shapes(name)
        ):
            raise ValueError(
                f"normaliser_from_state: {kind} {name} is {value.dtype} {value.shape} for inputs "
                f"{normaliser.input_shape}: these arrays belong to another normaliser"
            )
        setattr(normaliser, name, value)
    return normaliser
