"""A training job: data, normaliser, model, optimizer and schedule put together, new or from a checkpoint.

Its files are written by `save_run`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import chainrule
from chainrule.data import Dataset, Normaliser, normaliser_from_state
from chainrule.models.classifier import Classifier
from chainrule.optim import EarlyStopping, ExponentialMovingAverage, Optimizer, Schedule
from chainrule.train.build import (
    MODELS,
    build_average,
    build_loader,
    build_model,
    build_optimizer,
    build_schedule,
    check_batches,
    check_views,
    fit_normaliser,
    load_data,
    normalised,
)
from chainrule.train.checkpoint import PARTS, Checkpoint, not_finite, read_checkpoint
from chainrule.train.errors import CheckpointError, SettingsError, TrainError
from chainrule.train.evaluate import Evaluation, evaluate
from chainrule.train.fit import Callback, EpochRecord, Progress, divergence, fit
from chainrule.train.run_folder import CHECKPOINT, RunFolder
from chainrule.train.settings import TrainSettings

PREPARED_BY = 5000  # training images that a model which needs some is shown at its beginning


@dataclass
class Trained:
    """What a checkpoint says of inputs: a model and the normaliser before it.

    Where the run averages its weights, the model has the averages.
    """

    checkpoint: Checkpoint
    normaliser: Normaliser
    model: Classifier

    @classmethod
    def load(cls, folder: RunFolder) -> Trained:
        """The run's model. Errors: CheckpointError naming the file."""
        path = folder / CHECKPOINT
        return cls.of(read_checkpoint(path), str(path))

    @classmethod
    def of(cls, checkpoint: Checkpoint, name: str = CHECKPOINT) -> Trained:
        """The model of a checkpoint that was read. Errors: CheckpointError with the name."""
        try:
            normaliser = normaliser_from_state(checkpoint.normaliser, checkpoint.arrays["normaliser"])
            if normaliser.input_shape != checkpoint.image_shape:
                raise ValueError(
                    f"its normaliser is for inputs {normaliser.input_shape}, the run for "
                    f"{checkpoint.image_shape}"
                )
            model = build_model(checkpoint.settings, normaliser, len(checkpoint.classes))
            model.load_state_dict(checkpoint.arrays["model"])
            averages = checkpoint.arrays["average"]
            average = build_average(checkpoint.settings, model, steps_per_epoch=1)  # it makes no further step
            if average is not None:
                average.load_state_dict(averages)
                average.copy_to()
            elif averages:
                raise ValueError(f"averages of weights {sorted(averages)} of a run that has none")
        except ValueError as error:
            raise CheckpointError(f"{name}: damaged: {error}") from None
        return cls(checkpoint, normaliser, model)

    def test(self, data: Dataset) -> Evaluation:
        """The results on a data set's test part. Errors: TrainError if it does not fit the run."""
        self.check_fits(data)
        settings = self.checkpoint.settings
        return evaluate(
            self.model,
            normalised(self.normaliser, data.test.images),
            data.test.labels,
            settings.precision,
            settings.tta,
        )

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
    """A run in the making.

    Attributes:
        schedule, schedule_per: of the learning rate, and whether it goes by 'step' or 'epoch'.
        average, early_stopping: None where the run has none.
        history: the records of the epochs that are done.
        progress: how far the epoch after them has come; None between epochs.
        generator: the state that the library's generator, from which dropout draws, is set to when the run goes on.
    """

    settings: TrainSettings
    data: Dataset
    value_range: tuple[float, float]
    data_checksum: int
    normaliser: Normaliser
    model: Classifier
    optimizer: Optimizer
    schedule: Schedule
    schedule_per: str
    average: ExponentialMovingAverage | None
    early_stopping: EarlyStopping | None
    history: list[EpochRecord]
    progress: Progress | None
    generator: dict

    @classmethod
    def new(cls, settings: TrainSettings) -> Job:
        """A job at its beginning. Errors: DataError, TrainError."""
        data, value_range = load_data(settings)
        normaliser = fit_normaliser(settings, data, value_range)
        model = build_model(settings, normaliser, data.num_classes)
        check_views(settings, normaliser)
        check_batches(settings, model, normaliser.input_shape, len(data.train.labels))
        prepare = MODELS[settings.model].prepare
        if prepare is not None:
            prepare(model, normalised(normaliser, data.train.images[:PREPARED_BY]))
        state = np.random.default_rng(settings.seed).bit_generator.state
        return cls._of(settings, data, value_range, checksum(data), normaliser, model, [], None, state)

    @classmethod
    def resumed(cls, trained: Trained, settings: TrainSettings) -> Job:
        """The job that goes on where a checkpoint ends, with its settings or those that may be given anew.

        Errors: DataError; CheckpointError if a part of the state does not fit; SettingsError if the data are not
        those that the run began with, or nothing is left to do.
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
        model = build_model(settings, trained.normaliser, len(checkpoint.classes))
        job = cls._of(
            settings,
            data,
            value_range,
            checkpoint.data_checksum,
            trained.normaliser,
            model,
            list(checkpoint.history),
            checkpoint.progress,
            checkpoint.generator,
        )
        job._load(checkpoint)
        if job.early_stopping is not None and job.early_stopping.stop:
            raise SettingsError(
                f"early-stop: the run stopped after epoch {checkpoint.epoch}: there is nothing to go on with"
            )
        return job

    @classmethod
    def _of(
        cls, settings, data, value_range, data_checksum, normaliser, model, history, progress, generator
    ) -> Job:
        optimizer = build_optimizer(settings, model)
        steps, _ = sizes(settings, len(data.train.labels))
        return cls(
            settings,
            data,
            value_range,
            data_checksum,
            normaliser,
            model,
            optimizer,
            *build_schedule(settings, optimizer, steps),
            build_average(settings, model, steps),
            EarlyStopping(settings.early_stop) if settings.early_stop is not None else None,
            history,
            progress,
            generator,
        )

    def _parts(self) -> dict[str, Any]:
        """What has a state, by the names in a checkpoint."""
        parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "average": self.average,
            "early_stopping": self.early_stopping,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _load(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state, but for a learning rate that was given anew."""
        states = {name: dict(arrays) for name, arrays in checkpoint.arrays.items()}
        change = self.settings.lr / checkpoint.settings.lr
        if change != 1:
            fresh = self.schedule.state_dict()
            states["schedule"] |= {name: fresh[name] for name in fresh if "base_lr" in name}
        try:
            for name, part in self._parts().items():
                part.load_state_dict(states[name])
                if (
                    name == "optimizer"
                ):  # before the schedule, which sets the rate unless it follows a plateau
                    for group in self.optimizer.param_groups:
                        group["lr"] *= change
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{CHECKPOINT}: damaged: {error}") from None
        _, batches = sizes(self.settings, len(self.data.train.labels))
        if self.progress is not None and self.progress.batch > batches:
            raise CheckpointError(
                f"{CHECKPOINT}: damaged: batch {self.progress.batch} of an epoch of {batches} batches"
            )

    def run(self, callbacks: Sequence[Callback]) -> None:
        """Train up to the last epoch. Errors: DivergenceError."""
        train, test = self.data
        settings = self.settings
        resume, self.progress = self.progress, None
        chainrule.random.generator().bit_generator.state = self.generator
        fit(
            self.model,
            self.optimizer,
            build_loader(settings, self.normaliser, train),
            (normalised(self.normaliser, test.images), test.labels),
            range(len(self.history) + 1, settings.epochs + 1),
            schedule=self.schedule,
            schedule_per=self.schedule_per,
            l1=settings.l1,
            l2=settings.l2,
            label_smoothing=settings.label_smoothing or 0.0,
            clip_norm=settings.clip,
            accumulate=settings.accumulate,
            average=self.average,
            early_stopping=self.early_stopping,
            precision=settings.precision,
            tta=settings.tta,
            resume=resume,
            callbacks=[Freeze(self.model, MODELS[settings.model].freeze), *callbacks],
        )

    def checkpoint(self) -> Checkpoint:
        """The job's state now: after the last epoch of its history, or where `progress` stands in the next.

        Errors: DivergenceError where weights, or what the optimizer keeps of them, are not finite, which a loss that
        still is does not tell: such a state is no use, and must not take the place of an earlier one.
        """
        arrays = {part: {} for part in PARTS}
        for name, part in self._parts().items():
            arrays[name] = {k: np.asarray(v) for k, v in part.state_dict().items()}
        arrays["normaliser"] = self.normaliser.state_dict()
        if (wrong := not_finite(arrays)) is not None:
            name, value = wrong
            epoch = len(self.history) + (self.progress is not None)
            raise divergence(f"array {name}", value, epoch, self.optimizer)
        steps, _ = sizes(self.settings, len(self.data.train.labels))
        batch = 0 if self.progress is None else self.progress.batch
        return Checkpoint(
            settings=self.settings,
            history=tuple(self.history),
            progress=None if self.progress is None else replace(self.progress),
            step=len(self.history) * steps + -(-batch // self.settings.accumulate),
            generator=chainrule.random.generator().bit_generator.state,
            classes=self.data.classes,
            image_shape=self.data.image_shape,
            value_range=self.value_range,
            normaliser=self.normaliser.kind,
            data_checksum=self.data_checksum,
            arrays=arrays,
        )


class Freeze(Callback):
    """Ends the training of parameters that rest after some epochs.

    Args:
        model: whose parameters they are.
        names: their names, and after how many epochs.
    """

    def __init__(self, model: Classifier, names: Mapping[str, int]):
        self.model, self.names = model, names

    def epoch_begin(self, epoch: int) -> None:
        if self.names:
            for name, parameter in self.model.named_parameters():
                if epoch > self.names.get(name, epoch):
                    parameter.requires_grad = False


def sizes(settings: TrainSettings, examples: int) -> tuple[int, int]:
    """(steps, batches) of an epoch."""
    batches = -(-examples // (settings.batch_size or examples))
    return -(-batches // settings.accumulate), batches


def checksum(data: Dataset) -> int:
    """A checksum of the training set's values, order included."""
    images, labels = data.train
    return zlib.crc32(np.ascontiguousarray(labels), zlib.crc32(np.ascontiguousarray(images)))
