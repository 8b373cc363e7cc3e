"""How a job's state becomes the files of its run folder. The report is made by whoever runs the job."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields

from chainrule.train.checkpoint import Checkpoint, read_checkpoint, to_bytes
from chainrule.train.config import to_toml
from chainrule.train.errors import DivergenceError, RunFolderError
from chainrule.train.fit import Callback, EpochRecord, Progress
from chainrule.train.job import Job
from chainrule.train.run_folder import CHECKPOINT, METRICS, REPORT, SETTINGS, RunFolder


class SaveRun(Callback):
    """Writes the run folder: after the first epoch all of it, later the checkpoint and the metrics.

    Where epochs are short, not every one is written: waiting for the disk would take longer than training. The
    state after each is kept in memory, and `finish` writes the last.

    Args:
        report: makes the report of a checkpoint with an epoch.
        seconds: the least time between two writes after epochs.
        every: (number, 'steps' or 'seconds') to save within epochs too, the checkpoint alone; None: not.
    """

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        report: Callable[[Checkpoint], str],
        seconds: float = 1.0,
        every: tuple[float, str] | None = None,
    ):
        self.job = job
        self.folder = folder
        self.report = report
        self.seconds = seconds
        self.every = every
        self.written_at = -math.inf
        self.saved_at = time.monotonic()
        self.steps = 0  # since the last save
        self.unwritten: Checkpoint | None = None
        self.reported = 0  # the epoch of the report that was written last

    def batch_end(self, progress: Progress) -> None:
        if self.every is None or not progress.complete:
            return
        self.steps += 1
        number, unit = self.every
        if (self.steps if unit == "steps" else time.monotonic() - self.saved_at) >= number:
            self.job.progress = progress
            try:
                checkpoint = self.job.checkpoint()
            finally:
                self.job.progress = None
            self._write(checkpoint)
            self.steps, self.saved_at = 0, time.monotonic()

    def epoch_end(self, record: EpochRecord) -> None:
        self.job.history.append(record)
        try:
            self.unwritten = self.job.checkpoint()
        except DivergenceError:
            self.job.history.pop()
            raise
        if time.monotonic() - self.written_at >= self.seconds:
            self._write(self.unwritten)

    @property
    def kept(self) -> bool:
        """Whether there is a checkpoint, in the folder or still to be written."""
        return self.folder.exists or self.unwritten is not None

    def finish(self) -> Checkpoint:
        """Write all that is not, once training has ended, however it did. Returns the last checkpoint."""
        if self.unwritten is not None:
            self._write(self.unwritten)
        checkpoint = read_checkpoint(self.folder / CHECKPOINT)
        files = {
            METRICS: metrics_csv(checkpoint.history),
            SETTINGS: to_toml(checkpoint.settings).encode(),
        }
        if self.reported != checkpoint.epoch:
            files[REPORT] = self.report(checkpoint).encode()
        self._put(files)
        return checkpoint

    def _write(self, checkpoint: Checkpoint) -> None:
        files = {CHECKPOINT: to_bytes(checkpoint), METRICS: metrics_csv(checkpoint.history)}
        if not self.folder.exists:
            files[SETTINGS] = to_toml(checkpoint.settings).encode()
        if not self.reported and checkpoint.epoch and not (self.folder / REPORT).exists():
            files[REPORT] = self.report(checkpoint).encode()
            self.reported = checkpoint.epoch
        self._put(files)
        self.unwritten = None
        self.written_at = time.monotonic()

    def _put(self, files: dict[str, bytes]) -> None:
        """Write the files. Errors: RunFolderError, where the disk is full or the like."""
        try:
            self.folder.write(files)
        except OSError as error:
            kept = "what was written before is kept: go on from there with --resume once there is room"
            raise RunFolderError(
                f"{error.filename or self.folder.path}: cannot be written: {error.strerror}: "
                + (kept if self.folder.exists else "nothing was written")
            ) from None


def metrics_csv(history: Sequence[EpochRecord]) -> bytes:
    """A header and one line an epoch; numbers are written so that reading them gives the same bits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f.name for f in fields(EpochRecord)])
    writer.writerows(astuple(record) for record in history)
    return text.getvalue().encode()
