"""Warm-up before any schedule."""

from __future__ import annotations

from collections.abc import Mapping

from chainrule.optim.schedule import Schedule, check_factor, check_whole


class WarmUp(Schedule):
    """For the first steps the rate rises in a straight line to where another schedule begins, which then follows.

    At count t below `steps` the rate is (start_factor + (1 - start_factor) t / steps) times the other schedule's
    first; from count `steps` on it is the other's, counted from there (Goyal et al., Accurate, Large Minibatch SGD,
    2017, section 2.2, with start_factor 1 / k).

    Args:
        schedule: any schedule of the same optimizer, at its beginning; or an optimizer, whose rate then stays.
        steps: how many, at least 1.
        start_factor: from 0 to 1, where the rate begins.

    Errors: TypeError for what is no schedule, ValueError for settings out of range, or a schedule that has begun.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.WarmUp(cr.optim.ExponentialLR(optimizer, 0.5), steps=4, start_factor=0.0)
    >>> for _ in range(7):
    ...     print(optimizer.lr, end=" ")
    ...     schedule.step()
    0.0 0.25 0.5 0.75 1.0 0.5 0.25
    """

    def __init__(self, schedule, steps, start_factor=0.1):
        self.steps = check_whole("WarmUp", "steps", steps, 1)
        self.start_factor = check_factor("WarmUp", "start_factor", start_factor)
        if self.start_factor > 1:
            raise ValueError(f"WarmUp: start_factor = {start_factor}: give a number from 0 to 1")
        self.schedule = schedule if isinstance(schedule, Schedule) else None
        if self.schedule is not None and self.schedule.count:
            raise ValueError(
                f"WarmUp: the schedule has made {schedule.count} steps: give one at its beginning"
            )
        super().__init__(schedule.optimizer if isinstance(schedule, Schedule) else schedule)

    def _rates(self, count):
        first = self.base_lrs if self.schedule is None else self.schedule._rates(0)
        if count >= self.steps:
            return first
        factor = self.start_factor + (1 - self.start_factor) * count / self.steps
        return [rate * factor for rate in first]

    def step(self, *metric) -> None:
        """Go one step on. What a schedule such as ReduceLROnPlateau wants to hear is passed on after the warm-up."""
        if self.schedule is None or self.count < self.steps:
            super().step()
        else:
            self.schedule.step(*metric)
            self.count += 1

    def state_dict(self):
        """As `Schedule.state_dict`, with the other schedule's entries as 'after.<name>'."""
        after = {} if self.schedule is None else self.schedule.state_dict()
        return super().state_dict() | {f"after.{name}": value for name, value in after.items()}

    def load_state_dict(self, state: Mapping) -> None:
        """Take over what `state_dict` gave, and set the rates; see `Schedule.load_state_dict`."""
        values = self._checked(state)
        count = int(values["count"])
        if self.schedule is None:
            return super().load_state_dict(state)
        after = {name[6:]: value for name, value in values.items() if name.startswith("after.")}
        if after["count"] != max(0, count - self.steps):
            raise ValueError(
                f"WarmUp.load_state_dict: count {count} after {self.steps} steps of warm-up and after.count "
                f"{after['count']} do not belong together"
            )
        self.schedule.load_state_dict(after)
        self.base_lrs = [values[f"base_lr.{i}"] for i in range(len(self.base_lrs))]
        self.count = count
        if count <= self.steps:
            self._set_rates(count)
