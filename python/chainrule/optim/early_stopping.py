"""When to stop: a figure that has not improved for some time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from chainrule.optim.plateau import check_metric, check_mode
from chainrule.optim.schedule import check_factor, check_whole


class EarlyStopping:
    """Tells when a figure, such as a validation loss, has not improved for `patience` epochs.

    Prechelt, Early Stopping - But When?, 1998: stop where the error has increased for some strips of training.
    NaN never improves.

    Args:
        patience: after how many epochs without improvement to stop, at least 1.
        mode: 'min' where lower is better, 'max' where higher is.
        min_delta: an improvement is by more than this, at least 0.

    Attributes:
        best: the best figure so far.
        bad_epochs: how many epochs there were since.

    >>> import chainrule as cr
    >>> stopping = cr.optim.EarlyStopping(patience=2)
    >>> [stopping.step(loss) for loss in (3.0, 2.0, 2.5, 2.1)]
    [False, False, False, True]
    """

    def __init__(self, patience, mode="min", min_delta=0.0):
        self.patience = check_whole("EarlyStopping", "patience", patience, 1)
        self.mode = check_mode("EarlyStopping", mode)
        self.min_delta = check_factor("EarlyStopping", "min_delta", min_delta)
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_epochs = 0

    @property
    def stop(self) -> bool:
        """Whether it is time to."""
        return self.bad_epochs >= self.patience

    def step(self, metric) -> bool:
        """An epoch is over, with this figure. Returns whether to stop. TypeError for what is no number."""
        metric = check_metric("EarlyStopping", metric)
        better = (
            metric < self.best - self.min_delta if self.mode == "min" else metric > self.best + self.min_delta
        )
        if better:
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        return self.stop

    def state_dict(self) -> dict[str, float]:
        """What changes: 'best' and 'bad_epochs'."""
        return {"best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: Mapping) -> None:
        """Take over what `state_dict` gave. ValueError for other names or values, and nothing is changed then."""
        if state.keys() != self.state_dict().keys():
            raise ValueError(f"EarlyStopping.load_state_dict: {sorted(state)} are not best and bad_epochs")
        best = check_metric("EarlyStopping.load_state_dict", state["best"])
        bad = check_whole(
            "EarlyStopping.load_state_dict", "bad_epochs", np.asarray(state["bad_epochs"]).item(), 0
        )
        self.best, self.bad_epochs = best, bad
