"""Learning curves and confusion matrices, drawn by matplotlib without its global state: as SVG text or as pixels.

In SVG colours are CSS variables with fallbacks, so that a page with the picture inside it sets them for light and
dark; seen alone, the picture is a light one. Text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullLocator

# matplotlib writes these colours, and they are then replaced by variables of the same name.
COLOURS = {
    "ink": "#1f2329",
    "muted": "#6b7280",
    "line": "#d9dce1",
    "train": "#2563eb",
    "test": "#d9480f",
    "right": "#2563ea",
    "wrong": "#dc2626",
    "on-cell": "#fefefe",
}

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "chainrule",  # the same picture gets the same ids
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a class may have a dollar sign in its name
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
}

# Colours that those who confuse red and green tell apart too (Okabe and Ito, 2008); beyond them lines are broken.
RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))

DPI = 200  # of pictures in pixels
MOST_CLASSES = 40  # more cells than this on a side are too small to read


@dataclass(frozen=True)
class Curves:
    """Figures over the epochs, one value an epoch in each."""

    epochs: Sequence[int]
    train_loss: Sequence[float]
    test_loss: Sequence[float]
    train_accuracy: Sequence[float]
    test_accuracy: Sequence[float]


def learning_curve(
    name: str, epochs: Sequence[int], train: Sequence[float], test: Sequence[float], *, percent: bool
) -> str:
    """One figure of training over the epochs, on the training and the test set, as SVG text.

    Args:
        name: what the figure is called: 'loss', 'accuracy'.
        epochs: their numbers.
        train, test: one value an epoch.
        percent: whether the values are shares, to be shown as percentages.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure(5.2, 3.1)
        axes = _axes(figure)
        # One epoch is a point, which a line would not show.
        marker = "o" if len(epochs) == 1 else None
        for part, values in (("train", train), ("test", test)):
            axes.plot(
                epochs,
                values,
                color=COLOURS[part],
                linewidth=1.8,
                marker=marker,
                markersize=5,
                label=part,
                solid_capstyle="round",
                solid_joinstyle="round",
            )
        _over_epochs(axes)
        if percent:
            axes.yaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 6):g} %")
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, 0.0), min(high, 1.0 + 0.02 * (1.0 - low)))  # no share is above 1
        else:
            axes.set_ylim(bottom=min(0.0, *train, *test))
        # Above the axes, where no curve runs through it.
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0, frameon=False, handlelength=1.2
        )
        return _svg(figure, name, f"{name} over the epochs on the training and the test set")


def learning_curves(runs: Mapping[str, Curves]) -> np.ndarray:
    """Several runs' learning curves side by side: their losses, and their errors, 1 - accuracy.

    Each run has a colour; test figures are drawn strong, training figures thin. Both axes are logarithmic, so that
    a loss that halves falls as far late as early. A figure that is 0 or not finite has no place there and is left out.

    Args:
        runs: name -> figures, at least one run.

    Returns: (H, W, 3) uint8.

    Errors: ValueError for no runs.
    """
    if not runs:
        raise ValueError("learning_curves: no runs: give at least one")
    with matplotlib.rc_context(STYLE):
        names = [_shortened(name, 40) for name in runs]
        columns = min(len(runs), max(1, 110 // (max(map(len, names)) + 8)))
        rows = -(-len(runs) // columns)
        figure = _figure(10.4, 4.3 + 0.22 * rows)
        left, right = _axes(figure, 1, 2, 1), _axes(figure, 1, 2, 2)
        for i, curves in enumerate(runs.values()):
            style = _line(i) | {"marker": "o" if len(curves.epochs) == 1 else None}
            errors = (1 - np.asarray(curves.train_accuracy), 1 - np.asarray(curves.test_accuracy))
            for axes, train, test in (
                (left, curves.train_loss, curves.test_loss),
                (right, *errors),
            ):
                axes.plot(curves.epochs, _above_zero(train), linewidth=0.9, alpha=0.55, markersize=3, **style)
                axes.plot(curves.epochs, _above_zero(test), linewidth=2, markersize=5, **style)
        for axes, name in ((left, "loss"), (right, "error")):
            low, high = log_range(np.concatenate([line.get_ydata() for line in axes.lines]))
            _over_epochs(axes)
            axes.set_ylim(low, high)
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(log_ticks(low, high))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_title(name, loc="left", fontsize=11)
        left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.yaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 6):g} %")
        handles = [Line2D([], [], linewidth=2, **_line(i)) for i in range(len(runs))]
        figure.legend(handles, names, loc="outside lower left", ncols=columns, frameon=False)
        figure.get_layout_engine().set(h_pad=0.12, w_pad=0.12)
        figure.suptitle("Learning curves", x=0.012, ha="left", fontsize=14, fontweight="bold")
        right.set_title("strong: test, thin: training", loc="right", fontsize=10, color=COLOURS["muted"])
        return pixels(figure)


def _line(i: int) -> dict:
    """The colour and dashes of run i."""
    return {
        "color": RUN_COLOURS[i % len(RUN_COLOURS)],
        "linestyle": DASHES[i // len(RUN_COLOURS) % len(DASHES)],
    }


def log_range(values: np.ndarray) -> tuple[float, float]:
    """What a logarithmic axis of these values shows, NaN left out: a little more than they take."""
    values = values[~np.isnan(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 1.0)
    margin = max((high / low) ** 0.05, 1.1)
    return low / margin, high * margin


def log_ticks(low: float, high: float) -> Locator:
    """Where a logarithmic axis from `low` to `high` has its ticks: at least two, and few enough to read."""
    if high > 1e4 * low:
        return LogLocator(numticks=8)
    if high > 5 * low:
        return LogLocator(subs=(1, 2, 5), numticks=12)
    return MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10])  # 1, 2 and 5 of each decade would be too few


def _above_zero(values: Sequence[float]) -> np.ndarray:
    values = np.asarray(values, float)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _over_epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y", color=COLOURS["line"], linewidth=0.8)
    axes.set_axisbelow(True)


def confusion_plot(counts: np.ndarray, classes: Sequence[str]) -> str:
    """A confusion matrix as SVG text: rows true, columns predicted, right on the diagonal, mistakes in red.

    A cell's strength is its share of the true class; mistakes are drawn stronger than their share (its square
    root), since a good classifier makes few. With more than 40 classes there are no numbers.

    Args:
        counts: (C, C) integers.
        classes: C names.
    """
    with matplotlib.rc_context(STYLE):
        return _svg(_confusion(counts, classes), "confusion", "confusion matrix")


def confusion_image(counts: np.ndarray, classes: Sequence[str], title: str = "") -> np.ndarray:
    """The confusion matrix that `confusion_plot` draws, with a line above, as (H, W, 3) uint8."""
    with matplotlib.rc_context(STYLE):
        figure = _confusion(counts, classes)
        figure.get_layout_engine().set(h_pad=0.12)
        figure.suptitle(title, fontsize=12, fontweight="bold")
        return pixels(figure)


def _confusion(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    size = len(classes)
    readable = size <= MOST_CLASSES
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alpha = np.where(np.eye(size, dtype=bool), 0.9 * shares, 0.9 * np.sqrt(shares))
    side = min(max(0.42 * size + 1.2, 3.0), 11.0) if readable else 6.0
    figure = _figure(side, side)
    axes = _axes(figure)
    if readable:
        _draw_cells(axes, counts, alpha)
        labels = [_shortened(name, 12) for name in classes]
        long = max(map(len, labels)) > 3
        axes.set_xticks(
            np.arange(size),
            labels,
            rotation=45 if long else 0,
            ha="right" if long else "center",
        )
        axes.set_yticks(np.arange(size), labels)
    else:
        colours = np.zeros((size, size, 4))
        colours[...] = matplotlib.colors.to_rgba(COLOURS["wrong"])
        colours[np.eye(size, dtype=bool)] = matplotlib.colors.to_rgba(COLOURS["right"])
        colours[..., 3] = alpha
        axes.imshow(colours, interpolation="nearest")
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "\u2026"


def _draw_cells(axes: Axes, counts: np.ndarray, alpha: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        right = row == column
        axes.add_patch(
            matplotlib.patches.Rectangle(
                (column - 0.47, row - 0.47),
                0.94,
                0.94,
                facecolor=COLOURS["right" if right else "wrong"] if count else COLOURS["muted"],
                alpha=max(alpha[row, column], 0.08),
                linewidth=0,
            )
        )
        if count:
            strong = alpha[row, column] > 0.5
            axes.text(
                column,
                row,
                str(count),
                ha="center",
                va="center_baseline",
                color=COLOURS["on-cell" if strong else "ink"],
                fontsize=9,
            )


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    figure.patch.set_visible(False)
    return figure


def _axes(figure: Figure, *place: int) -> Axes:
    axes = figure.add_subplot(*place)
    axes.patch.set_visible(False)
    return axes


def pixels(figure: Figure) -> np.ndarray:
    """A figure on white, as (H, W, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    figure.patch.set(visible=True, facecolor="white")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an SVG element; `name` begins its ids, `label` is for those who cannot see it."""
    FigureCanvasSVG(figure)
    text = io.StringIO()
    with warnings.catch_warnings():
        # Signs that this machine's font lacks are drawn by the fonts of whoever looks at the page.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()  # without the document type, which names a file elsewhere
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids are unique on a page: those that nothing refers to go, the others get the figure's name.
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda id: f' id="{name}-{id[1]}"' if id[1] in used else "", svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    return svg
