"""Convolution arithmetic against the layers themselves, and the cases of the lectures."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import nn

LAYER = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 24), LAYER)
def test_output_size_is_that_of_the_layer_or_says_what_is_left_over(size, layer):
    filter, stride, padding, filters = layer
    room = size - filter + 2 * padding
    if room < 0:
        with pytest.raises(
            ValueError, match=re.escape(f"output_size: a filter of {filter} does not fit into")
        ) as e:
            nn.output_size(size, filter, stride, padding)
        more = int(re.search(r"pad by (\d+)", str(e.value))[1])  # the least padding that does
        assert 0 <= size - filter + 2 * more <= 1
        return
    if room % stride:
        with pytest.raises(
            ValueError, match=re.escape(f"({size} - {filter} + 2*{padding}) / {stride} is no whole")
        ) as e:
            nn.output_size(size, filter, stride, padding)
        strides, _, paddings = str(e.value).partition("; ")[2].partition(" or a padding of ")
        for other in map(int, re.findall(r"\d+", strides)):
            assert nn.output_size(size, filter, other, padding) >= 1
        for other in map(int, re.findall(r"\d+", paddings)):
            assert nn.output_size(size, filter, stride, other) >= 1
        return
    y = nn.Conv2d(2, filters, filter, stride, padding)(np.zeros((1, size, size, 2), np.float32))
    assert y.shape == (1, *[nn.output_size(size, filter, stride, padding)] * 2, filters)


def test_the_lectures_cases():
    # CS231n, Convolutional Neural Networks, "Spatial arrangement".
    assert nn.output_size(7, 3, 1, 0) == 5
    assert nn.output_size(7, 3, 2, 0) == 3
    assert nn.output_size(5, 3, 1, 1) == 5
    assert nn.output_size(227, 11, 4, 0) == 55
    with pytest.raises(ValueError, match=re.escape("output_size: (10 - 3 + 2*0) / 2 is no whole number")):
        nn.output_size(10, 3, 2, 0)  # "(10 - 3 + 0) / 2 + 1 = 4.5"
    for filter in (1, 3, 5, 7):  # P = (F - 1) / 2 keeps the size
        assert nn.output_size(32, filter, 1, (filter - 1) // 2) == 32


def test_alexnet_by_hand():
    # Krizhevsky et al. 2012, without its two groups: (11 x 11 x 3 + 1) 96 and (5 x 5 x 96 + 1) 256 parameters.
    found = nn.convolution_arithmetic(227, [(11, 4, 0, 96), (3, 2, 0), (5, 1, 2, 256), (3, 2, 0)], channels=3)
    assert [layer.output_size for layer in found.layers] == [55, 27, 27, 13]
    assert [layer.parameters for layer in found.layers] == [34_944, 0, 614_656, 0]
    assert [layer.channels for layer in found.layers] == [96, 96, 256, 256]
    assert [layer.receptive_field for layer in found.layers] == [11, 19, 51, 67]
    assert [layer.receptive_stride for layer in found.layers] == [4, 8, 8, 16]
    assert (found.output_size, found.parameters, found.receptive_field) == (13, 649_600, 67)


def test_numbers_of_small_types_do_not_wrap():
    sizes = [(16, 1, 0, 20), (3, 1, 1, 100)]
    small = [tuple(np.uint8(n) for n in layer) for layer in sizes]
    assert nn.convolution_arithmetic(np.uint8(200), small) == nn.convolution_arithmetic(200, sizes)


def test_three_small_filters_see_what_one_large_does_with_fewer_parameters():
    # CS231n, "Prefer a stack of small filter CONV": 27 C^2 weights against 49 C^2.
    c = 16
    small = nn.convolution_arithmetic(32, [(3, 1, 1, c)] * 3, channels=c)
    large = nn.convolution_arithmetic(32, [(7, 1, 3, c)], channels=c)
    assert small.receptive_field == large.receptive_field == 7
    assert small.parameters - 3 * c == 27 * c**2 and large.parameters - c == 49 * c**2


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)),
        min_size=1,
        max_size=4,
    )
)
def test_it_agrees_with_the_summary_of_the_layers(layers):
    size, channels, made = 64, 2, []
    for filter, stride, padding, filters in layers:
        made.append(nn.Conv2d(channels, filters, filter, stride, padding))
        channels = filters
    try:
        found = nn.convolution_arithmetic(size, layers, channels=2)
    except ValueError:  # a stride that does not fit
        return
    rows = nn.Sequential(*made).summary((size, size, 2)).layers
    for layer, row in zip(found.layers, rows, strict=True):
        assert row.output_shape == (layer.output_size, layer.output_size, layer.channels)
        assert row.parameters == layer.parameters
        assert row.receptive_field == (layer.receptive_field,) * 2
        assert row.receptive_stride == (layer.receptive_stride,) * 2


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            (32, 5, 2),
            ValueError,
            "(32 - 5 + 2*0) / 2 is no whole number: the last 1 of the pixels would meet no",
        ),
        ((10, 3, 3), ValueError, "a stride of 1 or a padding of 1 fits"),
        (
            (2, 5, 1, 1),
            ValueError,
            "a filter of 5 does not fit into 2 + 2*1 pixels: give a smaller one, or pad by 2",
        ),
        ((0, 1), ValueError, "size 0: give 1 or more"),
        ((5, 0), ValueError, "filter 0: give 1 or more"),
        ((5, 1, 0), ValueError, "stride 0: give 1 or more"),
        ((5, 1, 1, -1), ValueError, "padding -1: give 0 or more"),
        ((5.0, 1), TypeError, "size 5.0 is not an integer"),
        ((5, "3"), TypeError, "filter '3' is not an integer"),
        ((2**70, 3), ValueError, "size 1180591620717411303424 overflows 64 bits"),
    ],
)
def test_wrong_sizes_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        nn.output_size(*arguments)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((32, []), ValueError, "convolution_arithmetic: no layers: give one or more"),
        (
            (32, [(3, 1)]),
            ValueError,
            "convolution_arithmetic: layer 1: (3, 1): give (filter, stride, padding)",
        ),
        ((32, [(3, 1, 1), (3, 2, 0)]), ValueError, "layer 2: (32 - 3 + 2*0) / 2 is no whole number"),
        ((32, [(3, 1, 1, 0)]), ValueError, "layer 1: filters 0: give 1 or more"),
        ((32, [(3, 1, 1, 4)], 0), ValueError, "channels 0: give 1 or more"),
        ((32, [5]), ValueError, "layer 1: 5: give (filter, stride, padding)"),
    ],
)
def test_wrong_layers_are_refused_by_number(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        nn.convolution_arithmetic(*arguments)
