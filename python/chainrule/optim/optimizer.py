"""What all optimizers share: parameters in groups, settings, state, and one call to the kernels a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from chainrule.autodiff.change import announce
from chainrule.tensor import Tensor


class Setting:
    """A setting of an optimizer as its attribute.

    Reading it gives the first group's. Writing it sets it in all groups, and is an error (ValueError) where they
    differ: then set `param_groups[i][name]`.
    """

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, optimizer, owner=None):
        return self if optimizer is None else optimizer.param_groups[0][self.name]

    def __set__(self, optimizer, value):
        groups = optimizer.param_groups
        if any(group[self.name] != groups[0][self.name] for group in groups[1:]):
            raise ValueError(
                f"{type(optimizer).__name__}: {self.name} differs between the parameter groups "
                f"({', '.join(str(group[self.name]) for group in groups)}): set param_groups[i][{self.name!r}]"
            )
        for group in groups:
            group[self.name] = value


class _Slot:
    """A parameter and what its optimizer remembers of it."""

    __slots__ = ("arrays", "parameter", "step")

    def __init__(self, parameter):
        self.parameter = parameter
        self.arrays = {}
        self.step = 0  # how many were taken

    def add_array(self, name, initial):
        if name not in self.arrays:
            self.arrays[name] = np.full_like(self.parameter.value, initial, order="C")


class Optimizer:
    """The base class of optimizers. A subclass says which arrays it keeps and which kernel updates them.

    Attributes:
        param_groups: a list of dicts, each with 'params' (a list of Tensors) and the group's own value of every
            setting. Settings may be changed between steps; parameters are added with `add_param_group`.
        defaults: the settings that a group has where it gives none.

    A subclass gives `_state(settings)`, the names and initial values of the arrays that each parameter of a group
    with these settings needs, and `_update(groups)`, which passes the groups to its function of the core. It sets
    `_optional` to the arrays that only some settings need, and `_counts_steps` where it needs to know how many steps
    a parameter has seen.
    """

    _counts_steps = False
    _optional: tuple[str, ...] = ()

    def __init__(self, params, defaults: dict):
        self.defaults = defaults
        self.param_groups = []
        self._slots = []  # for each group, one for each of its parameters
        for group in self._as_groups(params):
            self.add_param_group(group)
        if not self.params:
            raise ValueError(f"{self._name}: no parameters given")

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _state(self, settings: Mapping) -> dict[str, float]:
        raise NotImplementedError

    def _update(self, groups: list[tuple]) -> None:
        raise NotImplementedError

    # ---- Parameters ----------------------------------------------------------------------------------------

    @property
    def params(self) -> list[Tensor]:
        """All parameters, group after group: a parameter's place here is its number in `state_dict`."""
        return [slot.parameter for slots in self._slots for slot in slots]

    def _as_groups(self, params) -> list:
        if isinstance(params, (Tensor, Mapping)) or not isinstance(params, Iterable):
            raise TypeError(
                f"{self._name}: params is a {type(params).__name__}: give a list of Tensors or dicts"
            )
        if isinstance(params, (set, frozenset)):
            raise TypeError(f"{self._name}: params is a set, which has no order: give a list")
        params = list(params)
        if any(isinstance(entry, Mapping) for entry in params):
            return params
        return [{"params": params}]

    def add_param_group(self, group: Mapping) -> None:
        """Add parameters with settings of their own.

        Args:
            group: 'params', a Tensor or an iterable of Tensors, and any of the optimizer's settings by name;
                the others are its defaults.

        Errors: TypeError for what is no parameter or no group; ValueError for settings not known or out of
        range, and for a parameter that the optimizer has already. Nothing is added then.
        """
        if not isinstance(group, Mapping):
            raise TypeError(
                f"{self._name}: a {type(group).__name__} among parameter groups: give dicts alone"
            )
        if "params" not in group:
            raise ValueError(f"{self._name}: a parameter group without 'params'")
        unknown = sorted(str(name) for name in group.keys() - self.defaults.keys() - {"params"})
        if unknown:
            raise ValueError(
                f"{self._name}: a parameter group has settings {unknown}, which are not known: use "
                f"{', '.join(self.defaults)}"
            )
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else self._as_groups(params)[0]["params"]
        known = {id(p): i for i, p in enumerate(self.params)}
        for i, p in enumerate(params, start=len(known)):
            if not (isinstance(p, Tensor) and p.gate is None and p.requires_grad):
                raise TypeError(f"{self._name}: parameter {i} is no leaf Tensor with requires_grad=True")
            if known.setdefault(id(p), i) != i:
                raise ValueError(
                    f"{self._name}: parameter {i} is parameter {known[id(p)]} again: give each once"
                )
        group = {"params": params, **self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        self._check([group])
        slots = [_Slot(p) for p in params]
        self._add_arrays(group, slots)
        self.param_groups.append(group)
        self._slots.append(slots)

    def _add_arrays(self, settings, slots) -> None:
        for name, initial in self._state(settings).items():
            for slot in slots:
                slot.add_array(name, initial)

    def _check(self, groups) -> None:
        self._update([(group, [], [], {}, []) for group in groups])  # the core checks settings first of all

    # ---- Steps ---------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Update every parameter that has a gradient, all in one call; others, and their state, stay as they are.

        Errors: ValueError for settings out of range, gradients of another shape than their parameter, and
        parameters that are read-only, not C-contiguous, or share memory. Nothing is changed then.
        """
        groups, updated = [], []
        for group, slots in zip(self.param_groups, self._slots, strict=True):
            weights, gradients, steps = [], [], []
            for slot in slots:
                parameter = slot.parameter
                weights.append(parameter.value)
                steps.append(slot.step + 1)
                if parameter.grad is None:
                    gradients.append(None)
                else:
                    gradients.append(parameter.grad.value)
                    updated.append(slot)
            names = self._state(group)
            try:
                states = {name: [slot.arrays[name] for slot in slots] for name in names}
            except KeyError:  # settings that need more than they did; they may be wrong
                self._check([group])
                self._add_arrays(group, slots)
                states = {name: [slot.arrays[name] for slot in slots] for name in names}
            groups.append((group, weights, gradients, states, steps))
        announce([slot.parameter for slot in updated])
        self._update(groups)
        for slot in updated:
            slot.step += 1

    def zero_grad(self) -> None:
        """Forget every parameter's gradient."""
        for slots in self._slots:
            for slot in slots:
                slot.parameter.grad = None

    # ---- State ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """What training changes, by flat names: numbers, and copies of arrays.

        'lr', or 'group.0.lr', 'group.1.lr', ... where there are several groups; '<array>.<i>' for each array of
        the i-th parameter (see `params`); where steps are counted, 'step.<i>'. Other settings are left to the
        code that makes the optimizer. Arrays that an earlier setting needed, as a velocity after momentum became 0,
        stay in it.
        """
        state = {name: float(group["lr"]) for name, group in self._rates()}
        for i, slot in enumerate(slot for slots in self._slots for slot in slots):
            if self._counts_steps:
                state[f"step.{i}"] = slot.step
            for name, array in slot.arrays.items():
                state[f"{name}.{i}"] = array.copy()
        return state

    def _rates(self):
        several = len(self.param_groups) > 1
        return [(f"group.{i}.lr" if several else "lr", group) for i, group in enumerate(self.param_groups)]

    def load_state_dict(self, state: Mapping) -> None:
        """Take over what `state_dict` gave. Training goes on with the same bits. All is checked before anything
        is changed.

        Numbers may be arrays without dimensions; arrays are converted to the parameter's dtype.

        Errors: ValueError naming keys that are missing or not known, shapes that differ, and numbers out of
        range; TypeError for what is no number.
        """
        where = f"{self._name}.load_state_dict"
        kept, rates = self._fitting(state), self._rates()
        own = {name for name, *_ in kept} | {name for name, _ in rates}
        if own != state.keys():
            raise ValueError(
                f"{where}: missing {sorted(own - state.keys())}, not known "
                f"{sorted(state.keys() - own)}: another optimizer's state?"
            )
        values = {}
        shapes = {name: slot.parameter.value.shape for name, slot, array in kept if array is not None}
        for name in own:
            values[name] = value = np.asarray(state[name])
            if value.dtype.kind not in "fiu":
                raise TypeError(f"{where}: {name} is of type {value.dtype}: give numbers")
            if value.shape != shapes.get(name, ()):
                raise ValueError(
                    f"{where}: {name} has shape {value.shape}, here it is {shapes.get(name, ())}"
                )
        for name, _, array in kept:
            if array is None and (values[name].dtype.kind == "f" or values[name] < 0):
                raise ValueError(f"{where}: {name} = {values[name]}: give a whole number of at least 0")
        self._check([{**group, "lr": float(values[name])} for name, group in rates])
        for name, group in rates:
            group["lr"] = float(values[name])
        for slots in self._slots:
            for slot in slots:
                slot.arrays.clear()
        for name, slot, array in kept:
            if array is None:
                slot.step = int(values[name])
            else:
                slot.add_array(array, 0)
                slot.arrays[array][...] = values[name]

    def _fitting(self, state: Mapping) -> list[tuple]:
        """What a state has to hold: (name, slot, array's name), or None in its place for the number of steps. Arrays
        that the present settings do not need but others do may be in it."""
        entries, i = [], 0
        for group, slots in zip(self.param_groups, self._slots, strict=True):
            needed = self._state(group)
            optional = [array for array in self._optional if array not in needed]
            for slot in slots:
                entries += [(f"step.{i}", slot, None)] if self._counts_steps else []
                entries += [(f"{array}.{i}", slot, array) for array in needed]
                entries += [(f"{array}.{i}", slot, array) for array in optional if f"{array}.{i}" in state]
                i += 1
        return entries
