"""Weights and data as images: every pixel by its definition."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from chainrule.view import templates, tile, to_pixels
from chainrule.view.png import png_uri

weights = arrays(
    np.float32, st.tuples(st.just(12), st.integers(1, 4)), elements=st.floats(-100, 100, width=32)
)


@given(weights)
def test_gray_templates_are_symmetric_about_mid_gray(w):
    images = templates(w, (3, 4, 1))
    assert images.shape == (w.shape[1], 3, 4, 1) and images.dtype == np.uint8
    for unit, column in zip(images, w.T.astype(np.float64), strict=True):
        scale = np.abs(column).max()
        expected = 128 + 127 * column / scale if scale else np.full(12, 128.0)
        assert np.abs(unit.ravel() - expected).max() <= 0.5 + 1e-9
        assert (unit.ravel()[column == 0] == 128).all()
    assert np.abs(templates(-w, (3, 4, 1)).astype(int) + images - 256).max() <= 1


@given(weights)
def test_colour_templates_run_from_black_to_white(w):
    images = templates(w, (2, 2, 3))
    for unit, column in zip(images, w.T, strict=True):
        if column.min() == column.max():
            assert (unit == 128).all()
        else:
            assert unit.min() == 0 and unit.max() == 255
            assert (np.diff(unit.ravel()[np.argsort(column)].astype(int)) >= 0).all()


def test_templates_keep_the_order_of_pixels_and_channels():
    w = np.arange(24.0)[:, None]
    assert np.array_equal(
        templates(w, (2, 4, 3))[0], np.rint(np.arange(24).reshape(2, 4, 3) * 255 / 23).astype(np.uint8)
    )


def test_templates_of_the_greatest_numbers_do_not_overflow():
    big = np.finfo(np.float64).max
    assert templates(np.array([[-big], [0], [0], [big]]), (2, 2, 1)).ravel().tolist() == [1, 128, 128, 255]
    tiny = np.full((4, 1), 5e-324)
    assert (templates(tiny, (2, 2, 1)) == 255).all()


@pytest.mark.parametrize(
    ("w", "shape", "error", "message"),
    [
        (np.zeros((4, 2), int), (2, 2, 1), TypeError, "weights are int64"),
        (np.zeros(4), (2, 2, 1), ValueError, r"weights \(4,\) and images \(2, 2, 1\) clash"),
        (np.zeros((5, 2)), (2, 2, 1), ValueError, "clash"),
        (np.zeros((4, 2)), (2, 2), ValueError, "clash"),
        (np.array([[np.nan]]), (1, 1, 1), ValueError, "weights hold NaN or infinity"),
        (np.array([[np.inf]]), (1, 1, 1), ValueError, "weights hold NaN or infinity"),
    ],
)
def test_templates_refuse_what_are_no_weights_of_images(w, shape, error, message):
    with pytest.raises(error, match=f"^templates: .*{message}"):
        templates(w, shape)


def test_pixels_run_from_black_to_white_and_are_clipped():
    x = np.array([-5, 0, 4, 8, 16, 99])
    assert to_pixels(x, (0, 16)).tolist() == [0, 0, 64, 128, 255, 255]
    assert to_pixels(np.array([-1.0, 0.0, 1.0]), (-1, 1)).tolist() == [0, 128, 255]
    assert to_pixels(np.array([np.nan, np.inf, -np.inf]), (0, 1)).tolist() == [0, 255, 0]
    assert to_pixels(np.arange(256, dtype=np.uint8), (0, 255)).tolist() == list(range(256))
    for wrong in ((1, 1), (2, 1), (0, np.nan)):
        with pytest.raises(ValueError, match=r"^to_pixels: range"):
            to_pixels(x, wrong)


@given(st.integers(1, 9), st.none() | st.integers(1, 10), st.integers(0, 3), st.integers(1, 3))
def test_tile_puts_every_image_in_its_place(count, columns, gap, zoom):
    images = np.arange(count * 12, dtype=np.uint8).reshape(count, 2, 3, 2)
    sheet = tile(images, columns, gap, zoom)
    across = min(columns or int(np.ceil(np.sqrt(count))), count)
    seen = np.zeros(sheet.shape[:2], bool)
    for i, image in enumerate(images):
        top, left = i // across * (2 * zoom + gap), i % across * (3 * zoom + gap)
        place = sheet[top : top + 2 * zoom, left : left + 3 * zoom]
        assert np.array_equal(place, np.kron(image, np.ones((zoom, zoom, 1), np.uint8)))
        seen[top : top + 2 * zoom, left : left + 3 * zoom] = True
    assert (sheet[~seen] == 255).all()
    assert sheet.shape == (
        -(-count // across) * (2 * zoom + gap) - gap,
        across * (3 * zoom + gap) - gap,
        2,
    )


@pytest.mark.parametrize(
    ("images", "options", "error"),
    [
        (np.zeros((2, 3, 3, 1)), {}, TypeError),
        (np.zeros((3, 3, 1), np.uint8), {}, ValueError),
        (np.zeros((0, 3, 3, 1), np.uint8), {}, ValueError),
        (np.zeros((2, 3, 3, 1), np.uint8), {"columns": 0}, ValueError),
        (np.zeros((2, 3, 3, 1), np.uint8), {"gap": -1}, ValueError),
        (np.zeros((2, 3, 3, 1), np.uint8), {"zoom": 0}, ValueError),
    ],
)
def test_tile_refuses_what_are_no_images(images, options, error):
    with pytest.raises(error, match=r"^tile: "):
        tile(images, **options)


def decoded(uri):
    assert uri.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2], validate=True))) as image:
        return np.asarray(image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_holds_the_pixels(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 4, channels), dtype=np.uint8)
    expected = image[..., 0] if channels == 1 else image
    assert np.array_equal(decoded(png_uri(image)), expected)
    assert np.array_equal(decoded(png_uri(image[::2, ::-1])), expected[::2, ::-1])


@pytest.mark.parametrize("channels", [2, 5])
def test_png_of_other_channels_is_their_mean(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 4, channels), dtype=np.uint8)
    assert np.abs(decoded(png_uri(image)) - image.mean(axis=2)).max() <= 0.5


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((2, 2, 1)), TypeError),
        (np.zeros((2, 2), np.uint8), ValueError),
        (np.zeros((0, 2, 1), np.uint8), ValueError),
    ],
)
def test_png_refuses_what_is_no_image(image, error):
    with pytest.raises(error, match=r"^png_uri: image"):
        png_uri(image)
