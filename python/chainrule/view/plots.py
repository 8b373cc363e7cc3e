"""Learning curves and confusion matrices as SVG text, drawn by matplotlib without its global state.

Colours are CSS variables with fallbacks, so that a page with the picture inside it sets them for light and
dark; seen alone, the picture is a light one. Text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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

MOST_CLASSES = 40  # more cells than this on a side are too small to read


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
        figure, axes = _figure(5.2, 3.1)
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
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        if percent:
            axes.yaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 6):g} %")
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, 0.0), min(high, 1.0 + 0.02 * (1.0 - low)))  # no share is above 1
        else:
            axes.set_ylim(bottom=min(0.0, *train, *test))
        axes.grid(axis="y", color=COLOURS["line"], linewidth=0.8)
        axes.set_axisbelow(True)
        # Above the axes, where no curve runs through it.
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0, frameon=False, handlelength=1.2
        )
        return _svg(figure, name, f"{name} over the epochs on the training and the test set")


def confusion_plot(counts: np.ndarray, classes: Sequence[str]) -> str:
    """A confusion matrix as SVG text: rows true, columns predicted, right on the diagonal, mistakes in red.

    A cell's strength is its share of the true class; mistakes are drawn stronger than their share (its square
    root), since a good classifier makes few. With more than 40 classes there are no numbers.

    Args:
        counts: (C, C) integers.
        classes: C names.
    """
    size = len(classes)
    readable = size <= MOST_CLASSES
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alpha = np.where(np.eye(size, dtype=bool), 0.9 * shares, 0.9 * np.sqrt(shares))
    with matplotlib.rc_context(STYLE):
        side = min(max(0.42 * size + 1.2, 3.0), 11.0) if readable else 6.0
        figure, axes = _figure(side, side)
        if readable:
            _draw_cells(axes, counts, alpha)
            labels = [name if len(name) <= 12 else name[:11] + "\u2026" for name in classes]
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
        return _svg(figure, "confusion", "confusion matrix")


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


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def _svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an SVG element; `name` begins its ids, `label` is for those who cannot see it."""
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
