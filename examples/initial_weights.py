"""The scale of initial weights: what becomes of signals and gradients through the layers, and of training.

    python examples/initial_weights.py [--out initial_weights.png]

Weights are drawn with deviation g / sqrt(fan-in). With g near 1 a layer's values vary as much as its inputs. Small
weights shrink the signal layer by layer, and the gradient on its way back; large ones drive the sigmoids into their
flat ends. Each scale trains at the best of the learning rates tried, so that none is judged by another's rate.

Source: LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.6.
"""

import argparse
from itertools import pairwise

import numpy as np

import chainrule as cr

GAINS = (0.1, 0.3, 1.0, 3.0, 10.0)
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
DEPTH, WIDTH, BATCH, EPOCHS = 5, 50, 32, 10
COLOURS = ("#1e3a8a", "#2563eb", "#0f766e", "#b58900", "#d9480f")


def digits():
    """Standardised (inputs (N, 64), labels (N,)) to train on."""
    images, labels = cr.data.load_digits().train
    return cr.data.Standardise().fit(images)(images).reshape(len(images), -1), labels


def layers(gain, depth, seed=0):
    """[(weight, bias)] with weights of deviation gain / sqrt(fan-in)."""
    rng = np.random.default_rng(seed)
    sizes = [64] + depth * [WIDTH] + [10]
    return [
        (
            cr.tensor(
                (gain * rng.normal(0, fan_in**-0.5, (fan_in, fan_out))).astype(np.float32), requires_grad=True
            ),
            cr.tensor(np.zeros(fan_out, np.float32), requires_grad=True),
        )
        for fan_in, fan_out in pairwise(sizes)
    ]


def forward(net, x):
    """The scores and what each hidden layer, of 1.7159 tanh(2 x / 3), gives."""
    hidden = []
    for weight, bias in net[:-1]:
        x = 1.7159 * cr.tanh(2 / 3 * (cr.matmul(x, weight) + bias))
        hidden.append(x)
    weight, bias = net[-1]
    return cr.matmul(x, weight) + bias, hidden


def signals(x, labels, gain, depth):
    """Per hidden layer: the deviation of its values, and the root mean square of the loss's gradient in them."""
    net = [(weight.numpy(), bias.numpy()) for weight, bias in layers(gain, depth)]
    _, hidden = forward(net, x)

    def loss_from(i):
        """The loss as a function of hidden layer i's values: the rest of the net."""
        return lambda h: cr.softmax_cross_entropy(forward(net[i + 1 :], h)[0], labels, reduction="sum")

    gradients = [cr.grad(loss_from(i))(h) for i, h in enumerate(hidden)]
    return [float(h.std()) for h in hidden], [float(np.sqrt(np.square(g).mean())) for g in gradients]


def train(x, labels, gain, rate, epochs, depth):
    """The loss on the training set before training and after each epoch."""
    net = layers(gain, depth)
    optimizer = cr.optim.SGD([p for pair in net for p in pair], lr=rate)

    def on_all():
        with cr.no_grad():
            return cr.softmax_cross_entropy(forward(net, x)[0], labels).item()

    curve = [on_all()]
    for k in range(epochs):
        for inputs, targets in cr.data.DataLoader(x, labels, BATCH).epoch(k):
            loss = cr.softmax_cross_entropy(forward(net, inputs)[0], targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        curve.append(on_all())
    return curve


def best(x, labels, gain, rates, epochs, depth):
    """(learning rate, curve) with the lowest loss at the end."""
    runs = [(rate, train(x, labels, gain, rate, epochs, depth)) for rate in rates]
    return min(runs, key=lambda run: run[1][-1])


def draw(path, strengths, runs):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    values, gradients, curves = figure.subplots(1, 3)
    for colour, gain in zip(COLOURS, runs, strict=True):
        deviations, slopes = strengths[gain]
        rate, curve = runs[gain]
        steps = range(1, len(deviations) + 1)
        values.plot(steps, deviations, "o-", color=colour, label=f"g = {gain:g}, rate {rate:g}")
        gradients.plot(steps, slopes, "o-", color=colour)
        curves.plot(range(len(curve)), curve, "o-", color=colour, markersize=4)
    values.set(xlabel="hidden layer", ylabel="standard deviation of its values", yscale="log")
    values.set_title("Forward: the signal before training", fontsize=11)
    gradients.set(xlabel="hidden layer", ylabel="root mean square of the gradient", yscale="log")
    gradients.set_title("Backward: the gradient of an example's loss", fontsize=11)
    winner = min(runs, key=lambda gain: runs[gain][1][-1])
    curves.set(xlabel="epochs", ylabel="loss on the training set", yscale="log")
    curves.set_title(f"Training: lowest with g = {winner:g}", fontsize=11)
    for axes in (values, gradients, curves):
        axes.grid(color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (values, gradients):
        axes.set_xticks(steps)
    values.legend(frameon=False, fontsize=9, loc="lower left")
    figure.suptitle("Initial weights of deviation g / sqrt(fan-in)", fontsize=12)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="initial_weights.png", metavar="FILE.png")
    path = parser.parse_args().out
    x, labels = digits()
    strengths = {gain: signals(x, labels, gain, DEPTH) for gain in GAINS}
    runs = {gain: best(x, labels, gain, RATES, EPOCHS, DEPTH) for gain in GAINS}
    print(f"{DEPTH} hidden layers, weights of deviation g / sqrt(fan-in)")
    print(f"losses after {EPOCHS} epochs")
    print(f"   g   values: layer 1   layer {DEPTH}   gradient: layer {DEPTH}   layer 1   rate     loss")
    for gain, (rate, curve) in runs.items():
        deviations, slopes = strengths[gain]
        print(
            f"{gain:4g}   {deviations[0]:15.3g}   {deviations[-1]:7.2g}   {slopes[-1]:17.2g}   {slopes[0]:7.2g}   "
            f"{rate:4g}   {curve[-1]:.4f}"
        )
    winner = min(runs, key=lambda gain: runs[gain][1][-1])
    print(f"lowest loss: g = {winner:g}")
    draw(path, strengths, runs)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
