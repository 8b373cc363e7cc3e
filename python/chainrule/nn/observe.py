"""What the modules inside a model compute, seen from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


class _Observers(threading.local):
    """What is called after every module of this thread: functions of the module, its inputs and its output."""

    functions: tuple[Callable, ...] = ()


observers = _Observers()


class observe:
    """A context in which `function(name, inputs, output)` is called with what each module of a model takes and gives.

    What the function returns goes on in the output's place; None leaves it. Modules that `nn.Sequential` would run
    as one run each by itself, with the same numbers. Affects the calling thread alone; contexts nest, the inner
    one's function is called first.

    Args:
        model: a Module.
        function: called in the order in which the modules finish. The name is the module's dotted name, "" for the
            model itself; a module that stands in several places goes by its first name. The inputs are a tuple.
        layers: names of those to observe; None is all.

    Errors: TypeError for a model that is no Module; ValueError for a name that no module has.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Linear(4, 3), cr.nn.ReLU(), cr.nn.Linear(3, 2))
    >>> shapes = {}
    >>> with cr.nn.observe(net, lambda name, inputs, output: shapes.update({name: output.shape})):
    ...     y = net(np.ones((5, 4), np.float32))
    >>> shapes
    {'0': (5, 3), '1': (5, 3), '2': (5, 2), '': (5, 2)}
    """

    def __init__(self, model, function: Callable, layers: Sequence[str] | None = None):
        from chainrule.nn.module import Module

        if not isinstance(model, Module):
            raise TypeError(f"observe: model is a {type(model).__name__}, not a Module")
        names: dict[int, str] = {}
        known = []
        for name, module in model.named_modules():
            known.append(name)
            names.setdefault(id(module), name)
        if layers is not None:
            unknown = [name for name in layers if name not in known]
            if unknown:
                raise ValueError(
                    f"observe: the model has no layer {unknown[0]!r}: it has {', '.join(known[1:])}"
                )
            wanted = {id(module) for name, module in model.named_modules() if name in layers}
            names = {key: name for key, name in names.items() if key in wanted}
        self._names = names
        self._function = function

    def _see(self, module, inputs, output):
        name = self._names.get(id(module))
        if name is None:
            return output
        other = self._function(name, inputs, output)
        return output if other is None else other

    def __enter__(self) -> observe:
        observers.functions = (self._see, *observers.functions)
        return self

    def __exit__(self, *exception):
        observers.functions = observers.functions[1:]
