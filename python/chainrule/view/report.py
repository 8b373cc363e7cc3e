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

from chainrule.view.plots import confusion_plot, learning_curve
from chainrule.view.png import png_uri


@dataclass(frozen=True)
class Curves:
    """Figures over the epochs, one value an epoch in each."""

    epochs: Sequence[int]
    train_loss: Sequence[float]
    test_loss: Sequence[float]
    train_accuracy: Sequence[float]
    test_accuracy: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """An image (H, W, C) uint8 and what stands below it; `note` is a second, fainter line."""

    image: np.ndarray
    caption: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Attributes:
        title, subtitle: the headings.
        accuracy: the final test accuracy, in [0, 1].
        facts: (name, value) pairs that stand large at the top.
        curves: the learning curves.
        confusion: (C, C) counts; row: the true class.
        classes: C names.
        templates: pictures of the first layer's units; none for vector data.
        templates_note: a sentence on how to read them.
        mistakes: pictures of the worst mistakes; none for vector data.
        settings: (name, value) pairs.
        software: lines on the software and machine.
    """

    title: str
    subtitle: str
    accuracy: float
    facts: Sequence[tuple[str, str]]
    curves: Curves
    confusion: np.ndarray
    classes: Sequence[str]
    templates: Sequence[Picture]
    templates_note: str
    mistakes: Sequence[Picture]
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
    return environment.get_template("report.html.jinja").render(
        report=report,
        # matplotlib escapes the text in its pictures.
        loss_plot=Markup(learning_curve(curves.epochs, curves.train_loss, curves.test_loss, percent=False)),
        accuracy_plot=Markup(
            learning_curve(curves.epochs, curves.train_accuracy, curves.test_accuracy, percent=True)
        ),
        confusion_plot=Markup(confusion_plot(report.confusion, report.classes)),
    )
