"""Network in Network: convolutions by small perceptrons, and global average pooling as the classifier."""

from __future__ import annotations

from itertools import pairwise

from chainrule.gates.convolution import integer
from chainrule.models.conv_block import class_maps, conv_block
from chainrule.models.image_classifier import ImageClassifier, check_fits
from chainrule.nn.activation import Flatten
from chainrule.nn.initialise import as_generator
from chainrule.nn.linear import Linear
from chainrule.nn.normalise import Dropout
from chainrule.nn.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from chainrule.nn.sequential import Sequential

# The kernel of each mlpconv block and the maps of its layers; the last has one map a class. The paper names the
# structure, its authors' published definitions the numbers.
CIFAR10_BLOCKS = ((5, 192, 160, 96), (5, 192, 192, 192), (3, 192, 192))
MNIST_BLOCKS = ((5, 96, 64, 48), (5, 128, 96, 48), (5, 128, 96))

POOLS = {"max": MaxPool2d, "average": AvgPool2d}


class NetworkInNetwork(ImageClassifier):
    """Network in Network under the softmax cross-entropy.

    A block, `mlpconv`, slides a small perceptron over the image instead of a linear filter: a convolution whose maps
    go through further layers pixel by pixel. Those are 1 x 1 convolutions with relu, each a weighted sum across
    channels: cascaded cross-channel parametric pooling. Blocks are parted by pooling of 3 x 3 with stride 2 (padded
    so that sides halve, rounded up) and dropout. The last block has one map a class, and a class's score is the mean
    of its map.

    Args:
        input_shape: (height, width, channels).
        classes: their number.
        blocks: for each block (kernel, maps, ...), the last without its last layer, which has one map a class. When
            they are left out: the authors' for MNIST for images of one channel, else those for CIFAR-10.
        pooling: the kind between blocks, "max" (the paper) or "average", one for all or one for each gap; the
            authors' later definition for Caffe has ("max", "average").
        classifier: "global_average"; or "fully_connected", a linear layer on the last maps, with which the paper
            compares it (table 5).
        dropout: the probability after each pooling.
        classifier_dropout: the probability before the fully connected layer.
        batch_norm: normalise after each convolution but the last (not in the paper).
        last_relu: whether relu follows the last convolution too, as in the paper.
        seed: of the initial weights (He et al.; where the last convolution's maps are the scores, its own are smaller,
            with bias 1 before a relu); None draws from the library's generator.

    Attributes: features, from images to the maps (N, height, width, classes); classifier, from those to scores.

    Errors: ValueError for settings that do not fit.

    Lin, Chen and Yan, Network in Network, 2014.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.models.NetworkInNetwork((28, 28, 1), seed=0)
    >>> net(np.zeros((2, 28, 28, 1), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        input_shape=(32, 32, 3),
        classes=10,
        *,
        blocks=None,
        pooling="max",
        classifier="global_average",
        dropout=0.5,
        classifier_dropout=0.0,
        batch_norm=False,
        last_relu=True,
        seed=None,
    ):
        super().__init__(input_shape, classes)
        check_fits(self, 1)
        height, width, channels = self.input_shape
        if blocks is None:
            blocks = MNIST_BLOCKS if channels == 1 else CIFAR10_BLOCKS
        blocks = _checked(blocks)
        gaps = len(blocks) - 1
        pools = (pooling,) * gaps if isinstance(pooling, str) else tuple(pooling)
        if len(pools) != gaps or any(kind not in POOLS for kind in pools):
            raise ValueError(
                f"NetworkInNetwork: pooling {pooling!r}: give 'max' or 'average', or one for each of {gaps} gaps"
            )
        if classifier not in ("global_average", "fully_connected"):
            raise ValueError(
                f"NetworkInNetwork: classifier {classifier!r}: give 'global_average' or 'fully_connected'"
            )
        rng = as_generator(seed)
        layers = []
        for i, (kernel, *maps) in enumerate(blocks):
            layers += mlpconv(channels, kernel, maps, batch_norm, rng)
            channels = maps[-1]
            if i < gaps:
                layers += [POOLS[pools[i]](3, 2, 1), Dropout(dropout)]
                height, width = -(-height // 2), -(-width // 2)
        if classifier == "global_average":
            self.features = Sequential(*layers, *class_maps(channels, self.classes, relu=last_relu, rng=rng))
            self.classifier = Sequential(GlobalAvgPool2d())
        else:
            # Maps that the classifier reads are hidden ones. With the small weights of class maps all look alike to it,
            # and under its dropout the first steps push them below relu's 0 together: the loss stays at chance.
            last = conv_block(channels, self.classes, 1, relu=last_relu, rng=rng)
            self.features = Sequential(*layers, *last)
            features = height * width * self.classes
            head = Linear(features, self.classes, initialise="glorot", rng=rng)
            self.classifier = Sequential(Flatten(), Dropout(classifier_dropout), head)

    def scores(self, x):
        return self.classifier(self.features(x))


def mlpconv(channels, kernel, maps, batch_norm, rng):
    """A convolution that keeps the sides, and 1 x 1 convolutions after it, each with relu: their layers."""
    layers = conv_block(channels, maps[0], kernel, 1, kernel // 2, batch_norm=batch_norm, rng=rng)
    for before, filters in pairwise(maps):
        layers += conv_block(before, filters, 1, batch_norm=batch_norm, rng=rng)
    return layers


def _checked(blocks):
    """The blocks as tuples of integers; kernels are odd, so that padding keeps the sides."""
    name = "NetworkInNetwork"
    try:
        blocks = [tuple(block) for block in blocks]
    except TypeError:
        raise TypeError(f"{name}: blocks {blocks!r}: give (kernel, maps, ...) for each block") from None
    blocks = [tuple(integer(name, "blocks", number) for number in block) for block in blocks]
    for block in blocks:
        if len(block) < 2 or min(block) < 1 or block[0] % 2 == 0:
            raise ValueError(f"{name}: block {block}: give an odd kernel, then maps of 1 or more")
    if not blocks:
        raise ValueError(f"{name}: blocks are empty: give one or more")
    return blocks
