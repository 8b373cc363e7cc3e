"""Weights and data as images: every pixel by its definition."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from chainrule.view import filters, heat, overlay, resize, signed_pixels, templates, tile, to_pixels
from chainrule.view.pictures import as_colours
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


def test_filters_are_templates_of_their_windows():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        w = rng.standard_normal((5, 4, channels, 7)).astype(np.float32)
        images = filters(w)
        assert images.shape == (7, 5, 4, channels)
        assert np.array_equal(images, templates(w.reshape(-1, 7), (5, 4, channels)))
    for shape in ((5, 5, 2, 7), (5, 5, 3), (0, 5, 1, 7), (5, 5, 1, 0)):
        with pytest.raises(ValueError, match=r"^filters: weights"):
            filters(np.zeros(shape))
    with pytest.raises(TypeError, match=r"^templates: weights are int64"):
        filters(np.zeros((5, 5, 1, 2), int))


signed = arrays(np.float32, (3, 4, 2), elements=st.floats(-100, 100, width=32))


@given(signed)
def test_signed_pixels_are_symmetric_about_mid_gray(v):
    image = signed_pixels(v)
    scale = float(np.abs(v).max())
    expected = 128 + 127 * v.astype(float) / scale if scale else np.full(v.shape, 128.0)
    assert image.dtype == np.uint8 and np.abs(image - expected).max() <= 0.5 + 1e-9
    assert np.abs(signed_pixels(-v).astype(int) + image - 256).max() <= 1
    clipped = signed_pixels(v, 0.5)
    limit = np.quantile(np.abs(v), 0.5)
    beyond = (np.abs(v) >= limit) & (limit > 0)
    assert np.isin(clipped[beyond], (1, 255)).all()


def test_signed_pixels_refuse_what_is_no_picture():
    with pytest.raises(TypeError, match=r"^signed_pixels: values are int64"):
        signed_pixels(np.zeros((2, 2, 1), int))
    for wrong in (np.zeros((2, 2)), np.zeros((0, 2, 1)), np.full((2, 2, 1), np.nan)):
        with pytest.raises(ValueError, match=r"^signed_pixels: values"):
            signed_pixels(wrong)
    for share in (0, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"^signed_pixels: share"):
            signed_pixels(np.zeros((2, 2, 1)), share)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-9, 9)),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_resize_interpolates_between_the_middles_of_pixels(v, height, width):
    got = resize(v, (height, width))
    assert got.shape == (height, width)
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * v.shape[0] / height - 0.5, 0), v.shape[0] - 1)
            x = min(max((j + 0.5) * v.shape[1] / width - 0.5, 0), v.shape[1] - 1)
            a, b = int(y), int(x)
            c, d = min(a + 1, v.shape[0] - 1), min(b + 1, v.shape[1] - 1)
            top = v[a, b] * (1 - (x - b)) + v[a, d] * (x - b)
            bottom = v[c, b] * (1 - (x - b)) + v[c, d] * (x - b)
            assert abs(got[i, j] - (top * (1 - (y - a)) + bottom * (y - a))) < 1e-9
    assert np.array_equal(resize(v, v.shape), v)
    three = resize(np.stack([v, v, v], axis=-1), (height, width))
    assert np.array_equal(three[..., 1], got)


def test_resize_refuses_what_is_no_size():
    for wrong in (np.zeros(3), np.zeros((0, 2)), np.zeros((1, 2, 2, 1))):
        with pytest.raises(ValueError, match=r"^resize: values"):
            resize(wrong, (2, 2))
    with pytest.raises(ValueError, match=r"^resize: size \(0, 2\)"):
        resize(np.zeros((2, 2)), (0, 2))


def test_heat_rises_in_lightness_and_clips():
    colours = heat(np.linspace(-0.5, 1.5, 201)[None], (0, 1))[0].astype(float)
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) >= -0.5).all() and (np.diff(lightness)[55:145] > 0).mean() > 0.9
    assert (colours[:50] == colours[0]).all() and (colours[151:] == colours[-1]).all()
    assert (heat(np.array([[np.nan, -np.inf, np.inf]]), (0, 1))[0] == colours[[0, 0, -1]]).all()
    with pytest.raises(ValueError, match=r"^heat: range \(1, 1\)"):
        heat(np.zeros((2, 2)), (1, 1))
    with pytest.raises(ValueError, match=r"^heat: values \(2,\)"):
        heat(np.zeros(2), (0, 1))


def test_overlay_is_half_gray_half_heat():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    values = np.array([[0.0, 1.0]])
    expected = (image.mean(axis=2, keepdims=True) + heat(resize(values, (4, 6)), (0, 1))) / 2
    assert np.abs(overlay(image, values, (0, 1)) - expected).max() <= 0.5
    with pytest.raises(TypeError, match=r"^overlay: image is float64"):
        overlay(image / 255, values, (0, 1))
    with pytest.raises(ValueError, match=r"^overlay: image \(4, 6\)"):
        overlay(image[..., 0], values, (0, 1))


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
    with pytest.raises(error, match=r"^png_bytes: image"):
        png_uri(image)


def test_images_of_other_channels_are_shown_in_colours_or_gray():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        image = rng.integers(0, 256, (4, 5, channels), dtype=np.uint8)
        assert as_colours(image) is image
    image = rng.integers(0, 256, (4, 5, 4), dtype=np.uint8)
    paper = Image.new("RGBA", (5, 4), "white")
    shown = np.asarray(Image.alpha_composite(paper, Image.fromarray(image)).convert("RGB")).astype(int)
    assert np.abs(as_colours(image) - shown).max() <= 1
    image = rng.integers(0, 256, (4, 5, 2), dtype=np.uint8)
    assert as_colours(image).shape == (4, 5, 1)
    np.testing.assert_array_equal(as_colours(image)[..., 0], np.rint(image.mean(axis=2)))
    with pytest.raises(TypeError, match="as_colours: image is float64: give uint8"):
        as_colours(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"as_colours: image \(2, 2\): give \(H, W, C\)"):
        as_colours(np.zeros((2, 2), np.uint8))
