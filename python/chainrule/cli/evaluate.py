"""`chainrule evaluate`: a run's loss and accuracy on its test set, or another data set's."""

from __future__ import annotations

import argparse
from dataclasses import replace

from chainrule.train import RunFolder, Trained
from chainrule.train.build import load_data
from chainrule.train.config import with_absolute_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="the run's folder")
    parser.add_argument("--data", help="test on this data set: digits, mnist, cifar10 or PATH.npz")
    parser.add_argument("--root", metavar="DIR", help="the folder with the data set's files")
    parser.set_defaults(run=evaluate)


def evaluate(arguments: argparse.Namespace) -> int:
    """Run the command."""
    trained = Trained.load(RunFolder.open(arguments.folder))
    settings = trained.checkpoint.settings
    asked = {"data": arguments.data, "root": arguments.root}
    changes = with_absolute_paths({k: v for k, v in asked.items() if v is not None})
    if changes.get("data", settings.data) != settings.data and "root" not in changes:
        changes["root"] = None  # the run's own folder is not for other data
    data, _ = load_data(replace(settings, **changes))
    result = trained.test(data)

    right = int((result.predictions == result.labels).sum())
    print(f"test loss      {result.loss:.4f}")
    print(f"test accuracy  {100 * result.accuracy:.2f} % ({right} of {len(result.labels)})")
    print()
    names = trained.checkpoint.classes
    width = max(len("class"), *map(len, names))
    print(f"{'class':<{width}}  accuracy  right  images")
    for name, (hits, count) in zip(names, result.class_accuracies(), strict=True):
        share = f"{100 * hits / count:.2f} %" if count else "-"
        print(f"{name:<{width}}  {share:>8}  {hits:>5}  {count:>6}")
    return 0
