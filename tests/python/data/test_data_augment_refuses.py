"""What Augment refuses, in words."""

import numpy as np
import pytest

from chainrule.data import Augment, Scale, Standardise, Whiten


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((300, 12, 10, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"flip": "left"}, ValueError, "flip='left' is not 'random', 'alternate' or None"),
        ({"padding": "wrap"}, ValueError, "padding='wrap' is not 'zero' or 'reflect'"),
        ({"translate": -1}, ValueError, "translate -1 is not in 0 to"),
        ({"translate": 1.5}, TypeError, "translate 1.5 is no integer"),
        ({"translate": True}, TypeError, "translate True is no integer"),
        ({"cutout": -2}, ValueError, "cutout -2 is not in 0 to"),
        ({"crop": 0}, ValueError, "crop 0 is not in 1 to"),
        ({"crop": (3, 2, 1)}, ValueError, r"crop=\(3, 2, 1\) is no number or \(height, width\)"),
        ({"seed": -1}, ValueError, "seed -1 is not in 0 to"),
        ({"seed": 2**64}, ValueError, "seed 18446744073709551616 is not in 0 to"),
        ({"normalise": lambda x: x}, TypeError, "normalise is a function: give a fitted normaliser"),
    ],
)
def test_augment_refuses_bad_settings(options, error, message):
    with pytest.raises(error, match=f"^Augment: {message}"):
        Augment(**options)


@pytest.mark.parametrize(
    ("options", "epoch", "indices", "error", "message"),
    [
        ({"translate": 10}, 0, [0], ValueError, "augment: translate 10 for images of 12 x 10: give 0 to 9"),
        ({"crop": (13, 5)}, 0, [0], ValueError, "augment: crop 13 x 5 from padded images of 12 x 10"),
        (
            {"translate": 1, "crop": 13},
            0,
            [0],
            ValueError,
            "augment: crop 13 x 13 from padded images of 14 x 12",
        ),
        ({"cutout": 11}, 0, [0], ValueError, "augment: cutout 11 in images of 12 x 10: give 0 to 10"),
        ({"cutout": 4, "crop": 3}, 0, [0], ValueError, "augment: cutout 4 in images of 3 x 3: give 0 to 3"),
        ({}, -1, [0], ValueError, "Augment: epoch -1 is not in 0 to 4294967295"),
        ({}, 2**32, [0], ValueError, "Augment: epoch 4294967296 is not in"),
        ({}, 0.5, [0], TypeError, "Augment: epoch 0.5 is no integer"),
        ({}, 0, [0, 300], ValueError, "augment: index 300 at position 1 of 300 images"),
        ({}, 0, [-1], ValueError, "augment: index -1 at position 0 of 300 images"),
        ({}, 0, [2**63], ValueError, "augment: index -9223372036854775808 at position 0"),
        ({}, 0, [0.0], TypeError, "Augment: indices are float64, not integers"),
        ({}, 0, [[0, 1]], ValueError, r"augment: indices \(1, 2\) are not a list"),
        ({}, 0, 3, ValueError, r"augment: indices \(\) are not a list"),
    ],
)
def test_augment_refuses_what_does_not_fit_the_images(images, options, epoch, indices, error, message):
    indices = np.array(indices, np.uint64) if indices == [2**63] else indices
    with pytest.raises(error, match=f"^{message}"):
        Augment(**options)(images, indices, epoch)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[0], ValueError, r"Augment: images \(12, 10, 3\) are not \(N, height, width, channels\)"),
        (lambda x: x.astype(np.float64), TypeError, "augment: images are float64 of shape"),
        (lambda x: x.astype(np.int64), TypeError, "augment: images are int64 of shape"),
        (lambda x: x.astype(">f4"), TypeError, "augment: images are >f4 of shape"),
        (lambda x: x[:, ::2], TypeError, ".*give a C-contiguous array of float32 or uint8"),
        (lambda x: x[:, :0], ValueError, r"augment: images \(300, 0, 10, 3\) have no pixels"),
        (lambda x: x[:0], ValueError, "augment: index 0 at position 0 of 0 images"),
        (lambda x: x.tobytes(), ValueError, r"Augment: images \(\) are not"),
    ],
)
def test_augment_refuses_what_are_no_images(images, change, error, message):
    with pytest.raises(error, match=f"^{message}"):
        Augment()(change(images), [0], 0)


def test_augment_of_no_examples_or_no_channels_is_empty(images):
    assert Augment(flip="random")(images, [], 0).shape == (0, 12, 10, 3)
    assert Augment(flip="random", cutout=2)(images[..., :0].copy(), [1], 0).shape == (1, 12, 10, 0)


def test_normalise_refuses_what_it_cannot_do(images):
    photographs = np.zeros((4, 3, 3, 2), np.uint8)
    photographs[0] = 5
    by_pixel = Augment(normalise=Standardise().fit(photographs))
    with pytest.raises(ValueError, match=r"^Standardise: what a byte becomes depends on its place"):
        by_pixel(photographs, [0], 0)
    with pytest.raises(ValueError, match=r"^Whiten: what a byte becomes depends"):
        Augment(normalise=Whiten().fit(photographs))(photographs, [0], 0)
    with pytest.raises(ValueError, match=r"^Scale: fit it on the training inputs first"):
        Augment(normalise=Scale())(photographs, [0], 0)
    with pytest.raises(
        ValueError, match=r"^Augment: images of shape \(3, 3, 2\), the normaliser was fitted on"
    ):
        Augment(normalise=Scale().fit(photographs[:, :2]))(photographs, [0], 0)
    with pytest.raises(ValueError, match=r"^Augment: normalise is for uint8 images, not float32"):
        Augment(normalise=Scale().fit(images))(images, [0], 0)


def test_the_op_refuses_tables_and_indices_of_other_kinds(images):
    from chainrule import _core

    rest = (0, 0, False, (12, 10), 0, 0, 0)
    photographs, index = images.astype(np.uint8), np.zeros(1, np.int64)
    table = np.zeros((256, 3), np.float32)
    for arrays, error, message in [
        ((photographs, None, index), TypeError, "need a table"),
        ((photographs, table.astype(np.float64), index), TypeError, "need a table"),
        ((photographs, table[:, :2].copy(), index), ValueError, r"a table \(256, 2\) for images"),
        ((photographs, table[:255], index), ValueError, r"a table \(255, 3\) for images"),
        ((images, table, index), ValueError, "a table is for uint8"),
        ((images, None, index.astype(np.int32)), TypeError, "indices are int32"),
    ]:
        with pytest.raises(error, match=f"^augment: .*{message}"):
            _core.augment(*arrays, *rest)
    with pytest.raises(ValueError, match=r"^augment: flip 3: give 0, 1 or 2"):
        _core.augment(images, None, index, 3, *rest[1:])
