"""The training loop, and what it tells those who watch.

It knows a model, an optimizer and batches; files, settings and displays are left to others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import elastic_net
from chainrule.data import DataLoader
from chainrule.models.classifier import Classifier
from chainrule.optim import SGD
from chainrule.tensor import Tensor
from chainrule.train.errors import DivergenceError
from chainrule.train.evaluate import evaluate


@dataclass(frozen=True)
class EpochRecord:
    """The figures of one epoch: what `metrics.csv` holds a line of.

    train_loss is the mean over the epoch of what was minimised, l1 and l2 penalties included, each batch taken
    before its step, and train_accuracy that of the same predictions; test figures are those after the epoch,
    the loss without penalties. seconds is the time of the epoch, testing included.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


@dataclass
class Progress:
    """Where an epoch stands: examples seen, their summed loss, and how many were predicted right."""

    epoch: int
    seen: int = 0
    loss_sum: float = 0.0
    right: int = 0

    @property
    def loss(self) -> float:
        return self.loss_sum / self.seen

    @property
    def accuracy(self) -> float:
        return self.right / self.seen


class Callback:
    """Watches a run. A subclass defines what it wants to hear of."""

    def batch_end(self, progress: Progress) -> None:
        """A step was made."""

    def epoch_end(self, record: EpochRecord) -> None:
        """An epoch is over and tested; the model and optimizer hold its result."""


def fit(
    model: Classifier,
    optimizer: SGD,
    loader: DataLoader,
    test: tuple[np.ndarray, np.ndarray],
    epochs: Iterable[int],
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Train for the given epochs and test after each.

    Args:
        loader: batches of normalised inputs and labels; epoch k takes `loader.epoch(k)`.
        test: normalised inputs and labels.
        epochs: their numbers, from 1; a resumed run gives those that are left.
        l1, l2: weights of the elastic-net penalty on all parameters of two or more axes, biases left out.

    Errors: DivergenceError as soon as a loss is not finite.
    """
    for epoch in epochs:
        started = time.perf_counter()
        # Overflow on the way to divergence is told by the check of the loss, not by NumPy's warnings.
        with np.errstate(all="ignore"):
            progress = train_epoch(model, optimizer, loader, epoch, l1, l2, callbacks)
            result = evaluate(model, *test)
        if not math.isfinite(result.loss):
            raise divergence("test loss", result.loss, epoch, optimizer)
        record = EpochRecord(
            epoch,
            progress.loss,
            progress.accuracy,
            result.loss,
            result.accuracy,
            time.perf_counter() - started,
        )
        for callback in callbacks:
            callback.epoch_end(record)


def train_epoch(
    model: Classifier,
    optimizer: SGD,
    loader: DataLoader,
    epoch: int,
    l1: float,
    l2: float,
    callbacks: Sequence[Callback],
) -> Progress:
    """One pass over the training set."""
    progress = Progress(epoch)
    for inputs, labels in loader.epoch(epoch):
        scores = model(inputs)
        loss = model.loss(scores, labels)
        if l1 or l2:
            loss = loss + elastic_net(weights(model), l1, l2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        value = loss.item()
        if not math.isfinite(value):
            raise divergence(
                "loss", value, epoch, optimizer, before_any_step=epoch == 1 and not progress.seen
            )
        progress.seen += len(labels)
        progress.loss_sum += value * len(labels)
        progress.right += int((scores.numpy().argmax(axis=1) == labels).sum())
        for callback in callbacks:
            callback.batch_end(progress)
    return progress


def weights(model: Classifier) -> list[Tensor]:
    """The parameters that penalties count: those of two or more axes."""
    return [p for p in model.parameters() if len(p.shape) >= 2]


def divergence(
    what: str, value: float, epoch: int, optimizer: SGD, *, before_any_step: bool = False
) -> DivergenceError:
    if before_any_step:
        return DivergenceError(
            f"train: the {what} is {value} before the first step: the inputs, or delta, l1 or l2, are too large "
            "for float32"
        )
    return DivergenceError(
        f"train: the {what} became {value} in epoch {epoch}: the learning rate {optimizer.lr:g} is too high "
        "for these data and penalties: lower --lr"
    )
