"""Which arguments of a function are differentiated: argnums."""

from __future__ import annotations


def of_chosen(operation, f, args, kwargs, argnums):
    """f as a function of the chosen arguments alone, and the values that they have in args.

    Errors: TypeError for argnums that are no integers, IndexError for an argument that is not there, ValueError for
    one named twice.
    """
    places = _places(operation, args, argnums)

    def of_them(*parts):
        full = list(args)
        for i, part in zip(places, parts, strict=True):
            full[i] = part
        return f(*full, **kwargs)

    return of_them, tuple(args[i] for i in places)


def _places(operation, args, argnums):
    chosen = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for i in chosen:
        if not isinstance(i, int):
            raise TypeError(f"{operation}: argnums {argnums}: give an integer, or a tuple of them")
        if not -len(args) <= i < len(args):
            raise IndexError(f"{operation}: argnums {argnums}: there are {len(args)} positional arguments")
    places = [i % len(args) for i in chosen]
    if len(set(places)) != len(places):
        raise ValueError(f"{operation}: argnums {argnums} names an argument twice")
    return places
