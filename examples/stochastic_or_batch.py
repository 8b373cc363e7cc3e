"""Stochastic against batch learning: one net, batches of 1, 8, 64 and all examples, each at its best learning rate.

    python examples/stochastic_or_batch.py [--out stochastic_or_batch.png]

Training examples resemble each other, so that a few of them tell nearly the direction of all: a step from few costs
less and comes sooner. Where each step has a fixed cost, as on any computer, the fastest batch lies between the ends.

Source: LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.1.
"""

import argparse
import time

import numpy as np

import chainrule as cr

BATCHES = (1, 8, 64, None)  # None: all examples
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
PASSES = 10
COLOURS = ("#d9480f", "#b58900", "#0f766e", "#2563eb")


def digits():
    """Standardised training inputs (N, 64) and labels (N,)."""
    images, labels = cr.data.load_digits().train
    return cr.data.Standardise("all").fit(images)(images).reshape(len(images), -1), labels


def net(seed=0):
    rng = np.random.default_rng(seed)
    return cr.nn.Sequential(
        cr.nn.Linear(64, 32, initialise="glorot", rng=rng),
        cr.nn.Tanh(),
        cr.nn.Linear(32, 10, initialise="glorot", rng=rng),
    )


def train(x, labels, batch, rate, passes):
    """(seconds, loss) on the whole training set after each pass; the time is that of the steps alone."""
    model = net()
    optimizer = cr.optim.SGD(model.parameters(), lr=rate)
    loader = cr.data.DataLoader(x, labels, batch)
    seconds, curve = 0.0, []
    for k in range(passes):
        start = time.perf_counter()
        for inputs, targets in loader.epoch(k):
            loss = cr.softmax_cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds += time.perf_counter() - start
        with cr.no_grad():
            curve.append((seconds, cr.softmax_cross_entropy(model(x), labels).item()))
    return curve


def best(x, labels, batch, rates, passes):
    """(learning rate, curve) with the lowest loss at the end."""
    runs = [(rate, train(x, labels, batch, rate, passes)) for rate in rates]
    return min(runs, key=lambda run: run[1][-1][1])


def agreement(x, labels, count, trials=50):
    """The mean cosine between the gradient of `count` examples drawn at random and that of all, at the start."""

    def gradient(chosen):
        model = net()
        cr.softmax_cross_entropy(model(x[chosen]), labels[chosen]).backward()
        return np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])

    whole = gradient(slice(None))
    rng = np.random.default_rng(0)
    parts = [gradient(rng.choice(len(x), count, replace=False)) for _ in range(trials)]
    return np.mean([g @ whole / np.linalg.norm(g) / np.linalg.norm(whole) for g in parts])


def first_below(curve, target):
    """(pass, seconds) at which a curve first is at or below the target, or None."""
    return next(((k, s) for k, (s, loss) in enumerate(curve, 1) if loss <= target), None)


def draw(path, runs, examples):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    by_pass, by_time = figure.subplots(1, 2, sharey=True)
    for colour, (batch, (rate, curve)) in zip(COLOURS, runs.items(), strict=True):
        seconds, losses = zip(*curve, strict=True)
        label = f"batch of {batch or f'all {examples}'}, rate {rate:g}"
        style = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 1.5}
        by_pass.plot(range(1, len(losses) + 1), losses, label=label, **style)
        by_time.plot(seconds, losses, **style)
    by_pass.set(xlabel="passes over the training set", ylabel="loss on the training set", yscale="log")
    lowest = min(runs, key=lambda batch: runs[batch][1][-1][1]) or examples
    by_pass.set_title(f"After {len(losses)} passes, batches of {lowest} are lowest", fontsize=11)
    by_time.set(xlabel="seconds of training on this machine", xscale="log")
    target = runs[None][1][-1][1]
    times = {batch: first_below(curve, target) for batch, (_, curve) in runs.items()}
    soonest = min((batch for batch in runs if times[batch]), key=lambda batch: times[batch][1]) or examples
    by_time.set_title(
        f"Batches of {soonest} are first to reach {target:.2g}, batch learning's last", fontsize=11
    )
    by_pass.legend(frameon=False, fontsize=9)
    for axes in (by_pass, by_time):
        axes.grid(color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="stochastic_or_batch.png", metavar="FILE.png")
    path = parser.parse_args().out
    x, labels = digits()
    for count in (8, 64):
        print(
            f"the gradient of {count} random examples: cosine {agreement(x, labels, count):.2f} with that of all"
        )
    runs = {batch: best(x, labels, batch, RATES, PASSES) for batch in BATCHES}
    print(f"\n   batch   rate   loss after 1 pass   after {PASSES}   seconds")
    for batch, (rate, curve) in runs.items():
        size = batch or len(x)
        print(f"{size:8d}   {rate:4g}   {curve[0][1]:17.4f}   {curve[-1][1]:8.4f}   {curve[-1][0]:7.2f}")
    target = runs[None][1][-1][1]
    print(f"\nto the loss of {target:.3f}, where batch learning ended:")
    for batch, (_, curve) in runs.items():
        found = first_below(curve, target)
        text = "not reached" if found is None else f"pass {found[0]}, {found[1]:.3f} s of training"
        print(f"  batch of {batch or len(x)}: {text}")
    draw(path, runs, len(x))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
