"""Image files as inputs of a trained run: its size, its channels, its range of values."""

from __future__ import annotations

import warnings

import numpy as np
from PIL import Image, ImageOps

from chainrule.cli.errors import CommandError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_image(
    path: str, shape: tuple[int, int, int], value_range: tuple[float, float], invert: bool
) -> np.ndarray:
    """The image as (H, W, C) float32, black and white at the ends of `value_range`.

    It is turned as its EXIF data say, laid on white where it is transparent, converted to gray or colour as the
    run needs, and resized without keeping its proportions. `invert` swaps black and white.

    Errors: CommandError naming the file; one of floating-point pixels is refused too.
    """
    height, width, channels = shape
    if channels not in MODES:
        raise CommandError(
            f"image: the run was trained on images of {channels} channels: image files have 1, 3 or 4"
        )
    try:
        with warnings.catch_warnings():
            # Damaged metadata do not matter: what does not stop pillow is no problem. But an image so large that
            # it warns is refused like one so large that it stops.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                file.verify()  # the checksums of PNG, which decoding leaves out
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
                image.load()
            pixels = _converted(image, MODES[channels]).resize((width, height), Image.Resampling.LANCZOS)
    except FileNotFoundError:
        raise CommandError(f"image: {path}: no such file") from None
    except Exception as error:  # decoders raise errors of many types on damaged files
        raise CommandError(f"image: {path}: no image that can be read: {error}") from None
    values = np.asarray(pixels, np.float32).reshape(shape)
    if invert:
        values = np.concatenate([255 - values[..., :3], values[..., 3:]], axis=-1)  # of all but transparency
    values = values / 255
    black, white = value_range
    return (black + (white - black) * values).astype(np.float32)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError(
            "its pixels are floating-point numbers, whose scale is not known: give one of 8 or 16 bits"
        )
    if image.mode.startswith("I"):
        image = _of_8_bits(image)
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert(mode)


def _of_8_bits(image: Image.Image) -> Image.Image:
    """A gray image of 16 bits a pixel, which pillow's own conversion cuts off at 255, and whose transparent shade, a
    number, it forgets."""
    values = np.asarray(image)
    if values.size and not 0 <= values.min() <= values.max() < 1 << 16:
        raise ValueError("its pixels take more than 16 bits: give one of 8 or 16 bits")
    gray = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    if "transparency" not in image.info:
        return gray
    opacity = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (gray, Image.fromarray(opacity)))
