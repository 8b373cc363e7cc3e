"""The one-cycle schedule: learning rate up and down once, momentum the other way."""

from __future__ import annotations

import math

from chainrule.optim.schedule import Schedule, check_number, check_whole, one_each


def _cosine(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _linear(start, end, share):
    return start + (end - start) * share


_ANNEAL = {"cos": _cosine, "linear": _linear}


class OneCycleLR(Schedule):
    """The rate rises from max_lr / div_factor to max_lr, then falls to max_lr / (div_factor final_div_factor).

    It reaches max_lr at count pct_start total_steps - 1 and the end at the last step, total_steps - 1. With
    `cycle_momentum` SGD's and RMSprop's momentum, or beta1 of the Adams, falls from max_momentum to base_momentum
    meanwhile and rises again.

    Smith and Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates, 2018,
    section 2; in two phases, as PyTorch has it. The optimizer's own rates do not count.

    Args:
        optimizer: see `Schedule`.
        max_lr: above 0; a number, or a list of one for each parameter group.
        total_steps: how many steps there are, at least 2.
        pct_start: the share of the rising part, from 0 to 1.
        anneal_strategy: 'cos' or 'linear'.
        cycle_momentum: whether momentum moves.
        base_momentum, max_momentum: its least and greatest value, in [0, 1).
        div_factor, final_div_factor: above 0.

    Errors: ValueError for settings out of range, for momentum to be cycled in an optimizer that has none, and for
    more than total_steps calls of `step`; see `Schedule`.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([1.0], requires_grad=True)], lr=1.0, momentum=0.9)
    >>> schedule = cr.optim.OneCycleLR(optimizer, max_lr=0.5, total_steps=10, div_factor=10)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> optimizer.lr, optimizer.momentum
    (0.5, 0.85)
    """

    def __init__(
        self,
        optimizer,
        max_lr,
        total_steps,
        pct_start=0.3,
        anneal_strategy="cos",
        cycle_momentum=True,
        base_momentum=0.85,
        max_momentum=0.95,
        div_factor=25.0,
        final_div_factor=1e4,
    ):
        self.max_lrs = [
            check_number("OneCycleLR", "max_lr", value, lambda v: v > 0, "above 0")
            for value in one_each("OneCycleLR", "max_lr", max_lr, optimizer)
        ]
        self.total_steps = check_whole("OneCycleLR", "total_steps", total_steps, 2)
        self.pct_start = check_number(
            "OneCycleLR", "pct_start", pct_start, lambda v: 0 <= v <= 1, "a number from 0 to 1"
        )
        if anneal_strategy not in _ANNEAL:
            raise ValueError(f"OneCycleLR: anneal_strategy = {anneal_strategy!r}: give 'cos' or 'linear'")
        self.anneal_strategy = anneal_strategy
        self.div_factor = check_number("OneCycleLR", "div_factor", div_factor, lambda v: v > 0, "above 0")
        self.final_div_factor = check_number(
            "OneCycleLR", "final_div_factor", final_div_factor, lambda v: v > 0, "above 0"
        )
        self.cycle_momentum = bool(cycle_momentum)
        self.base_momentum, self.max_momentum = (
            check_number("OneCycleLR", name, value, lambda v: 0 <= v < 1, "a number in [0, 1)")
            for name, value in (("base_momentum", base_momentum), ("max_momentum", max_momentum))
        )
        for group in getattr(optimizer, "param_groups", ()) if self.cycle_momentum else ():
            if "betas" not in group and not group.get("momentum"):
                raise ValueError(
                    f"OneCycleLR: {type(optimizer).__name__} has no momentum to cycle: give cycle_momentum=False"
                )
        super().__init__(optimizer)

    def _at(self, count, start, top, end):
        """What goes from start to top in the rising part and on to end in the falling one."""
        anneal = _ANNEAL[self.anneal_strategy]
        peak, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if count <= peak:
            return anneal(start, top, count / peak if peak else 1.0)
        return anneal(top, end, (min(count, last) - peak) / (last - peak) if last > peak else 1.0)

    def _rates(self, count):
        if count > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {count} of {self.total_steps}: give total_steps as many as there are"
            )
        return [
            self._at(count, top / self.div_factor, top, top / self.div_factor / self.final_div_factor)
            for top in self.max_lrs
        ]

    def _set_rates(self, count):
        super()._set_rates(count)
        if not self.cycle_momentum:
            return
        momentum = self._at(count, self.max_momentum, self.base_momentum, self.max_momentum)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum
