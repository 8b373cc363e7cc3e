"""Batches in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import numpy as np


class DataLoader:
    """Batches of inputs and labels.

    Args:
        images: (N, ...) array; labels: (N,) array.
        batch_size: examples a batch; 1 is stochastic training, None the full batch. The last batch of an epoch
            may be smaller.
        shuffle: draw a new order each epoch.
        seed: of the order.
        drop_last: leave out a last batch that is not full.
        augment: an `Augment`, or a function of (images, indices, epoch) that returns the batch's inputs: images is
            the whole array, indices (B,) int64 are the batch's examples.

    Epoch k's order comes from (seed, k), so that a run that was stopped sees what it would have seen. An Augment
    draws from its own seed.

    Errors: ValueError for a batch size below 1, no examples, or numbers of images and labels that differ; what
    augment raises, and ValueError when it gives another number of inputs than asked for.

    >>> import chainrule as cr, numpy as np
    >>> loader = cr.data.DataLoader(np.arange(5.0), np.arange(5), batch_size=2, shuffle=False)
    >>> [labels.tolist() for _, labels in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, images, labels, batch_size, *, shuffle=True, seed=0, drop_last=False, augment=None):
        if np.ndim(images) == 0 or np.ndim(labels) == 0:
            raise ValueError("DataLoader: images or labels are a single number: give one entry an example")
        if len(images) != len(labels):
            raise ValueError(f"DataLoader: {len(images)} images and {len(labels)} labels differ in number")
        if len(images) == 0:
            raise ValueError("DataLoader: there are no examples")
        if batch_size is not None:
            batch_size = _integer("batch_size", batch_size)
            if batch_size < 1:
                raise ValueError(f"DataLoader: batch_size {batch_size} is below 1")
        if drop_last and batch_size is not None and batch_size > len(images):
            raise ValueError(
                f"DataLoader: drop_last with batch_size {batch_size} leaves none of {len(images)} examples"
            )
        seed = _integer("seed", seed)
        if seed < 0:
            raise ValueError(f"DataLoader: seed {seed} is negative")
        if augment is not None and not callable(augment):
            raise TypeError(
                f"DataLoader: augment is a {type(augment).__name__}: give a function of (images, indices, epoch)"
            )
        self.images = np.ascontiguousarray(images)
        self.labels = np.ascontiguousarray(labels)
        self.batch_size = len(images) if batch_size is None else batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.augment = augment
        self._next_epoch = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def epoch(self, k: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of epoch k, counted from 0, as (images, labels); without the first `start` of them, which
        cost nothing: how a run resumes in mid-epoch."""
        k, start = _integer("epoch", k), _integer("start", start)
        if k < 0:
            raise ValueError(f"DataLoader: epoch {k} is negative")
        if not 0 <= start <= len(self):
            raise ValueError(f"DataLoader: start {start} is not in 0 to {len(self)}, the batches of an epoch")
        return self._batches(k, start)

    def _batches(self, k, start):
        n = len(self.images)
        if self.shuffle:
            # The raw numbers of PCG64 are the same in every NumPy; its permutation method may change (NEP 19).
            order = np.argsort(np.random.PCG64([self.seed, k]).random_raw(n), kind="stable")
        elif self.augment is not None:
            order = np.arange(n)
        for i in range(start, len(self)):
            where = slice(i * self.batch_size, (i + 1) * self.batch_size)
            if self.shuffle or self.augment is not None:
                where = order[where]
            yield self._inputs(where, k), self.labels[where]

    def _inputs(self, where, k):
        if self.augment is None:
            return self.images[where]
        inputs = self.augment(self.images, where, k)
        if len(inputs) != len(where):
            raise ValueError(f"DataLoader: augment gave {len(inputs)} inputs for {len(where)} examples")
        return inputs

    def __iter__(self):
        """The batches of the next epoch."""
        k, self._next_epoch = self._next_epoch, self._next_epoch + 1
        return self.epoch(k)


def _integer(name, value) -> int:
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"DataLoader: {name} {value!r} is no integer") from None
