"""The patches that excite a unit most by brute force, and what a unit sees against arithmetic and perturbation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.view import activations, exciting_patches, sight

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 10, 12, 2)).astype(np.float32)


def net():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1, rng=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(150, 3, rng=2),
    )


def padded(image, rows, columns, fill):
    """image[rows, columns] of an endless plane around it."""
    plane = np.full((60, 60, image.shape[2]), fill, image.dtype)
    plane[20 : 20 + image.shape[0], 20 : 20 + image.shape[1]] = image
    return plane[20 + rows[0] : 20 + rows[1], 20 + columns[0] : 20 + columns[1]]


@pytest.mark.parametrize("batch_size", [7, 250])
def test_patches_are_those_of_the_largest_values(batch_size):
    model = net()
    maps = activations(model, X, ["4"])["4"]
    images = RNG.integers(0, 255, (30, 10, 12, 3), dtype=np.uint8)
    found = exciting_patches(model, X, "4", [3, 0, 3], count=6, images=images, fill=7, batch_size=batch_size)
    # A 3 x 3 window on pools of 2 on a 3 x 3 window: 8 x 8 pixels, two apart, from -3.
    assert found.images.shape == (3, 6, 8, 8, 3) and found.images.dtype == np.uint8
    for row, unit in enumerate([3, 0, 3]):
        best = [maps[i, ..., unit].max() for i in range(30)]
        order = sorted(range(30), key=lambda i: (-best[i], i))[:6]
        assert found.indices[row].tolist() == order
        for n, i in enumerate(order):
            r, c = found.places[row, n]
            assert found.activations[row, n] == best[i] == maps[i, r, c, unit]
            window = (2 * r - 3, 2 * r + 5), (2 * c - 3, 2 * c + 5)
            np.testing.assert_array_equal(found.images[row, n], padded(images[i], *window, 7))


def test_single_units_see_the_whole_image():
    found = exciting_patches(net(), X, "6", count=2)
    scores = net()(X).numpy()
    assert found.images.shape == (3, 2, 10, 12, 2) and not found.places.any()
    for unit in range(3):
        order = np.argsort(-scores[:, unit])[:2]
        assert found.indices[unit].tolist() == order.tolist()
        np.testing.assert_array_equal(found.images[unit], X[order])


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match="observe: the model has no layer '9'"):
        exciting_patches(net(), X, "9")
    for count in (0, 31):
        with pytest.raises(ValueError, match=f"exciting_patches: count {count} of 30 images: give 1 to 30"):
            exciting_patches(net(), X, "4", count=count)
    for unit in (5, -1):
        with pytest.raises(ValueError, match=f"exciting_patches: unit {unit}: layer '4' has units 0 to 4"):
            exciting_patches(net(), X, "4", [0, unit])
    with pytest.raises(
        ValueError, match=r"exciting_patches: inputs \(30, 10, 12, 2\), images \(30, 10, 12\)"
    ):
        exciting_patches(net(), X, "4", images=np.zeros((30, 10, 12)))
    with pytest.raises(TypeError, match="inputs are uint8"):
        exciting_patches(net(), X.astype(np.uint8), "4")


# ---- What a unit sees --------------------------------------------------------------------------------------

layers = st.lists(
    st.tuples(
        st.sampled_from(["conv", "max", "average"]), st.integers(1, 4), st.integers(1, 3), st.integers(0, 1)
    ),
    min_size=1,
    max_size=4,
)


@given(layers)
@settings(max_examples=40, deadline=None)
def test_chains_see_what_arithmetic_says(settings):
    """Dumoulin and Visin, 2016: jumps multiply, each window adds (size - 1) jumps, padding moves the start."""
    made, jump, span, start = [], 1, 1, 0
    rows = [{i} for i in range(30)]  # of the image that each row of the maps depends on
    for kind, kernel, stride, padding in settings:
        padding = min(padding, kernel // 2)
        if len(rows) + 2 * padding < kernel:
            return
        made.append(
            {
                "conv": lambda k, s, p: nn.Conv2d(1, 1, k, s, p, rng=0),
                "max": nn.MaxPool2d,
                "average": nn.AvgPool2d,
            }[kind](kernel, stride, padding)
        )
        start -= padding * jump
        span += (kernel - 1) * jump
        jump *= stride
        before = dict(enumerate(rows))
        tops = range(-padding, len(rows) + padding - kernel + 1, stride)
        rows = [set().union(*(before.get(top + k, set()) for k in range(kernel))) for top in tops]
    seen = sight(nn.Sequential(*made), str(len(made) - 1), (30, 30, 1))
    assert seen.rows == seen.columns == tuple((min(r), max(r) + 1) for r in rows)
    if any(last - first == span for first, last in seen.rows):
        for i in range(len(rows)):
            assert seen.window(i, i)[0] == (start + i * jump, start + i * jump + span)


def test_branches_see_what_any_of_them_sees():
    class Branches(nn.Module):
        def __init__(self):
            self.narrow, self.wide = nn.Conv2d(1, 2, 1, rng=0), nn.Conv2d(1, 2, 7, padding=3, rng=1)

        def forward(self, x):
            return cr.concatenate([self.narrow(x), self.wide(x)], axis=3)

    assert sight(Branches(), "", (20, 20, 1)).window(10, 0) == ((7, 14), (-3, 4))
    assert sight(Branches(), "narrow", (20, 20, 1)).window(10, 0) == ((10, 11), (0, 1))


@pytest.mark.parametrize("algorithm", ["auto", "winograd", "direct"])
def test_the_algorithm_in_use_makes_no_difference_and_stays(algorithm):
    before = cr.get_conv_algorithm()
    cr.set_conv_algorithm(algorithm)
    try:
        model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, rng=0), nn.Conv2d(16, 16, 3, padding=1, rng=1))
        assert sight(model, "1", (16, 16, 3)).window(5, 15) == ((3, 8), (13, 18))
        assert cr.get_conv_algorithm() == algorithm
    finally:
        cr.set_conv_algorithm(before)
