"""The command in this process: its exit status, its output, and what it leaves behind."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from chainrule.cli.main import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, one_thread):
    """Every test runs in an empty folder of its own, on one thread."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def command(capsys):
    """Runs a command line."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(status, out, err)

    return run


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"folder" for p in folder.rglob("*")
    }


@pytest.fixture
def refused(command, place):
    """Runs a command line that must fail: one line on stderr, exit status 2, nothing written. Returns the line."""

    def run(*arguments):
        before = everything(place)
        outcome = command(*arguments)
        assert outcome.status == 2, outcome
        assert outcome.out == ""
        assert outcome.err.startswith("chainrule: ") and outcome.err.endswith("\n")
        assert outcome.err.count("\n") == 1
        assert "Traceback" not in outcome.err
        assert everything(place) == before
        return outcome.err

    return run


@pytest.fixture
def trained(command, place):
    """Trains quietly into `place / name` and returns that folder."""

    def run(name="run", *arguments):
        outcome = command("train", "--quiet", "--epochs", 1, "--out", name, *arguments)
        assert (outcome.status, outcome.err) == (0, "")
        return place / name

    return run


@pytest.fixture
def quick(monkeypatch):
    """Drawing a report takes longer than training: tests about other things go without."""
    monkeypatch.setattr("chainrule.cli.train.report_of", lambda checkpoint, data: "no report")


@pytest.fixture
def rows(place):
    """An .npz file with images of 4 x 4 in three classes that a line separates."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.integers(0, 60, (60, 4, 4), dtype=np.uint8)
    x[np.arange(60), y] += 150
    np.savez(place / "rows.npz", x=x, y=y)
    return place / "rows.npz"
