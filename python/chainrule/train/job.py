"""A training job: data, normaliser, model and optimizer put together, new or from a checkpoint.

Also how a job's state becomes the files of its run folder. The report is made by whoever runs the job.
"""

from __future__ import annotations

import csv
import io
import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from chainrule.data import DataLoader, Dataset, Normaliser, normaliser_from_state
from chainrule.models.classifier import Classifier
from chainrule.optim import SGD
from chainrule.train.build import (
    build_model,
    build_optimizer,
    fit_normaliser,
    load_data,
)
from chainrule.train.checkpoint import Checkpoint, read_checkpoint, to_bytes
from chainrule.train.errors import CheckpointError, SettingsError, TrainError
from chainrule.train.evaluate import Evaluation, evaluate
from chainrule.train.fit import Callback, EpochRecord, fit
from chainrule.train.run_folder import CHECKPOINT, METRICS, REPORT, SETTINGS, RunFolder
from chainrule.train.settings import TrainSettings, to_toml


@dataclass
class Trained:
    """What a checkpoint says of inputs: a model and the normaliser before it."""

    checkpoint: Checkpoint
    normaliser: Normaliser
    model: Classifier

    @classmethod
    def load(cls, folder: RunFolder) -> Trained:
        """The run's model. Errors: CheckpointError naming the file."""
        path = folder / CHECKPOINT
        checkpoint = read_checkpoint(path)
        try:
            normaliser = normaliser_from_state(checkpoint.normaliser, checkpoint.arrays["normaliser"])
            if normaliser.input_shape != checkpoint.image_shape:
                raise ValueError(
                    f"its normaliser is for inputs {normaliser.input_shape}, the run for "
                    f"{checkpoint.image_shape}"
                )
            model = build_model(checkpoint.settings, normaliser, len(checkpoint.classes))
            model.load_state_dict(checkpoint.arrays["model"])
        except ValueError as error:
            raise CheckpointError(f"{path}: damaged: {error}") from None
        return cls(checkpoint, normaliser, model)

    def test(self, data: Dataset) -> Evaluation:
        """The results on a data set's test part. Errors: TrainError if it does not fit the run."""
        self.check_fits(data)
        return evaluate(self.model, normalised(self.normaliser, data.test.images), data.test.labels)

    def check_fits(self, data: Dataset) -> None:
        """Errors: TrainError if the data set's inputs or classes are not those that the run was trained on."""
        if data.image_shape != self.checkpoint.image_shape:
            raise TrainError(
                f"data: inputs of {data.name} have shape {data.image_shape}, the run was trained on "
                f"{self.checkpoint.image_shape}"
            )
        if data.num_classes > len(self.checkpoint.classes):
            raise TrainError(
                f"data: {data.name} has {data.num_classes} classes, the run knows "
                f"{len(self.checkpoint.classes)}"
            )


@dataclass
class Job:
    """A run in the making."""

    settings: TrainSettings
    data: Dataset
    value_range: tuple[float, float]
    data_checksum: int
    normaliser: Normaliser
    model: Classifier
    optimizer: SGD
    history: list[EpochRecord]

    @classmethod
    def new(cls, settings: TrainSettings) -> Job:
        """A job at its beginning. Errors: DataError, TrainError."""
        data, value_range = load_data(settings)
        normaliser = fit_normaliser(settings, data, value_range)
        model = build_model(settings, normaliser, data.num_classes)
        optimizer = build_optimizer(settings, model)
        return cls(settings, data, value_range, checksum(data), normaliser, model, optimizer, [])

    @classmethod
    def resumed(cls, trained: Trained, settings: TrainSettings) -> Job:
        """The job that goes on where a checkpoint ends, with its settings or those that may be given anew.

        Errors: DataError; CheckpointError if the optimizer's state does not fit; SettingsError if the data are
        not those that the run began with, or no epoch is left.
        """
        checkpoint = trained.checkpoint
        if settings.epochs <= checkpoint.epoch:
            raise SettingsError(
                f"epochs: {settings.epochs} are asked for and the run has {checkpoint.epoch}: give "
                "more with --epochs to go on"
            )
        data, value_range = load_data(settings)
        trained.check_fits(data)
        if checksum(data) != checkpoint.data_checksum:
            raise SettingsError("data: the training set is not the one that the run began with")
        optimizer = build_optimizer(settings, trained.model)
        try:
            optimizer.load_state_dict(dict(checkpoint.arrays["optimizer"]))
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{CHECKPOINT}: damaged: {error}") from None
        optimizer.lr = settings.lr
        return cls(
            settings,
            data,
            value_range,
            checkpoint.data_checksum,
            trained.normaliser,
            trained.model,
            optimizer,
            list(checkpoint.history),
        )

    def run(self, callbacks: Sequence[Callback]) -> None:
        """Train up to the last epoch. Errors: DivergenceError."""
        train, test = self.data
        loader = DataLoader(
            normalised(self.normaliser, train.images),
            train.labels,
            self.settings.batch_size,
            seed=self.settings.seed,
        )
        fit(
            self.model,
            self.optimizer,
            loader,
            (normalised(self.normaliser, test.images), test.labels),
            range(len(self.history) + 1, self.settings.epochs + 1),
            l1=self.settings.l1,
            l2=self.settings.l2,
            callbacks=callbacks,
        )

    def checkpoint(self) -> Checkpoint:
        """The job's state after the last epoch of its history."""
        return Checkpoint(
            settings=self.settings,
            history=tuple(self.history),
            classes=self.data.classes,
            image_shape=self.data.image_shape,
            value_range=self.value_range,
            normaliser=self.normaliser.kind,
            data_checksum=self.data_checksum,
            arrays={
                "model": self.model.state_dict(),
                "optimizer": {k: np.asarray(v) for k, v in self.optimizer.state_dict().items()},
                "normaliser": self.normaliser.state_dict(),
            },
        )


class SaveRun(Callback):
    """Writes the run folder: after the first epoch all of it, later the checkpoint and the metrics.

    Where epochs are short, not every one is written: waiting for the disk would take longer than training. The
    state after each is kept in memory, and `finish` writes the last.
    """

    def __init__(
        self, job: Job, folder: RunFolder, report: Callable[[Checkpoint], str], seconds: float = 1.0
    ):
        self.job = job
        self.folder = folder
        self.report = report
        self.seconds = seconds  # the least time between two writes
        self.written_at = -math.inf
        self.unwritten: Checkpoint | None = None
        self.reported = 0  # the epoch of the report that was written last

    def epoch_end(self, record: EpochRecord) -> None:
        self.job.history.append(record)
        self.unwritten = self.job.checkpoint()
        if time.monotonic() - self.written_at >= self.seconds:
            self._write(self.unwritten)

    def finish(self) -> Checkpoint:
        """Write all that is not, once training has ended, however it did. Returns the last epoch's checkpoint."""
        if self.unwritten is not None:
            self._write(self.unwritten)
        checkpoint = read_checkpoint(self.folder / CHECKPOINT)
        files = {
            METRICS: metrics_csv(checkpoint.history),
            SETTINGS: to_toml(checkpoint.settings).encode(),
        }
        if self.reported != checkpoint.epoch:
            files[REPORT] = self.report(checkpoint).encode()
        self.folder.write(files)
        return checkpoint

    def _write(self, checkpoint: Checkpoint) -> None:
        files = {CHECKPOINT: to_bytes(checkpoint), METRICS: metrics_csv(checkpoint.history)}
        if not self.folder.exists:
            files |= {
                SETTINGS: to_toml(checkpoint.settings).encode(),
                REPORT: self.report(checkpoint).encode(),
            }
            self.reported = checkpoint.epoch
        self.folder.write(files)
        self.unwritten = None
        self.written_at = time.monotonic()


def normalised(normaliser: Normaliser, images: np.ndarray) -> np.ndarray:
    """The normaliser's result. Errors: TrainError for inputs far from those fitted."""
    try:
        return normaliser(images)
    except ValueError as error:
        raise TrainError(f"data: {error}") from None


def metrics_csv(history: Sequence[EpochRecord]) -> bytes:
    """A header and one line an epoch; numbers are written so that reading them gives the same bits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f.name for f in fields(EpochRecord)])
    writer.writerows(astuple(record) for record in history)
    return text.getvalue().encode()


def checksum(data: Dataset) -> int:
    """A checksum of the training set's values, order included."""
    images, labels = data.train
    return zlib.crc32(np.ascontiguousarray(labels), zlib.crc32(np.ascontiguousarray(images)))
