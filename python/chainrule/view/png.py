"""Image arrays as PNG data: for files, and for pages that hold their pictures in themselves."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from chainrule.view.pictures import as_colours

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def png_bytes(image: np.ndarray) -> bytes:
    """The image as the content of a PNG file.

    Args:
        image: (H, W, C) uint8. Gray, RGB and RGBA are shown as such, of any other C the mean of the channels.

    Errors: ValueError for another shape, TypeError for another dtype.

    >>> png_bytes(np.zeros((1, 1, 1), np.uint8))[:4]
    b'\x89PNG'
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(f"png_bytes: image is {image.dtype}: give uint8")
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"png_bytes: image {image.shape}: give (H, W, C), not empty")
    if image.shape[2] not in MODES:
        image = as_colours(image)
    pixels = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", optimize=True)
    return data.getvalue()


def png_uri(image: np.ndarray) -> str:
    """A data: URI with the image as PNG, as `png_bytes` makes it.

    >>> png_uri(np.zeros((1, 1, 1), np.uint8))[:30]
    'data:image/png;base64,iVBORw0K'
    """
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode()
