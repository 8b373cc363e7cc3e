"""Nests: any tuples, lists and dicts of leaves, taken apart and put together again. None is a nest of no leaves.

The recursions are functions of the module: a function that calls itself through a closure is a reference cycle,
and would keep the leaves alive until the collector comes.
"""

from __future__ import annotations

_NOTHING = "nothing"  # the structure of None; that of a leaf is None


def flatten(nest) -> tuple[list, object]:
    """The leaves in order, and the structure that `unflatten` takes. Dict keys go in sorted order."""
    leaves: list = []
    return leaves, _take_apart(nest, leaves)


def _take_apart(part, leaves):
    if part is None:
        return _NOTHING
    if isinstance(part, dict):
        keys = tuple(sorted(part))
        return (dict, keys, tuple(_take_apart(part[k], leaves) for k in keys))
    if isinstance(part, (tuple, list)):
        return (type(part), None, tuple(_take_apart(p, leaves) for p in part))
    leaves.append(part)
    return None


def unflatten(structure, leaves):
    """The nest of this structure with these leaves."""
    return _put_together(structure, iter(leaves))


def _put_together(structure, leaves):
    if structure is None:
        return next(leaves)
    if structure is _NOTHING:
        return None
    kind, keys, parts = structure
    values = [_put_together(part, leaves) for part in parts]
    if kind is dict:
        return dict(zip(keys, values, strict=True))
    return kind(*values) if hasattr(kind, "_fields") else kind(values)  # a namedtuple, or a tuple or list


def map_leaves(function, nest):
    """The nest with `function` applied to each leaf."""
    leaves, structure = flatten(nest)
    return unflatten(structure, [function(leaf) for leaf in leaves])
