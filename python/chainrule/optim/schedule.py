"""Schedules: the learning rate as a function of how often `step` was called.

A schedule is called once a step or once an epoch, whichever its numbers count. It sets the rate of every parameter
group of its optimizer, each from the group's own rate at the beginning. Rates are computed from the count alone, not
from one another: a resumed run has the same bits.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from chainrule.optim.optimizer import Optimizer


def check_whole(name: str, argument: str, value, least: int) -> int:
    """The value as an int; TypeError for what is no integer, ValueError below `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {argument} = {value!r} is not an integer") from None
    if number < least:
        raise ValueError(f"{name}: {argument} = {number}: give {least} or more")
    return number


def one_each(name: str, argument: str, value, optimizer) -> list:
    """The values for each of an optimizer's parameter groups: those given, or the one given for all.

    ValueError for a list of another length."""
    groups = len(getattr(optimizer, "param_groups", ()))  # what is no optimizer is refused by Schedule
    if not isinstance(value, Sequence) or isinstance(value, str):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name}: {len(value)} values of {argument} for {groups} parameter groups: give one for each"
        )
    return list(value)


def check_number(name: str, argument: str, value, holds: Callable[[float], bool], wanted: str) -> float:
    """The value as a float; TypeError for what is no number, ValueError where `holds` is not."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: {argument} = {value!r} is not a number")
    if not (math.isfinite(value) and holds(value)):
        raise ValueError(f"{name}: {argument} = {value}: give {wanted}")
    return float(value)


def check_factor(name: str, argument: str, value) -> float:
    """A finite number of at least 0."""
    return check_number(name, argument, value, lambda v: v >= 0, "a finite number of at least 0")


class Schedule:
    """The base class of schedules. A subclass gives `_rates(count)`: a rate for each parameter group.

    Args:
        optimizer: whose groups' rates are set: at once to those of count 0, and at each `step`.

    Attributes:
        optimizer: the same.
        base_lrs: each group's rate at the beginning.
        count: how often `step` was called.

    Errors: TypeError for what is no optimizer; ValueError, at a step, for a rate that is negative or not finite and
    where groups were added since. Nothing is changed then.
    """

    def __init__(self, optimizer: Optimizer):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{self._name}: optimizer is a {type(optimizer).__name__}: give one of chainrule.optim"
            )
        self.optimizer = optimizer
        self.base_lrs = self.get_last_lr()
        self.count = 0
        self._set_rates(0)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _rates(self, count: int) -> list[float]:
        raise TypeError(f"{self._name}._rates is not defined: a schedule defines it")

    def _set_rates(self, count: int) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"{self._name}: the optimizer has {len(groups)} parameter groups, it had {len(self.base_lrs)}: "
                "make the schedule after the last add_param_group"
            )
        rates = self._rates(count)
        for rate in rates:
            if not (math.isfinite(rate) and rate >= 0):
                raise ValueError(
                    f"{self._name}: the learning rate becomes {rate} at step {count}: "
                    "give a finite one of at least 0"
                )
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = float(rate)

    def step(self) -> None:
        """Go one step, or epoch, on."""
        self._set_rates(self.count + 1)
        self.count += 1

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    # ---- State ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, float]:
        """What changes, as numbers by name: 'count', 'base_lr.0', 'base_lr.1', ... Settings, and functions, are
        left to the code that makes the schedule."""
        return {"count": self.count, **{f"base_lr.{i}": rate for i, rate in enumerate(self.base_lrs)}}

    def load_state_dict(self, state: Mapping) -> None:
        """Take over what `state_dict` gave, and set the rates. All is checked before anything is changed.

        Numbers may be arrays without dimensions.

        Errors: ValueError naming entries that are missing, not known or out of range; TypeError for no numbers.
        """
        values = self._checked(state)
        before = self.base_lrs
        self.base_lrs = [values[f"base_lr.{i}"] for i in range(len(before))]
        try:
            self._set_rates(int(values["count"]))
        except ValueError:
            self.base_lrs = before
            raise
        self.count = int(values["count"])

    def _checked(self, state: Mapping) -> dict[str, float]:
        """The state's values as numbers."""
        own, where = self.state_dict(), f"{self._name}.load_state_dict"
        if own.keys() != state.keys():
            raise ValueError(
                f"{where}: missing {sorted(own.keys() - state.keys())}, not known "
                f"{sorted(state.keys() - own.keys())}: another schedule's state?"
            )
        values = {}
        for name, value in state.items():
            array = np.asarray(value)
            if array.dtype.kind not in "fiu" or array.shape != ():
                raise TypeError(f"{where}: {name} = {value!r} is not a number")
            number = array.item()
            if isinstance(own[name], int) and (number != number // 1 or number < 0):
                raise ValueError(f"{where}: {name} = {number}: give a whole number of at least 0")
            values[name] = number if isinstance(own[name], int) else float(number)
        return values


class FactorSchedule(Schedule):
    """A schedule that multiplies every group's rate by the same `_factor(count)`."""

    def _factor(self, count: int) -> float:
        raise TypeError(f"{self._name}._factor is not defined: a schedule defines it")

    def _rates(self, count):
        factor = self._factor(count)
        return [rate * factor for rate in self.base_lrs]


class LambdaLR(Schedule):
    """Each group's rate times a function of the count.

    Args:
        optimizer: see `Schedule`.
        lr_lambda: a function of the count, an int, that gives a factor; or a list of one for each group.

    Errors: TypeError for what is no function; ValueError for a list of another length; see `Schedule`.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> schedule = cr.optim.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    >>> schedule.step()
    >>> optimizer.lr
    0.25
    """

    def __init__(self, optimizer, lr_lambda):
        self.lr_lambdas = one_each("LambdaLR", "lr_lambda", lr_lambda, optimizer)
        if not all(callable(f) for f in self.lr_lambdas):
            raise TypeError(f"LambdaLR: lr_lambda = {lr_lambda!r}: give a function, or a list of functions")
        super().__init__(optimizer)

    def _rates(self, count):
        return [rate * f(count) for rate, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(FactorSchedule):
    """The rate times gamma after every `step_size` steps: base gamma^floor(count / step_size).

    Args:
        optimizer: see `Schedule`.
        step_size: at least 1.
        gamma: at least 0.
    """

    def __init__(self, optimizer, step_size, gamma=0.1):
        self.step_size = check_whole("StepLR", "step_size", step_size, 1)
        self.gamma = check_factor("StepLR", "gamma", gamma)
        super().__init__(optimizer)

    def _factor(self, count):
        return self.gamma ** (count // self.step_size)


class MultiStepLR(FactorSchedule):
    """The rate times gamma at each of the milestones: base gamma^(how many milestones are at most the count).

    Args:
        optimizer: see `Schedule`.
        milestones: counts of at least 1; one that is there twice counts twice.
        gamma: at least 0.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.MultiStepLR(optimizer, [2, 3], gamma=0.5)
    >>> for _ in range(4):
    ...     print(optimizer.lr, end=" ")
    ...     schedule.step()
    1.0 1.0 0.5 0.25
    """

    def __init__(self, optimizer, milestones, gamma=0.1):
        self.milestones = sorted(check_whole("MultiStepLR", "a milestone", m, 1) for m in milestones)
        self.gamma = check_factor("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer)

    def _factor(self, count):
        return self.gamma ** sum(m <= count for m in self.milestones)


class ExponentialLR(FactorSchedule):
    """The rate times gamma at every step: base gamma^count.

    Args:
        optimizer: see `Schedule`.
        gamma: at least 0.
    """

    def __init__(self, optimizer, gamma):
        self.gamma = check_factor("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer)

    def _factor(self, count):
        return self.gamma**count


class LinearLR(FactorSchedule):
    """A straight line from start_factor times the rate to end_factor times it, which then stays.

    Args:
        optimizer: see `Schedule`.
        start_factor, end_factor: at least 0.
        total_iters: after how many steps the end is reached, at least 1.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=4)
    >>> schedule.step()
    >>> optimizer.lr
    0.75
    """

    def __init__(self, optimizer, start_factor=1 / 3, end_factor=1.0, total_iters=5):
        self.start_factor = check_factor("LinearLR", "start_factor", start_factor)
        self.end_factor = check_factor("LinearLR", "end_factor", end_factor)
        self.total_iters = check_whole("LinearLR", "total_iters", total_iters, 1)
        super().__init__(optimizer)

    def _factor(self, count):
        done = min(count, self.total_iters) / self.total_iters
        return self.start_factor * (1 - done) + self.end_factor * done


class CosineAnnealingLR(Schedule):
    """Half a cosine from the rate at the beginning down to eta_min, and back up where it is stepped on.

        eta_min + (base - eta_min) (1 + cos(pi count / T_max)) / 2

    (Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, equation 5, without the
    restarts.)

    Args:
        optimizer: see `Schedule`.
        T_max: after how many steps eta_min is reached, at least 1.
        eta_min: at least 0; a number, or a list of one for each parameter group.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.CosineAnnealingLR(optimizer, T_max=10)
    >>> for _ in range(5):
    ...     schedule.step()
    >>> round(optimizer.lr, 6)
    0.5
    """

    def __init__(self, optimizer, T_max, eta_min=0.0):
        self.T_max = check_whole("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_mins = [
            check_factor("CosineAnnealingLR", "eta_min", value)
            for value in one_each("CosineAnnealingLR", "eta_min", eta_min, optimizer)
        ]
        super().__init__(optimizer)

    def _rates(self, count):
        share = (1 + math.cos(math.pi * count / self.T_max)) / 2
        pairs = zip(self.base_lrs, self.eta_mins, strict=True)
        return [least + (rate - least) * share for rate, least in pairs]
