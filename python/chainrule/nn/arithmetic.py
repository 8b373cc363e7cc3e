"""Convolution arithmetic: sizes, parameters and receptive fields of convolutions and poolings in a row, on paper.

    output size        (W - F + 2 P) / S + 1
    parameters         F F C K + K               C channels, K filters; none for pooling
    receptive field    r + (F - 1) j             r, j of the layer before; 1 and 1 for the image
    its stride         j S

W is the size of one side, F of the filter, S the stride, P the padding on both sides.

Sources: CS231n, Convolutional Neural Networks, "Spatial arrangement"; Araujo, Norris and Sim, Computing Receptive
Fields of Convolutional Neural Networks, Distill, 2019, equations 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.gates.convolution import integer
from chainrule.nn.table import table


@dataclass(frozen=True)
class LayerArithmetic:
    """One layer of `convolution_arithmetic`.

    Attributes:
        filter, stride, padding: as given.
        output_size: the length of one side.
        channels: of the output.
        parameters: weights and biases.
        receptive_field: the pixels of the image along one side that one output depends on; those in the padding
            count too.
        receptive_stride: how many pixels of the image lie between the fields of neighbours.
    """

    filter: int
    stride: int
    padding: int
    output_size: int
    channels: int
    parameters: int
    receptive_field: int
    receptive_stride: int


@dataclass(frozen=True)
class Arithmetic:
    """What `convolution_arithmetic` found; `print` shows it as a table.

    Attributes: layers, a tuple of LayerArithmetic.
    """

    layers: tuple[LayerArithmetic, ...]

    @property
    def output_size(self) -> int:
        """The length of one side of the last output."""
        return self.layers[-1].output_size

    @property
    def parameters(self) -> int:
        """Those of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def receptive_field(self) -> int:
        """The pixels along one side that one value of the last output depends on."""
        return self.layers[-1].receptive_field

    def __str__(self):
        head = ("layer", "filter", "stride", "padding", "output", "parameters", "field", "its stride")
        rows = [
            (
                str(i),
                f"{layer.filter} x {layer.filter}",
                str(layer.stride),
                str(layer.padding),
                f"{layer.output_size} x {layer.output_size} x {layer.channels}",
                f"{layer.parameters:,}",
                str(layer.receptive_field),
                str(layer.receptive_stride),
            )
            for i, layer in enumerate(self.layers, 1)
        ]
        return table(head, rows, left=1)


def output_size(size, filter, stride=1, padding=0) -> int:
    """The length of one side after a convolution or pooling: (size - filter + 2 padding) / stride + 1.

    Args:
        size: pixels along the side.
        filter: of the filter or window along the side.
        stride: from one place of the filter to the next.
        padding: zeros on both ends.

    Errors: ValueError for a filter that is larger than the padded side, a stride that does not divide (the message
    says by how much, and what would fit), or numbers out of range; TypeError for what is no integer. The layers
    themselves take such strides, and leave the last pixels out.

    >>> import chainrule as cr
    >>> cr.nn.output_size(227, 11, stride=4)  # AlexNet's first layer
    55
    >>> cr.nn.output_size(32, 5, stride=2)
    Traceback (most recent call last):
    ValueError: output_size: (32 - 5 + 2*0) / 2 is no whole number: the last 1 of the pixels would meet no filter; a \
stride of 1 or 3 fits
    """
    return _output_size("output_size", size, filter, stride, padding)


def _output_size(where, size, filter, stride, padding):
    size, filter, stride, padding = (
        integer(where, name, value)
        for name, value in (("size", size), ("filter", filter), ("stride", stride), ("padding", padding))
    )
    for name, value, least in (
        ("size", size, 1),
        ("filter", filter, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
    ):
        if value < least:
            raise ValueError(f"{where}: {name} {value}: give {least} or more")
    room = size - filter + 2 * padding
    if room < 0:
        raise ValueError(
            f"{where}: a filter of {filter} does not fit into {size} + 2*{padding} pixels: give a smaller one, or pad "
            f"by {-(room // 2) + padding}"
        )
    if room % stride:
        strides = [s for s in range(1, max(filter, stride) + 1) if room % s == 0]
        fits = f"a stride of {_either(strides)}"
        rooms = {p: size - filter + 2 * p for p in range(filter // 2 + 1)}
        paddings = [p for p, other in rooms.items() if other >= 0 and other % stride == 0]
        if paddings:
            fits += f" or a padding of {_either(paddings)}"
        raise ValueError(
            f"{where}: ({size} - {filter} + 2*{padding}) / {stride} is no whole number: the last {room % stride} of "
            f"the pixels would meet no filter; {fits} fits"
        )
    return room // stride + 1


def _either(numbers):
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last


def convolution_arithmetic(size, layers: Sequence, channels=3) -> Arithmetic:
    """Output sizes, parameters and receptive fields of convolutions and poolings in a row.

    Args:
        size: of one side of the image, which is square.
        layers: for each (filter, stride, padding, filters), or (filter, stride, padding) for pooling, which has no
            parameters and keeps the channels.
        channels: of the image.

    Errors: as `output_size`, naming the layer; ValueError for no layers.

    >>> import chainrule as cr
    >>> lenet = cr.nn.convolution_arithmetic(28, [(5, 1, 2, 6), (2, 2, 0), (5, 1, 0, 16), (2, 2, 0)], channels=1)
    >>> print(lenet)
    layer  filter  stride  padding        output  parameters  field  its stride
    1       5 x 5       1        2   28 x 28 x 6         156      5           1
    2       2 x 2       2        0   14 x 14 x 6           0      6           2
    3       5 x 5       1        0  10 x 10 x 16       2,416     14           2
    4       2 x 2       2        0    5 x 5 x 16           0     16           4
    """
    name = "convolution_arithmetic"
    channels = integer(name, "channels", channels)
    if channels < 1:
        raise ValueError(f"{name}: channels {channels}: give 1 or more")
    found = []
    field = step = 1
    for i, layer in enumerate(layers, 1):
        where = f"{name}: layer {i}"
        if not isinstance(layer, (tuple, list)) or len(layer) not in (3, 4):
            raise ValueError(
                f"{where}: {layer!r}: give (filter, stride, padding) and, for a convolution, filters"
            )
        filter, stride, padding = (
            integer(where, name, value)
            for name, value in zip(("filter", "stride", "padding"), layer, strict=False)
        )
        size = _output_size(where, size, filter, stride, padding)
        parameters = 0
        if len(layer) == 4:
            filters = integer(where, "filters", layer[3])
            if filters < 1:
                raise ValueError(f"{where}: filters {filters}: give 1 or more")
            parameters = filter * filter * channels * filters + filters
            channels = filters
        field += (filter - 1) * step
        step *= stride
        found.append(LayerArithmetic(filter, stride, padding, size, channels, parameters, field, step))
    if not found:
        raise ValueError(f"{name}: no layers: give one or more")
    return Arithmetic(tuple(found))
