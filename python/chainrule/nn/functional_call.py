"""A module as a function of its parameters, for the transforms."""

from __future__ import annotations

from collections.abc import Mapping

from chainrule.autodiff.box import shape_of


def functional_call(model, params, *inputs):
    """model(*inputs) with other values for its parameters; the model itself stays as it is.

    Args:
        model: a Module.
        params: {name: array or Tensor} as `named_parameters` and `state_dict` name them; parameters that are not
            named keep their values. One that is shared gets the value wherever it stands.
        inputs: what the model takes.

    Errors: ValueError for a name that is no parameter, or a value of another shape.

    >>> import chainrule as cr, numpy as np
    >>> model = cr.nn.Linear(3, 2, rng=0)
    >>> x = np.ones((4, 3), np.float32)
    >>> gradient = cr.grad(lambda p: cr.functional_call(model, p, x).sum())(model.state_dict())
    >>> gradient["bias"]
    array([4., 4.], dtype=float32)
    """
    from chainrule.nn.module import Module

    if not isinstance(model, Module):
        raise TypeError(f"functional_call: model is a {type(model).__name__}, not a Module")
    if not isinstance(params, Mapping):
        raise TypeError(
            f"functional_call: params is a {type(params).__name__}: give a dict of name and value"
        )
    places = dict(_places(model, ""))
    unknown = sorted(params.keys() - places.keys())
    if unknown:
        raise ValueError(
            f"functional_call: {unknown} are no parameters of the model: it has {sorted(places)}"
        )
    owners = {name: getattr(*place) for name, place in places.items()}
    shared = {}
    for name, place in places.items():
        shared.setdefault(id(owners[name]), []).append(place)
    before = []
    try:
        for name, value in params.items():
            own = owners[name]
            if shape_of(value) != own.shape:
                raise ValueError(
                    f"functional_call: {name} has shape {own.shape}, the value given {shape_of(value)}"
                )
            for module, attribute in shared[id(own)]:
                before.append((module, attribute, getattr(module, attribute)))
                setattr(module, attribute, value)
        return model(*inputs)
    finally:
        for module, attribute, own in reversed(before):
            setattr(module, attribute, own)


def _places(module, prefix):
    """(dotted name, (module, attribute)) of every parameter."""
    from chainrule.nn.module import Parameter

    for attribute, value in vars(module).items():
        if isinstance(value, Parameter):
            yield prefix + attribute, (module, attribute)
    for name, child in module.children():
        yield from _places(child, f"{prefix}{name}.")
