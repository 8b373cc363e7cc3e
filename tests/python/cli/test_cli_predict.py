"""`chainrule predict`: image files of many kinds become the inputs that the run was trained on."""

import re
import warnings

import numpy as np
import pytest
from PIL import Image

import chainrule as cr
from chainrule.cli.errors import CommandError
from chainrule.cli.images import read_image


@pytest.fixture
def digits(place):
    """PNG files of the first test digits, white on black, and their labels."""
    images, labels = cr.data.load_digits().test
    names = []
    for i in range(12):
        names.append(f"{i}.png")
        Image.fromarray((images[i, ..., 0] * (255 / 16)).round().astype(np.uint8)).save(place / names[-1])
    return names, labels[:12]


@pytest.mark.parametrize("model", ["softmax", "svm", "mlp"])
def test_predict_tells_the_digits_of_image_files(command, trained, digits, quick, model):
    names, labels = digits
    trained("run", "--model", model, "--epochs", 5, "--lr", 0.02)
    status, out, err = command("predict", "run", *names)
    assert (status, err) == (0, "")
    number = r"(\d+\.\d) %" if model != "svm" else r"(-?\d+\.\d{3})"
    right = 0
    for line, name, label in zip(out.splitlines(), names, labels, strict=True):
        match = re.fullmatch(rf"{name}: (\d)  \((\d) {number}, (\d) {number}, (\d) {number}\)", line)
        assert match[1] == match[2]
        values = [float(match[i]) for i in (3, 5, 7)]
        assert values == sorted(values, reverse=True)
        right += int(match[1]) == label
    assert right >= 11


def test_predict_inverts_dark_drawings_on_light_paper(command, trained, digits, place, quick):
    trained("run", "--epochs", 5)
    name = digits[0][0]
    with Image.open(place / name) as image:
        Image.fromarray(255 - np.asarray(image)).save(place / "dark.png")
    plain = command("predict", "run", name).out
    assert command("predict", "run", "dark.png", "--invert").out == plain.replace(name, "dark.png")


def test_predict_gives_probabilities_that_sum_to_one(command, trained, rows, place, quick):
    trained("run", "--data", "rows.npz", "--model", "softmax")
    Image.new("L", (4, 4)).save(place / "x.png")
    out = command("predict", "run", "x.png").out
    assert sum(map(float, re.findall(r"(\d+\.\d) %", out))) == pytest.approx(100, abs=0.2)


def test_predict_wants_images_that_can_be_read(command, refused, trained, digits, place, quick):
    trained("run")
    good = (place / digits[0][0]).read_bytes()
    (place / "cut.png").write_bytes(good[:-13])
    (place / "flip.png").write_bytes(good[:-20] + bytes([good[-20] ^ 1]) + good[-19:])
    (place / "text.png").write_text("not an image")
    (place / "empty.png").write_bytes(b"")
    (place / "folder.png").mkdir()
    for name, message in [
        ("absent.png", "image: absent.png: no such file"),
        ("cut.png", "image: cut.png: no image that can be read"),
        ("flip.png", "image: flip.png: no image that can be read"),
        ("text.png", "image: text.png: no image that can be read"),
        ("empty.png", "image: empty.png: no image that can be read"),
        ("folder.png", "image: folder.png: no image that can be read"),
        ("n" * 300, "no image that can be read"),
    ]:
        # An image that can be read comes first: nothing is printed before all are.
        assert message in refused("predict", "run", digits[0][0], name)


def test_predict_refuses_runs_on_what_are_no_images(refused, trained, place, quick):
    Image.new("L", (4, 4)).save(place / "x.png")
    np.savez(place / "v.npz", x=np.zeros((20, 6)), y=np.arange(20) % 2)
    trained("vectors", "--data", "v.npz", "--model", "softmax")
    assert "trained on vectors of 6 features" in refused("predict", "vectors", "x.png")
    np.savez(place / "w.npz", x=np.zeros((20, 2, 2, 2)), y=np.arange(20) % 2)
    trained("two", "--data", "w.npz", "--model", "softmax")
    assert "images of 2 channels" in refused("predict", "two", "x.png")


def test_predict_prints_names_that_the_output_cannot_encode(command, trained, digits, place, quick):
    trained("run")
    odd = "\udcff\u4e2d.png"
    (place / digits[0][0]).rename(place / odd)
    outcome = command("predict", "run", odd)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("\\udcff\u4e2d.png: ")


# Images


def save(place, array, **options):
    path = place / "i.png"
    Image.fromarray(array).save(path, **options)
    return str(path)


GRAY = np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)


def test_image_of_the_right_size_keeps_its_pixels(place):
    path = save(place, GRAY)
    assert np.array_equal(read_image(path, (4, 4, 1), (0, 255), False)[..., 0], GRAY)
    assert np.array_equal(read_image(path, (4, 4, 1), (0, 255), True)[..., 0], 255 - GRAY)
    scaled = read_image(path, (4, 4, 1), (-1.0, 1.0), False)
    np.testing.assert_allclose(scaled[..., 0], GRAY / 127.5 - 1, atol=1e-6)
    assert scaled.dtype == np.float32
    colours = read_image(path, (4, 4, 3), (0, 255), False)
    assert all(np.array_equal(colours[..., k], GRAY) for k in range(3))


def test_image_in_colour_becomes_gray_or_stays(place):
    colour = np.stack([GRAY, GRAY.T, 255 - GRAY], axis=-1)
    path = save(place, colour)
    assert np.array_equal(read_image(path, (4, 4, 3), (0, 255), False), colour)
    gray = read_image(path, (4, 4, 1), (0, 255), False)[..., 0]
    np.testing.assert_allclose(gray, colour @ [0.299, 0.587, 0.114], atol=1)  # ITU-R BT.601


def test_image_is_resized(place):
    path = save(place, GRAY.repeat(5, axis=0).repeat(3, axis=1))
    np.testing.assert_allclose(read_image(path, (4, 4, 1), (0, 255), False)[..., 0], GRAY, atol=25)
    assert read_image(path, (7, 2, 3), (0, 255), False).shape == (7, 2, 3)


def test_image_of_16_bits_keeps_its_range(place):
    path = save(place, GRAY.astype(np.uint16) * 257)
    assert np.array_equal(read_image(path, (4, 4, 1), (0, 255), False)[..., 0], GRAY)


def test_image_of_16_bits_with_a_transparent_shade_lies_on_white(place):
    gray = GRAY.astype(np.uint16) * 257
    path = save(place, gray, transparency=int(gray[2, 1]))
    expected = GRAY.copy()
    expected[2, 1] = 255
    assert np.array_equal(read_image(path, (4, 4, 1), (0, 255), False)[..., 0], expected)
    opacity = read_image(path, (4, 4, 4), (0, 255), False)[..., 3]
    assert np.array_equal(opacity, np.where(gray == gray[2, 1], 0, 255))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((4, 4), 0.5, np.float32), "floating-point numbers, whose scale is not known"),
        (np.full((4, 4), 70000, np.int32), "take more than 16 bits"),
        (np.full((4, 4), -1, np.int32), "take more than 16 bits"),
    ],
)
def test_image_of_unknown_scale_is_refused(place, pixels, message):
    path = place / "i.tiff"
    Image.fromarray(pixels).save(path)
    with pytest.raises(CommandError, match=f"i.tiff: no image that can be read: .*{message}"):
        read_image(str(path), (4, 4, 1), (0, 255), False)


def test_image_that_is_transparent_lies_on_white(place):
    rgba = np.stack([GRAY] * 3 + [np.where(GRAY > 100, 255, 0).astype(np.uint8)], axis=-1)
    path = save(place, rgba)
    expected = np.where(GRAY > 100, GRAY, 255)
    assert np.array_equal(read_image(path, (4, 4, 1), (0, 255), False)[..., 0], expected)
    assert np.array_equal(read_image(path, (4, 4, 4), (0, 255), False), rgba)
    inverted = read_image(path, (4, 4, 4), (0, 255), True)
    assert np.array_equal(inverted[..., 3], rgba[..., 3]) and np.array_equal(inverted[..., 0], 255 - GRAY)


def test_image_is_turned_as_its_camera_says(place):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show
    path = save(place, GRAY, exif=exif)
    assert np.array_equal(read_image(path, (4, 4, 1), (0, 255), False)[..., 0], np.rot90(GRAY, -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_image_of_any_mode_is_read(place, mode, channels):
    name = place / ("i.png" if mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "i.tiff")
    Image.new(mode, (5, 6)).save(name)
    image = read_image(str(name), (4, 4, channels), (0, 255), False)
    assert image.shape == (4, 4, channels) and np.isfinite(image).all()


def test_image_that_would_fill_the_memory_is_refused(place, monkeypatch):
    path = save(place, np.zeros((40, 40), np.uint8))
    for limit in (1000, 100):  # pillow warns beyond the limit, and stops beyond twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(CommandError, match=r"i\.png: no image that can be read: .*pixels"):
            read_image(path, (4, 4, 1), (0, 255), False)


def test_image_with_damaged_metadata_is_read_without_a_word(place, monkeypatch):
    path = save(place, GRAY)

    def transpose(image):
        warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
        return image

    monkeypatch.setattr("chainrule.cli.images.ImageOps.exif_transpose", transpose)
    assert read_image(path, (4, 4, 1), (0, 255), False).shape == (4, 4, 1)
