"""The pictures of `chainrule view`: from a run to an image array, one function a kind."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import numpy as np

from chainrule.cli.errors import CommandError
from chainrule.cli.report import MOST_CONFUSED, MOST_MAPS, curves_of, feature_rows, first_weights
from chainrule.cli.subject import Example, Subject
from chainrule.train import RunFolder, read_checkpoint
from chainrule.train.run_folder import CHECKPOINT
from chainrule.view import (
    Picture,
    activations,
    backproject,
    class_activation_map,
    confusion_matrix,
    cut,
    exciting_patches,
    explanations,
    feature_maps,
    overlay,
    sight,
    signed_pixels,
    to_pixels,
)
from chainrule.view.plots import confusion_image, learning_curves
from chainrule.view.sheet import sheet

MOST_FILTERS = 256
MOST_UNITS = 8  # rows of patches
PATCHES = 8  # of each unit
CONTRAST = 0.995  # the share of a gradient's values within black and white

HEADS = {"gradient": "gradient", "deconvnet": "deconvnet", "guided": "guided\nbackpropagation"}


def filters_of(subject: Subject, arguments: argparse.Namespace) -> np.ndarray:
    """The first layer's filters, or templates of a linear layer."""
    subject.require_images("filters")
    pictures, word, note = first_weights(subject.trained, MOST_FILTERS)
    columns = min(len(pictures), 16 if len(pictures) > 40 else 8)
    return sheet(
        _in_rows(pictures, columns),
        title=f"The first layer\u2019s {word}: {subject.title}",
        note=note,
        cell=max(44, 640 // columns),
    )


def features_of(subject: Subject, arguments: argparse.Namespace) -> np.ndarray:
    """The feature maps of one image: some of every layer, or all of one."""
    subject.require_maps("features")
    if len(arguments.images) > 1:
        raise CommandError(f"view features: {len(arguments.images)} images: give one")
    if arguments.layer is not None and len(subject.output_shape(arguments.layer)) != 3:
        raise CommandError(f"layer: {arguments.layer} gives single units: name a layer of maps")
    (example,) = subject.examples(arguments.images, arguments.invert)
    note = (
        "Each map has a scale of its own: from 0, black, to its largest value, white; where values are negative too, 0 "
        "is mid-gray."
    )
    if arguments.layer is not None:
        images = feature_maps(
            activations(subject.model, example.input[None], [arguments.layer])[arguments.layer][0]
        )
        pictures = [Picture(example.pixels, "image"), *(Picture(m, str(k)) for k, m in enumerate(images))]
        columns = min(len(pictures), 17)
        return sheet(
            _in_rows(pictures, columns),
            title=f"Feature maps of {arguments.layer}: {subject.title}",
            note=f"{len(images)} maps of {images.shape[1]} \u00d7 {images.shape[2]}. {note}",
            cell=max(56, 640 // columns),
        )
    rows, names = [[Picture(example.pixels, _said(subject, example))]], ["image"]
    for stage, pictures in feature_rows(subject, example.input, MOST_MAPS):
        rows.append(pictures)
        names.append(f"{stage.layer}\n{stage.kinds}\n{stage.size}")
    if any(stage.shape[2] > MOST_MAPS for stage in subject.stages):
        note = f"The first {MOST_MAPS} maps of each layer; all of one with --layer. {note}"
    return sheet(rows, title=f"Feature maps: {subject.title}", note=note, names=names, cell=72)


def saliency_of(subject: Subject, arguments: argparse.Namespace) -> np.ndarray:
    """Images and their saliency maps."""
    subject.require_images("saliency")
    unit = _class_asked(subject, arguments)
    pairs = []
    for example in subject.examples(arguments.images, arguments.invert):
        of = example.predicted if unit is None else unit
        gradient = subject.as_image(backproject(subject.model, example.input, unit=of))
        values = np.abs(gradient).max(axis=2)
        white = np.quantile(values, CONTRAST) or 1.0
        pairs.append(
            [
                Picture(example.pixels, _said(subject, example)),
                Picture(to_pixels(values, (0, white))[..., None], f"for {subject.classes[of]}"),
            ]
        )
    return _pairs(
        pairs,
        title=f"Saliency: {subject.title}",
        note="The brighter a pixel, the more a change of it changes the class\u2019s score: the magnitude of the "
        "gradient, of the colours the largest. Simonyan, Vedaldi and Zisserman, 2014.",
    )


def explanation_of(subject: Subject, arguments: argparse.Namespace) -> np.ndarray:
    """Gradient, deconvnet and guided backpropagation side by side, with and without pooling switches."""
    subject.require_images("explain")
    if arguments.layer is None and arguments.unit is not None:
        raise CommandError("unit: units are of a layer: give --layer, or a class with --class")
    if arguments.layer is not None and arguments.class_name is not None:
        raise CommandError("class: a class is a unit of the last layer: leave out --class or --layer")
    layer, unit = arguments.layer or "", _class_asked(subject, arguments)
    if arguments.layer is not None:
        unit = _checked_unit(subject, layer, arguments.unit)
    rows, found = [], {}
    for example in subject.examples(arguments.images, arguments.invert):
        try:
            found = explanations(subject.model, example.input, layer=layer, unit=unit)
        except ValueError as error:
            raise CommandError(f"view explain: {subject.title}: {error}") from None
        signals = [Picture(signed_pixels(subject.as_image(signal), CONTRAST)) for signal in found.values()]
        rows.append([Picture(example.pixels, *_caption(subject, example, layer, unit)), *signals])
    rules, pooled = list(dict.fromkeys(rule for rule, _ in found)), any(not switches for _, switches in found)
    what = (
        "a class\u2019s score" if not layer else f"{'a unit' if unit is None else f'unit {unit}'} of {layer}"
    )
    note = f"What {what} sends back to the image: mid-gray is 0. "
    if len(rules) > 1:
        note += (
            "The three differ in what relu lets back: the gradient where its input was positive, deconvnet (Zeiler and "
            "Fergus, 2014) what is positive on the way back, guided backpropagation (Springenberg et al., 2015) where "
            "both hold."
        )
    else:
        note += (
            "Deconvnet and guided backpropagation differ from the gradient at relu, and none lies on the way."
        )
    if pooled:
        note += " Switches tell max-pooling where its maxima were; without them its pixels get equal shares."
    heads, count = [HEADS[rule] for rule in rules], len(rules)
    groups = [("", 1), ("with pooling switches", count), ("without switches", count)] if pooled else []
    return sheet(
        rows,
        title=f"{'Three ways' if count > 1 else 'The way'} back to the image: {subject.title}",
        note=note,
        heads=["image", *heads, *(heads if pooled else [])],
        groups=groups,
        cell=112,
    )


def patches_of(subject: Subject, arguments: argparse.Namespace) -> np.ndarray:
    """For some units of a layer the patches that excite them most, and what guided backpropagation says of each."""
    subject.require_images("patches")
    subject.require_pixels("patches")
    if arguments.layer is None:
        subject.require_maps("patches", "name a layer of units with --layer")
    layer = arguments.layer or subject.stage_in_the_middle().layer
    total = subject.output_shape(layer)[-1]
    images = subject.data.test.images
    inputs = subject.inputs(images)
    black, white = subject.checkpoint.value_range
    unit = _checked_unit(subject, layer, arguments.unit)
    count = min(PATCHES, len(images))
    found = exciting_patches(
        subject.model,
        inputs,
        layer,
        None if unit is None else [unit],
        count,
        images=images,
        fill=(black + white) / 2,
    )
    units = range(total) if unit is None else [unit]
    order = [i for i in range(len(units)) if found.activations[i, 0] > 0 or unit is not None][:MOST_UNITS]
    if not order:
        raise CommandError(f"view patches: no unit of {layer} is above 0 for any test image")
    seen = sight(subject.model, layer, subject.checkpoint.image_shape)
    guided = _has_rules(subject, inputs[0], layer)
    rows, names = [], []
    for i in order:
        row = [
            Picture(patch, note=f"{value:.2f}")
            for patch, value in zip(subject.pixels(found.images[i]), found.activations[i], strict=True)
        ]
        if guided:
            row += [
                Picture(_signal_at(subject, inputs[n], layer, units[i], tuple(place), seen))
                for n, place in zip(found.indices[i], found.places[i], strict=True)
            ]
        rows.append(row)
        names.append(f"unit {units[i]}")
    height, width = found.images.shape[2:4]
    note = (
        f"Of {len(images):,} test images those in which the unit is largest, with its value, each cut to the "
        f"{height} \u00d7 {width} pixels that it sees; plain gray lies outside the image."
    )
    if guided:
        note += " Right: what in each it answers to, by guided backpropagation (Springenberg et al., 2015)."
    if unit is None and total > len(order):
        note += (
            f" Of {total} units the first {len(order)} that are above 0 for any image; another with --unit."
        )
    return sheet(
        rows,
        title=f"What excites {layer}: {subject.title}",
        note=note,
        names=names,
        groups=[("patches", count), ("guided backpropagation", count)] if guided else [],
        cell=64,
    )


def class_maps_of(subject: Subject, arguments: argparse.Namespace) -> np.ndarray:
    """Images and the class activation maps of the classes with the highest scores, or of one."""
    subject.require_maps("cam")
    unit = _class_asked(subject, arguments)
    rows = []
    for example in subject.examples(arguments.images, arguments.invert):
        best = np.argsort(-example.scores, kind="stable")[:3]
        units = [unit] if unit is not None else [int(k) for k in best]
        try:
            maps = [class_activation_map(subject.model, example.input, k) for k in units]
        except ValueError as error:
            raise CommandError(f"view cam: {subject.title}: {error}") from None
        low, high = min(0.0, *(m.min() for m in maps)), max(m.max() for m in maps)
        scale = (low, high if high > low else low + 1)
        row = [Picture(example.pixels, _said(subject, example))]
        row += [
            Picture(
                overlay(_enlarged(example.pixels), values, scale),
                subject.classes[k],
                subject.share(example.scores, k),
            )
            for k, values in zip(units, maps, strict=True)
        ]
        rows.append(row)
    first = "class asked for" if unit is not None else "highest score"
    return sheet(
        rows,
        title=f"Class activation maps: {subject.title}",
        note="Where the net sees a class: the maps before global average pooling, weighted as the class weighs them. "
        "From dark to bright on one scale in a row. Zhou et al., 2016; Lin, Chen and Yan, 2014.",
        heads=["image", first, "second", "third"],
        cell=128,
    )


def confusion_of(subject: Subject, arguments: argparse.Namespace) -> np.ndarray:
    """The confusion matrix of the test set."""
    if len(subject.classes) > MOST_CONFUSED:
        raise CommandError(
            f"view confusion: {len(subject.classes)} classes: a matrix shows up to {MOST_CONFUSED}"
        )
    result = subject.trained.test(subject.data)
    counts = confusion_matrix(result.labels, result.predictions, len(subject.classes))
    right = int(np.trace(counts))
    title = f"{subject.title}: {100 * right / len(result.labels):.2f} % right"
    return confusion_image(counts, subject.classes, title)


def curves_of_runs(folders: Sequence[RunFolder]) -> np.ndarray:
    """Several runs' learning curves in one plot; a run goes by its folder's name, or path where names are alike."""
    paths = [folder.path for folder in folders]
    names = [path.resolve().name for path in paths]
    names = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    runs = {}
    for name, folder in zip(names, folders, strict=True):
        name = os.fsencode(name).decode(errors="replace")  # any bytes may be a name, and not all are text
        history = read_checkpoint(folder / CHECKPOINT).history
        if not history:
            raise CommandError(f"view curves: {folder.path}: the run has not finished an epoch")
        runs[name] = curves_of(history)
    return learning_curves(runs)


def _in_rows(pictures: list[Picture], columns: int) -> list[list[Picture]]:
    return [pictures[i : i + columns] for i in range(0, len(pictures), columns)]


def _pairs(pairs: list[list[Picture]], **words: str) -> np.ndarray:
    """Pairs of pictures, several pairs beside each other."""
    across = min(len(pairs), 4)
    rows = _in_rows([picture for pair in pairs for picture in pair], 2 * across)
    return sheet(rows, groups=[("", 2)] * across, cell=112, **words)


def _said(subject: Subject, example: Example) -> str:
    """What is said below an image: its class, and what it is taken for where that differs or is all there is."""
    predicted = subject.classes[example.predicted]
    if example.label is None:
        return predicted
    true = subject.classes[example.label]
    return true if example.label == example.predicted else f"{true} \u2192 {predicted}"


def _caption(subject: Subject, example: Example, layer: str, unit: int | None) -> tuple[str, str]:
    """Two lines below an image: its classes, and whose score is shown."""
    if layer:
        return _said(subject, example), ""
    of = example.predicted if unit is None else unit
    share = subject.share(example.scores, of)
    return _said(
        subject, example
    ), share if of == example.predicted else f"for {subject.classes[of]}: {share}"


def _class_asked(subject: Subject, arguments: argparse.Namespace) -> int | None:
    return None if arguments.class_name is None else subject.class_number(arguments.class_name)


def _checked_unit(subject: Subject, layer: str, unit: int | None) -> int | None:
    """The unit that is asked for, None for none. Errors: CommandError for a layer or unit that is not there."""
    units = subject.output_shape(layer)[-1]
    if unit is not None and unit >= units:
        raise CommandError(f"unit: {unit}: {layer} has units 0 to {units - 1}")
    return unit


def _has_rules(subject: Subject, example: np.ndarray, layer: str) -> bool:
    """Whether guided backpropagation from the layer is another thing than the gradient."""
    try:
        backproject(subject.model, example, "guided", layer=layer)
    except ValueError:
        return False
    return True


def _signal_at(
    subject: Subject, example: np.ndarray, layer: str, unit: int, place: tuple[int, int], seen
) -> np.ndarray:
    """What a unit sends back by guided backpropagation, cut to what it sees."""
    maps = len(subject.output_shape(layer)) == 3
    signal = backproject(
        subject.model, example, "guided", layer=layer, unit=unit, place=place if maps else None
    )
    return signed_pixels(cut(subject.as_image(signal), *seen.window(*place), 0), CONTRAST)


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """An image of at least 128 pixels a side, on which a map is smooth."""
    zoom = -(-128 // min(pixels.shape[:2]))
    return pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
