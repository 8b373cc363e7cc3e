"""The all-convolutional nets, and the nets with pooling that they are compared with."""

from __future__ import annotations

from chainrule.models.conv_block import class_maps, conv_block
from chainrule.models.image_classifier import ImageClassifier, check_fits
from chainrule.nn.initialise import as_generator
from chainrule.nn.normalise import Dropout
from chainrule.nn.pool import GlobalAvgPool2d, MaxPool2d
from chainrule.nn.sequential import Sequential

# Table 1: the kernels of the convolutions before the first and before the second pooling.
KERNELS = {"A": (5,), "B": (5, 1), "C": (3, 3)}
VARIANTS = ("base", "strided", "convpool", "all")
WIDTHS = (96, 192)


class AllConvNet(ImageClassifier):
    """A net of the all-convolutional family under the softmax cross-entropy.

    Two stages of 96 and 192 maps, each halving the sides at its end, then convolutions of 3 x 3 (unpadded: 8 x 8
    pixels become the table's 6 x 6), 1 x 1 and 1 x 1 with one map a class, and their means over all pixels. Stages
    by base (table 1): "A" one convolution of 5 x 5; "B" 5 x 5 and 1 x 1; "C" two of 3 x 3. How a stage halves, by
    variant (table 2, there for C):

    - "base": max-pooling of 3 x 3 with stride 2;
    - "strided": no pooling; the last convolution before it has stride 2 (Strided-CNN);
    - "convpool": one more convolution of 3 x 3 before the pooling (ConvPool-CNN);
    - "all": a convolution of 3 x 3 with stride 2 in place of the pooling (All-CNN).

    Args:
        input_shape: (height, width, channels); sides of at least 9.
        classes: their number.
        base: "A", "B" or "C".
        variant: "base", "strided", "convpool" or "all".
        input_dropout, dropout: the probabilities on the image and at the end of each stage.
        batch_norm: normalise after each convolution but the last (not in the paper).
        last_relu: whether relu follows the last convolution too, as in the paper's table.
        seed: of the initial weights (He et al.; the last convolution's smaller, with bias 1 before a relu); None
            draws from the library's generator.

    Attributes: features, from images to the maps (N, height, width, classes); classifier, from those to scores.

    Errors: ValueError for settings that do not fit.

    Springenberg, Dosovitskiy, Brox and Riedmiller, Striving for Simplicity: The All Convolutional Net, 2015.

    >>> import chainrule as cr
    >>> net = cr.models.AllConvNet(base="C", variant="all", seed=0)
    >>> sum(p.size for p in net.parameters())
    1369738
    """

    def __init__(
        self,
        input_shape=(32, 32, 3),
        classes=10,
        *,
        base="C",
        variant="all",
        input_dropout=0.2,
        dropout=0.5,
        batch_norm=False,
        last_relu=True,
        seed=None,
    ):
        super().__init__(input_shape, classes)
        check_fits(self, 9)
        if base not in KERNELS:
            raise ValueError(f"AllConvNet: base {base!r}: give 'A', 'B' or 'C'")
        if variant not in VARIANTS:
            raise ValueError(f"AllConvNet: variant {variant!r}: give one of {VARIANTS}")
        settings = {"batch_norm": batch_norm, "rng": as_generator(seed)}
        layers, channels = [Dropout(input_dropout)], self.input_shape[2]
        for width in WIDTHS:
            for kernel, stride in stage(KERNELS[base], variant):
                layers += conv_block(channels, width, kernel, stride, kernel // 2, **settings)
                channels = width
            if variant in ("base", "convpool"):
                layers.append(MaxPool2d(3, 2, 1))
            layers.append(Dropout(dropout))
        layers += conv_block(channels, 192, 3, **settings)
        layers += conv_block(192, 192, 1, **settings)
        layers += class_maps(192, self.classes, relu=last_relu, rng=settings["rng"])
        self.features = Sequential(*layers)
        self.classifier = Sequential(GlobalAvgPool2d())

    def scores(self, x):
        return self.classifier(self.features(x))


def stage(kernels, variant):
    """(kernel, stride) of each convolution of a stage."""
    convolutions = [(kernel, 1) for kernel in kernels]
    if variant == "strided":
        convolutions[-1] = (kernels[-1], 2)
    elif variant == "convpool":
        convolutions.append((3, 1))
    elif variant == "all":
        convolutions.append((3, 2))
    return convolutions
