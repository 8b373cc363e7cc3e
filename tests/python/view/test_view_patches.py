"""The patches that excite a unit most by brute force, and what a unit sees against arithmetic and perturbation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.view import activations, backproject, cut, exciting_patches, sight

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


@given(*[st.tuples(st.integers(-9, 12), st.integers(1, 9)) for _ in range(2)])
def test_cut_may_reach_beyond_the_image(rows, columns):
    rows, columns = ((first, first + size) for first, size in (rows, columns))
    np.testing.assert_array_equal(cut(X[0], rows, columns, 7), padded(X[0], rows, columns, 7))


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
    made, jump, span, start, size = [], 1, 1, 0, 30
    for kind, kernel, stride, padding in settings:
        padding = min(padding, kernel // 2)
        if size + 2 * padding < kernel:
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
        size = (size + 2 * padding - kernel) // stride + 1
    seen = sight(nn.Sequential(*made), str(len(made) - 1), (30, 30, 1))
    for i in range(size):
        first = start + i * jump
        assert seen.window(i, 0) == ((first, first + span), (start, start + span))


def test_units_see_what_changes_them():
    """In the middle of a large image: the pixels that a unit's gradient reaches, with weights of one sign."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 5, padding=2, rng=0),
        nn.Residual(nn.Conv2d(2, 2, 3, padding=1, rng=1), nn.ReLU()),
        nn.AvgPool2d(3, 2, 1),
        nn.Conv2d(2, 2, (3, 1), rng=2),
    )
    for p in model.parameters():
        p.data[...] = np.abs(p.data) + 0.1
    reached = (
        backproject(model, np.ones((40, 40, 1), np.float32), layer="3", unit=1, place=(8, 9))[..., 0] != 0
    )
    rows, columns = sight(model, "3", (40, 40, 1)).window(8, 9)
    expected = np.zeros((40, 40), bool)
    expected[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(reached, expected)


def test_each_unit_behind_a_transposed_convolution_sees_what_changes_it():
    """Neighbours see more and less of the image, at uneven distances (stride 3, windows of 4)."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, rng=0),
        nn.ConvTranspose2d(2, 2, 4, 3, 1, rng=1),
        nn.Conv2d(2, 1, 2, 2, rng=2),
    )
    for p in model.parameters():
        p.data[...] = np.abs(p.data) + 0.1
    seen = sight(model, "2", (20, 20, 1))
    for row in range(9, 15):
        found = backproject(model, np.ones((20, 20, 1), np.float32), layer="2", unit=0, place=(row, 12))
        rows = np.nonzero(found[..., 0].any(axis=1))[0]
        (low, high), _ = seen.window(row, 12)
        assert rows[0] == low and rows[-1] < high == low + seen.size[0]


def test_containers_see_what_their_last_layer_sees_and_single_units_the_whole_image():
    model = cr.models.AllConvNet(seed=0)
    assert sight(model, "features", (32, 32, 3)).size == (27, 27)
    assert sight(model, "", (32, 32, 3)) == sight(model, "classifier", (32, 32, 3))
    assert sight(net(), "6", (10, 12, 2)).window(0, 0) == ((0, 10), (0, 12))
    assert sight(net(), "", (10, 12, 2)).window(0, 0) == ((0, 10), (0, 12))

    class Unused(nn.Module):
        def __init__(self):
            self.a, self.b = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.a(x)

    with pytest.raises(ValueError, match="sight: layer 'b' does not run"):
        sight(Unused(), "b", (4, 4, 1))
