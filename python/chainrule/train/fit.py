"""The training loop, and what it tells those who watch.

It knows a model, an optimizer and batches; files, settings and displays are left to others. The same in a dozen lines
of one's own is `examples/training_loop.py`.
"""

from __future__ import annotations

import inspect
import math
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

import chainrule
from chainrule.data import DataLoader
from chainrule.models.classifier import Classifier
from chainrule.optim import (
    EarlyStopping,
    ExponentialMovingAverage,
    Optimizer,
    ReduceLROnPlateau,
    Schedule,
    WarmUp,
    clip_grad_norm,
    clip_grad_value,
)
from chainrule.optim.schedule import check_whole
from chainrule.tensor import Tensor
from chainrule.train.errors import DivergenceError
from chainrule.train.evaluate import computing_in, evaluate

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class EpochRecord:
    """The figures of one epoch: what `metrics.csv` holds a line of.

    Attributes:
        train_loss: the mean over the epoch of what was minimised, label smoothing and penalties included, each batch
            taken before its step; train_accuracy: that of the same predictions.
        test_loss, test_accuracy: after the epoch, the loss without smoothing and penalties; of the averaged weights
            where weights are averaged.
        lr: the learning rate after the epoch, of the first parameter group.
        seconds: the time of the epoch, testing included.
        images_per_second: training examples a second, testing not included.
        peak_mb: the most memory that the process has used so far, in MB of 2^20 bytes.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    lr: float
    seconds: float
    images_per_second: float
    peak_mb: float


@dataclass
class Progress:
    """Where an epoch stands.

    Attributes:
        epoch: its number, from 1.
        batch: how many batches are done.
        seen, right: how many examples they had, and how many of those were predicted right.
        loss_sum: the examples' summed loss.
        seconds: the time spent on them before a resumed run went on; 0 in one that did not stop.
        complete: whether a step followed the last batch, so that no gradients are waiting.
    """

    epoch: int
    batch: int = 0
    seen: int = 0
    right: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    complete: bool = True

    @property
    def loss(self) -> float:
        return self.loss_sum / self.seen

    @property
    def accuracy(self) -> float:
        return self.right / self.seen


class Callback:
    """Watches a run. A subclass defines what it wants to hear of."""

    def epoch_begin(self, epoch: int) -> None:
        """An epoch begins, or goes on after a resume."""

    def batch_end(self, progress: Progress) -> None:
        """A batch is done, with its step where `progress.complete`."""

    def epoch_end(self, record: EpochRecord) -> None:
        """An epoch is over and tested; the model and optimizer hold its result."""


def fit(
    model: Classifier,
    optimizer: Optimizer,
    loader: DataLoader,
    test: tuple[np.ndarray, np.ndarray],
    epochs: Iterable[int],
    *,
    schedule: Schedule | None = None,
    schedule_per: str = "step",
    l1: float = 0.0,
    l2: float = 0.0,
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    average: ExponentialMovingAverage | None = None,
    early_stopping: EarlyStopping | None = None,
    precision: str = "float32",
    tta: str = "none",
    resume: Progress | None = None,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Train for the given epochs and test after each.

    The model is in training mode for the steps and in evaluation mode for the tests.

    Args:
        loader: batches of inputs and labels; epoch k takes `loader.epoch(k)`.
        test: inputs, normalised as the loader's are, and labels.
        epochs: their numbers, from 1; a resumed run gives those that are left.
        schedule: of the learning rate, stepped as `schedule_per` says: after each 'step' of the optimizer, or each
            'epoch'. One that follows a figure (ReduceLROnPlateau) goes per epoch and is given the test loss.
        l1, l2: weights of the elastic-net penalty on all parameters of two or more axes, biases left out.
        label_smoothing: in [0, 1), for models under the softmax cross-entropy.
        clip_norm: the most that the norm of all gradients may be.
        clip_value: the most that the size of each entry of a gradient may be; clipped before the norm.
        accumulate: a step follows every so many batches, on the mean gradient over all of their examples; at the end
            of an epoch over those that are left.
        average: of the weights, an ExponentialMovingAverage or Lookahead, updated after each step; what it holds is
            tested.
        early_stopping: given the test loss after each epoch; training ends when it says so.
        precision: of the model's forward and backward passes, 'float32' or 'bfloat16' (`chainrule.autocast`); the
            loss, and what the optimizer keeps, are float32.
        tta: which views of an image are tested, see `scores_of`.
        resume: how far the first epoch has come; it goes on from there.
        callbacks: told of each batch and epoch.

    Errors: DivergenceError as soon as a loss is not finite; ValueError for settings out of range, and from the loss
    for labels that are no class of the model.
    """
    _check(model, loader, schedule, schedule_per, label_smoothing, accumulate, precision, resume)
    step = _Step(model, optimizer, l1, l2, label_smoothing, clip_norm, clip_value, precision)
    for epoch in epochs:
        progress = resume or Progress(epoch)
        resume = None
        started, seen_before = time.perf_counter() - progress.seconds, progress.seen
        trained_from = time.perf_counter()
        # Overflow on the way to divergence is told by the check of the loss, not by NumPy's warnings.
        with np.errstate(all="ignore"):
            model.train()
            for callback in callbacks:
                callback.epoch_begin(epoch)
            for inputs, labels in loader.epoch(epoch, progress.batch):
                group = progress.batch // accumulate * accumulate
                together = _examples(loader, group, min(group + accumulate, len(loader)))
                value, right = step.add(inputs, labels, together)
                progress.batch += 1
                progress.complete = progress.batch % accumulate == 0 or progress.batch == len(loader)
                if not math.isfinite(value):
                    raise divergence("loss", value, epoch, optimizer, epoch == 1 and not progress.seen)
                if progress.complete:
                    step.take()
                    if schedule is not None and schedule_per == "step":
                        schedule.step()
                    if average is not None:
                        average.update()
                progress.seen += len(labels)
                progress.loss_sum += value * len(labels)
                progress.right += right
                progress.seconds = time.perf_counter() - started
                for callback in callbacks:
                    callback.batch_end(progress)
            training_time = time.perf_counter() - trained_from
            with nullcontext() if average is None else average.applied():
                result = evaluate(model, *test, precision, tta)
        if not math.isfinite(result.loss):
            raise divergence("test loss", result.loss, epoch, optimizer)
        if schedule is not None and schedule_per == "epoch":
            schedule.step(*([result.loss] if follows_a_figure(schedule) else []))
        if early_stopping is not None:
            early_stopping.step(result.loss)
        record = EpochRecord(
            epoch,
            progress.loss,
            progress.accuracy,
            result.loss,
            result.accuracy,
            float(optimizer.param_groups[0]["lr"]),
            time.perf_counter() - started,
            (progress.seen - seen_before) / training_time,
            peak_mb(),
        )
        for callback in callbacks:
            callback.epoch_end(record)
        if early_stopping is not None and early_stopping.stop:
            return


class _Step:
    """One step of the optimizer: gradients from one batch or several, then what is done with them."""

    def __init__(self, model, optimizer, l1, l2, label_smoothing, clip_norm, clip_value, precision):
        self.model, self.optimizer = model, optimizer
        self.l1, self.l2 = l1, l2
        self.loss_settings = {"label_smoothing": label_smoothing} if label_smoothing else {}
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.precision = precision
        self.begun = False

    def add(self, inputs, labels, together: int) -> tuple[float, int]:
        """Add a batch's gradients, as one of batches of `together` examples. Returns its loss and how many of its
        examples are predicted right."""
        if not self.begun:
            self.optimizer.zero_grad()
            self.begun = True
        with computing_in(self.precision):
            scores = self.model(inputs)
        loss = self.model.loss(scores, labels, **self.loss_settings)
        if self.l1 or self.l2:
            loss = loss + chainrule.elastic_net(weights(self.model), self.l1, self.l2)
        loss.backward(None if len(labels) == together else np.asarray(len(labels) / together, loss.dtype))
        return loss.item(), int((scores.numpy().argmax(axis=1) == labels).sum())

    def take(self) -> None:
        if self.clip_value is not None:
            clip_grad_value(self.optimizer.params, self.clip_value)
        if self.clip_norm is not None:
            clip_grad_norm(self.optimizer.params, self.clip_norm)
        self.optimizer.step()
        self.begun = False


def _check(model, loader, schedule, schedule_per, label_smoothing, accumulate, precision, resume) -> None:
    if schedule_per not in ("step", "epoch"):
        raise ValueError(f"fit: schedule_per = {schedule_per!r}: give 'step' or 'epoch'")
    if schedule_per == "step" and follows_a_figure(schedule):
        raise ValueError("fit: the schedule follows the test loss: give schedule_per='epoch'")
    if label_smoothing and "label_smoothing" not in inspect.signature(model.loss).parameters:
        raise ValueError(
            f"fit: label_smoothing = {label_smoothing}: the loss of {type(model).__name__} has none: leave it out"
        )
    check_whole("fit", "accumulate", accumulate, 1)
    if precision not in PRECISIONS:
        raise ValueError(f"fit: precision = {precision!r}: give one of {', '.join(PRECISIONS)}")
    if resume is not None and resume.batch % accumulate and resume.batch < len(loader):
        raise ValueError(
            f"fit: resume after batch {resume.batch} with accumulate = {accumulate}: gradients were left waiting"
        )


def follows_a_figure(schedule: Schedule | None) -> bool:
    """Whether the schedule's steps are given the test loss."""
    if isinstance(schedule, WarmUp):
        return follows_a_figure(schedule.schedule)
    return isinstance(schedule, ReduceLROnPlateau)


def _examples(loader: DataLoader, first: int, last: int) -> int:
    """How many examples the batches from `first` up to `last`, itself left out, have."""
    return min(last * loader.batch_size, len(loader.labels)) - first * loader.batch_size


def peak_mb() -> float:
    """The most memory that this process has used, in MB of 2^20 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # macOS counts bytes, Linux KiB


def weights(model: Classifier) -> list[Tensor]:
    """The parameters that penalties count: those of two or more axes."""
    return [p for p in model.parameters() if len(p.shape) >= 2]


def divergence(
    what: str, value: float, epoch: int, optimizer: Optimizer, before_any_step: bool = False
) -> DivergenceError:
    if before_any_step:
        return DivergenceError(
            f"train: the {what} is {value} before the first step: the inputs, or delta, l1 or l2, are too large "
            "for float32"
        )
    return DivergenceError(
        f"train: the {what} became {value} in epoch {epoch}: the learning rate "
        f"{optimizer.param_groups[0]['lr']:g} is too high for these data and penalties: lower --lr"
    )
