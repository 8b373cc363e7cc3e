"""Trains rows of the results, each in a process of its own, and keeps what was measured.

    python results/run.py [ROW ...] --mnist DIR --cifar10 DIR

Without names every row runs that has not come to its end yet. One that was interrupted, or failed after a checkpoint,
goes on from there, and the time of all parts counts. Run folders, with checkpoints, lie in runs/results/ROW; what is
kept of them in results/metrics/ROW: metrics.csv, settings.toml and result.json. The table is written anew at the end.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import table
from kept import read_kept, read_metrics, write_kept
from machine import machine, versions
from process import INTERRUPTED, Part, read_parts, run_part
from rows import HERE, ROWS, ResultsError, Row, chosen, read_rows, read_toml

WORK = HERE.parent / "runs" / "results"
METRICS = HERE / "metrics"
PEER = HERE / "torch_peer.py"
SAVE = ("--checkpoint-every", "60s")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", metavar="ROW", nargs="*", help="names in results/rows.toml (default: all)")
    parser.add_argument("--mnist", metavar="DIR", help="the folder with MNIST's files")
    parser.add_argument("--cifar10", metavar="DIR", help="the folder with CIFAR-10's binary files")
    parser.add_argument("--threads", metavar="N", type=int, default=2, help="(default: 2)")
    parser.add_argument(
        "--again", action="store_true", help="train rows anew that have a kept result, or failed"
    )
    parser.add_argument("--work", metavar="DIR", type=Path, default=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--metrics", metavar="DIR", type=Path, default=METRICS, help=argparse.SUPPRESS)
    parser.add_argument("--file", metavar="FILE", type=Path, default=ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    try:
        return run(options)
    except ResultsError as error:
        print(f"results: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("results: interrupted: the same command goes on from here", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    """Run what was asked for. Returns 1 if a row failed. Errors: ResultsError before anything has run."""
    rows, _ = read_rows(options.file)
    roots = {"mnist": options.mnist, "cifar10": options.cifar10}
    if options.threads < 1:
        raise ResultsError(f"threads: {options.threads}: give 1 or more")
    ready = []
    for row in chosen(rows, options.rows):
        lack = lacking(row, roots)
        if lack and options.rows:
            raise ResultsError(f"row {row.name}: {lack}")
        if lack:
            print(f"{row.name}: left out: {lack}")
        elif done(options.metrics / row.name) and not options.again:
            print(f"{row.name}: has a result: --again trains it anew")
        else:
            ready.append(row)
    failed = 0
    for row in ready:
        failed += not train(row, roots.get(row.data), options)
        if options.metrics == METRICS:
            table.write()
    return 1 if failed else 0


def lacking(row: Row, roots: Mapping[str, str | None]) -> str:
    """What a row needs and has not got, or ''."""
    if row.data in roots:
        root = roots[row.data]
        name = row.data.upper()
        if root is None:
            return f"it needs {row.data_title}: give its folder as {name}=DIR with make, --{row.data} DIR without"
        if not Path(root).is_dir():
            return f"{name}: {root} is no folder"
    if row.engine == "torch" and importlib.util.find_spec("torch") is None:
        return "it needs PyTorch: pip install torch"
    return ""


def done(folder: Path) -> bool:
    """Whether a folder holds the result of a run that came to its end."""
    kept = read_kept(folder)
    return kept is not None and kept.done


def train(row: Row, root: str | None, options: argparse.Namespace) -> bool:
    """Train a row to its end and keep its result, or that it failed. Returns whether it did not."""
    work = options.work / row.name
    folder, notes = work / "run", work / "parts.json"
    if options.again and (options.metrics / row.name / "result.json").exists():
        (options.metrics / row.name / "result.json").unlink()
        shutil.rmtree(work, ignore_errors=True)
    goes_on = can_go_on(row, folder)
    if not goes_on:
        shutil.rmtree(work, ignore_errors=True)  # the notes of its time too
    work.mkdir(parents=True, exist_ok=True)
    print(f"{row.name}: {'goes on' if goes_on else 'begins'}", flush=True)
    # The end of a process may have been missed though it trained to the end.
    if (
        not goes_on
        or len(read_metrics(folder / "metrics.csv")) < read_toml(folder / "settings.toml")["epochs"]
    ):
        part, said = run_part(command(row, root, folder, options.threads, goes_on), notes)
        if part.status in INTERRUPTED:
            raise KeyboardInterrupt
        if part.status != 0:
            reason = said.strip().splitlines()[-1] if said.strip() else f"exit status {part.status}"
            for path in filter(None, (root, str(work))):
                reason = reason.replace(path, "DIR")
            keep(row, folder, read_parts(notes), options, reason)
            if not can_go_on(row, folder):
                shutil.rmtree(work)
            return False
    keep(row, folder, read_parts(notes), options)
    return True


def can_go_on(row: Row, folder: Path) -> bool:
    """Whether a run that has not come to its end goes on from a checkpoint. PyTorch's begin anew."""
    return row.engine == "chainrule" and (folder / "checkpoint.safetensors").exists()


def command(row: Row, root: str | None, folder: Path, threads: int, goes_on: bool) -> list[str]:
    """The process's command line."""
    parts = [sys.executable]
    parts += ["-m", "chainrule", "train"] if row.engine == "chainrule" else [str(PEER)]
    parts += ["--config", str(row.settings), *row.arguments, "--threads", str(threads)]
    if row.engine == "chainrule":
        parts += SAVE
    if root is not None:
        parts += ["--root", root]
    return [*parts, "--resume" if goes_on else "--out", str(folder)]


def shown_command(row: Row, threads: int) -> str:
    """What a user would type for the run itself, from the repository's folder."""
    program = "chainrule train" if row.engine == "chainrule" else "python results/torch_peer.py"
    more = "".join(f" {part}" for part in row.arguments)
    root = " --root DIR" if row.data != "digits" else ""
    return f"{program} --config results/runs/{row.settings.name}{more} --threads {threads}{root}"


def keep(
    row: Row, folder: Path, parts: Sequence[Part], options: argparse.Namespace, reason: str | None = None
) -> None:
    """Keep what was measured; of a run that failed, why."""
    result: dict[str, Any] = {
        "row": row.name,
        "engine": row.engine,
        "status": "done" if reason is None else "failed",
        "command": shown_command(row, options.threads),
        "seconds": round(sum(part.seconds for part in parts), 1),
        "parts": len(parts),
        "peak_mb": max(part.peak_mb for part in parts),
        "machine": machine(),
        "versions": versions(row.engine),
    }
    if reason is not None:
        result["reason"] = reason
    write_kept(options.metrics / row.name, result, folder)


if __name__ == "__main__":
    sys.exit(main())
