"""Nests: any tuples, lists and dicts of leaves, taken apart and put together again."""

from __future__ import annotations


def flatten(nest) -> tuple[list, object]:
    """The leaves in order, and the structure that `unflatten` takes. Dict keys go in sorted order."""
    leaves: list = []

    def walk(part):
        if isinstance(part, dict):
            keys = sorted(part)
            return ("dict", tuple(keys), tuple(walk(part[k]) for k in keys))
        if isinstance(part, (tuple, list)):
            return (type(part), None, tuple(walk(p) for p in part))
        leaves.append(part)
        return None

    structure = walk(nest)
    return leaves, structure


def unflatten(structure, leaves):
    """The nest of this structure with these leaves."""
    remaining = iter(leaves)

    def build(part):
        if part is None:
            return next(remaining)
        kind, keys, parts = part
        if kind == "dict":
            return {k: build(p) for k, p in zip(keys, parts, strict=True)}
        values = [build(p) for p in parts]
        if hasattr(kind, "_fields"):  # a namedtuple
            return kind(*values)
        return kind(values)

    return build(structure)


def map_leaves(function, nest):
    """The nest with `function` applied to each leaf."""
    leaves, structure = flatten(nest)
    return unflatten(structure, [function(leaf) for leaf in leaves])
