"""Augmentation: the images of a batch gathered from the training array, moved, flipped and cut out in one pass."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from chainrule import _core
from chainrule.data.normalise import Normaliser

_FLIPS = {None: 0, "random": 1, "alternate": 2}
_PADDINGS = ("zero", "reflect")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes that leave an image's class alone: what `DataLoader(..., augment=...)` applies.

    What happens to an example follows from (seed, epoch, its index) alone, by the counting generator Philox (Salmon
    et al., 2011): the same for any number of threads, any batch size and order, and again after a resume in
    mid-epoch. There is no state to keep.

    Args:
        flip: exchange left and right. 'random' does so with probability 1/2, drawn anew each epoch; 'alternate' in
            every other epoch, in which of the two drawn once for each example, so that two epochs show each image
            both ways (Jordan, 94% on CIFAR-10 in 3.29 Seconds, 2024, section 3.6); None never.
        translate: move by up to so many pixels in both directions, every distance being as likely: a window of the
            image's size is taken from the image with so much padding.
        padding: what moves in: 'reflect' mirrors the image without repeating its border, 'zero' is 0.
        crop: the window's size, a number or (height, width), where it is not the image's own.
        cutout: the side of a square that becomes 0, centred on any pixel, so that parts of it may lie outside
            (DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017).
        normalise: a fitted normaliser, for images that are uint8: the result has the bits of normalising the whole
            array first, which takes four times the memory. It must treat all places alike: Scale, Identity, or
            Standardise per 'channel' or 'all'. Padding and cut-out are 0 after it, the mean of a standardised set.
        seed: of all draws, an integer from 0 to 2^64 - 1.

    Called as ``augment(images, indices, epoch)`` with images (N, H, W, C), C-contiguous float32 or uint8, indices
    (B,) and an epoch from 0, it returns a new float32 array (B, height, width, C). A function of one's own with
    these arguments serves a DataLoader as well, and may call an Augment first.

    Errors: ValueError for settings out of range, indices that are no examples, images smaller than what is done to
    them; TypeError for images of another dtype or layout.

    >>> import chainrule as cr, numpy as np
    >>> images = np.arange(12, dtype=np.float32).reshape(2, 1, 6, 1)
    >>> augment = cr.data.Augment(flip="alternate", seed=1)
    >>> [augment(images, [1], epoch).ravel().tolist() for epoch in (0, 1)]
    [[6.0, 7.0, 8.0, 9.0, 10.0, 11.0], [11.0, 10.0, 9.0, 8.0, 7.0, 6.0]]
    """

    flip: str | None = None
    translate: int = 0
    padding: str = "zero"
    crop: int | tuple[int, int] | None = None
    cutout: int = 0
    normalise: Normaliser | None = None
    seed: int = 0

    def __post_init__(self):
        if self.flip not in _FLIPS:
            raise ValueError(f"Augment: flip={self.flip!r} is not 'random', 'alternate' or None")
        if self.padding not in _PADDINGS:
            raise ValueError(f"Augment: padding={self.padding!r} is not 'zero' or 'reflect'")
        for name, least, most in (("translate", 0, 2**29), ("cutout", 0, 2**29), ("seed", 0, 2**64 - 1)):
            object.__setattr__(self, name, _within(name, getattr(self, name), least, most))
        if self.crop is not None:
            sides = self.crop if isinstance(self.crop, (tuple, list)) else (self.crop, self.crop)
            if len(sides) != 2:
                raise ValueError(f"Augment: crop={self.crop!r} is no number or (height, width)")
            object.__setattr__(self, "crop", tuple(_within("crop", side, 1, 2**31) for side in sides))
        if self.normalise is not None and not isinstance(self.normalise, Normaliser):
            raise TypeError(
                f"Augment: normalise is a {type(self.normalise).__name__}: give a fitted normaliser"
            )

    def __call__(self, images, indices, epoch) -> np.ndarray:
        images = np.asanyarray(images)
        indices = np.asarray(indices)
        if indices.dtype.kind not in "iu" and indices.size:
            raise TypeError(f"Augment: indices are {indices.dtype}, not integers")
        return _core.augment(
            images,
            self._table(images),
            indices.astype(np.int64, order="C", copy=False),
            _FLIPS[self.flip],
            self.translate,
            self.padding == "reflect",
            self.crop or images.shape[1:3],
            self.cutout,
            self.seed,
            _within("epoch", epoch, 0, 2**32 - 1),
        )

    def _table(self, images):
        if images.ndim != 4:
            raise ValueError(f"Augment: images {images.shape} are not (N, height, width, channels)")
        if images.dtype != np.uint8:
            if self.normalise is not None:
                raise ValueError(
                    f"Augment: normalise is for uint8 images, not {images.dtype}: normalise them once, before"
                )
            return None
        if self.normalise is None:
            return np.repeat(np.arange(256, dtype=np.float32)[:, None], images.shape[3], axis=1)
        table = self.normalise.byte_table()
        if self.normalise.input_shape != images.shape[1:]:
            raise ValueError(
                f"Augment: images of shape {images.shape[1:]}, the normaliser was fitted on "
                f"{self.normalise.input_shape}"
            )
        return table


def _within(name, value, least, most) -> int:
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"Augment: {name} {value!r} is no integer") from None
    if not least <= number <= most:
        raise ValueError(f"Augment: {name} {number} is not in {least} to {most}")
    return number
