"""Pictures in rows and columns with their names, as one image: a page for a slide.

The images are laid out by NumPy; matplotlib writes the text, without its global state.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from chainrule.view.pictures import Picture, as_colours
from chainrule.view.plots import COLOURS, STYLE, pixels

SCALE = 2  # pixels a unit; every length below is in units
MARGIN = 20
LEAST_WIDTH = 460
GAP = 8  # between pictures
GROUP_GAP = 20  # between groups of columns
TITLE, NOTE, HEAD, CAPTION = 17, 11, 11.5, 10  # sizes of text
LINE = 1.3  # from one line of text to the next, in its size
WIDE = 0.56  # the mean width of a letter, in its size
BOLD = 1.1  # how much wider bold letters are, and names full of capitals


def sheet(
    rows: Sequence[Sequence[Picture]],
    *,
    title: str,
    note: str = "",
    heads: Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    names: Sequence[str] = (),
    cell: int = 96,
) -> np.ndarray:
    """Rows of pictures on white with what is written to them.

    Each picture fills a square, enlarged without smoothing, its sides in proportion.

    Args:
        rows: the pictures, gray or RGB; rows may be of different lengths.
        title: above, on as many lines as it needs.
        note: a paragraph below the title, in gray.
        heads: a name above each column; it may have two lines.
        groups: (name, how many columns), from the left: columns stand apart by groups, each under its name.
        names: a name left of each row, it may have several lines.
        cell: the side of a picture's square, in half pixels of the result.

    Returns: (H, W, 3) uint8.

    Errors: ValueError for no pictures, or names that are not one a row.

    >>> gray = Picture(np.zeros((8, 8, 1), np.uint8), "nothing")
    >>> sheet([[gray, gray]], title="Two").dtype
    dtype('uint8')
    """
    if not rows or not all(rows):
        raise ValueError("sheet: no pictures: give at least one in each row")
    if names and len(names) != len(rows):
        raise ValueError(f"sheet: {len(names)} names for {len(rows)} rows: give one for each")
    columns = max(map(len, rows))
    starts = _starts(columns, groups, cell)
    left = max((_width(name, HEAD * BOLD) for name in names), default=0)
    left = MARGIN + (left + 12 if names else 0)
    width = max(left + starts[-1] + cell + MARGIN, LEAST_WIDTH)
    texts: list[tuple] = []  # x, y, text, size, how it is drawn

    y = MARGIN
    lines = _wrapped(title, width - 2 * MARGIN, TITLE * BOLD)
    texts.append((MARGIN, y, "\n".join(lines), TITLE, {"fontweight": "bold", "linespacing": LINE}))
    y += len(lines) * TITLE * LINE
    if note:
        lines = _wrapped(note, width - 2 * MARGIN, NOTE)
        texts.append(
            (MARGIN, y + 3, "\n".join(lines), NOTE, {"color": COLOURS["muted"], "linespacing": LINE})
        )
        y += 3 + len(lines) * NOTE * LINE
    y += 12
    if any(name for name, _ in groups):
        first = 0
        for name, count in groups:
            middle = left + (starts[first] + starts[first + count - 1] + cell) / 2
            texts.append((middle, y, name, HEAD, {"ha": "center", "fontweight": "bold"}))
            first += count
        y += HEAD * LINE + 4
    if heads:
        lines = max(head.count("\n") + 1 for head in heads)
        y += lines * HEAD * LINE
        for start, head in zip(starts, heads, strict=False):
            texts.append(
                (
                    left + start + cell / 2,
                    y - 4,
                    head,
                    HEAD,
                    {"ha": "center", "va": "bottom", "color": COLOURS["ink"]},
                )
            )

    placed = []
    for i, row in enumerate(rows):
        if names:
            texts.append((left - 12, y + cell / 2, names[i], HEAD, {"ha": "right", "va": "center"}))
        lines = 0
        for start, picture in zip(starts, row, strict=False):
            placed.append((left + start, y, picture.image))
            below = [(picture.caption, COLOURS["ink"]), (picture.note, COLOURS["muted"])]
            below = [(text, colour) for text, colour in below if text]
            for n, (text, colour) in enumerate(below):
                place = (left + start + cell / 2, y + cell + 2 + n * CAPTION * LINE)
                texts.append(
                    (*place, _cut(text, cell + GAP, CAPTION), CAPTION, {"ha": "center", "color": colour})
                )
            lines = max(lines, len(below))
        y += cell + GAP + (2 + lines * CAPTION * LINE if lines else 0)
    return _drawn(width, y - GAP + MARGIN, placed, texts, cell)


def _starts(columns: int, groups: Sequence[tuple[str, int]], cell: int) -> list[int]:
    """Where each column begins, from the first."""
    apart = set(np.cumsum([count for _, count in groups])[:-1].tolist()) if groups else set()
    starts = [0]
    for i in range(1, columns):
        starts.append(starts[-1] + cell + (GROUP_GAP if i in apart else GAP))
    return starts


def _wrapped(text: str, width: float, size: float) -> list[str]:
    return textwrap.wrap(text, int(width / (size * WIDE)), break_on_hyphens=False) or [""]


def _width(text: str, size: float) -> float:
    return max(map(len, text.split("\n"))) * size * WIDE


def _cut(text: str, width: float, size: float) -> str:
    most = max(2, int(width / (size * WIDE)))
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _drawn(width: float, height: float, placed: list[tuple], texts: list[tuple], cell: int) -> np.ndarray:
    canvas = np.full((round(height * SCALE), round(width * SCALE), 3), 255, np.uint8)
    for x, y, image in placed:
        side = cell * SCALE
        zoom = side / max(image.shape[:2])
        tall, wide = (max(1, round(size * zoom)) for size in image.shape[:2])
        rows, columns = np.arange(tall) * image.shape[0] // tall, np.arange(wide) * image.shape[1] // wide
        top, left = round(y * SCALE) + (side - tall) // 2, round(x * SCALE) + (side - wide) // 2
        canvas[top : top + tall, left : left + wide] = as_colours(image)[rows][:, columns]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(canvas.shape[1] / 100, canvas.shape[0] / 100), dpi=100)
        figure.figimage(canvas)
        for x, y, text, size, how in texts:
            figure.text(
                x * SCALE / canvas.shape[1],
                1 - y * SCALE / canvas.shape[0],
                text,
                fontsize=size * SCALE * 72 / 100,
                **{"va": "top", "ha": "left", **how},
            )
        return pixels(figure)
