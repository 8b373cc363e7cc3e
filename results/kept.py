"""What is kept of a run: a folder with metrics.csv, settings.toml and result.json."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from rows import ResultsError, read_toml

from chainrule.files import replace_file

FIELDS = {"row", "engine", "status", "command", "seconds", "parts", "peak_mb", "machine", "versions"}
IMAGES = {"mnist": 60_000, "cifar10": 50_000, "digits": 1_442}  # to train on


@dataclass(frozen=True)
class Kept:
    """A kept run.

    Attributes:
        result: what was measured of the process.
        settings: all of the run's, by their names in a file; empty where it failed before its first epoch.
        history: a record for each epoch.
    """

    result: Mapping[str, Any]
    settings: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]

    @property
    def done(self) -> bool:
        return self.result["status"] == "done"

    @property
    def errors(self) -> list[float]:
        """The test error after each epoch, in per cent."""
        return [100 * (1 - record["test_accuracy"]) for record in self.history]

    @property
    def training_seconds(self) -> float:
        """The time of the steps alone, without tests, loading and reports."""
        images = IMAGES[self.settings["data"]]
        return sum(images / record["images_per_second"] for record in self.history)


def read_kept(folder: Path) -> Kept | None:
    """The run that a folder holds; None if there is none. Errors: ResultsError naming a damaged file."""
    file = folder / "result.json"
    if not file.exists():
        return None
    try:
        result = json.loads(file.read_text())
        if not isinstance(result, dict) or FIELDS - result.keys():
            raise ValueError(f"it lacks some of {', '.join(sorted(FIELDS))}")
    except ValueError as error:
        raise ResultsError(f"{folder.name}/result.json: damaged: {error}") from None
    history = read_metrics(folder / "metrics.csv")
    if result["status"] == "done" and not history:
        raise ResultsError(f"{folder.name}/metrics.csv: no epoch of a run that is done")
    return Kept(result, read_toml(folder / "settings.toml") if history else {}, history)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """A record for each epoch; none if there is no file. Errors: ResultsError naming a damaged one."""
    if not path.exists():
        return []
    try:
        with open(path, newline="") as file:
            history = [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]
        if [record["epoch"] for record in history] != list(range(1, len(history) + 1)):
            raise ValueError("epochs are not 1, 2, ...")
        for record in history:
            if not 0 <= record["test_accuracy"] <= 1 or not record["images_per_second"] > 0:
                raise ValueError(f"epoch {record['epoch']:g} has figures out of range")
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path.parent.name}/{path.name}: damaged: {error}") from None
    return history


def write_kept(folder: Path, result: dict[str, Any], run: Path) -> None:
    """Keep a result, and of a run's folder the metrics and the settings but for where the data lie."""
    folder.mkdir(parents=True, exist_ok=True)
    if history := read_metrics(run / "metrics.csv"):
        settings = read_toml(run / "settings.toml")
        settings.pop("root", None)
        result |= {
            "seed": settings["seed"],
            "precision": settings["precision"],
            "test_error": round(1 - history[-1]["test_accuracy"], 6),
        }
        replace_file(folder / "metrics.csv", (run / "metrics.csv").read_bytes())
        replace_file(folder / "settings.toml", tomli_w.dumps(settings).encode())
    else:  # it failed before its first epoch: those of an earlier run say nothing of it
        for name in ("metrics.csv", "settings.toml"):
            (folder / name).unlink(missing_ok=True)
    replace_file(folder / "result.json", (json.dumps(result, indent=2) + "\n").encode())
