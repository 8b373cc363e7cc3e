"""Three sigmoids in a deep net: the logistic function, tanh, and LeCun's 1.7159 tanh(2 x / 3).

    python examples/scaled_tanh.py [--out scaled_tanh.png]

A sigmoid that is symmetric about 0 gives the next layer inputs of mean near 0. The scaled one also keeps a variance
near 1, takes +-1 to +-1, and bends most there, so that targets of +-1 lie neither in its flat ends nor in its line.

Source: LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.4 and figure 4.
"""

import argparse
from itertools import pairwise

import numpy as np

import chainrule as cr

DEPTH, WIDTH, BATCH, EPOCHS, SEEDS = 5, 50, 32, 10, 3
RATES = (0.03, 0.1, 0.3, 1.0)
SIGMOIDS = {
    "logistic": cr.sigmoid,
    "tanh": cr.tanh,
    "1.7159 tanh(2x/3)": lambda x: 1.7159 * cr.tanh(2 / 3 * x),
}
COLOURS = ("#d9480f", "#0f766e", "#2563eb")


def derivatives(f, x):
    """f, f' and f'' at each of the points x."""
    first = cr.grad(lambda x: cr.sum(f(x)))
    second = cr.grad(lambda x: cr.sum(first(x)))
    return f(x), first(x), second(x)


def most_bent(f):
    """The x above 0 where |f''| is largest."""
    points = np.linspace(0, 4, 40001)
    return points[np.abs(derivatives(f, points)[2]).argmax()]


def digits():
    """Standardised (inputs (N, 64), labels (N,)) to train on."""
    images, labels = cr.data.load_digits().train
    return cr.data.Standardise().fit(images)(images).reshape(len(images), -1), labels


def layers(depth, seed):
    """Weights of variance 1 / fan-in and biases of 0, as the paper asks: [(weight, bias)]."""
    rng = np.random.default_rng(seed)
    sizes = [64] + depth * [WIDTH] + [10]
    return [
        (
            cr.tensor(rng.normal(0, fan_in**-0.5, (fan_in, fan_out)).astype(np.float32), requires_grad=True),
            cr.tensor(np.zeros(fan_out, np.float32), requires_grad=True),
        )
        for fan_in, fan_out in pairwise(sizes)
    ]


def forward(net, f, x):
    """The scores, and what each hidden layer gives."""
    hidden = []
    for weight, bias in net[:-1]:
        x = f(cr.matmul(x, weight) + bias)
        hidden.append(x)
    weight, bias = net[-1]
    return cr.matmul(x, weight) + bias, hidden


def spread(f, x, depth, seed=0):
    """(mean, standard deviation) of each hidden layer's values before training."""
    with cr.no_grad():
        _, hidden = forward(layers(depth, seed), f, x)
    return [(float(h.numpy().mean()), float(h.numpy().std())) for h in hidden]


def train(x, labels, f, rate, epochs, depth, seed):
    """The loss on the training set after each epoch."""
    net = layers(depth, seed)
    optimizer = cr.optim.SGD([p for pair in net for p in pair], lr=rate)
    curve = []
    for k in range(epochs):
        for inputs, targets in cr.data.DataLoader(x, labels, BATCH, seed=seed).epoch(k):
            loss = cr.softmax_cross_entropy(forward(net, f, inputs)[0], targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with cr.no_grad():
            curve.append(cr.softmax_cross_entropy(forward(net, f, x)[0], labels).item())
    return curve


def best(x, labels, f, rates, epochs, depth, seeds):
    """(learning rate, losses (seeds, epochs)): the rate whose median over the seeds is lowest at the end."""
    runs = [
        (rate, np.array([train(x, labels, f, rate, epochs, depth, s) for s in range(seeds)]))
        for rate in rates
    ]
    return min(runs, key=lambda run: np.median(run[1][:, -1]))


def draw(path, spreads, runs):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    shape, signal, curves = figure.subplots(1, 3)
    points = np.linspace(-4, 4, 401)
    for colour, (name, f) in zip(COLOURS, SIGMOIDS.items(), strict=True):
        value, _, second = derivatives(f, points)
        shape.plot(points, value, color=colour, label=name)
        shape.plot(points, second, color=colour, linestyle=":", linewidth=1.2)
        deviations = [deviation for _, deviation in spreads[name]]
        signal.plot(range(1, len(deviations) + 1), deviations, "o-", color=colour, label=name)
        rate, losses = runs[name]
        steps = range(1, losses.shape[1] + 1)
        curves.plot(
            steps, np.median(losses, axis=0), "o-", color=colour, markersize=4, label=f"{name}: rate {rate:g}"
        )
        curves.fill_between(
            steps, losses.min(axis=0), losses.max(axis=0), color=colour, alpha=0.15, linewidth=0
        )
    for side in (-1, 1):
        shape.axvline(side, color="#9ca3af", linewidth=0.8, zorder=0)
    shape.set(xlabel="x", ylabel="f(x), and dotted f''(x)")
    bends = ", ".join(f"{most_bent(f):.2f}" for f in SIGMOIDS.values())
    shape.set_title(f"Three sigmoids bend most at +- {bends}", fontsize=11)
    last = [spreads[name][-1][1] for name in SIGMOIDS]
    signal.set(xlabel="hidden layer", ylabel="standard deviation of its values", ylim=(0, 1.05))
    signal.set_title(
        "Before training: " + ", ".join(f"{d:.2f}" for d in last) + " in the last layer", fontsize=11
    )
    curves.set(xlabel="epochs", ylabel="loss on the training set", yscale="log")
    curves.set_title(f"Training, median and range of {len(losses)} seeds", fontsize=11)
    for axes in (shape, signal, curves):
        axes.legend(frameon=False, fontsize=9, loc="lower left" if axes is curves else None)
        axes.grid(color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="scaled_tanh.png", metavar="FILE.png")
    path = parser.parse_args().out
    for name, f in SIGMOIDS.items():
        print(
            f"{name:>17}: f(-1) = {f(-1.0):.3f}, f(1) = {f(1.0):.3f}, |f''| is largest at +-{most_bent(f):.3f}"
        )
    x, labels = digits()
    spreads = {name: spread(f, x, DEPTH) for name, f in SIGMOIDS.items()}
    runs = {name: best(x, labels, f, RATES, EPOCHS, DEPTH, SEEDS) for name, f in SIGMOIDS.items()}
    print(f"\n{DEPTH} hidden layers; the loss is the median of {SEEDS} seeds after {EPOCHS} epochs")
    print("          sigmoid   mean and deviation of layer 1   of the last   rate   loss (least to most)")
    for name, (rate, losses) in runs.items():
        (m1, d1), (m2, d2) = spreads[name][0], spreads[name][-1]
        end = losses[:, -1]
        print(
            f"{name:>17}   {m1:19.2f} {d1:9.2f}   {m2:6.2f} {d2:6.2f}   {rate:4g}   {np.median(end):.4f} "
            f"({end.min():.4f} to {end.max():.4f})"
        )
    (_, plain), (_, scaled) = runs["tanh"], runs["1.7159 tanh(2x/3)"]
    wins = int((scaled[:, -1] < plain[:, -1]).sum())
    print(f"at the end the scaled tanh has the lower loss than tanh for {wins} of {SEEDS} seeds")
    draw(path, spreads, runs)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
