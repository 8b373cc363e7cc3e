"""Raw against normalised inputs: one net on the same digits, as they are and after each step of normalisation.

    python examples/normalised_inputs.py [--out normalised_inputs.png]

The curvature of the loss in a first layer's weights follows the inputs' second moments E[x x^T]. A mean far from 0
makes one huge eigenvalue, which limits the learning rate for all directions; unequal variances leave slow ones. Each
step removes one of the causes; each net trains at the best of the learning rates tried.

Source: LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.3 and figure 3.
"""

import argparse

import numpy as np

import chainrule as cr

RATES = tuple(10.0 ** np.arange(-3, 1.1, 0.5))
BATCH, EPOCHS = 32, 10
COLOURS = ("#d9480f", "#b58900", "#0f766e", "#2563eb")


def forms():
    """{name: (training inputs, test inputs)}, each (N, features) float32, and the labels of both."""
    (images, labels), (test_images, test_labels) = cr.data.load_digits()
    x, test = (a.reshape(len(a), -1).astype(np.float32) for a in (images, test_images))
    mean = x.mean(axis=0)
    standard = cr.data.Standardise().fit(x)
    whiten = cr.data.Whiten(epsilon=0.1).fit(x)
    return {
        "raw, 0 to 16": (x, test),
        "mean removed": (x - mean, test - mean),
        "and variances equal": (standard(x), standard(test)),
        "whitened": (whiten(x), whiten(test)),
    }, (labels, test_labels)


def spectrum(x):
    """The eigenvalues of E[x x^T] from the largest down, those that are round-off left out."""
    values = np.linalg.eigvalsh(x.T.astype(np.float64) @ x / len(x))[::-1]
    return values[values > 1e-7 * values[0]]


def train(x, labels, test, test_labels, rate, epochs, seed=0):
    """(loss on the training set, test error) after each epoch."""
    rng = np.random.default_rng(seed)
    model = cr.nn.Sequential(
        cr.nn.Linear(x.shape[1], 32, initialise="glorot", rng=rng),
        cr.nn.Tanh(),
        cr.nn.Linear(32, 10, initialise="glorot", rng=rng),
    )
    optimizer = cr.optim.SGD(model.parameters(), lr=rate)
    curve = []
    for k in range(epochs):
        for inputs, targets in cr.data.DataLoader(x, labels, BATCH, seed=seed).epoch(k):
            loss = cr.softmax_cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with cr.no_grad():
            on_all = cr.softmax_cross_entropy(model(x), labels).item()
            curve.append((on_all, float((model(test).numpy().argmax(axis=1) != test_labels).mean())))
    return curve


def best(inputs, labels, rates, epochs):
    """(learning rate, curve) with the lowest training loss at the end."""
    (x, test), (y, test_y) = inputs, labels
    runs = [(rate, train(x, y, test, test_y, rate, epochs)) for rate in rates]
    return min(runs, key=lambda run: run[1][-1][0])


def draw(path, runs, spectra):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    curves, values = figure.subplots(1, 2)
    for colour, (name, (rate, curve)) in zip(COLOURS, runs.items(), strict=True):
        style = {"color": colour, "linewidth": 1.5}
        losses = [loss for loss, _ in curve]
        curves.plot(
            range(1, len(losses) + 1), losses, "o-", markersize=4, label=f"{name}: rate {rate:.2g}", **style
        )
        eigenvalues = spectra[name]
        label = f"{name}: ratio {eigenvalues[0] / eigenvalues[-1]:,.0f}"
        values.plot(range(1, len(eigenvalues) + 1), eigenvalues, label=label, **style)
    ends = [curve[-1][0] for _, curve in runs.values()]
    curves.set(xlabel="epochs", ylabel="loss on the training set", yscale="log")
    curves.set_title(
        f"After {len(losses)} epochs: {ends[0]:.2g} on raw inputs, {min(ends):.2g} at best", fontsize=11
    )
    values.set(
        xlabel="eigenvalue, from the largest", ylabel="second moment along its direction", yscale="log"
    )
    values.set_title("Second moments of the inputs, and largest / smallest", fontsize=11)
    for axes in (curves, values):
        axes.legend(frameon=False, fontsize=9, loc="lower left")
        axes.grid(color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="normalised_inputs.png", metavar="FILE.png")
    path = parser.parse_args().out
    inputs, labels = forms()
    spectra = {name: spectrum(x) for name, (x, _) in inputs.items()}
    runs = {name: best(pair, labels, RATES, EPOCHS) for name, pair in inputs.items()}
    print(
        f"             inputs   largest second moment     ratio    rate     loss   test error after {EPOCHS} epochs"
    )
    for name, (rate, curve) in runs.items():
        values, (loss, error) = spectra[name], curve[-1]
        print(
            f"{name:>19}   {values[0]:21.1f}   {values[0] / values[-1]:7.0f}   {rate:5.2g}   {loss:.4f}   "
            f"{100 * error:.1f} %"
        )
    fastest, most_right = (min(runs, key=lambda name: runs[name][1][-1][i]) for i in (0, 1))
    print(f"lowest training loss: {fastest}; lowest test error: {most_right}")
    if fastest != most_right:
        print(
            "what trains fastest need not test best: whitening raises directions of little variance, noise included"
        )
    draw(path, runs, spectra)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
