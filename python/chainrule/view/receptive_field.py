"""What part of an image the units of a layer see."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.nn import Module

Span = tuple[int, int]  # from a number up to another, itself left out


@dataclass(frozen=True)
class Sight:
    """The windows of the image that the units of a layer see, all of one size; they may reach beyond the image.

    Attributes:
        starts: for each row of the layer's maps, and for each column, where its windows begin.
        size: (height, width).
    """

    starts: tuple[tuple[int, ...], tuple[int, ...]]
    size: tuple[int, int]

    def window(self, row: int, column: int) -> tuple[Span, Span]:
        """The rows and columns of the image seen from a place in the layer's maps."""
        top, left = self.starts[0][row], self.starts[1][column]
        return (top, top + self.size[0]), (left, left + self.size[1])


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
    if last.receptive_starts is not None:
        return Sight(last.receptive_starts, last.receptive_field)
    rows, columns = last.output_shape[:2] if len(last.output_shape) == 3 else (1, 1)
    return Sight(((0,) * rows, (0,) * columns), tuple(input_shape[:2]))
