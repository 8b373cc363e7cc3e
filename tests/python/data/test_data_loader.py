"""DataLoader: which examples an epoch gives, in what order, in which arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import DataLoader

counts = st.integers(1, 40)
sizes = st.none() | st.integers(1, 50)
seeds = st.integers(0, 2**40)
epochs = st.integers(0, 1000)


def numbered(n):
    """n examples whose image and label both say which example it is."""
    return np.arange(n, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32), np.arange(n)


def order(batches):
    return [label for _, labels in batches for label in labels.tolist()]


@given(counts, sizes, seeds, epochs, st.booleans())
def test_loader_gives_every_example_once_an_epoch(n, size, seed, k, shuffle):
    loader = DataLoader(*numbered(n), size, shuffle=shuffle, seed=seed)
    whole = n if size is None else min(size, n)
    batches = list(loader.epoch(k))
    assert sorted(order(batches)) == list(range(n))
    assert len(batches) == len(loader)
    assert all(len(labels) == whole for _, labels in batches[:-1])
    for images, labels in batches:
        assert np.array_equal(images[:, 0], labels)
        assert images.flags.c_contiguous and labels.flags.c_contiguous


@given(counts, st.integers(1, 50), seeds, epochs)
def test_loader_order_depends_on_seed_and_epoch_alone(n, size, seed, k):
    one = DataLoader(*numbered(n), size, seed=seed)
    list(one)  # what was iterated before does not matter
    other = DataLoader(*numbered(n), None, seed=seed)
    assert order(one.epoch(k)) == order(other.epoch(k))
    # By the raw numbers of PCG64, which every NumPy draws alike; the methods of Generator may change (NEP 19).
    raw = np.random.PCG64([seed, k]).random_raw(n)
    assert order(one.epoch(k)) == sorted(range(n), key=lambda i: raw[i])


def test_loader_order_never_changes():
    loader = DataLoader(*numbered(10), 3, seed=7)
    assert order(loader.epoch(0)) == [6, 3, 4, 9, 0, 2, 8, 7, 5, 1]
    assert order(loader.epoch(1)) == [1, 3, 2, 7, 8, 4, 5, 9, 0, 6]


@given(counts, st.integers(1, 40), epochs)
def test_loader_drop_last_gives_whole_batches_only(n, size, k):
    if size > n:
        size = n
    loader = DataLoader(*numbered(n), size, drop_last=True)
    batches = list(loader.epoch(k))
    assert len(batches) == len(loader) == n // size
    assert all(len(labels) == size for _, labels in batches)
    assert len({*order(batches)}) == n // size * size


def test_loader_orders_differ_between_epochs_and_between_seeds():
    one, other = DataLoader(*numbered(50), 8, seed=1), DataLoader(*numbered(50), 8, seed=2)
    assert order(one.epoch(0)) != order(one.epoch(1))
    assert order(one.epoch(0)) != order(other.epoch(0))


def test_loader_iterates_one_epoch_after_another():
    loader = DataLoader(*numbered(20), 6, seed=3)
    first = order(loader)
    list(loader.epoch(7))  # asking for an epoch does not move on
    second = order(loader)
    assert first == order(loader.epoch(0)) and second == order(loader.epoch(1))


def test_loader_batch_size_one_is_stochastic_and_none_is_the_full_batch():
    assert [len(y) for _, y in DataLoader(*numbered(4), 1)] == [1, 1, 1, 1]
    assert [len(y) for _, y in DataLoader(*numbered(4), None)] == [4]
    assert [len(y) for _, y in DataLoader(*numbered(4), 9)] == [4]


def test_loader_without_shuffle_copies_nothing():
    x, y = numbered(10)
    ((images, labels),) = DataLoader(x, y, None, shuffle=False)
    assert images.ctypes.data == x.ctypes.data and labels.ctypes.data == y.ctypes.data
    assert images.shape == x.shape
    for images, labels in DataLoader(x, y, 4, shuffle=False):
        assert np.shares_memory(images, x) and np.shares_memory(labels, y)


def test_loader_batches_of_non_contiguous_and_read_only_data_hold_the_right_rows():
    x = np.arange(60.0).reshape(2, 3, 10).T[::2]  # (5, 3, 2)
    y = np.arange(10)[::2]
    x.flags.writeable = y.flags.writeable = False
    for images, labels in DataLoader(x, y, 2):
        assert np.array_equal(images, x[labels // 2])


def test_loader_takes_lists():
    ((images, labels),) = DataLoader([[1.0], [2.0]], [0, 1], None, shuffle=False)
    assert images.tolist() == [[1.0], [2.0]] and labels.tolist() == [0, 1]


X, Y = numbered(4)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, Y[:3], 2), {}, ValueError, "4 images and 3 labels differ in number"),
        ((X[:0], Y[:0], 2), {}, ValueError, "there are no examples"),
        ((X, Y, 0), {}, ValueError, "batch_size 0 is below 1"),
        ((X, Y, -3), {}, ValueError, "batch_size -3 is below 1"),
        ((X, Y, 2.0), {}, TypeError, r"batch_size 2\.0 is no integer"),
        ((X, Y, "2"), {}, TypeError, "batch_size '2' is no integer"),
        ((X, Y, 5), {"drop_last": True}, ValueError, "drop_last with batch_size 5 leaves none of 4"),
    ],
)
def test_loader_refuses_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=f"^DataLoader: {message}"):
        DataLoader(*arguments, **options)
