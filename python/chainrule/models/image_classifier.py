"""What the convolutional classifiers share: the images they take, and how they are shown."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of, unbox
from chainrule.gates.convolution import integer
from chainrule.gates.shape import as_array
from chainrule.models.classifier import Classifier
from chainrule.nn.convolution import Conv2d


class ImageClassifier(Classifier):
    """A module from images (N, height, width, channels) to scores (N, classes).

    A subclass calls ``super().__init__`` with the sizes and defines ``scores``, which gets images of that shape.

    Args:
        input_shape: (height, width, channels) of one image.
        classes: their number.

    Attributes: input_shape, classes.

    Errors: ValueError for sizes below 1 or another number of them, TypeError for those that are no integers; at the
    call, ValueError for images of another shape, TypeError for those that are no floats.
    """

    def __init__(self, input_shape, classes):
        name = type(self).__name__
        sizes = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
        if len(sizes) != 3:
            raise ValueError(f"{name}: input_shape {input_shape!r}: give (height, width, channels)")
        self.input_shape = tuple(integer(name, "input_shape", size) for size in sizes)
        self.classes = integer(name, "classes", classes)
        if min(self.input_shape) < 1:
            raise ValueError(f"{name}: input_shape {self.input_shape}: give sizes of 1 or more")
        if self.classes < 1:
            raise ValueError(f"{name}: classes {self.classes}: give 1 or more")

    def forward(self, x):
        return self.scores(self.checked(x, type(self).__name__, "x"))

    def checked(self, images, operation, argument):
        """Images as an array or Tensor of floats (N, *input_shape); errors name the operation and argument."""
        images = as_array(images, operation, argument)
        dtype, shape = unbox(images).dtype, shape_of(images)
        if dtype.kind != "f":
            raise TypeError(
                f"{operation}: {argument} is an array of {dtype}: give float32 or float64, such as normalised images"
            )
        if len(shape) != 4 or shape[1:] != self.input_shape:
            wanted = ", ".join(map(str, self.input_shape))
            raise ValueError(
                f"{operation}: {argument} {shape} is not (N, {wanted}), the images it was made for"
            )
        return images

    def first_weights(self) -> np.ndarray:
        """The first convolution's weights, (kernel height, kernel width, channels, filters)."""
        return next(layer for layer in self.modules() if isinstance(layer, Conv2d)).weight.data


def check_fits(model: ImageClassifier, smallest: int, multiple: int = 1) -> None:
    """Refuse images whose sides are below `smallest`, or no multiple of `multiple`."""
    height, width, _ = model.input_shape
    if min(height, width) < smallest or height % multiple or width % multiple:
        rest = f" and divisible by {multiple}" if multiple > 1 else ""
        raise ValueError(
            f"{type(model).__name__}: images of {height} x {width}: give sides of at least {smallest}{rest}"
        )
