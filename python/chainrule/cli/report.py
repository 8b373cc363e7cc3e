"""What a run's report says: gathered from a checkpoint and its data set, rendered by `view.report`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import chainrule
from chainrule.cli.subject import Stage, Subject
from chainrule.data import Dataset, Whiten
from chainrule.models.classifier import Classifier
from chainrule.train import EpochRecord, Trained
from chainrule.train.build import MODELS, model_title
from chainrule.train.checkpoint import Checkpoint
from chainrule.train.config import settings_to_file_values
from chainrule.train.evaluate import Evaluation, worst_mistakes
from chainrule.view import Picture, activations, confusion_matrix, feature_maps, filters, templates, to_pixels
from chainrule.view.plots import Curves
from chainrule.view.report import Report, render_report

MOST_TEMPLATES = 100
MOST_MISTAKES = 16
MOST_MAPS = 12  # of each layer
MOST_CONFUSED = 1000  # with more classes the matrix would fill the memory and show nothing


def report_of(checkpoint: Checkpoint, data: Dataset) -> str:
    """The report of a run as an HTML page."""
    settings, history = checkpoint.settings, checkpoint.history
    trained = Trained.of(checkpoint)
    model = trained.model
    result = trained.test(data)

    last = history[-1]
    count = sum(p.data.size for p in model.parameters())
    best = max(record.test_accuracy for record in history)
    units, word, note = [], "", ""
    if len(checkpoint.image_shape) == 3:
        units, word, note = first_weights(trained, MOST_TEMPLATES)
    features, features_note = _features(Subject(trained), data)
    return render_report(
        Report(
            title=f"{settings.shown_data}: {model_title(settings)}",
            subtitle=f"{len(data.train.labels):,} training and {len(data.test.labels):,} test examples, "
            f"{len(data.classes)} classes"
            + (
                ""
                if checkpoint.epoch == settings.epochs
                else f"; epoch {checkpoint.epoch} of {settings.epochs}"
            ),
            right=int((result.predictions == result.labels).sum()),
            tested=len(result.labels),
            facts=[
                ("Test loss", f"{last.test_loss:.4f}"),
                ("Best test accuracy", f"{100 * best:.2f} %"),
                ("Training accuracy", f"{100 * last.train_accuracy:.2f} %"),
                ("Training loss", f"{last.train_loss:.4f}"),
                ("Parameters", f"{count:,}"),
                ("Epochs", str(checkpoint.epoch)),
                ("Time", _duration(sum(record.seconds for record in history))),
                ("Speed", f"{last.images_per_second:,.0f} images/s"),
                ("Peak memory", f"{max(record.peak_mb for record in history):,.0f} MB"),
            ],
            curves=curves_of(history),
            loss=MODELS[settings.model].loss,
            confusion=confusion_matrix(result.labels, result.predictions, len(checkpoint.classes))
            if len(checkpoint.classes) <= MOST_CONFUSED
            else None,
            classes=checkpoint.classes,
            templates=units,
            templates_heading=f"{word.capitalize()}: the first layer\u2019s weights",
            templates_note=note,
            features=features,
            features_note=features_note,
            mistakes=_mistakes(checkpoint, data, model, result),
            mistakes_note="the probabilities" if MODELS[settings.model].probabilities else "the scores",
            settings=[(name, _shown(value)) for name, value in settings_to_file_values(settings).items()],
            software=chainrule.show_config(),
        )
    )


def first_weights(trained: Trained, most: int) -> tuple[list[Picture], str, str]:
    """Pictures of the first layer's weights, at most so many, what they are called ('filters' or 'templates'), and a
    sentence on how to read them."""
    checkpoint, normaliser = trained.checkpoint, trained.normaliser
    weights, kind = trained.model.first_weights(), MODELS[checkpoint.settings.model]
    if kind.images:  # (height, width, channels, filters)
        total, channels = weights.shape[3], weights.shape[2]
        word, what, each = "filters", "filters", "filter"
        if channels not in (1, 3):
            weights = weights.mean(axis=2, keepdims=True)
        images = filters(weights[..., :most])
    else:
        if isinstance(normaliser, Whiten):
            # Weights on principal components say nothing to the eye: show the pixels that they stand for.
            weights = normaliser.projection.astype(weights.dtype) @ weights
        total, channels = weights.shape[1], checkpoint.image_shape[2]
        word, what, each = "templates", "classes", "unit"
        if checkpoint.settings.hidden is not None:
            what = "hidden units"
        images = templates(weights[:, :most], checkpoint.image_shape)
    if images.shape[3] == 1:
        note = f"Each {each}\u2019s weights as an image: mid-gray is 0, white positive, black negative."
        if channels > 1:
            note = f"{note[:-1]}; the mean over {channels} channels."
    else:
        note = f"Each {each}\u2019s weights as an image, from its least to its greatest weight."
    if total > len(images):
        note += f" The first {len(images)} of {total} {what}."
    # Numbers stand below; the template of a class has its name.
    captions = checkpoint.classes if what == "classes" else [str(n) for n in range(len(images))]
    return [Picture(i, c) for i, c in zip(images, captions, strict=False)], word, note


def feature_rows(subject: Subject, input: np.ndarray, most: int) -> list[tuple[Stage, list[Picture]]]:
    """For each layer of maps the pictures of its maps for one input, at most so many."""
    found = activations(subject.model, input[None], [stage.layer for stage in subject.stages])
    return [
        (stage, [Picture(image) for image in feature_maps(found[stage.layer][0][..., :most])])
        for stage in subject.stages
    ]


def _features(subject: Subject, data: Dataset) -> tuple[list[tuple[str, list[Picture]]], str]:
    """The feature maps of the first test image for a convolutional net, and a sentence on how to read them."""
    if not MODELS[subject.checkpoint.settings.model].images:
        return [], ""
    image = data.test.images[:1]
    rows: list[tuple[str, list[Picture]]] = [("image", [Picture(subject.pixels(image[0]))])]
    for stage, pictures in feature_rows(subject, subject.inputs(image)[0], MOST_MAPS):
        shown = "" if len(pictures) == stage.shape[2] else f", the first {len(pictures)}"
        rows.append((f"{stage.layer}: {stage.kinds}, {stage.size}{shown}", pictures))
    return rows, (
        "What each layer makes of the first test image: from 0, black, to the map\u2019s largest value, white; where "
        "values are negative too, 0 is mid-gray."
    )


def curves_of(history: Sequence[EpochRecord]) -> Curves:
    """The learning curves of a run's epochs."""
    return Curves(
        [r.epoch for r in history],
        [r.train_loss for r in history],
        [r.test_loss for r in history],
        [r.train_accuracy for r in history],
        [r.test_accuracy for r in history],
    )


def _mistakes(checkpoint: Checkpoint, data: Dataset, model: Classifier, result: Evaluation) -> list[Picture]:
    if len(checkpoint.image_shape) != 3:
        return []
    probabilities = MODELS[checkpoint.settings.model].probabilities
    pictures = []
    for index in worst_mistakes(model, result, MOST_MISTAKES):
        scores = result.scores[index]
        predicted, true = int(result.predictions[index]), int(result.labels[index])
        if probabilities:
            shares = chainrule.softmax(scores)
            note = f"{100 * shares[predicted]:.1f}\u00a0% / {100 * shares[true]:.1f}\u00a0%"
        else:
            note = f"{scores[predicted]:.2f} / {scores[true]:.2f}"
        pictures.append(
            Picture(
                to_pixels(data.test.images[index], checkpoint.value_range),
                f"{checkpoint.classes[true]} \u2192 {checkpoint.classes[predicted]}",
                note,
            )
        )
    return pictures


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
