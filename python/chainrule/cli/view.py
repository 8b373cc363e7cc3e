"""`chainrule view`: pictures of what a run's model has learned, written into the run folder as PNG."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chainrule.cli import pictures
from chainrule.cli.errors import CommandError
from chainrule.cli.subject import Subject
from chainrule.files import replace_file
from chainrule.train import RunFolder
from chainrule.view.png import png_bytes

IMAGE = "image files, scaled to the run's size, or numbers of test images, counted from 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(metavar="KIND", required=True, parser_class=type(parser))

    def add(kind: str, text: str, draw: Callable, *flags: str) -> None:
        part = kinds.add_parser(
            kind, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        part.add_argument("folder", metavar="RUN", help="the run's folder")
        if "images" in flags:
            part.add_argument("images", metavar="IMAGE", nargs="+", help=IMAGE)
            part.add_argument("--invert", action="store_true", help="swap black and white of image files")
        if "class" in flags:
            part.add_argument(
                "--class", dest="class_name", metavar="NAME", help="not the class predicted, but this one"
            )
        if "layer" in flags:
            part.add_argument(
                "--layer", metavar="NAME", help="the layer's dotted name, as a picture of features shows them"
            )
        if "unit" in flags:
            part.add_argument(
                "--unit", metavar="K", type=unit, help="the number of a unit or map of the layer, from 0"
            )
        if "data" in flags:
            part.add_argument(
                "--root", metavar="DIR", help="the folder with the data set's files, if they were moved"
            )
        part.add_argument(
            "--out", metavar="FILE", help=f"where to write the picture (default: RUN/{kind}.png)"
        )
        part.set_defaults(run=view, kind=kind, draw=draw)

    add("filters", "the first layer's filters, or the templates of a linear layer", pictures.filters_of)
    add("features", "the feature maps of an image", pictures.features_of, "images", "layer", "data")
    add(
        "saliency",
        "how much each pixel changes a class's score",
        pictures.saliency_of,
        "images",
        "class",
        "data",
    )
    add(
        "explain",
        "gradient, deconvnet and guided backpropagation side by side",
        pictures.explanation_of,
        "images",
        "class",
        "layer",
        "unit",
        "data",
    )
    add("patches", "the patches that excite units most", pictures.patches_of, "layer", "unit", "data")
    add(
        "cam",
        "class activation maps: where the net sees a class",
        pictures.class_maps_of,
        "images",
        "class",
        "data",
    )
    add("confusion", "the confusion matrix of the test set", pictures.confusion_of, "data")
    curves = kinds.add_parser(
        "curves",
        help="learning curves of several runs in one plot",
        description="Learning curves of several runs in one plot.",
        allow_abbrev=False,
    )
    curves.add_argument("folders", metavar="RUN", nargs="+", help="the runs' folders")
    curves.add_argument(
        "--out", metavar="FILE", help="where to write the picture (default: curves.png in the first)"
    )
    curves.set_defaults(run=view_curves)


def unit(text: str) -> int:
    """The number of a unit."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of a unit")
    return number


def view(arguments: argparse.Namespace) -> int:
    """Draw one kind of picture of one run."""
    folder = RunFolder.open(arguments.folder)
    place = target(arguments.out, folder, arguments.kind)
    subject = Subject.load(folder, getattr(arguments, "root", None))
    return write(arguments.draw(subject, arguments), place)


def view_curves(arguments: argparse.Namespace) -> int:
    """Draw the learning curves of several runs."""
    folders = [RunFolder.open(name) for name in arguments.folders]
    place = target(arguments.out, folders[0], "curves")
    return write(pictures.curves_of_runs(folders), place)


def target(out: str | None, folder: RunFolder, kind: str) -> Path:
    """Where a picture goes. Errors: CommandError for what can be no PNG file there."""
    if out is None:
        return folder / f"{kind}.png"
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise CommandError(f"out: {path}: pictures are PNG files: give a name that ends in .png")
    if path.is_dir():
        raise CommandError(f"out: {path}: this is a folder: name a file")
    if not path.parent.is_dir():
        raise CommandError(f"out: {path}: {path.parent} is no folder")
    return path


def write(image: np.ndarray, place: Path) -> int:
    """Write the picture in one step, and say where it is."""
    replace_file(place, png_bytes(image))
    print(place)
    return 0
