"""MNIST's four IDX files, whole and damaged."""

import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from chainrule.data import DataError, load_mnist

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx(array):
    """The IDX file of a uint8 array, written by the format's description."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def contents(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in NAMES:
        count = 7 if name.startswith("train") else 3
        shape, most = ((count, 28, 28), 256) if "images" in name else ((count,), 10)
        arrays[name] = rng.integers(0, most, shape, dtype=np.uint8)
    return arrays


def spelt(name, dotted, zipped):
    return (name.replace("-idx", ".idx") if dotted else name) + (".gz" if zipped else "")


def write(folder, arrays, dotted=False, zipped=False):
    for name, array in arrays.items():
        content = idx(array)
        (folder / spelt(name, dotted, zipped)).write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_is_read_in_every_spelling(tmp_path, dotted, zipped):
    arrays = contents()
    write(tmp_path, arrays, dotted, zipped)
    mnist = load_mnist(str(tmp_path))
    assert mnist.name == "MNIST" and mnist.classes == tuple("0123456789")
    assert mnist.image_shape == (28, 28, 1)
    for part, (images, labels) in zip(("train", "t10k"), mnist, strict=True):
        assert images.dtype == np.uint8 and labels.dtype == np.int64
        assert np.array_equal(images[..., 0], arrays[f"{part}-images-idx3-ubyte"])
        assert np.array_equal(labels, arrays[f"{part}-labels-idx1-ubyte"])


def test_mnist_plain_file_counts_before_the_gzipped_one(tmp_path):
    write(tmp_path, contents(seed=0))
    write(tmp_path, contents(seed=1), zipped=True)
    expected = contents(seed=0)["train-images-idx3-ubyte"]
    assert np.array_equal(load_mnist(tmp_path).train.images[..., 0], expected)


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6)), st.booleans())
def test_idx_round_trip_of_any_image_size(images, zipped):
    labels = np.arange(len(images), dtype=np.uint8)
    both = {name: images if "images" in name else labels for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), both, zipped=zipped)
        mnist = load_mnist(folder)
    for found in mnist:
        assert np.array_equal(found.images[..., 0], images)
        assert np.array_equal(found.labels, labels)


IMAGES = idx(contents()["train-images-idx3-ubyte"])
LABELS = idx(contents()["train-labels-idx1-ubyte"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (NAMES[0], LABELS, "wrong magic number 0x00000801|too few"),
        (NAMES[1], IMAGES, "wrong magic number 0x00000803"),
        (NAMES[0], b"not an image file", "wrong magic number 0x6e6f7420"),
        (NAMES[0], gzip.compress(IMAGES), "wrong magic number 0x1f8b"),
        (NAMES[0], b"", "0 bytes are too few for an IDX header"),
        (NAMES[0], IMAGES[:3], "3 bytes are too few for an IDX header"),
        (NAMES[0], IMAGES[:15], "15 bytes are too few for an IDX header"),
        (NAMES[0], IMAGES[:-1], "5487 bytes of data, .* make 5488: the file is truncated"),
        (NAMES[0], IMAGES + b"x", r"more data, .* \(7, 28, 28\) make 5488: the file is too long"),
        (NAMES[1], LABELS[:-1], "6 bytes of data, .* make 7: the file is truncated"),
        (NAMES[1], LABELS + bytes(1 << 21), "the file is too long"),
        (NAMES[1], idx(np.array([1, 2, 10, 11], np.uint8)), "4 labels for the 7 images"),
        (NAMES[1], idx(np.array([0, 1, 10, 3, 4, 5, 6], np.uint8)), "label 10 at position 2 is not one"),
        (NAMES[1], idx(np.zeros(6, np.uint8)), "6 labels for the 7 images of"),
        (NAMES[0], idx(np.zeros((0, 28, 28), np.uint8)), "the file holds no (images|labels)"),
        (NAMES[1], idx(np.zeros(0, np.uint8)), "the file holds no (images|labels)"),
        (
            NAMES[0],
            idx(np.zeros((7, 28, 27), np.uint8)),
            r"training images are \(28, 27\), test images \(28, 28\)",
        ),
    ],
)
def test_mnist_damaged_file_is_one_clear_line(tmp_path, name, content, message):
    write(tmp_path, contents())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_mnist(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_absurd_header_allocates_nothing(tmp_path, zipped):
    write(tmp_path, contents(), zipped=zipped)
    content = struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 28, 28) + bytes(100)
    path = tmp_path / spelt(NAMES[0], False, zipped)
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=r"100 bytes of data, .* make 3367254359280: the file is truncated"):
        load_mnist(tmp_path)


def zipped_images():
    return bytearray(gzip.compress(IMAGES))


def flipped(content, position):
    content[position] ^= 0xFF
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGES, "not a gzipped file"),
        (b"", "0 bytes are too few for an IDX header"),
        (zipped_images()[:-9], "the gzip data end early"),
        (zipped_images()[:5], "the gzip data end early"),
        (flipped(zipped_images(), -8), "crc check failed"),
        (flipped(zipped_images(), -1), "incorrect length"),
        (flipped(zipped_images(), 10), ".*damaged"),
        (zipped_images() + b"garbage", "not a gzipped file"),
    ],
)
def test_mnist_damaged_gzip_is_one_clear_line(tmp_path, content, message):
    write(tmp_path, contents(), zipped=True)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(content)
    with pytest.raises(DataError, match=f"^.*images-idx3-ubyte.gz: {message}") as caught:
        load_mnist(tmp_path)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mnist_any_flipped_byte_of_a_gzipped_file_is_found_or_harmless(data):
    content = bytearray(gzip.compress(LABELS, mtime=0))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), contents(), zipped=True)
        (Path(folder) / f"{NAMES[1]}.gz").write_bytes(content)
        try:
            found = load_mnist(folder)
        except DataError as error:
            assert "\n" not in str(error)
        else:  # bits that say nothing about the content: the time in gzip's header, padding after the data
            assert np.array_equal(found.train.labels, contents()[NAMES[1]])


def test_mnist_missing_file_says_every_name_looked_for(tmp_path):
    write(tmp_path, contents())
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(DataError) as caught:
        load_mnist(tmp_path)
    for dotted in (False, True):
        for zipped in (False, True):
            assert spelt(NAMES[3], dotted, zipped) in str(caught.value)


def test_mnist_root_must_be_a_folder(tmp_path):
    with pytest.raises(DataError, match="absent is not a folder"):
        load_mnist(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file is not a folder"):
        load_mnist(tmp_path / "file")
    with pytest.raises(TypeError):
        load_mnist(None)
