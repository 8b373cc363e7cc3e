"""Weights and data as images: uint8 arrays (N, H, W, C), with NumPy alone. Encoding files is left to `png`."""

from __future__ import annotations

import math

import numpy as np


def templates(weights: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """The columns of a first layer's weights as images: what each unit looks for.

    A gray image's weights are scaled symmetrically about 0, so that 0 is mid-gray (128), the greatest magnitude
    black or white. A colour image's are scaled from their least (0) to their greatest (255), over all channels.
    Each unit has a scale of its own; all-zero (or, in colour, constant) weights give mid-gray.

    Args:
        weights: (in_features, units), floating point, finite.
        image_shape: (H, W, C) with H W C = in_features; C = 1 is gray.

    Returns: (units, H, W, C) uint8.

    Errors: TypeError for weights that are not floating point; ValueError for shapes that clash or values that
    are not finite.

    >>> w = np.array([[-1.0], [0.0], [0.5], [1.0]])
    >>> templates(w, (2, 2, 1))[0, :, :, 0]
    array([[  1, 128],
           [192, 255]], dtype=uint8)
    """
    weights = np.asarray(weights)
    if weights.dtype.kind != "f":
        raise TypeError(f"templates: weights are {weights.dtype}: give floating point")
    if weights.ndim != 2 or len(image_shape) != 3 or weights.shape[0] != math.prod(image_shape):
        raise ValueError(
            f"templates: weights {weights.shape} and images {tuple(image_shape)} clash: give (H W C, units) "
            "and (H, W, C)"
        )
    if not np.isfinite(weights).all():
        raise ValueError("templates: weights hold NaN or infinity: give finite values")
    columns = weights.T.astype(np.float64)  # (units, in_features)
    if image_shape[2] == 1:
        scale = np.abs(columns).max(axis=1, keepdims=True, initial=0.0)
        pixels = 128 + 127 * np.divide(columns, scale, out=np.zeros_like(columns), where=scale > 0)
    else:
        low = columns.min(axis=1, keepdims=True, initial=np.inf)
        span = columns.max(axis=1, keepdims=True, initial=-np.inf) - low
        pixels = 255 * np.divide(columns - low, span, out=np.full_like(columns, 128 / 255), where=span > 0)
    return np.rint(pixels).astype(np.uint8).reshape(-1, *image_shape)


def to_pixels(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Images whose values run from black to white over `value_range`, as uint8; values beyond are clipped.

    Args:
        images: any shape, any real dtype.
        value_range: (black, white), black < white.

    Errors: ValueError for a range that is none.

    >>> to_pixels(np.array([0, 8, 16], np.uint8), (0, 16))
    array([  0, 128, 255], dtype=uint8)
    """
    black, white = value_range
    if not black < white:
        raise ValueError(f"to_pixels: range {value_range}: give (black, white) with black < white")
    scaled = (np.asarray(images, np.float64) - black) * (255 / (white - black))
    return np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)


def tile(images: np.ndarray, columns: int | None = None, gap: int = 1, zoom: int = 1) -> np.ndarray:
    """Images side by side in one image, row by row; gaps and missing places are white.

    Args:
        images: (N, H, W, C) uint8, N at least 1.
        columns: images in a row; by default the least number that makes the rows no more than the columns.
        gap: pixels between neighbours.
        zoom: pixels along each side of an image's pixel.

    Returns: (rows (zoom H + gap) - gap, columns (zoom W + gap) - gap, C) uint8.

    Errors: TypeError for images that are not uint8; ValueError for another shape, columns or zoom below 1, a
    negative gap.

    >>> tile(np.zeros((5, 8, 8, 1), np.uint8), columns=3, gap=2).shape
    (18, 28, 1)
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"tile: images are {images.dtype}: give uint8")
    if images.ndim != 4 or images.size == 0:
        raise ValueError(f"tile: images {images.shape}: give (N, H, W, C), not empty")
    count, height, width, channels = images.shape
    if columns is None:
        columns = math.isqrt(count - 1) + 1
    if columns < 1 or zoom < 1 or gap < 0:
        raise ValueError(f"tile: columns {columns}, gap {gap}, zoom {zoom}: give at least 1, 0 and 1")
    columns = min(columns, count)
    rows = -(-count // columns)
    height, width = height * zoom, width * zoom
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for i, image in enumerate(images.repeat(zoom, axis=1).repeat(zoom, axis=2)):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet
