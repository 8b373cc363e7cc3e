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
    batches = list(loader.epoch(k))
    assert sorted(order(batches)) == list(range(n))
    assert len(batches) == len(loader)
    assert all(len(labels) == loader.batch_size for _, labels in batches[:-1])
    for images, labels in batches:
        assert np.array_equal(images[:, 0], labels)
        assert images.flags.c_contiguous and labels.flags.c_contiguous


@given(counts, st.integers(1, 50), seeds, epochs)
def test_loader_order_depends_on_seed_and_epoch_alone(n, size, seed, k):
    one = DataLoader(*numbered(n), size, seed=seed)
    list(one)  # what was iterated before does not matter
    other = DataLoader(*numbered(n), None, seed=seed)
    assert order(one.epoch(k)) == order(other.epoch(k))
    assert order(one.epoch(k)) == np.random.default_rng([seed, k]).permutation(n).tolist()


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


@pytest.mark.parametrize("shuffle", [False, True])
def test_loader_batches_of_non_contiguous_and_read_only_data_are_contiguous(shuffle):
    x = np.arange(60.0).reshape(2, 3, 10).T[::2]  # (5, 3, 2)
    y = np.arange(10)[::2]
    x.flags.writeable = y.flags.writeable = False
    for images, labels in DataLoader(x, y, 2, shuffle=shuffle):
        assert images.flags.c_contiguous and labels.flags.c_contiguous
        assert np.array_equal(images, x[labels // 2])


def test_loader_takes_lists():
    ((images, labels),) = DataLoader([[1.0], [2.0]], [0, 1], None, shuffle=False)
    assert images.tolist() == [[1.0], [2.0]] and labels.tolist() == [0, 1]


X, Y = numbered(4)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, Y[:3], 2), {}, ValueError, r"images \(4, 3\) and labels \(3,\) differ in number"),
        ((X[:0], Y[:0], 2), {}, ValueError, r"images of shape \(0, 3\)"),
        ((X, np.int64(3), 2), {}, ValueError, r"labels of shape \(\)"),
        ((X.astype(str), Y, 2), {}, TypeError, "images is of dtype <U"),
        ((X, Y.astype(object), 2), {}, TypeError, "labels is of dtype object"),
        ((X, Y, 0), {}, ValueError, "batch_size is 0: give 1 or more"),
        ((X, Y, -3), {}, ValueError, "batch_size is -3"),
        ((X, Y, 2.0), {}, TypeError, "batch_size is 2.0: give an integer"),
        ((X, Y, True), {}, TypeError, "batch_size is True"),
        ((X, Y, "2"), {}, TypeError, "batch_size is '2'"),
        ((X, Y, 2), {"seed": -1}, ValueError, "seed is -1"),
        ((X, Y, 2), {"seed": None}, TypeError, "seed is None"),
        ((X, Y, 2), {"shuffle": 1}, TypeError, "shuffle is 1"),
        ((X, Y, 2), {"drop_last": "no"}, TypeError, "drop_last is 'no'"),
        ((X, Y, 5), {"drop_last": True}, ValueError, "batch_size 5 with drop_last"),
    ],
)
def test_loader_refuses_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=f"^DataLoader: {message}"):
        DataLoader(*arguments, **options)


@pytest.mark.parametrize(("k", "error"), [(-1, ValueError), (0.5, TypeError), (False, TypeError)])
def test_loader_refuses_bad_epochs_at_once(k, error):
    with pytest.raises(error, match="^DataLoader: epoch is"):
        DataLoader(X, Y, 2).epoch(k)
