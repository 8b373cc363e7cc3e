"""`chainrule train`: from flags and a configuration file to a trained run in its folder."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from typing import Any

import chainrule
from chainrule.cli.interrupt import stop_signals_interrupt
from chainrule.cli.report import report_of
from chainrule.train import (
    Callback,
    Checkpoint,
    DivergenceError,
    Job,
    Lines,
    LiveBar,
    RunFolder,
    RunOptions,
    SaveRun,
    TrainSettings,
)
from chainrule.train.config import read_config, with_absolute_paths
from chainrule.train.job import Trained, sizes
from chainrule.train.kinds import Kind, Switch, shown
from chainrule.train.run_folder import REPORT
from chainrule.train.settings import hyphened, listed, resumed_settings

# The first flag of each part of the help.
GROUPS = {
    "data": "data",
    "model": "model",
    "epochs": "steps",
    "schedule": "learning rate",
    "ema": "the rest of training",
    "out": "the run",
}
MOST_READERS = 5  # where more models or the like read a setting, its help does not list them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each setting and option. A flag that is not given leaves no trace: a file or default then holds."""
    parser.add_argument("--config", metavar="FILE", help="a TOML file with the same names; flags win over it")
    group = parser
    for cls in (TrainSettings, RunOptions):
        for field in fields(cls):
            if field.name in GROUPS:
                group = parser.add_argument_group(GROUPS[field.name])
            kind: Kind = field.metadata["kind"]
            text = field.metadata["help"] + default_text(field)
            flag = f"--{hyphened(field.name)}"
            if isinstance(kind, Switch):
                group.add_argument(
                    flag,
                    action=argparse.BooleanOptionalAction,
                    default=argparse.SUPPRESS,
                    help=text,
                )
                continue
            group.add_argument(
                flag,
                type=flag_type(kind),
                metavar=field.metadata["metavar"],
                default=argparse.SUPPRESS,
                help=text,
            )
    parser.set_defaults(run=train)


def default_text(field: Field) -> str:
    """What a flag's help says of its default: one, or one for each model or the like that reads it."""
    kind: Kind = field.metadata["kind"]

    def shown_default(value: Any) -> str | None:
        value = kind.to_file(value)
        return ",".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)

    if field.metadata["by"] is None:
        default = None if isinstance(kind, Switch) else shown_default(field.default)
        return "" if default is None else f" (default: {default})"
    decider, defaults = field.metadata["by"]
    groups: dict[str | None, list[str]] = {}
    for name, value in defaults.items():
        groups.setdefault(shown_default(value), []).append(name)
    if len(groups) > 1:
        text = ", ".join(f"{default} for {listed(names, 'and')}" for default, names in groups.items())
        return f" (default: {text})"
    (default,) = groups
    notes = [] if default is None or isinstance(kind, Switch) else [f"default: {default}"]
    if len(defaults) <= MOST_READERS:
        notes.insert(0, f"for {hyphened(decider)} {listed(list(defaults), 'or')}")
    return f" ({'; '.join(notes)})" if notes else ""


def flag_type(kind: Kind) -> Any:
    """What argparse calls with the flag's text; it names the kind in the error message."""

    def read(text: str) -> Any:
        try:
            return kind.from_text(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{shown(text)} is no {kind.name}") from None

    return read


def train(arguments: argparse.Namespace) -> int:
    """Run the command."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its news of a new font cache concern nobody
    given = {k: v for k, v in vars(arguments).items() if k not in ("run", "config")}
    if arguments.config is not None:
        given = read_config(arguments.config) | given
    option_names = {f.name for f in fields(RunOptions)}
    options = RunOptions(**{k: v for k, v in given.items() if k in option_names})
    changes = with_absolute_paths({k: v for k, v in given.items() if k not in option_names})
    if options.threads is not None:
        chainrule.set_num_threads(options.threads)

    if options.resume is not None:
        folder = RunFolder.open(options.resume)
        with claimed(folder):  # before its checkpoint is read: another process may be writing one
            trained = Trained.load(folder)
            job = Job.resumed(trained, resumed_settings(trained.checkpoint.settings, changes))
            return run_job(job, folder, options)
    settings = TrainSettings(**changes)
    if options.out is not None:
        folder = RunFolder.named(options.out)
    else:
        folder = RunFolder.next_free(settings.data_name, settings.model)
    try:
        return run_job(Job.new(settings), folder, options)
    finally:
        folder.release()


@contextmanager
def claimed(folder: RunFolder) -> Iterator[None]:
    """The folder, kept from other processes."""
    folder.claim()
    try:
        yield
    finally:
        folder.release()


def run_job(job: Job, folder: RunFolder, options: RunOptions) -> int:
    """Train, and leave a whole run folder however it ends."""
    save = SaveRun(
        job, folder, lambda checkpoint: report_of(checkpoint, job.data), every=options.checkpoint_every
    )
    try:
        with stop_signals_interrupt(), display(job, options.quiet) as bar:
            job.run([save, bar])
    except KeyboardInterrupt:
        return interrupted(save)
    except DivergenceError as error:
        if not save.kept:
            raise
        raise DivergenceError(f"{error} ({folder.path} keeps {reached(save.finish())})") from None
    save.finish()
    last = job.history[-1]
    if last.epoch < job.settings.epochs:
        print(f"stopped early  no lower test loss in {job.settings.early_stop} epochs")
    right = round(last.test_accuracy * len(job.data.test.labels))
    print(f"test accuracy  {100 * last.test_accuracy:.2f} % ({right} of {len(job.data.test.labels)})")
    print(f"run folder     {folder.path}")
    print(f"report         {folder / REPORT}")
    return 0


def display(job: Job, quiet: bool) -> Any:
    """The progress display for this output."""
    if quiet:
        return Silence()
    _, batches = sizes(job.settings, len(job.data.train.labels))
    if not sys.stdout.isatty():
        return Lines(job.settings.epochs)
    done, seen = (0, 0) if job.progress is None else (job.progress.batch, job.progress.seen)
    return LiveBar(job.settings.epochs, batches, len(job.history) * batches + done, seen)


class Silence(Callback):
    """No progress."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def interrupted(save: SaveRun) -> int:
    """After Ctrl-C: the last checkpoint stays, with metrics and, of whole epochs, a report."""
    if not save.kept:
        print(
            "chainrule: interrupted before the first epoch was done: nothing was written",
            file=sys.stderr,
        )
        return 130
    checkpoint = save.finish()
    print(
        f"chainrule: interrupted after {reached(checkpoint)} of {checkpoint.settings.epochs}: "
        f"go on with chainrule train --resume {save.folder.path}",
        file=sys.stderr,
    )
    return 130


def reached(checkpoint: Checkpoint) -> str:
    """How far a run has come, in words."""
    if checkpoint.progress is not None:
        return f"batch {checkpoint.progress.batch} of epoch {checkpoint.progress.epoch}"
    return f"epoch {checkpoint.epoch}"
