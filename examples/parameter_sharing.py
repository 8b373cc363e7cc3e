"""Parameter sharing: what a convolution saves against a locally connected and a fully connected layer.

    python examples/parameter_sharing.py

All three map images of 32 x 32 x 3 to 28 x 28 x 6. The locally connected layer reads the same windows as the
convolution, each with filters of its own; the fully connected one reads everything everywhere. With the same filters
at every place the locally connected layer is the convolution, and the gradient of a shared weight is the sum of those
of its copies: weights that are shared learn from every place.

Source: CS231n, Convolutional Neural Networks, "Parameter Sharing"; LeCun et al., Gradient-Based Learning Applied to
Document Recognition, 1998, section II.A (shared weights).
"""

import numpy as np

import chainrule as cr

SIZE, CHANNELS, FILTER, FILTERS = 32, 3, 5, 6
PLACES = SIZE - FILTER + 1


def locally_connected(x, weight, bias):
    """A convolution with filters of its own at each place.

    x (N, height, width, channels), weight (rows, columns, filter * filter * channels, filters), bias (rows, columns,
    filters); gives (N, rows, columns, filters).
    """
    rows, columns, window, filters = weight.shape
    size = x.shape[1] - rows + 1
    # Each window as a row: pixel (i + a, j + b) of every place (i, j), side by side for all a and b.
    windows = cr.concatenate(
        [x[:, a : a + rows, b : b + columns] for a in range(size) for b in range(size)], axis=3
    )
    products = cr.matmul(cr.reshape(windows, (-1, rows, columns, 1, window)), weight)
    return cr.reshape(products, (-1, rows, columns, filters)) + bias


def parameters():
    """{layer: (weights, biases)} of the three."""
    values = FILTER * FILTER * CHANNELS
    outputs = PLACES * PLACES * FILTERS
    return {
        "convolution": (values * FILTERS, FILTERS),
        "locally connected": (outputs * values, outputs),
        "fully connected": (outputs * SIZE * SIZE * CHANNELS, outputs),
    }


def shared_copies(rng):
    """(filters of a convolution, the same ones at each place, images) in float64, of a small problem."""
    filters = rng.standard_normal((3, 3, 2, 4))
    copies = np.broadcast_to(filters.reshape(18, 4), (6, 7, 18, 4)).copy()
    return filters, copies, rng.standard_normal((5, 8, 9, 2))


def main():
    print(
        f"{SIZE} x {SIZE} x {CHANNELS} to {PLACES} x {PLACES} x {FILTERS} by filters of {FILTER} x {FILTER}"
    )
    counts = parameters()
    for layer, (weights, biases) in counts.items():
        times = (weights + biases) / sum(counts["convolution"])
        print(f"{layer:18s} {weights:>12,} weights + {biases:>5,} biases, {times:>9,.0f} times")

    filters, copies, x = shared_copies(np.random.default_rng(0))
    bias = np.zeros((6, 7, 4))
    apart = np.abs(locally_connected(x, copies, bias) - cr.conv2d(x, filters)).max()
    print(f"the same filters at every place: {apart:.1e} from the convolution")

    upstream = np.random.default_rng(1).standard_normal((5, 6, 7, 4))
    shared = cr.grad(lambda w: cr.sum(cr.conv2d(x, w) * upstream))(filters)
    single = cr.grad(lambda w: cr.sum(locally_connected(x, w, bias) * upstream))(copies)
    apart = np.abs(single.sum(axis=(0, 1)).reshape(filters.shape) - shared).max()
    print(f"the gradients of {6 * 7} copies summed: {apart:.1e} from that of the shared weights")


if __name__ == "__main__":
    main()
