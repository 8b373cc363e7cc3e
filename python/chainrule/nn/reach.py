"""Which pixels of the image each value of a graph depends on, gate by gate.

Along each axis of the image the values of a layer see intervals of pixels that repeat: those of one period of values,
then the same ones some pixels further. The period is one value until a transposed convolution leaves neighbours that
see different parts. A window joins the intervals of the values in it (Araujo, Norris and Sim, Computing Receptive
Fields of Convolutional Neural Networks, Distill, 2019). Where branches meet, the interval is the least that holds both.

Pixels in the padding count, so a field may be larger than the image. A gate that is not known here is taken to work
on each value by itself where it keeps the shape; what it sees is unknown otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from chainrule.gates.convolution import Conv2d, Conv2dInputGradient
from chainrule.gates.index import Index
from chainrule.gates.matmul import Linear, Matmul
from chainrule.gates.normalise import LayerNorm
from chainrule.gates.pool import AveragePool2d, MaxPool2d
from chainrule.gates.reduce import Max, Min, Var
from chainrule.gates.shape import Concatenate, Pad, Reshape, Transpose
from chainrule.gates.softmax import LogSoftmax, Logsumexp, Softmax
from chainrule.gates.summation import Sum

Span = tuple[int, int]  # from a pixel up to another, itself left out


def _hull(spans: Iterable[Span | None]) -> Span | None:
    """The least interval that holds all; None, which holds no pixel, where all are None."""
    lows, highs = [], []
    for span in spans:
        if span is not None:
            lows.append(span[0])
            highs.append(span[1])
    return (min(lows), max(highs)) if lows else None


@dataclass(frozen=True)
class Axis:
    """What values see along one axis of the image.

    Attributes:
        spans: the intervals of the first values, one period of them. None is that of a value that sees no pixel, as
            between the windows of a transposed convolution whose stride is longer than they.
        advance: how many pixels further those of the next period lie; 0 where all periods see the same, None where
            values have no place along this axis any more.
        whole: the interval that all values together see.
    """

    spans: tuple[Span | None, ...]
    advance: int | None
    whole: Span | None

    @property
    def step(self) -> Fraction | None:
        """From one value's interval to the next, on average; None as for `advance`."""
        return None if self.advance is None else Fraction(self.advance, len(self.spans))

    @property
    def size(self) -> int:
        """The length of the longest interval."""
        return max(0 if span is None else span[1] - span[0] for span in self.spans)

    def at(self, place: int) -> Span | None:
        """The interval of a value, which may lie in the padding."""
        periods, phase = divmod(place, len(self.spans))
        span, moved = self.spans[phase], periods * (self.advance or 0)
        return None if span is None else (span[0] + moved, span[1] + moved)

    def starts(self, count: int) -> tuple[int, ...]:
        """Where the intervals of the first `count` values begin; that of one without, where the one before begins."""
        starts: list[int] = []
        for span in map(self.at, range(count)):
            starts.append(span[0] if span is not None else starts[-1] if starts else 0)
        return tuple(starts)

    def window(self, size, stride, before, dilation, count) -> Axis:
        """After a window of `size` values that starts `before` places outside."""
        shared = math.gcd(len(self.spans), stride)
        spans = [
            _hull(self.at(place * stride - before + i * dilation) for i in range(size))
            for place in range(len(self.spans) // shared)
        ]
        return _axis(spans, self.advance * (stride // shared), count)

    def spread(self, size, stride, before, dilation, count) -> Axis:
        """After the adjoint of such a window: each value reads every place whose window it lies in."""
        spans = []
        for place in range(len(self.spans) * stride):
            reads = [divmod(place + before - i * dilation, stride) for i in range(size)]
            spans.append(_hull(self.at(source) for source, rest in reads if rest == 0))
        return _axis(spans, self.advance, count)

    def everything(self, advance) -> Axis:
        """Values that each see what all saw."""
        return Axis((self.whole,), advance, self.whole)

    def without_place(self) -> Axis:
        """The same intervals, of values that stand in no row any more."""
        return replace(self, advance=None)

    def joined(self, other: Axis) -> Axis:
        """Values that see what either sees."""
        whole = _hull((self.whole, other.whole))
        if self.step != other.step:
            return Axis((whole,), None if None in (self.step, other.step) else 0, whole)
        period = math.lcm(len(self.spans), len(other.spans))
        spans = tuple(_hull((self.at(place), other.at(place))) for place in range(period))
        advance = None if self.advance is None else self.advance * (period // len(self.spans))
        return Axis(spans, advance, whole)


def _axis(spans: Sequence[Span | None], advance: int, count: int) -> Axis:
    """That of `count` values."""
    axis = Axis(tuple(spans), advance, None)
    return replace(axis, whole=_hull(axis.at(place) for place in range(count)))


@dataclass(frozen=True)
class Reach:
    """What the values of one array see: vertically and horizontally.

    Attributes:
        axes: the two Axis.
        mixed: whether values of other places stand along the last axis, as after flattening; a sum over it then sees
            what all see.
    """

    axes: tuple[Axis, Axis]
    mixed: bool = False

    @property
    def placed(self) -> bool:
        """Whether it is that of an image (N, height, width, channels)."""
        return self.axes[0].advance is not None and self.axes[1].advance is not None

    def everything(self, advance=None) -> Reach:
        return Reach(tuple(axis.everything(advance) for axis in self.axes), False)

    def flat(self, mixed) -> Reach:
        return Reach(tuple(axis.without_place() for axis in self.axes), mixed)


UNKNOWN = "unknown"


def of_image(height, width) -> Reach:
    """That of the image itself."""
    return Reach(tuple(Axis(((0, 1),), 1, (0, size)) for size in (height, width)))


def reach_after(gate, inputs, shapes, shape):
    """What a gate's output sees: a Reach, None where it does not depend on the image, or UNKNOWN.

    Args:
        gate: the gate.
        inputs: for each input what it sees, as this function gives it.
        shapes: of the inputs.
        shape: of the output.
    """
    if all(x is None for x in inputs):
        return None
    if any(x is UNKNOWN for x in inputs):
        return UNKNOWN
    return _rules.get(type(gate), _elementwise)(gate, inputs, shapes, shape)


def _image_sized(shape) -> bool:
    return len(shape) == 4


def _elementwise(gate, inputs, shapes, shape):
    try:
        if np.broadcast_shapes(*shapes) != shape:
            return UNKNOWN
    except ValueError:
        return UNKNOWN
    found = None
    for reach, own in zip(inputs, shapes, strict=True):
        if reach is None:
            continue
        if own != shape:
            if not _image_sized(shape):
                reach = reach.flat(reach.mixed)
            elif not reach.placed or own[1:3] != shape[1:3]:  # repeated over pixels
                reach = reach.everything(0)
        found = reach if found is None else _joined(found, reach)
    return found


def _joined(a: Reach, b: Reach) -> Reach:
    axes = tuple(mine.joined(other) for mine, other in zip(a.axes, b.axes, strict=True))
    return Reach(axes, a.mixed or b.mixed)


def _convolved(gate, inputs, shapes, shape):
    reach, size = inputs[0], shapes[1][:2]
    if reach is None or not reach.placed or inputs[1] is not None:
        return UNKNOWN
    stride, before, dilation = gate.window[:2], gate.window[2:6:2], gate.window[6:8]
    move = Axis.spread if isinstance(gate, Conv2dInputGradient) else Axis.window
    return Reach(
        tuple(
            move(axis, size[i], stride[i], before[i], dilation[i], shape[1 + i])
            for i, axis in enumerate(reach.axes)
        )
    )


def _pooled(gate, inputs, shapes, shape):
    (reach,) = inputs
    if not reach.placed:
        return UNKNOWN
    size, stride, before = gate.window[:2], gate.window[2:4], gate.window[4:6]
    return Reach(
        tuple(
            axis.window(size[i], stride[i], before[i], 1, shape[1 + i]) for i, axis in enumerate(reach.axes)
        )
    )


def _over(reach, axes, dimensions):
    """What values see that each read all others along some axes, in an array of as many axes as before."""
    if dimensions == 4 and reach.placed:
        return Reach(
            tuple(axis.everything(0) if 1 + i in axes else axis for i, axis in enumerate(reach.axes))
        )
    last = dimensions - 1
    apart = all(axis == 0 or (axis == last and not reach.mixed) for axis in axes)
    return reach if apart else reach.everything()


def _reduced(gate, inputs, shapes, shape):
    dimensions = len(shapes[0])
    reach = _over(inputs[0], gate.axes, dimensions)
    if gate.keepdims:
        return reach
    # Without its channels an image's last axis is one of places.
    return reach.flat(reach.mixed or (dimensions - 1 in gate.axes and len(shape) > 1))


def _normalised(gate, inputs, shapes, shape):
    dimensions = len(shape)
    last = range(dimensions - getattr(gate, "dimensions", 0), dimensions)  # a layer norm's
    return _over(inputs[0], tuple(last) or gate.axes, dimensions)


def _reshaped(gate, inputs, shapes, shape):
    (reach,), (before,) = inputs, shapes
    if _image_sized(shape):
        if reach.placed and before[1:3] == shape[1:3]:
            return reach
        return reach.everything(0)
    return reach.flat(reach.mixed or before[-1:] != shape[-1:])


def _transposed(gate, inputs, shapes, shape):
    (reach,) = inputs
    return reach if gate.axes == tuple(range(len(shape))) else reach.flat(True)


def _padded(gate, inputs, shapes, shape):
    (reach,) = inputs
    if not reach.placed or not gate.widths:
        return reach
    return Reach(
        tuple(axis.window(1, 1, gate.widths[1 + i][0], 1, shape[1 + i]) for i, axis in enumerate(reach.axes))
    )


def _concatenated(gate, inputs, shapes, shape):
    parts = [reach for reach in inputs if reach is not None]
    if _image_sized(shape) and gate.axis in (1, 2):
        parts = [reach.everything(0) for reach in parts]
    found = parts[0]
    for reach in parts[1:]:
        found = _joined(found, reach)
    return found


def _indexed(gate, inputs, shapes, shape):
    (reach,), (before,) = inputs, shapes
    where = gate.where if isinstance(gate.where, tuple) else (gate.where,)
    if reach.placed and _image_sized(shape):
        if before[1:3] == shape[1:3]:
            return reach
        if all(isinstance(part, slice) for part in where):
            slices = [where[1 + i] if len(where) > 1 + i else slice(None) for i in (0, 1)]
            bounds = [part.indices(size) for part, size in zip(slices, before[1:3], strict=True)]
            if all(skip > 0 for _, _, skip in bounds):
                return Reach(
                    tuple(
                        axis.window(1, skip, -start, 1, shape[1 + i])
                        for i, (axis, (start, _, skip)) in enumerate(zip(reach.axes, bounds, strict=True))
                    )
                )
        return reach.everything(0)
    return reach.everything(0 if _image_sized(shape) else None)


def _multiplied(gate, inputs, shapes, shape):
    left, right = inputs[:2]
    if right is None and (left.placed or not left.mixed):
        return left  # across channels
    found = None
    for reach in inputs:
        if reach is not None:
            reach = reach.everything(0 if _image_sized(shape) else None)
            found = reach if found is None else _joined(found, reach)
    return found


_rules = {
    Conv2d: _convolved,
    Conv2dInputGradient: _convolved,
    MaxPool2d: _pooled,
    AveragePool2d: _pooled,
    Sum: _reduced,
    Max: _reduced,
    Min: _reduced,
    Var: _reduced,
    Logsumexp: _reduced,
    Softmax: _normalised,
    LogSoftmax: _normalised,
    LayerNorm: _normalised,
    Reshape: _reshaped,
    Transpose: _transposed,
    Pad: _padded,
    Concatenate: _concatenated,
    Index: _indexed,
    Matmul: _multiplied,
    Linear: _multiplied,
}
