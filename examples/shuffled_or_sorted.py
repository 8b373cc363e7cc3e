"""Shuffled against sorted examples: what a net forgets while it sees one class after another.

    python examples/shuffled_or_sorted.py [--out shuffled_or_sorted.png]

A net learns most from the example it expects least, which is seldom one of the class it just saw. Sorted by class, the
same examples, rate and number of steps teach each class anew and wear the others away.

Source: LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.2.
"""

import argparse

import numpy as np

import chainrule as cr

BATCH, RATE, EPOCHS = 8, 0.1, 10
WATCHED = 4  # the epoch that is looked into, from 0
LOOKS = 40  # how often, in that epoch
ORDERS = {"shuffled anew each epoch": "#2563eb", "as filed, mixed": "#0f766e", "sorted by class": "#d9480f"}


def digits():
    """Standardised (inputs (N, 64), labels (N,)) to train and to test."""
    train, test = cr.data.load_digits()
    fitted = cr.data.Standardise("all").fit(train.images)
    return [(fitted(images).reshape(len(images), -1), labels) for images, labels in (train, test)]


def loader(x, labels, order):
    if order == "sorted by class":
        by_class = np.argsort(labels, kind="stable")
        x, labels = x[by_class], labels[by_class]
    return cr.data.DataLoader(x, labels, BATCH, shuffle=order == "shuffled anew each epoch")


def accuracies(model, x, labels):
    """The share of each class that is recognised, (classes,)."""
    with cr.no_grad():
        right = model(x).numpy().argmax(axis=1) == labels
    return np.array([right[labels == c].mean() for c in range(10)])


def train(train_set, test_set, order, epochs, watched):
    """The test error after each epoch, and (share of the epoch, accuracies) during the epoch that is watched."""
    rng = np.random.default_rng(0)
    model = cr.nn.Sequential(
        cr.nn.Linear(64, 32, initialise="glorot", rng=rng),
        cr.nn.Tanh(),
        cr.nn.Linear(32, 10, initialise="glorot", rng=rng),
    )
    optimizer = cr.optim.SGD(model.parameters(), lr=RATE)
    batches = loader(*train_set, order)
    x, labels = test_set
    errors, looks = [], []
    for k in range(epochs):
        for i, (inputs, targets) in enumerate(batches.epoch(k), 1):
            loss = cr.softmax_cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if k == watched and i * LOOKS // len(batches) > (i - 1) * LOOKS // len(batches):
                looks.append((i / len(batches), accuracies(model, x, labels)))
        with cr.no_grad():
            errors.append(float((model(x).numpy().argmax(axis=1) != labels).mean()))
    return errors, looks


def draw(path, runs, watched):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    curves, *maps = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    for order, (errors, _) in runs.items():
        curves.plot(
            range(1, len(errors) + 1),
            [100 * e for e in errors],
            "o-",
            color=ORDERS[order],
            markersize=4,
            label=order,
        )
    curves.set(xlabel="epochs", ylabel="test error in per cent", ylim=(0, None))
    last = {order: 100 * errors[-1] for order, (errors, _) in runs.items()}
    curves.set_title(
        f"Test error {last['shuffled anew each epoch']:.1f} % shuffled, {last['sorted by class']:.1f} % sorted",
        fontsize=11,
    )
    curves.legend(frameon=False)
    curves.grid(color="#e5e7eb")
    curves.spines[["top", "right"]].set_visible(False)
    for axes, order in zip(maps, ("shuffled anew each epoch", "sorted by class"), strict=True):
        table = np.array([shares for _, shares in runs[order][1]]).T
        image = axes.imshow(
            100 * table, aspect="auto", extent=(0, 1, 9.5, -0.5), vmin=0, vmax=100, cmap="cividis"
        )
        axes.set(xlabel=f"share of epoch {watched + 1} that is done", yticks=range(10))
        axes.set_title(f"What is recognised while it trains: {order.split()[0]}", fontsize=11)
    maps[0].set_ylabel("class of the test image")
    figure.colorbar(image, ax=maps, label="recognised, per cent")
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="shuffled_or_sorted.png", metavar="FILE.png")
    path = parser.parse_args().out
    train_set, test_set = digits()
    runs = {order: train(train_set, test_set, order, EPOCHS, WATCHED) for order in ORDERS}
    print("test error after each epoch, per cent")
    for order, (errors, _) in runs.items():
        print(f"{order:>26}: " + " ".join(f"{100 * e:5.1f}" for e in errors))
    for order, (_, looks) in runs.items():
        worst = np.array([shares for _, shares in looks]).min(axis=1)
        print(
            f"{order:>26}: within epoch {WATCHED + 1} the worst class is recognised in {100 * worst.mean():.0f} % "
            f"of cases on average, in {100 * worst.min():.0f} % at the worst moment"
        )
    draw(path, runs, WATCHED)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
