"""A run's report: one HTML page that holds all its pictures in itself.

What stands in it is gathered by the caller in a `Report`; how it looks is in `report.html.jinja`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from chainrule.view.confusion import precision_recall
from chainrule.view.pictures import Picture
from chainrule.view.plots import Curves, confusion_plot, learning_curve
from chainrule.view.png import png_uri


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Attributes:
        title, subtitle: the headings.
        right, tested: how many test examples are classified right, and how many there are.
        facts: (name, value) pairs that stand large at the top.
        curves: the learning curves.
        loss: the loss's name.
        confusion: (C, C) counts; row: the true class. None leaves out the matrix and the table of classes.
        classes: C names.
        templates: pictures of the first layer's units; none for vector data.
        templates_heading, templates_note: what stands above them, and a sentence on how to read them.
        features: for a convolutional net (heading, pictures) of each layer's maps for one image; else none.
        features_note: a sentence on how to read them.
        mistakes: pictures of the worst mistakes; none for vector data.
        mistakes_note: which two numbers stand below each: 'the probabilities'.
        settings: (name, value) pairs.
        software: lines on the software and machine.
    """

    title: str
    subtitle: str
    right: int
    tested: int
    facts: Sequence[tuple[str, str]]
    curves: Curves
    loss: str
    confusion: np.ndarray | None
    classes: Sequence[str]
    templates: Sequence[Picture]
    templates_heading: str
    templates_note: str
    features: Sequence[tuple[str, Sequence[Picture]]]
    features_note: str
    mistakes: Sequence[Picture]
    mistakes_note: str
    settings: Sequence[tuple[str, str]]
    software: str


def render_report(report: Report) -> str:
    """The report as an HTML page without external resources."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = png_uri
    curves = report.curves
    rows, plot = [], ""
    if report.confusion is not None:
        rows = _class_rows(report.classes, report.confusion)
        plot = confusion_plot(report.confusion, report.classes)
    return environment.get_template("report.html.jinja").render(
        report=report,
        # matplotlib escapes the text in its pictures.
        loss_plot=Markup(
            learning_curve("loss", curves.epochs, curves.train_loss, curves.test_loss, percent=False)
        ),
        accuracy_plot=Markup(
            learning_curve(
                "accuracy", curves.epochs, curves.train_accuracy, curves.test_accuracy, percent=True
            )
        ),
        confusion_plot=Markup(plot),
        class_rows=rows,
    )


def _class_rows(classes: Sequence[str], counts: np.ndarray) -> list[tuple[str, str, str, str]]:
    """For each class its name, recall, precision and number of test examples, as text."""
    precision, recall = precision_recall(counts)
    return [
        (name, _percent(found), _percent(right), f"{total:,}")
        for name, found, right, total in zip(classes, recall, precision, counts.sum(axis=1), strict=True)
    ]


def _percent(share: float) -> str:
    return "\u2013" if np.isnan(share) else f"{100 * share:.1f}\u00a0%"
