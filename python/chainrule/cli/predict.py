"""`chainrule predict`: what a run takes images for."""

from __future__ import annotations

import argparse

import numpy as np

import chainrule
from chainrule.cli.errors import CommandError
from chainrule.cli.images import read_image
from chainrule.train import RunFolder, Trained
from chainrule.train.build import MODELS, normalised
from chainrule.train.evaluate import scores_of

SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="the run's folder")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files of any size and kind")
    parser.add_argument(
        "--invert",
        action="store_true",
        help="swap black and white, for dark drawings on light paper: digits and mnist are light on dark",
    )
    parser.set_defaults(run=predict)


def predict(arguments: argparse.Namespace) -> int:
    """Run the command: all images are read before the first line is printed."""
    trained = Trained.load(RunFolder.open(arguments.folder))
    checkpoint = trained.checkpoint
    if len(checkpoint.image_shape) != 3:
        raise CommandError(
            f"predict: the run was trained on vectors of {checkpoint.image_shape[0]} features, not on "
            "images: use chainrule evaluate with an npz file"
        )
    height, width, channels = checkpoint.image_shape
    images = np.stack(
        [
            read_image(path, (height, width, channels), checkpoint.value_range, arguments.invert)
            for path in arguments.images
        ]
    )
    settings = checkpoint.settings
    scores = scores_of(
        trained.model,
        normalised(trained.normaliser, images),
        precision=settings.precision,
        tta=settings.tta,
    )
    probabilities = MODELS[settings.model].probabilities
    values = chainrule.softmax(scores) if probabilities else scores
    for path, row in zip(arguments.images, values, strict=True):
        best = np.argsort(-row, kind="stable")[:SHOWN]
        shown = ", ".join(
            f"{checkpoint.classes[k]} {100 * row[k]:.1f} %"
            if probabilities
            else f"{checkpoint.classes[k]} {row[k]:.3f}"
            for k in best
        )
        print(f"{path}: {checkpoint.classes[best[0]]}  ({shown})")
    return 0
