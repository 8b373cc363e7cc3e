"""The example local_connectivity."""

import numpy as np

EXAMPLE = "local_connectivity"


def window(top, left, size, of):
    mask = np.zeros((of, of), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def test_a_unit_reads_its_window_alone(example):
    model = example.convolutions(5)
    for place in ((0, 0), (4, 6), (10, 3)):
        np.testing.assert_array_equal(example.pixels_read(model, place), window(*place, 5, example.SIZE))


def test_layers_add_their_filters_less_one(example):
    for filters in ((3, 3), (3, 3, 3), (5, 2, 4)):
        read = example.pixels_read(example.convolutions(*filters), (2, 1))
        field = 1 + sum(size - 1 for size in filters)
        np.testing.assert_array_equal(read, window(2, 1, field, example.SIZE))


def test_pixels_outside_the_window_change_nothing(example):
    model, rng = example.convolutions(3, 3), np.random.default_rng(2)
    one, other = rng.standard_normal((2, 1, 15, 15, 1))
    inside = window(4, 4, 5, 15)[None, :, :, None]
    mixed = np.where(inside, one, other)
    assert model(mixed).numpy()[0, 4, 4, 0] == model(one).numpy()[0, 4, 4, 0]
    assert model(mixed).numpy()[0, 4, 5, 0] != model(one).numpy()[0, 4, 5, 0]


def test_a_fully_connected_unit_reads_every_pixel(example):
    assert example.pixels_read(example.fully_connected(), None).all()


def test_what_is_printed(printed):
    assert "one convolution of 5 x 5, the unit at (4, 6): 25 of 225 pixels; the summary says 5 x 5" in printed
    assert (
        "three convolutions of 3 x 3, the unit at (4, 4): 49 of 225 pixels; the summary says 7 x 7" in printed
    )
    assert "a fully connected layer, one unit: 225 of 225 pixels; the summary says 15 x 15" in printed
    assert printed.count("#") == 25 + 49 + 225
