"""The training loop: stochastic gradient descent over epochs, and the watchers it tells.

Where the model and the data come from is in `build.py`; what is kept of a run in `job.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.train.errors import Diverged
from chainrule.train.evaluate import Evaluation
from chainrule.train.metrics import EpochMetrics


class Callback:
    """A watcher of the loop. Each method does nothing until a subclass says otherwise."""

    def epoch_begins(self, epoch: int, images: int) -> None:
        """Before epoch 1, 2, ... over this many training examples."""

    def batch_ends(self, totals: Totals) -> None:
        """After each step, with what the epoch came to so far."""

    def epoch_ends(self, metrics: EpochMetrics) -> None:
        """After each epoch and its test."""


class Totals:
    """Sums over the batches of one epoch.

    Attributes:
        seen: training examples so far.
        loss_sum, correct: over those examples.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.loss_sum = 0.0
        self.correct = 0

    def add(self, loss: float, scores: np.ndarray, labels: np.ndarray) -> None:
        """Count one batch with this mean loss."""
        rows = len(labels)
        self.seen += rows
        self.loss_sum += loss * rows
        self.correct += int(np.count_nonzero(scores.argmax(axis=1) == labels))

    @property
    def loss(self) -> float:
        """The mean loss so far."""
        return self.loss_sum / self.seen

    @property
    def accuracy(self) -> float:
        """The share of right predictions so far."""
        return self.correct / self.seen


class Penalty:
    """The elastic net l1 sum|w| + l2 sum w^2 on a model's weights; biases, which have one axis, are left out.

    Args:
        model: its parameters of two axes and more are penalised.
        l1, l2: the strengths, at least 0.
    """

    def __init__(self, model: Any, l1: float, l2: float):
        self.weights = [p for p in model.parameters() if len(p.shape) > 1] if l1 or l2 else []
        self.l1, self.l2 = l1, l2

    def added_to(self, loss: Any) -> Any:
        """The loss with the penalty."""
        return loss + cr.elastic_net(self.weights, self.l1, self.l2) if self.weights else loss

    def value(self) -> float:
        """The penalty as a number."""
        with cr.no_grad():
            return float(cr.elastic_net(self.weights, self.l1, self.l2)) if self.weights else 0.0


def train_epoch(
    model: Any,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    optimizer: Any,
    penalty: Penalty,
    epoch: int,
    callbacks: Sequence[Callback] = (),
) -> Totals:
    """One pass over the batches: a step of the optimizer for each.

    Errors: Diverged as soon as a loss is NaN or infinite, before a step is made with it.
    """
    totals = Totals()
    for inputs, labels in batches:
        scores = model(inputs)
        loss = penalty.added_to(model.loss(scores, labels))
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(epoch, "the training loss", optimizer.lr)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.add(value, scores.numpy(), labels)
        for callback in callbacks:
            callback.batch_ends(totals)
    return totals


def fit(
    model: Any,
    loader: Any,
    optimizer: Any,
    penalty: Penalty,
    test: Callable[[], Evaluation],
    *,
    epochs: int,
    history: Sequence[EpochMetrics] = (),
    callbacks: Sequence[Callback] = (),
) -> list[EpochMetrics]:
    """Train until `epochs` epochs are done, those of `history` included.

    Args:
        model, optimizer: changed in place.
        loader: `loader.epoch(k)` gives the batches of epoch k, from 0, which depend on its seed and k alone.
        penalty: added to each loss.
        test: evaluates the model on the test set.
        history: the epochs that are done, when a run goes on.
        callbacks: told of each batch and epoch, in order.

    Returns the figures of every epoch.

    Errors: Diverged when a loss or a weight is no longer finite.
    """
    done = list(history)
    for epoch in range(len(done) + 1, epochs + 1):
        for callback in callbacks:
            callback.epoch_begins(epoch, len(loader.labels))
        started = time.perf_counter()
        model.train()
        totals = train_epoch(model, loader.epoch(epoch - 1), optimizer, penalty, epoch, callbacks)
        seconds = time.perf_counter() - started
        tested = test()
        if not math.isfinite(tested.loss):
            raise Diverged(epoch, "the test loss", optimizer.lr)
        done.append(
            EpochMetrics(
                epoch, totals.loss, totals.accuracy, tested.loss, tested.accuracy, seconds
            )
        )
        for callback in callbacks:
            callback.epoch_ends(done[-1])
    return done
