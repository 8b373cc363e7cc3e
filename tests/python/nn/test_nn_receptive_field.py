"""Receptive fields of summaries against the pixels that gradients really reach."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn

SIZE = 96  # an image in whose middle no field reaches the edge


class Pad(nn.Module):
    def forward(self, x):
        return cr.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)))


class Crop(nn.Module):
    def forward(self, x):
        return x[:, 1:-2, 2:]


class Thin(nn.Module):
    def forward(self, x):
        return x[:, ::2, ::3]


class Turn(nn.Module):
    def forward(self, x):
        return cr.transpose(x, (0, 2, 1, 3))


class Beside(nn.Module):
    """Two branches of different fields, channel by channel."""

    def __init__(self):
        self.wide, self.narrow = conv(5, padding=2), conv((1, 3), padding=((0, 0), (2, 0)))

    def forward(self, x):
        return cr.concatenate([self.wide(x), self.narrow(x)], axis=3) @ np.full((2, 1), 0.5)


def conv(kernel, stride=1, padding=0, dilation=1):
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, dtype=np.float64)
    layer.weight.value[...] = 1 / layer.weight.size
    return layer


def transposed(kernel, stride, padding, output_padding=0):
    layer = nn.ConvTranspose2d(1, 1, kernel, stride, padding, output_padding, dtype=np.float64)
    layer.weight.value[...] = 1 / layer.weight.size
    return layer


# Layers of one channel whose weights are positive: no path cancels another. They sum to 1: nothing saturates.
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
LAYERS = st.one_of(
    st.builds(conv, PAIR, st.integers(1, 2), st.integers(0, 2), st.integers(1, 2)),
    st.builds(lambda size, stride: nn.AvgPool2d(size, stride), PAIR, PAIR),
    st.builds(transposed, st.integers(1, 4), st.integers(1, 3), st.integers(0, 1)),
    st.sampled_from([nn.Tanh, nn.Softplus, Pad, Crop, Thin, Beside]).map(lambda kind: kind()),
    st.builds(lambda: nn.Residual(conv(3, padding=1), nn.Sigmoid(), conv((3, 1), padding=((2, 0), (0, 0))))),
    st.builds(lambda: nn.Residual(conv(3, 2, 1), shortcut=conv(1, 2))),
)


def reached(model, row, column):
    """The rows and columns of the image that a gradient at one place of the output reaches: (low, high) of each."""
    x = cr.tensor(np.full((1, SIZE, SIZE, 1), 0.01), dtype="float64", requires_grad=True)
    y = model(x)
    gradient = np.zeros(y.shape)
    gradient[0, row, column] = 1
    y.backward(gradient)
    _, rows, columns, _ = np.nonzero(x.grad.numpy())
    return [(where.min(), where.max() + 1) if len(where) else (0, 0) for where in (rows, columns)]


@settings(max_examples=60, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=4))
def test_the_field_is_what_gradients_reach(layers):
    model = nn.Sequential(*layers)
    try:
        row = model.summary((SIZE, SIZE, 1)).layers[-1]
    except ValueError:  # nothing is left of the image
        return
    height, width, _ = row.output_shape
    # Places around the middle, as many as there are phases of up to three strides of 2.
    boxes = [
        [
            (i, reached(model, i, width // 2)[0])
            for i in range(max(height // 2 - 4, 0), min(height // 2 + 4, height))
        ],
        [
            (i, reached(model, height // 2, i)[1])
            for i in range(max(width // 2 - 4, 0), min(width // 2 + 4, width))
        ],
    ]
    for axis, intervals in enumerate(boxes):
        # Padding takes away pixels of fields that reach so near the edge.
        edge = max(9, row.receptive_stride[axis])
        inside = [(i, low, high) for i, (low, high) in intervals if low >= edge and high <= SIZE - edge]
        field, starts = row.receptive_field[axis], row.receptive_starts[axis]
        for place, low, high in inside:
            assert low == starts[place]
            assert high - low <= field
            if not any(isinstance(layer, nn.ConvTranspose2d) for layer in layers):
                assert high - low == field
        assert len(starts) == (height, width)[axis]
        if len(inside) > 1 and not any(isinstance(layer, nn.ConvTranspose2d) for layer in layers):
            assert {b[1] - a[1] for a, b in pairwise(inside)} == {row.receptive_stride[axis]}


def test_alone_a_transposed_convolution_reaches_as_far_as_it_says():
    for kernel, stride in ((2, 2), (3, 2), (4, 2), (5, 3), (1, 3)):
        model = nn.Sequential(transposed(kernel, stride, 0))
        row = model.summary((SIZE, SIZE, 1)).layers[0]
        middle = SIZE * stride // 2
        widths = []
        for i in range(middle, middle + stride):
            x = cr.tensor(np.ones((1, SIZE, SIZE, 1)), dtype="float64", requires_grad=True)
            model(x)[0, i, i, 0].backward()
            widths.append(len(np.unique(np.nonzero(x.grad.numpy())[1])))
        assert row.receptive_field == (max(widths),) * 2 == (math.ceil(kernel / stride),) * 2
        assert row.receptive_stride == (pytest.approx(1 / stride),) * 2


def test_what_no_pixel_reaches_has_no_field():
    (row,) = nn.Sequential(transposed(1, 3, 0)).summary((4, 4, 1)).layers
    assert row.receptive_field == (1, 1)
    assert row.receptive_starts == ((0, 0, 0, 1, 1, 1, 2, 2, 2, 3),) * 2


@pytest.mark.parametrize(
    "layers, fields",
    [
        ([nn.GlobalAvgPool2d()], [(8, 9)]),
        ([conv(3, padding=1), nn.GlobalMaxPool2d()], [(3, 3), (10, 11)]),
        ([conv(3), nn.Flatten(), nn.Tanh(), nn.Linear(42, 2)], [(3, 3), (3, 3), (3, 3), (8, 9)]),
        ([conv(2), nn.LayerNorm((7, 8, 1), dtype=np.float64), conv(2)], [(2, 2), (8, 9), (8, 9)]),
        ([conv(2), nn.LayerNorm(1, dtype=np.float64), nn.Softmax()], [(2, 2)] * 3),
        ([nn.Softmax(axis=(1, 2))], [(8, 9)]),
        ([nn.Softmax(axis=1)], [(8, 1)]),
    ],
)
def test_what_mixes_all_places_sees_all(layers, fields):
    rows = nn.Sequential(*layers).summary((8, 9, 1)).layers
    assert [row.receptive_field for row in rows] == fields


def test_a_turned_image_keeps_its_fields_but_its_places_are_not_known():
    rows = nn.Sequential(conv((3, 2)), Turn(), nn.Tanh(), conv(3)).summary((8, 8, 1)).layers
    assert [row.receptive_field for row in rows] == [(3, 2), (3, 2), (3, 2), None]
    assert [row.receptive_stride for row in rows] == [(1, 1), None, None, None]


class Excite(nn.Module):
    """Channels scaled by what all pixels say (squeeze and excitation)."""

    def forward(self, x):
        return x * cr.sigmoid(cr.mean(x, axis=(1, 2), keepdims=True))


class Attend(nn.Module):
    """Every pixel reads every other."""

    def forward(self, x):
        n, h, w, c = x.shape
        tokens = cr.reshape(x, (n, h * w, c))
        shares = cr.softmax(tokens @ cr.transpose(tokens, (0, 2, 1)))
        return cr.reshape(shares @ tokens, (n, h, w, c))


class Decode(nn.Module):
    """A vector made an image again."""

    def forward(self, x):
        return cr.reshape(cr.reshape(x, (1, -1)) @ np.ones((30, 8), np.float32), (1, 2, 2, 2))


@pytest.mark.parametrize("module", [Excite(), Attend(), Decode()])
def test_a_module_that_reads_all_pixels_everywhere_sees_all(module):
    (row,) = nn.Sequential(module).summary((5, 6, 1)).layers
    assert row.receptive_field == (5, 6) and row.receptive_stride is None
    after = nn.Sequential(module, nn.MaxPool2d(2)).summary((5, 6, 1)).layers[1]
    assert after.receptive_field == (5, 6)


class Reverse(cr.Gate):
    """A gate of one's own that turns rows around: nobody knows what it reads."""

    def forward(self, x):
        return np.ascontiguousarray(x[:, ::-1, ::2])

    def backward(self, gradient):
        raise NotImplementedError


class Doubled(cr.Gate):
    def forward(self, x):
        return 2 * x

    def backward(self, gradient):
        return 2 * gradient


class Applied(nn.Module):
    def __init__(self, gate):
        self.gate = gate

    def forward(self, x):
        return self.gate()(x)


def test_gates_of_ones_own():
    rows = nn.Sequential(conv(3), Applied(Doubled), Applied(Reverse), nn.Tanh()).summary((8, 8, 1)).layers
    assert [row.receptive_field for row in rows] == [(3, 3), (3, 3), None, None]
    assert rows[2].output_shape == (6, 3, 1)


def test_inputs_that_are_no_images_have_no_field():
    for shape in ((12,), (3, 4), (2, 3, 4, 5)):
        rows = nn.Sequential(nn.Tanh(), nn.Flatten()).summary(shape).layers
        assert all(row.receptive_field is None and row.receptive_stride is None for row in rows)


def test_known_fields():
    # Araujo et al. 2019, table 1: AlexNet (v2) 195, VGG-16 212, both at their last feature maps with stride 32.
    alexnet = [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 2)]
    vgg16 = [(3, 1), (3, 1), (2, 2)] * 2 + [(3, 1), (3, 1), (3, 1), (2, 2)] * 3
    for layers, field in ((alexnet, 195), (vgg16, 212)):
        net = nn.Sequential(*(nn.MaxPool2d(size, stride) for size, stride in layers))
        row = net.summary((256, 256, 1)).layers[-1]
        assert row.receptive_field == (field, field)
        assert row.receptive_stride == (32, 32)
