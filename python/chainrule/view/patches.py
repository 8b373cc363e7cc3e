"""The patches of images that excite a unit most: what it has learned to look for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chainrule.nn import Module
from chainrule.view.layers import activations, as_inputs
from chainrule.view.receptive_field import Span, sight


class Patches(NamedTuple):
    """For each unit the patches that excite it most, the strongest first.

    Attributes:
        images: (units, count, height, width, channels), the patches, of one size, in the dtype of the images.
        activations: (units, count), what the unit gives for each.
        indices: (units, count) int64, which image each is from; never two of a unit from the same.
        places: (units, count, 2) int64, (row, column) in the layer's maps; (0, 0) in a layer without.
    """

    images: np.ndarray
    activations: np.ndarray
    indices: np.ndarray
    places: np.ndarray


def exciting_patches(
    model: Module,
    inputs: np.ndarray,
    layer: str,
    units: Sequence[int] | None = None,
    count: int = 9,
    *,
    images: np.ndarray | None = None,
    fill: float = 0,
    batch_size: int = 250,
) -> Patches:
    """The patches that excite units of a layer most: of each image the place where the unit is largest, of those the
    largest, cut out as far as the unit sees.

    Args:
        model: a Module.
        inputs: (N, height, width, channels) as the model takes them, floats.
        layer: its dotted name; a layer of maps or of single units, which see the whole image.
        units: their numbers along the layer's last axis; None is all.
        count: how many patches of each, at most N.
        images: (N, height, width, C), what the patches are cut from, as the images before normalisation; None is the
            inputs.
        fill: what stands in a patch where the unit sees beyond the image, into padding.
        batch_size: how many inputs go through the model at a time.

    Errors: TypeError for inputs that are no floats; ValueError for an unknown layer, a unit that it does not have, a
    count below 1 or above N, or images that do not fit the inputs.

    Zeiler and Fergus, 2014, section 4, and Springenberg et al., 2015, section 4, show such patches.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 4, 3, padding=1, rng=0), cr.nn.ReLU(), cr.nn.MaxPool2d(2))
    >>> x = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    >>> exciting_patches(net, x, "2", count=5).images.shape
    (4, 5, 4, 4, 1)
    """
    name = "exciting_patches"
    inputs = as_inputs(name, inputs, batch=True)
    images = inputs if images is None else np.asarray(images)
    if inputs.ndim != 4 or images.ndim != 4 or images.shape[:3] != inputs.shape[:3]:
        raise ValueError(
            f"{name}: inputs {inputs.shape}, images {images.shape}: give (N, height, width, channels)"
        )
    if not 1 <= count <= len(inputs):
        raise ValueError(f"{name}: count {count} of {len(inputs)} images: give 1 to {len(inputs)}")
    largest, where, width = _largest(model, inputs, layer, batch_size)
    units = range(largest.shape[1]) if units is None else units
    for unit in units:
        if not 0 <= unit < largest.shape[1]:
            raise ValueError(f"{name}: unit {unit}: layer {layer!r} has units 0 to {largest.shape[1] - 1}")
    chosen = list(units)
    indices = np.argsort(-largest[:, chosen], axis=0, kind="stable")[:count].T
    columns = np.array(chosen)[:, None]
    places = np.stack(np.divmod(where[indices, columns], width), axis=-1)
    seen = sight(model, layer, inputs.shape[1:])
    patches = np.array(
        [
            [cut(images[i], *seen.window(*place), fill) for i, place in zip(row, spots, strict=True)]
            for row, spots in zip(indices, places, strict=True)
        ]
    )
    return Patches(patches, largest[indices, columns], indices, places)


def _largest(
    model: Module, inputs: np.ndarray, layer: str, batch_size: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """For each input and unit the largest value and its place, (N, units) each, and the maps' width."""
    values, places, width = [], [], 1
    for i in range(0, len(inputs), batch_size):
        maps = activations(model, inputs[i : i + batch_size], [layer])[layer]
        if maps.ndim not in (2, 4):
            raise ValueError(
                f"exciting_patches: layer {layer!r} gives {maps.shape}: name one of units or maps"
            )
        width = maps.shape[2] if maps.ndim == 4 else 1
        flat = maps.reshape(len(maps), -1, maps.shape[-1])
        places.append(flat.argmax(axis=1))
        values.append(flat.max(axis=1))
    return np.concatenate(values), np.concatenate(places), width


def cut(image: np.ndarray, rows: Span, columns: Span, fill: float = 0) -> np.ndarray:
    """A part of an image that may reach beyond it.

    Args:
        image: (H, W, C).
        rows, columns: from a number up to another, itself left out; they may lie outside.
        fill: what stands there.

    Returns: (rows, columns, C) of the image's dtype.

    >>> cut(np.ones((2, 2, 1)), (1, 4), (-1, 1))[..., 0].tolist()
    [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    """
    patch = np.full((rows[1] - rows[0], columns[1] - columns[0], image.shape[2]), fill, image.dtype)
    (top, bottom), (left, right) = np.clip(rows, 0, image.shape[0]), np.clip(columns, 0, image.shape[1])
    part = image[top:bottom, left:right]
    patch[top - rows[0] : bottom - rows[0], left - columns[0] : right - columns[0]] = part
    return patch
