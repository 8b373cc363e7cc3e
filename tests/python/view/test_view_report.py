"""Plots and the report: well-formed, self-contained, and safe with any names."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.view import Picture
from chainrule.view.plots import (
    MOST_CLASSES,
    confusion_plot,
    learning_curve,
    learning_curves,
    log_range,
    log_ticks,
)
from chainrule.view.report import Curves, Report, render_report

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(t.itertext()) for t in ET.fromstring(svg).iter(f"{SVG}text")]


def counts(size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (size, size)) + np.diag(rng.integers(20, 40, size))


@pytest.mark.parametrize("epochs", [1, 2, 3, 1000])
@pytest.mark.parametrize("percent", [False, True])
def test_learning_curve_has_two_named_lines_and_whole_epochs(epochs, percent):
    numbers = range(1, epochs + 1)
    train, test = np.linspace(0.5, 1.0, epochs), np.linspace(0.4, 0.9, epochs)
    svg = learning_curve("loss", numbers, train, test, percent=percent)
    found = texts(svg)
    assert {"train", "test", "epoch"} <= set(found)
    ticks = [t for t in found if re.fullmatch(r"\d+", t)]
    assert ticks and all(0 <= int(t) <= epochs for t in ticks)
    shares = [float(t[:-2]) for t in found if t.endswith(" %")]
    assert bool(shares) == percent and all(0 <= s <= 100 for s in shares)
    assert "var(--train, #2563eb)" in svg and "var(--test, #d9480f)" in svg


@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [1e-12, 1e-13], [1e30, 1e37], [-3.0, -5.0], [1.0, 1.0]], ids=str
)
def test_learning_curve_takes_figures_of_any_size(values):
    ET.fromstring(learning_curve("loss", [1, 2], values, values, percent=False))
    share = np.clip(values, 0, 1)
    ET.fromstring(learning_curve("accuracy", [1, 2], share, share, percent=True))


@given(st.floats(1e-30, 1e6), st.floats(1, 1e30))
def test_logarithmic_axes_have_ticks_enough_and_not_too_many(least, ratio):
    low, high = log_range(np.array([least * ratio, np.nan, least]))
    assert 0 < low < least <= least * ratio < high
    ticks = [t for t in log_ticks(low, high).tick_values(low, high) if low <= t <= high]
    assert 2 <= len(ticks) <= 13


def test_learning_curves_of_several_runs_take_figures_of_any_size():
    def of(epochs, loss, accuracy):
        return Curves(range(1, epochs + 1), *[[loss] * epochs] * 2, *[[accuracy] * epochs] * 2)

    one = learning_curves({"a": of(3, 0.5, 0.9)})
    assert one.dtype == np.uint8 and one.shape[2] == 3 and (one[0] == 255).all()
    # Nothing wrong, no epoch but one, a loss that diverged, and more runs than colours.
    others = {"b": of(1, 0.0, 1.0), "c": of(2, float("nan"), 0.1), "d $x$": of(2, 1e30, 0.0)}
    many = learning_curves({f"run {i}": of(2, 1.0 + i, i / 20) for i in range(15)} | others)
    assert many.shape[1] == one.shape[1] and many.shape[0] > one.shape[0]
    with pytest.raises(ValueError, match="no runs: give at least one"):
        learning_curves({})


def test_plots_are_the_same_text_every_time():
    for draw in (
        lambda: learning_curve("loss", [1, 2], [1, 0], [1, 0.5], percent=False),
        lambda: confusion_plot(counts(4), list("abcd")),
    ):
        assert draw() == draw()


@pytest.mark.parametrize("size", [1, 2, 10, MOST_CLASSES + 1])
def test_confusion_plot_shows_every_count_as_long_as_it_can_be_read(size):
    matrix = counts(size)
    matrix[0, -1] = 0
    matrix[-1] = 0  # a class without examples
    found = texts(confusion_plot(matrix, [f"c{i}" for i in range(size)]))
    numbers = sorted(int(t) for t in found if t.isdigit())
    if size <= MOST_CLASSES:
        assert numbers == sorted(matrix[matrix > 0].tolist())
        assert sum(t.startswith("c") for t in found) == 2 * size
    assert {"predicted", "true"} <= set(found)


ODD_NAMES = [
    "$\\frac$",
    "a$b$c",
    "<script>alert(1)</script>",
    'x" onload="y',
    "&amp;",
    "\u4e2d\u6587",
    "\U0001f600",
    "",
    " ",
    "n" * 300,
]


def test_confusion_plot_takes_any_names():
    found = texts(confusion_plot(counts(len(ODD_NAMES)), ODD_NAMES))
    for name in ODD_NAMES:
        if name.strip():
            assert (name if len(name) <= 12 else name[:11] + "\u2026") in found


# The report


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def sample(classes=("cat", "dog"), **changes):
    matrix = counts(len(classes))
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 1), dtype=np.uint8)
    report = Report(
        title="data: model",
        subtitle="of it",
        right=int(np.trace(matrix)),
        tested=int(matrix.sum()),
        facts=[("Test loss", "0.1")],
        curves=Curves([1, 2], [1.0, 0.5], [1.1, 0.6], [0.5, 0.8], [0.4, 0.7]),
        loss="softmax cross-entropy",
        confusion=matrix,
        classes=classes,
        templates=[Picture(picture, name) for name in classes],
        templates_heading="Templates: the first layer",
        templates_note="How to read them.",
        features=[("layers.1: 2 maps", [Picture(picture), Picture(picture)])],
        features_note="What layers make of it.",
        mistakes=[Picture(picture, f"{classes[0]} \u2192 {classes[-1]}", "90 % / 1 %")],
        mistakes_note="the probabilities",
        settings=[("lr", "0.1")],
        software="chainrule 0\nNumPy 2",
    )
    return replace(report, **changes)


def check(text):
    page = Page(text)
    assert not page.open
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,"))
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "script" not in page.tags and "link" not in page.tags
    return page


def test_report_is_well_formed_and_holds_what_it_was_given():
    page = check(render_report(sample()))
    for text in (
        "data: model",
        "softmax cross-entropy",
        "How to read them.",
        "layers.1: 2 maps",
        "90 % / 1 %",
        "0.1",
        "NumPy 2",
    ):
        assert text in page.text
    assert page.tags.count("img") == 5 and page.tags.count("svg") == 3


def test_report_takes_any_names():
    page = check(
        render_report(
            sample(
                classes=ODD_NAMES,
                title="<b>&",
                settings=[("root", "/a/<i>&'\"")],
                software="<pre>",
            )
        )
    )
    assert "<b>&" in page.text and "/a/<i>&'\"" in page.text and "<script>alert(1)</script>" in page.text


def test_report_shows_recall_and_precision_of_each_class():
    matrix = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
    text = render_report(sample(("a", "b", "c"), confusion=matrix))
    rows = re.findall(r'<th scope="row">([abc])</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', text)
    assert [[cell.replace("\u00a0", " ") for cell in row] for row in rows] == [
        ["a", "80.0 %", "100.0 %", "10"],
        ["b", "100.0 %", "71.4 %", "5"],
        ["c", "\u2013", "\u2013", "0"],
    ]


def test_report_leaves_out_what_there_is_not():
    page = check(render_report(sample(templates=[], features=[], mistakes=[])))
    assert (
        "Templates" not in page.text and "Feature maps" not in page.text and "Worst mistakes" not in page.text
    )
    page = check(render_report(sample(confusion=None)))
    assert "Confusion matrix" not in page.text and "Recall" not in page.text


def test_report_says_when_nothing_is_wrong():
    page = check(render_report(sample(confusion=np.diag([3, 4]), right=7, tested=7, mistakes=[])))
    assert "Every one is classified right." in page.text and "100.0\u2009%" in page.text


def test_report_is_the_same_page_every_time():
    assert render_report(sample()) == render_report(sample())
