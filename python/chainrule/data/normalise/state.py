"""A normaliser from its arrays again, as a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .base import Normaliser
from .scale import Identity, Scale
from .standardise import Standardise
from .whiten import Whiten

_KINDS: dict[str, type[Normaliser]] = {
    kind.kind: kind for kind in (Identity, Scale, Standardise, Whiten)
}


def normaliser_from_state(kind: str, arrays: Mapping[str, np.ndarray]) -> Normaliser:
    """The normaliser whose `kind` and `state_dict()` these are: equal settings, equal bits in its results.

    Raises `ValueError` for an unknown kind, and for arrays that are missing, unknown, not numbers, not finite, or do
    not fit each other.

    >>> import numpy as np
    >>> x = np.array([[0.0, 1.0], [2.0, 5.0]])
    >>> fitted = Standardise().fit(x)
    >>> again = normaliser_from_state(fitted.kind, fitted.state_dict())
    >>> np.array_equal(again(x), fitted(x))
    True
    """
    if kind not in _KINDS:
        raise ValueError(
            f"normaliser_from_state: kind is {kind!r}: give one of {', '.join(_KINDS)}"
        )
    where = f"normaliser_from_state: {kind}"
    expected = ("shape", *_KINDS[kind].state_names)
    if set(arrays) != set(expected):
        raise ValueError(
            f"{where}: arrays are {', '.join(sorted(arrays)) or 'none'}: give {', '.join(expected)}"
        )
    state = {name: np.asarray(arrays[name]) for name in expected}
    for name, array in state.items():
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ValueError(
                f"{where}: {name} holds what is no finite number: save the state again"
            )
    shape = state.pop("shape")
    if shape.dtype.kind == "f" or shape.ndim != 1 or shape.size == 0 or (shape < 1).any():
        raise ValueError(f"{where}: shape is {shape.tolist()}: save the state again")
    try:
        return _KINDS[kind]._from_state(state, tuple(shape.tolist()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}: save the state again") from None
