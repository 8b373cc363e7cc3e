"""The rows of the results: what `rows.toml` says of each run, checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
ROWS = HERE / "rows.toml"
ENGINES = ("chainrule", "torch")
DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "UCI digits"}


class ResultsError(Exception):
    """What is wrong with what was asked for or with the files, in one line."""


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        name: what its folders are called.
        title: what the table calls it.
        table: the name of the table that it stands in.
        settings: the file for `chainrule train --config`.
        arguments: further flags.
        engine: 'chainrule', or 'torch' for the same run by PyTorch.
        paper: the published figure, in words.
        most_error: the error to reach, in per cent; most_seconds: the wall time to stay within. None: no figure.
    """

    name: str
    title: str
    table: str
    settings: Path
    arguments: tuple[str, ...] = ()
    engine: str = "chainrule"
    paper: str = ""
    most_error: float | None = None
    most_seconds: float | None = None

    def values(self) -> dict[str, Any]:
        """The settings file's names and values. Errors: ResultsError."""
        return read_toml(self.settings)

    @property
    def but_for_seed(self) -> tuple:
        """What it has in common with rows that differ in their seed alone."""
        arguments = list(self.arguments)
        while "--seed" in arguments:
            at = arguments.index("--seed")
            del arguments[at : at + 2]
        return self.title, self.table, self.settings, self.engine, tuple(arguments)

    @property
    def data(self) -> str:
        """The data set's name in settings."""
        return self.values().get("data", "digits")

    @property
    def data_title(self) -> str:
        """What tables call the data set."""
        return self.values().get("data-title", DATA.get(self.data, self.data))


@dataclass(frozen=True)
class Comparison:
    """Two runs of the same settings, ours and a peer's.

    Attributes:
        title: what the table calls them.
        ours, peer: names of rows.
        within: how many points the final errors may differ; None: ours may not be worse.
        most_share: the most that our training time may be of the peer's; None: no figure.
    """

    title: str
    ours: str
    peer: str
    within: float | None = None
    most_share: float | None = None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content. Errors: ResultsError naming the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path.name}: {error.strerror}") from None
    except ValueError as error:
        raise ResultsError(f"{path.name}: no valid TOML: {error}") from None


def read_rows(path: Path = ROWS) -> tuple[dict[str, Row], list[Comparison]]:
    """The rows by name, in the file's order, and the comparisons. Errors: ResultsError naming what is wrong."""
    content = read_toml(path)
    folder = path.parent / "runs"
    rows = {name: _row(name, entry, folder) for name, entry in content.get("row", {}).items()}
    comparisons = [_made(Comparison, entry, "comparison") for entry in content.get("comparison", [])]
    for comparison in comparisons:
        for name in (comparison.ours, comparison.peer):
            if name not in rows:
                raise ResultsError(f"rows.toml: comparison {comparison.title!r}: there is no row {name!r}")
    unknown = content.keys() - {"row", "comparison"}
    if unknown:
        raise ResultsError(f"rows.toml: unknown {sorted(unknown)}: give row and comparison")
    return rows, comparisons


def chosen(rows: Mapping[str, Row], names: Sequence[str]) -> list[Row]:
    """The named rows, or all. Errors: ResultsError for a name that is none."""
    for name in names:
        if name not in rows:
            raise ResultsError(f"row {name!r}: there is none: give one of {', '.join(rows)}")
    return [rows[name] for name in names or rows]


def _row(name, entry, folder):
    if not isinstance(entry, dict):
        raise ResultsError(f"rows.toml: row {name}: give a table of names and values")
    settings = folder / f"{entry.get('settings', name)}.toml"
    arguments = tuple(map(str, entry.get("arguments", ())))
    row = _made(Row, entry | {"name": name, "settings": settings, "arguments": arguments}, f"row {name}")
    if row.engine not in ENGINES:
        raise ResultsError(f"rows.toml: row {name}: engine {row.engine!r}: give one of {', '.join(ENGINES)}")
    return row


def _made(cls, entry, what):
    entry = {name.replace("-", "_"): value for name, value in entry.items()}
    unknown = entry.keys() - {f.name for f in fields(cls)}
    if unknown:
        raise ResultsError(f"rows.toml: {what}: unknown {sorted(unknown)}")
    try:
        return cls(**entry)
    except TypeError as error:
        raise ResultsError(f"rows.toml: {what}: {str(error).split('() ')[-1]}") from None
