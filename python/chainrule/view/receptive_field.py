"""What part of an image the units of a layer see, found by trying: for nets of any shape, branches included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule import get_conv_algorithm, set_conv_algorithm
from chainrule.nn import Module
from chainrule.view.layers import activations

Span = tuple[int, int]  # from a number up to another, itself left out


@dataclass(frozen=True)
class Sight:
    """The rows and columns of the image that each row and column of a layer's maps depends on.

    Attributes:
        rows, columns: a span of the image for each; one in a layer of units.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def window(self, row: int, column: int) -> tuple[Span, Span]:
        """The rows and columns seen from a place in the maps. All windows are of one size, that of the largest: where
        the image's edge cuts one off, it goes on beyond."""
        return _whole(self.rows, row), _whole(self.columns, column)


def _whole(spans: tuple[Span, ...], at: int) -> Span:
    sizes = [last - first for first, last in spans]
    size = max(sizes)
    first, last = spans[at]
    # Before the first that is whole the image's beginning cuts spans off, after it its end.
    return (last - size, last) if at < sizes.index(size) else (first, first + size)


def sight(model: Module, layer: str, input_shape: tuple[int, int, int], dtype=np.float32) -> Sight:
    """What each unit of a layer sees of an image, in evaluation mode.

    One row of an image after the other is set to NaN, and so one column after the other: the units that turn to NaN
    depend on it.

    Args:
        model: a Module.
        layer: its dotted name; a layer of maps or of single units.
        input_shape: (height, width, channels) of an image.

    Errors: as `activations`.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 2, 5, padding=2, rng=0), cr.nn.MaxPool2d(2))
    >>> sight(net, "1", (8, 8, 1)).window(1, 0)
    ((0, 6), (-2, 4))
    """
    before = get_conv_algorithm()
    set_conv_algorithm("direct")  # Winograd's transforms would carry NaN to the neighbours in a tile
    try:
        return Sight(*(_spans(model, layer, input_shape, axis, dtype) for axis in (0, 1)))
    finally:
        set_conv_algorithm(before)


def _spans(model: Module, layer: str, input_shape, axis: int, dtype) -> tuple[Span, ...]:
    size = input_shape[axis]
    probes = np.zeros((size, *input_shape), dtype)
    np.moveaxis(probes, 1 + axis, 1)[np.arange(size), np.arange(size)] = np.nan
    values = activations(model, probes, [layer])[layer]
    maps = values if values.ndim == 4 else values[:, None, None]
    seen = np.isnan(maps).any(axis=(2 - axis, 3))  # (probes, rows or columns)
    return tuple((int(column.argmax()), size - int(column[::-1].argmax())) for column in seen.T)
