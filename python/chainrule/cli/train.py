"""`chainrule train`: from flags and a configuration file to a trained run in its folder."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import chainrule
from chainrule.cli.interrupt import stop_signals_interrupt
from chainrule.cli.progress import Lines, LiveBar
from chainrule.cli.report import report_of
from chainrule.train import (
    Callback,
    DivergenceError,
    Job,
    RunFolder,
    RunOptions,
    SaveRun,
    TrainSettings,
)
from chainrule.train.job import Trained
from chainrule.train.kinds import Kind, Switch, shown
from chainrule.train.run_folder import REPORT
from chainrule.train.settings import (
    hyphened,
    read_config,
    resumed_settings,
    with_absolute_paths,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each setting and option. A flag that is not given leaves no trace: a file or default then holds."""
    parser.add_argument("--config", metavar="FILE", help="a TOML file with the same names; flags win over it")
    for cls in (TrainSettings, RunOptions):
        for field in fields(cls):
            kind: Kind = field.metadata["kind"]
            default = kind.to_file(field.default)
            text = field.metadata["help"]
            flag = f"--{hyphened(field.name)}"
            if isinstance(kind, Switch):
                parser.add_argument(
                    flag,
                    action=argparse.BooleanOptionalAction,
                    default=argparse.SUPPRESS,
                    help=text,
                )
                continue
            if isinstance(default, list):
                default = ",".join(map(str, default))
            parser.add_argument(
                flag,
                type=flag_type(kind),
                metavar=field.metadata["metavar"],
                default=argparse.SUPPRESS,
                help=text if default is None else f"{text} (default: {default})",
            )
    parser.set_defaults(run=train)


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
            return run_job(job, folder, options.quiet)
    settings = TrainSettings(**changes)
    if options.out is not None:
        folder = RunFolder.named(options.out)
    else:
        folder = RunFolder.next_free(settings.data_name, settings.model)
    try:
        return run_job(Job.new(settings), folder, options.quiet)
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


def run_job(job: Job, folder: RunFolder, quiet: bool) -> int:
    """Train, and leave a whole run folder however it ends."""
    save = SaveRun(job, folder, lambda checkpoint: report_of(checkpoint, job.data))
    try:
        with stop_signals_interrupt(), display(job, quiet) as bar:
            job.run([save, bar])
    except KeyboardInterrupt:
        return interrupted(save)
    except DivergenceError as error:
        if folder.exists:
            save.finish()
            raise DivergenceError(f"{error} ({folder.path} keeps epoch {len(job.history)})") from None
        raise
    save.finish()
    last = job.history[-1]
    right = round(last.test_accuracy * len(job.data.test.labels))
    print(f"test accuracy  {100 * last.test_accuracy:.2f} % ({right} of {len(job.data.test.labels)})")
    print(f"run folder     {folder.path}")
    print(f"report         {folder / REPORT}")
    return 0


def display(job: Job, quiet: bool) -> Any:
    """The progress display for this output."""
    if quiet:
        return Silence()
    batch = job.settings.batch_size or len(job.data.train.labels)
    batches = -(-len(job.data.train.labels) // batch)
    kind = LiveBar if sys.stdout.isatty() else Lines
    return kind(
        epochs=job.settings.epochs,
        first_epoch=len(job.history) + 1,
        batches=batches,
        images=len(job.data.train.labels),
    )


class Silence(Callback):
    """No progress."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def interrupted(save: SaveRun) -> int:
    """After Ctrl-C: the last finished epoch stays, with metrics and a report."""
    if not save.folder.exists and save.unwritten is None:
        print(
            "chainrule: interrupted before the first epoch was done: nothing was written",
            file=sys.stderr,
        )
        return 130
    checkpoint = save.finish()
    print(
        f"chainrule: interrupted after epoch {checkpoint.epoch} of {checkpoint.settings.epochs}: "
        f"go on with chainrule train --resume {save.folder.path}",
        file=sys.stderr,
    )
    return 130
