"""The example parameter_sharing."""

import re

import numpy as np

import chainrule as cr

EXAMPLE = "parameter_sharing"


def test_counts_are_those_of_the_layers(example):
    counts = example.parameters()
    convolution = cr.nn.Conv2d(3, 6, 5)
    assert counts["convolution"] == (convolution.weight.size, convolution.bias.size) == (450, 6)
    # Each of the 28 x 28 x 6 outputs has 5 x 5 x 3 weights and a bias of its own, or 32 x 32 x 3.
    assert counts["locally connected"] == (4704 * 75, 4704)
    assert counts["fully connected"] == (4704 * 3072, 4704)
    small = cr.nn.Linear(6 * 5 * 2, 4 * 3 * 7)
    assert small.weight.size == (6 * 5 * 2) * (4 * 3 * 7)  # as a fully connected layer counts them


def test_a_locally_connected_layer_is_a_product_at_each_place(example):
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((4, 5, 12, 2))
    bias = rng.standard_normal((4, 5, 2))
    expected = np.empty((2, 4, 5, 2))
    for i in range(4):
        for j in range(5):
            expected[:, i, j] = x[:, i : i + 2, j : j + 2].reshape(2, 12) @ weight[i, j] + bias[i, j]
    np.testing.assert_allclose(example.locally_connected(x, weight, bias), expected, rtol=1e-12)


def test_with_shared_filters_it_is_the_convolution(example):
    filters, copies, x = example.shared_copies(np.random.default_rng(1))
    expected = cr.conv2d(x, filters)
    np.testing.assert_allclose(
        example.locally_connected(x, copies, np.zeros((6, 7, 4))), expected, atol=1e-12
    )


def test_a_shifted_image_gives_a_shifted_result_for_shared_weights_alone(example):
    filters, copies, x = example.shared_copies(np.random.default_rng(2))
    moved = np.roll(x, 1, axis=2)
    np.testing.assert_allclose(
        cr.conv2d(moved, filters)[:, :, 1:], cr.conv2d(x, filters)[:, :, :-1], atol=1e-12
    )
    copies *= np.random.default_rng(3).standard_normal(copies.shape)
    apart = [example.locally_connected(image, copies, np.zeros((6, 7, 4))) for image in (moved, x)]
    assert np.abs(apart[0][:, :, 1:] - apart[1][:, :, :-1]).max() > 1


def test_what_is_printed(printed):
    assert "convolution                 450 weights +     6 biases,         1 times" in printed
    assert "locally connected       352,800 weights + 4,704 biases,       784 times" in printed
    assert "fully connected      14,450,688 weights + 4,704 biases,    31,700 times" in printed
    differences = re.findall(r": (\S+) from (?:the convolution|that of the shared weights)", printed)
    assert len(differences) == 2 and all(float(value) < 1e-10 for value in differences)  # rounding
