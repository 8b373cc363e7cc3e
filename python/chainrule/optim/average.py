"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from chainrule.autodiff.change import announce
from chainrule.nn.module import Module
from chainrule.optim.schedule import check_number


class ExponentialMovingAverage:
    """A running average of everything that a model's `state_dict` holds: parameters and buffers.

    At each `update` every average a of a value w becomes decay a + (1 - decay) w, from the model's values at the
    beginning; buffers of integers are copied. The averages of a run's weights generalise better than its last ones
    (Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; the exponential form as in
    Tarvainen and Valpola, Mean Teachers Are Better Role Models, 2017, equation 2).

    `Lookahead` is one that the model's values return to every few steps.

    Args:
        model: a Module.
        decay: in [0, 1]; may be set anew between updates.

    Errors: ValueError for a decay out of range, TypeError for what is no Module.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(2, 1, bias=False, initialise="zeros")
    >>> average = cr.optim.ExponentialMovingAverage(model, decay=0.9)
    >>> model.weight.data += 1.0
    >>> average.update()
    >>> with average.applied():
    ...     model.weight.numpy().ravel()
    array([0.1, 0.1], dtype=float32)
    >>> model.weight.numpy().ravel()
    array([1., 1.], dtype=float32)
    """

    _prefix = ""  # before the averages' names in a state

    def __init__(self, model: Module, decay=0.999):
        if not isinstance(model, Module):
            raise TypeError(
                f"ExponentialMovingAverage: model is a {type(model).__name__}: give a chainrule.nn.Module"
            )
        self.model = model
        self.decay = self._checked(decay)
        self.averages = model.state_dict()

    @staticmethod
    def _checked(decay) -> float:
        return check_number(
            "ExponentialMovingAverage", "decay", decay, lambda v: 0 <= v <= 1, "a number from 0 to 1"
        )

    def _values(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """(name, value, average) of everything in the model."""
        for name, parameter in self.model.named_parameters():
            yield name, parameter.value, self.averages[name]
        for name, buffer in self.model.named_buffers():
            yield name, buffer, self.averages[name]

    def update(self, decay=None) -> None:
        """Move the averages towards the model's values: by `decay`, or else by the one that was set."""
        decay = self._checked(self.decay if decay is None else decay)
        for _, value, average in self._values():
            if average.dtype.kind == "f":
                # a + (1 - decay) (w - a): nothing is lost where both are near, and equal values stay.
                average += (1 - decay) * (value - average)
            else:
                average[...] = value

    def copy_to(self) -> None:
        """Give the model the averages for its values."""
        for _, value, average in self._values():
            value[...] = average
        announce(self.model.parameters())

    @contextmanager
    def applied(self):
        """A context in which the model has the averages for its values; afterwards its own again."""
        own = self.model.state_dict()
        self.copy_to()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(own)

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of the averages, by the names that the model's `state_dict` has."""
        return {f"{self._prefix}{name}": average.copy() for name, average in self.averages.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` gave. All is checked before anything is changed.

        Errors: ValueError naming keys that are missing or not known, shapes or dtypes that differ.
        """
        where = f"{type(self).__name__}.load_state_dict"
        own = {f"{self._prefix}{name}": average for name, average in self.averages.items()}
        if own.keys() != state.keys():
            raise ValueError(
                f"{where}: missing {sorted(own.keys() - state.keys())}, not known "
                f"{sorted(state.keys() - own.keys())}: another model's averages?"
            )
        for name, average in own.items():
            value = np.asarray(state[name])
            if value.shape != average.shape or value.dtype != average.dtype:
                raise ValueError(
                    f"{where}: {name} is {value.dtype} {value.shape}, the model's is "
                    f"{average.dtype} {average.shape}"
                )
        for name, average in own.items():
            average[...] = state[name]
