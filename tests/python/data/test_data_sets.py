"""Data sets: what a Dataset is, the fixed split, the packaged digits, CIFAR-10's layout."""

import hashlib
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule.data as data
from chainrule.data.dataset import every_fifth

ROOT = Path(__file__).parents[3]


def test_every_public_name_is_there():
    assert all(hasattr(data, name) for name in data.__all__)


# Dataset


def tiny(labels=(0, 1), classes=("a", "b"), dtype=np.int64, shape=(2, 3)):
    split = data.Split(np.zeros(shape, np.float32), np.array(labels, dtype))
    return data.Dataset("tiny", split, split, classes)


def test_dataset_unpacks_into_train_and_test_pairs():
    dataset = tiny()
    (x_train, y_train), (x_test, y_test) = dataset
    assert x_train is dataset.train.images and y_train is dataset.train.labels
    assert x_test is dataset.test.images and y_test is dataset.test.labels
    assert (dataset.image_shape, dataset.num_classes) == ((3,), 2)


# The fixed split


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_every_fifth_example_of_each_class_is_a_test_example(labels):
    expected, seen = [], dict.fromkeys(range(5), 0)
    for label in labels:
        expected.append(seen[label] % 5 == 4)
        seen[label] += 1
    assert every_fifth(np.array(labels)).tolist() == expected


# Digits


def test_packaged_digits_are_those_of_scikit_learn():
    sklearn_digits = pytest.importorskip("sklearn.datasets").load_digits()
    test = every_fifth(sklearn_digits.target)
    (x_train, y_train), (x_test, y_test) = data.load_digits()
    assert np.array_equal(x_train[..., 0], sklearn_digits.images[~test])
    assert np.array_equal(x_test[..., 0], sklearn_digits.images[test])
    assert np.array_equal(y_train, sklearn_digits.target[~test])
    assert np.array_equal(y_test, sklearn_digits.target[test])


def test_digits_have_the_documented_shapes_types_and_range():
    digits = data.load_digits()
    assert digits.value_range == (0.0, 16.0)
    assert digits.name == "UCI digits" and digits.classes == tuple("0123456789")
    assert digits.train.images.shape == (1442, 8, 8, 1)
    assert digits.test.images.shape == (355, 8, 8, 1)
    for images, labels in digits:
        assert images.dtype == np.uint8 and (images.min(), images.max()) == (0, 16)
        assert labels.dtype == np.int64 and set(labels.tolist()) == set(range(10))
        assert images.flags.c_contiguous


def test_digits_split_never_changes():
    test = data.load_digits().test
    found = hashlib.sha256(test.images.tobytes() + test.labels.astype("<i8").tobytes()).hexdigest()
    assert found == "6150ffb38b98d9ee00309dd12030a2c3061964989f8c0f6bb5f1c161d7065e3c"


def test_digits_file_is_made_reproducibly(tmp_path):
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("make_digits", ROOT / "tools/make_digits.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    made = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in made:
        tool.make(path)
    assert made[0].read_bytes() == made[1].read_bytes()
    # Member by member, because another zlib may compress the same content to other bytes.
    packaged = Path(data.__path__[0]) / "uci_digits/digits.npz"
    with zipfile.ZipFile(made[0]) as new, zipfile.ZipFile(packaged) as old:
        assert new.namelist() == old.namelist() == ["images.npy", "labels.npy"]
        assert all(new.read(name) == old.read(name) for name in new.namelist())
        assert all(member.date_time == (1998, 7, 1, 0, 0, 0) for member in new.infolist())


def test_digits_source_and_licence_are_packaged():
    text = (Path(data.__path__[0]) / "uci_digits/SOURCE.md").read_text()
    assert "10.24432/C50P49" in text and "CC BY 4.0" in text


# CIFAR-10

BATCHES = [f"data_batch_{batch}.bin" for batch in range(1, 6)]


@pytest.fixture
def cifar(tmp_path):
    """A folder in the standard layout, two records a batch, and what its files hold."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    records = {}
    for name in [*BATCHES, "test_batch.bin"]:
        records[name] = rng.integers(0, 256, (2, 3073), dtype=np.uint8)
        records[name][:, 0] %= 10
        (folder / name).write_bytes(records[name].tobytes())
    return folder, records


def test_cifar10_is_read_channel_last_in_the_order_of_the_batches(cifar):
    folder, records = cifar
    dataset = data.load_cifar10(folder.parent)
    assert dataset.name == "CIFAR-10"
    assert (dataset.classes[0], dataset.classes[9]) == ("airplane", "truck")
    assert dataset.train.images.shape == (10, 32, 32, 3)
    assert dataset.test.images.shape == (2, 32, 32, 3)
    record = records["data_batch_3.bin"][1]  # the sixth training image
    for row, column, channel in [(0, 0, 0), (31, 4, 1), (7, 30, 2)]:
        value = record[1 + 1024 * channel + 32 * row + column]
        assert dataset.train.images[5, row, column, channel] == value
    assert dataset.train.labels[5] == record[0]
    for images, labels in dataset:
        assert images.dtype == np.uint8 and images.flags.c_contiguous
        assert labels.dtype == np.int64


def test_cifar10_root_may_be_the_folder_of_the_files(cifar):
    folder, _ = cifar
    one, other = data.load_cifar10(folder), data.load_cifar10(str(folder.parent))
    assert np.array_equal(one.train.images, other.train.images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes are no whole number of 3073-byte records"),
        (bytes(3072), "3072 bytes are no whole number"),
        (bytes(3074), "3074 bytes are no whole number"),
        (bytes(3073) + b"\x0a" + bytes(3072), "label 10 at position 1 is not one of the 10 classes"),
    ],
)
def test_cifar10_damaged_file_is_named(cifar, content, message):
    folder, _ = cifar
    (folder / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(data.DataError, match=rf"^.*data_batch_2\.bin: .*{message}") as caught:
        data.load_cifar10(folder)
    assert "\n" not in str(caught.value)


def test_cifar10_missing_file_is_named(cifar):
    folder, _ = cifar
    (folder / "data_batch_4.bin").unlink()
    with pytest.raises(data.DataError, match=r"data_batch_4\.bin: the file is not there$"):
        data.load_cifar10(folder)


def test_cifar10_root_must_be_a_folder(tmp_path):
    with pytest.raises(data.DataError, match="absent is not a folder"):
        data.load_cifar10(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(data.DataError, match="file is not a folder"):
        data.load_cifar10(tmp_path / "file")
    with pytest.raises(TypeError):
        data.load_cifar10(3)
