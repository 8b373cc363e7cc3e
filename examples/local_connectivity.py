"""Local connectivity: a unit of a convolution reads its window of the image and nothing else.

    python examples/local_connectivity.py

The gradient of one unit in the image is zero outside the window. Layers on top of each other see more: each adds its
filter less one, times the strides below it. A unit of a fully connected layer reads every pixel.

Source: CS231n, Convolutional Neural Networks, "Local Connectivity"; LeCun et al., Gradient-Based Learning Applied to
Document Recognition, 1998, section II.A (local receptive fields).
"""

import numpy as np

import chainrule as cr

SIZE = 15


def pixels_read(model, place, size=SIZE):
    """(size, size), True where the gradient of the unit at `place` (row, column) of the output is not 0."""
    image = np.random.default_rng(0).standard_normal((1, size, size, 1))

    def unit(x):
        y = model(x)
        return y[0, place[0], place[1], 0] if len(y.shape) == 4 else y[0, 0]

    return np.asarray(cr.grad(unit)(image))[0, :, :, 0] != 0


def convolutions(*filters):
    """Convolutions of one channel with filters of these sizes, a smooth activation between them."""
    rng = np.random.default_rng(1)
    layers = []
    for size in filters:
        layers += [cr.nn.Conv2d(1, 1, size, rng=rng, dtype=np.float64), cr.nn.Tanh()]
    return cr.nn.Sequential(*layers)


def fully_connected():
    """One layer from all pixels to one unit."""
    rng = np.random.default_rng(1)
    return cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Linear(SIZE * SIZE, 1, rng=rng, dtype=np.float64))


def picture(read):
    """Lines of text: # for a pixel that is read."""
    return "\n".join(" ".join("#" if pixel else "." for pixel in row) for row in read)


def main():
    cases = [
        ("one convolution of 5 x 5, the unit at (4, 6)", convolutions(5), (4, 6)),
        ("three convolutions of 3 x 3, the unit at (4, 4)", convolutions(3, 3, 3), (4, 4)),
        ("a fully connected layer, one unit", fully_connected(), None),
    ]
    for title, model, place in cases:
        read = pixels_read(model, place)
        field = model.summary((SIZE, SIZE, 1)).layers[-1].receptive_field
        print(f"{title}: {read.sum()} of {read.size} pixels; the summary says {field[0]} x {field[1]}")
        print(picture(read))


if __name__ == "__main__":
    main()
