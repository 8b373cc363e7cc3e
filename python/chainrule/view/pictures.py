"""Weights and data as images: uint8 arrays (N, H, W, C), with NumPy alone. Encoding files is left to `png`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Picture:
    """An image (H, W, C) uint8, gray or RGB, and what stands below it; `note` is a second, fainter line."""

    image: np.ndarray
    caption: str = ""
    note: str = ""


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


def filters(weights: np.ndarray) -> np.ndarray:
    """A first convolution's filters as images, scaled as `templates` does: what each looks for in a window.

    Args:
        weights: (height, width, channels, filters), floating point, finite; 1 channel is gray, 3 are red, green, blue.

    Returns: (filters, height, width, channels) uint8.

    Errors: TypeError for weights that are not floating point; ValueError for other channels, another shape or values
    that are not finite.

    >>> filters(np.array([-1.0, 0.5, 1.0, 0.0]).reshape(2, 2, 1, 1))[0, :, :, 0]
    array([[  1, 192],
           [255, 128]], dtype=uint8)
    """
    weights = np.asarray(weights)
    if weights.ndim != 4 or weights.shape[2] not in (1, 3) or 0 in weights.shape:
        raise ValueError(
            f"filters: weights {weights.shape}: give (height, width, channels, filters) of 1 or 3 channels, not empty"
        )
    return templates(weights.reshape(-1, weights.shape[3]), weights.shape[:3])


def as_colours(image: np.ndarray) -> np.ndarray:
    """An image as it is shown: gray and RGB as they are, RGBA over white, of any other number of channels the mean.

    Args:
        image: (H, W, C) uint8.

    Returns: (H, W, 1 or 3) uint8.

    Errors: TypeError for an image that is not uint8; ValueError for another shape.

    >>> as_colours(np.array([[[255, 0, 0, 51]]], np.uint8)).tolist()
    [[[255, 204, 204]]]
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(f"as_colours: image is {image.dtype}: give uint8")
    if image.ndim != 3 or image.shape[2] == 0:
        raise ValueError(f"as_colours: image {image.shape}: give (H, W, C)")
    if image.shape[2] in (1, 3):
        return image
    if image.shape[2] == 4:
        share = image[..., 3:] / 255
        return np.rint(image[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
    return np.rint(image.mean(axis=2, keepdims=True)).astype(np.uint8)


def signed_pixels(values: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Values of both signs, as a gradient has them, as one image: 0 is mid-gray (128), in each channel.

    Args:
        values: (H, W, C), floating point, finite.
        share: which share of the magnitudes lies within the scale; the rest are clipped. 1 clips nothing.

    Returns: (H, W, C) uint8; where all within the scale is 0, mid-gray.

    Errors: TypeError for values that are not floating point; ValueError for another shape, values that are not
    finite, or a share that is not above 0 and at most 1.

    >>> signed_pixels(np.array([[[-2.0], [0.0], [1.0]]]))[0, :, 0]
    array([  1, 128, 192], dtype=uint8)
    """
    values = np.asarray(values)
    if values.dtype.kind != "f":
        raise TypeError(f"signed_pixels: values are {values.dtype}: give floating point")
    if values.ndim != 3 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"signed_pixels: values {values.shape}: give (H, W, C), not empty, all of them finite"
        )
    if not 0 < share <= 1:
        raise ValueError(f"signed_pixels: share {share}: give a number above 0 and at most 1")
    values = values.astype(np.float64)
    scale = np.quantile(np.abs(values), share)
    shares = values / scale if scale > 0 else np.zeros_like(values)
    return np.rint(128 + 127 * np.clip(shares, -1, 1)).astype(np.uint8)


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map enlarged or shrunk by linear interpolation between the middles of its pixels; constant beyond the outer.

    Args:
        values: (H, W) or (H, W, C), any real dtype.
        size: (height, width) of the result.

    Returns: float64 of that size.

    Errors: ValueError for another shape, or sizes below 1.

    >>> resize(np.array([[0.0, 1.0]]), (1, 4))
    array([[0.  , 0.25, 0.75, 1.  ]])
    """
    values = np.asarray(values, np.float64)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ValueError(f"resize: values {values.shape}: give (H, W) or (H, W, C), not empty")
    if min(size) < 1:
        raise ValueError(f"resize: size {size}: give at least 1")
    for axis in (0, 1):
        values = _interpolate(values, axis, size[axis])
    return values


def _interpolate(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    have = values.shape[axis]
    at = np.clip((np.arange(size) + 0.5) * have / size - 0.5, 0, have - 1)
    below = np.floor(at).astype(int)
    share = (at - below).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    before, after = (np.take(values, i, axis) for i in (below, np.minimum(below + 1, have - 1)))
    return before * (1 - share) + after * share


# The colours of a heat map from cold to hot, evenly spaced: dark violet, purple, red, orange, pale yellow. Their
# lightness rises throughout, so that they read as well in gray.
HEAT = np.array([[20, 11, 52], [95, 24, 110], [173, 48, 95], [231, 95, 50], [252, 165, 18], [252, 255, 164]])


def heat(values: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """A map in colours, from dark violet for the lower end of the range over red to pale yellow for the upper.

    Args:
        values: (H, W), any real dtype; values beyond the range are clipped, NaN is the lower end.
        value_range: (cold, hot), cold < hot.

    Returns: (H, W, 3) uint8.

    Errors: ValueError for another shape or a range that is none.

    >>> heat(np.array([[0.0, 1.0]]), (0, 1)).tolist()
    [[[20, 11, 52], [252, 255, 164]]]
    """
    values = np.asarray(values, np.float64)
    cold, hot = value_range
    if values.ndim != 2:
        raise ValueError(f"heat: values {values.shape}: give (H, W)")
    if not cold < hot:
        raise ValueError(f"heat: range {value_range}: give (cold, hot) with cold < hot")
    at = np.clip(np.nan_to_num((values - cold) / (hot - cold)), 0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(at, steps, HEAT[:, i]) for i in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def overlay(image: np.ndarray, values: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """A heat map laid over an image, half and half: the image in gray under the colours.

    Args:
        image: (H, W, C) uint8.
        values: (rows, columns), enlarged to the image by `resize`.
        value_range: as for `heat`.

    Returns: (H, W, 3) uint8.

    Errors: TypeError for an image that is not uint8; ValueError for other shapes.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(f"overlay: image is {image.dtype}: give uint8")
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"overlay: image {image.shape}: give (H, W, C), not empty")
    gray = image.mean(axis=2, keepdims=True)
    colours = heat(resize(values, image.shape[:2]), value_range)
    return np.rint(0.5 * gray + 0.5 * colours).astype(np.uint8)


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
