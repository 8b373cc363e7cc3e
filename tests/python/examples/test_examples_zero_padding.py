"""The example zero_padding."""

import numpy as np
import pytest

import chainrule as cr

EXAMPLE = "zero_padding"


@pytest.mark.parametrize("filter", [1, 3, 5, 7])
def test_half_the_filter_keeps_the_size(example, filter):
    assert example.sizes(32, filter, 50, (filter - 1) // 2) == [32] * 51
    layer = cr.nn.Conv2d(1, 1, filter, padding=(filter - 1) // 2)
    assert layer(np.zeros((1, 32, 32, 1), np.float32)).shape == (1, 32, 32, 1)


def test_without_padding_each_layer_takes_the_filter_less_one(example):
    assert example.sizes(32, 3, 16, 0) == list(range(32, 0, -2))
    assert example.sizes(20, 5, 3, 0) == [20, 16, 12, 8]


def test_times_read_is_a_count_of_windows(example):
    for padding in (0, 1):
        count = np.zeros((7 + 2 * padding,) * 2)
        for i in range(5 + 2 * padding):
            for j in range(5 + 2 * padding):
                count[i : i + 3, j : j + 3] += 1
        inside = count[1:-1, 1:-1] if padding else count
        np.testing.assert_allclose(example.times_read(7, 3, padding), inside / 9)


def test_padding_keeps_the_say_of_the_border_in_deep_nets(example):
    without, with_zeros = (example.times_read(12, 3, padding, 5)[0, 0] for padding in (0, 1))
    assert without < 1e-3 < 0.15 < with_zeros


def test_what_is_printed(printed):
    assert "3 x 3, padding 0: 32 30 28 26 24 22 20 18 16 14 12 10 8 6 4 2 and no further" in printed
    assert "3 x 3, padding 1: 32 32" in printed
    assert f"layers: 1, padding 0: a corner is read {1 / 9:.1%} as often as the middle, the middle" in printed
    assert f"layers: 1, padding 1: a corner is read {4 / 9:.1%} as often as the middle, the middle" in printed
    assert "of an edge 66.7%" in printed and "of an edge 33.3%" in printed
