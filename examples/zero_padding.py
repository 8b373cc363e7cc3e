"""What zero padding keeps: the size of the image, and the say of the pixels at its border.

    python examples/zero_padding.py

A filter of F x F without padding takes F - 1 rows and columns away; a deep net would run out of image, and pixels at
the border are read by fewer windows than those within, a corner by a single one. Padding by (F - 1) / 2 zeros keeps
the size with stride 1, and a filter can stand in the middle of every pixel.

Source: CS231n, Convolutional Neural Networks, "Use of zero-padding" and "Getting rid of pooling".
"""

import numpy as np

import chainrule as cr


def sizes(size, filter, layers, padding):
    """The side of the image before and after each of so many layers, as far as the filter fits."""
    found = [size]
    while len(found) <= layers and found[-1] + 2 * padding >= filter:
        found.append(cr.nn.output_size(found[-1], filter, padding=padding))
    return found


def times_read(size, filter, padding, layers=1):
    """(size, size): how many paths lead from each pixel to the outputs after so many layers, as a share of most.

    With weights of 1 that is the gradient of the outputs' sum.
    """
    ones = np.ones((filter, filter, 1, 1))

    def total(x):
        for _ in range(layers):
            x = cr.conv2d(x, ones, padding=padding)
        return cr.sum(x)

    paths = cr.grad(total)(np.ones((1, size, size, 1)))[0, :, :, 0]
    return paths / paths.max()


def main():
    for padding in (0, 1):
        found = sizes(32, 3, 16, padding)
        print(
            f"3 x 3, padding {padding}: {' '.join(map(str, found))}"
            + (" and no further" if found[-1] < 3 else "")
        )
    for layers in (1, 4):
        for padding in (0, 1):
            read = times_read(10, 3, padding, layers)
            print(
                f"layers: {layers}, padding {padding}: a corner is read {read[0, 0]:.1%} as often as the middle, "
                f"the middle of an edge {read[0, 5]:.1%}"
            )


if __name__ == "__main__":
    main()
