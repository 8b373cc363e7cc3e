"""What part of an image the units of a layer see."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chainrule.nn import Module

Span = tuple[int, int]  # from a number up to another, itself left out


@dataclass(frozen=True)
class Sight:
    """The windows of the image that the units of a layer see, all of one size; they may reach beyond the image.

    Attributes:
        start: (row, column) at which the first window begins.
        step: how many rows and columns further the next one lies; 0 where all are the same.
        size: (height, width).
    """

    start: tuple[int, int]
    step: tuple[float, float]
    size: tuple[int, int]

    def window(self, row: int, column: int) -> tuple[Span, Span]:
        """The rows and columns of the image seen from a place in the layer's maps."""
        first = [math.floor(self.start[i] + at * self.step[i]) for i, at in enumerate((row, column))]
        return tuple((first[i], first[i] + self.size[i]) for i in (0, 1))


def sight(model: Module, layer: str, input_shape: tuple[int, int, int]) -> Sight:
    """What the units of a layer see of an image: their receptive fields, as `Module.summary` finds them.

    Units that have no place of their own, as those of a linear layer, see the whole image; so do, as far as is known,
    units behind an operation that the summary does not know.

    Args:
        model: a Module.
        layer: its dotted name.
        input_shape: (height, width, channels) of an image.

    Errors: ValueError for a layer that does not run; those of `Module.summary`.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 2, 5, padding=2, rng=0), cr.nn.MaxPool2d(2))
    >>> sight(net, "1", (8, 8, 1)).window(1, 0)
    ((0, 6), (-2, 4))
    """
    # A module without work of its own has no line: what it gives is what the last one in it gives.
    inside = f"{layer}." if layer else ""
    lines = [
        row for row in model.summary(input_shape).layers if row.name == layer or row.name.startswith(inside)
    ]
    lines = [row for row in lines if row.output_shape is not None]
    if not lines:
        raise ValueError(f"sight: layer {layer!r} does not run")
    last = lines[-1]
    if last.receptive_stride is None or len(last.output_shape) != 3:
        return Sight((0, 0), (0, 0), tuple(input_shape[:2]))
    return Sight(last.receptive_start, last.receptive_stride, last.receptive_field)
