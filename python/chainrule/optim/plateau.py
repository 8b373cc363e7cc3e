"""A schedule that lowers the rate when a figure no longer improves, and the same watch for stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from chainrule.optim.schedule import Schedule, check_factor, check_number, check_whole


def check_mode(name: str, mode) -> str:
    """'min' or 'max'; ValueError for another."""
    if mode not in ("min", "max"):
        raise ValueError(f"{name}: mode = {mode!r}: give 'min' or 'max'")
    return mode


def check_metric(name: str, metric) -> float:
    """A figure as a float, which may be infinite or NaN; TypeError for what is none."""
    array = np.asarray(metric)
    if array.dtype.kind not in "fiu" or array.size != 1:
        raise TypeError(f"{name}: metric = {metric!r} is not a number")
    return float(array.item())


class ReduceLROnPlateau(Schedule):
    """The rate times `factor` where a figure, such as the test loss, has not improved for `patience` epochs.

    Give the figure to `step`, once an epoch. It improves where it is below (mode 'min') or above ('max') the best so
    far by more than the threshold; NaN never does. When that has not happened for more than `patience` epochs in a
    row, each group's rate is multiplied by `factor`, down to min_lr at the least, and counting starts anew after
    `cooldown` epochs. The rates are those that the optimizer has: its own state holds them, not this one's.

    Args:
        optimizer: see `Schedule`.
        mode: 'min' or 'max'.
        factor: in [0, 1).
        patience: at least 0.
        threshold: at least 0.
        threshold_mode: 'rel': by more than threshold |best|; 'abs': by more than threshold.
        cooldown: at least 0.
        min_lr: at least 0; a number, or a list of one for each parameter group.
        eps: a change of rate that is not larger is left out.

    Errors: ValueError for settings out of range, TypeError for a figure that is no number; see `Schedule`.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (3.0, 2.0, 2.5, 2.5):
    ...     schedule.step(loss)
    >>> optimizer.lr
    0.1
    """

    def __init__(
        self,
        optimizer,
        mode="min",
        factor=0.1,
        patience=10,
        threshold=1e-4,
        threshold_mode="rel",
        cooldown=0,
        min_lr=0.0,
        eps=1e-8,
    ):
        name = "ReduceLROnPlateau"
        self.mode = check_mode(name, mode)
        self.factor = check_number(name, "factor", factor, lambda v: 0 <= v < 1, "a number in [0, 1)")
        self.patience = check_whole(name, "patience", patience, 0)
        self.threshold = check_factor(name, "threshold", threshold)
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{name}: threshold_mode = {threshold_mode!r}: give 'rel' or 'abs'")
        self.threshold_mode = threshold_mode
        self.cooldown = check_whole(name, "cooldown", cooldown, 0)
        groups = len(getattr(optimizer, "param_groups", ()))
        several = isinstance(min_lr, Sequence)
        if several and len(min_lr) != groups:
            raise ValueError(
                f"{name}: {len(min_lr)} values of min_lr for {groups} parameter groups: give one for each"
            )
        self.min_lrs = [check_factor(name, "min_lr", v) for v in (min_lr if several else [min_lr] * groups)]
        self.eps = check_factor(name, "eps", eps)
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_epochs = 0
        self.cooldown_left = 0
        super().__init__(optimizer)

    def _rates(self, count):
        return list(self.base_lrs)

    def _improves(self, metric) -> bool:
        if math.isinf(self.best):
            return metric < self.best if self.mode == "min" else metric > self.best
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return metric < self.best - margin if self.mode == "min" else metric > self.best + margin

    def step(self, metric) -> None:
        """An epoch is over, with this figure: a number, or a Tensor or array of one value."""
        metric = check_metric(self._name, metric)
        self.count += 1
        if self._improves(metric):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.cooldown_left > 0:
            self.cooldown_left -= 1
            self.bad_epochs = 0
        if self.bad_epochs > self.patience:
            self.cooldown_left, self.bad_epochs = self.cooldown, 0
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower

    def state_dict(self):
        """As `Schedule.state_dict`, with 'best', 'bad_epochs' and 'cooldown_left'."""
        return super().state_dict() | {
            "best": self.best,
            "bad_epochs": self.bad_epochs,
            "cooldown_left": self.cooldown_left,
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Take over what `state_dict` gave; the rates are left to the optimizer's own state."""
        values = self._checked(state)
        self.count = int(values["count"])
        self.base_lrs = [values[f"base_lr.{i}"] for i in range(len(self.base_lrs))]
        self.best = values["best"]
        self.bad_epochs, self.cooldown_left = int(values["bad_epochs"]), int(values["cooldown_left"])
