"""How the scale of the data changes the gradient of x W, and with it the learning rate that works.

    python examples/data_scale_gradient.py [--out data_scale_gradient.png]

For scores s = x W the gradient in W is x^T ds. Inputs c times as large make it c times as large where ds is the same,
as it is at W = 0; and W needs to be c times smaller. So a step must be c^2 times smaller to do the same: the learning
rates that train lie on a line of slope -2, and preprocessing decides where on it.

Source: CS231n, Convolutional Neural Networks for Visual Recognition, notes on backpropagation, "Patterns in backward
flow"; LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.3.
"""

import argparse

import numpy as np

import chainrule as cr

SCALES = tuple(10.0 ** np.arange(-2, 2.1, 0.5))
RATES = tuple(10.0 ** np.arange(-5, 6.1, 0.5))
STEPS = 30


def digits():
    """Standardised inputs (N, 64) and labels (N,)."""
    images, labels = cr.data.load_digits().train
    return cr.data.Standardise().fit(images)(images).reshape(len(images), -1), labels


def loss(w, x, labels):
    return cr.softmax_cross_entropy(cr.matmul(x, w), labels)


def gradient_norm(x, labels, scale):
    """The size of the gradient in W at W = 0, for inputs x times scale."""
    w = np.zeros((x.shape[1], 10), np.float32)
    return float(np.linalg.norm(cr.grad(loss)(w, np.float32(scale) * x, labels)))


def train(x, labels, rate, steps):
    """The loss after full-batch gradient descent from W = 0."""
    w = cr.tensor(np.zeros((x.shape[1], 10), np.float32), requires_grad=True)
    optimizer = cr.optim.SGD([w], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(w, x, labels).backward()
        optimizer.step()
    with cr.no_grad():
        return loss(w, x, labels).item()


def table(x, labels, scales, rates, steps):
    """The final loss (scales, rates)."""
    return np.array([[train(np.float32(c) * x, labels, rate, steps) for rate in rates] for c in scales])


def slope(x, y):
    """Of the line through log y over log x."""
    return np.polyfit(np.log(x), np.log(y), 1)[0]


def draw(path, scales, rates, norms, losses):
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    sizes, map_ = figure.subplots(1, 2, width_ratios=(1, 1.2))
    sizes.plot(scales, norms, "o-", color="#2563eb")
    sizes.set(
        xscale="log", yscale="log", xlabel="scale c of the data", ylabel="norm of the gradient in W at W = 0"
    )
    sizes.set_title(f"The gradient grows as c to the power {slope(scales, norms):.2f}", fontsize=11)
    sizes.grid(color="#e5e7eb")
    sizes.spines[["top", "right"]].set_visible(False)
    start = np.log(10)  # the loss at W = 0, whatever the data: above it training has done harm
    shown = np.clip(losses.T, losses.min(), start)
    image = map_.pcolormesh(scales, rates, shown, norm=LogNorm(), cmap="cividis_r", shading="nearest")
    best = np.array(rates)[losses.argmin(axis=1)]
    map_.plot(scales, best, "o", color="#d9480f", label="best rate")
    map_.set(xscale="log", yscale="log", xlabel="scale c of the data", ylabel="learning rate")
    map_.set_title(f"The best learning rate falls as c to the power {slope(scales, best):.2f}", fontsize=11)
    map_.legend(loc="upper right")
    figure.colorbar(image, ax=map_, label="loss after training (ln 10 or more: nothing learnt)")
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="data_scale_gradient.png", metavar="FILE.png")
    path = parser.parse_args().out
    x, labels = digits()
    norms = [gradient_norm(x, labels, c) for c in SCALES]
    losses = table(x, labels, SCALES, RATES, STEPS)
    print(
        "scale of the data   norm of the gradient   best learning rate   its loss   loss at the rate best for scale 1"
    )
    at_one = losses[int(np.argmin(np.abs(np.log(SCALES))))].argmin()
    for c, norm, row in zip(SCALES, norms, losses, strict=True):
        print(
            f"{c:17.3g}   {norm:20.3g}   {RATES[row.argmin()]:18.2g}   {row.min():8.4f}   {row[at_one]:.4g}"
        )
    best = np.array(RATES)[losses.argmin(axis=1)]
    print(
        f"slopes on logarithmic axes: gradient {slope(SCALES, norms):.3f}, best learning rate {slope(SCALES, best):.3f}"
    )
    draw(path, SCALES, RATES, norms, losses)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
