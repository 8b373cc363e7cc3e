"""Data sets in .npz files, whole, wrong and damaged."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import DataError, load_cifar10, load_mnist, load_npz
from chainrule.data.dataset import every_fifth

Y10 = np.arange(10) % 2


def good(**changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": rng.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8),
        "y_test": np.array([2, 0]),
    }
    arrays.update(changes)
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.fixture
def saved(tmp_path):
    def save(arrays, compress=False):
        path = tmp_path / "mine.npz"
        (np.savez_compressed if compress else np.savez)(path, **arrays)
        return path

    return save


@pytest.mark.parametrize("compress", [False, True])
def test_npz_divided_arrays_come_back(saved, compress):
    arrays = good()
    dataset = load_npz(saved(arrays, compress))
    assert dataset.name == "mine" and dataset.classes == ("0", "1", "2")
    assert np.array_equal(dataset.train.images, arrays["x_train"])
    assert np.array_equal(dataset.train.labels, arrays["y_train"])
    assert np.array_equal(dataset.test.images, arrays["x_test"])
    assert np.array_equal(dataset.test.labels, arrays["y_test"])
    assert dataset.train.images.dtype == np.uint8 and dataset.train.labels.dtype == np.int64


def test_npz_undivided_arrays_are_split_like_the_digits(saved):
    x, y = np.arange(60, dtype=np.uint8).reshape(20, 3), np.arange(20) % 2
    dataset = load_npz(saved({"x": x, "y": y}))
    test = every_fifth(y)
    assert np.array_equal(dataset.test.images, x[test]) and test.sum() == 4
    assert np.array_equal(dataset.train.images, x[~test])
    assert np.array_equal(dataset.train.labels, y[~test])


@pytest.mark.parametrize(("shape", "expected"), [((4, 3), (4, 3, 1)), ((4, 3, 2), (4, 3, 2)), ((7,), (7,))])
def test_npz_gray_images_get_a_channel_and_others_stay(saved, shape, expected):
    x = np.zeros((10, *shape), np.uint8)
    assert load_npz(saved({"x": x, "y": Y10})).image_shape == expected


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "longdouble"])
def test_npz_floating_point_becomes_float32(saved, dtype):
    x = np.asfortranarray(np.linspace(-1, 1, 40).reshape(10, 4).astype(dtype))
    dataset = load_npz(saved({"x": x, "y": Y10}))
    assert dataset.train.images.dtype == np.float32 and dataset.train.images.flags.c_contiguous
    assert np.array_equal(dataset.test.images, x[8:].astype(np.float32))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", ">i4", "u8"])
def test_npz_integer_labels_become_int64(saved, dtype):
    labels = load_npz(saved(good(y_train=np.array([0, 1, 2, 0, 1, 2], dtype)))).train.labels
    assert labels.dtype == np.int64 and labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_npz_classes_name_the_labels(saved):
    names = ("cat", "dog", "é", "unused")
    assert load_npz(saved(good(classes=np.array(names)))).classes == names


def with_value(value):
    x = np.ones((6, 4, 5, 3), np.float32)
    x[3, 0, 0, 0] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (good(y_test=None), "needs x_train, .* it has x_test, x_train, y_train"),
        ({}, "it has nothing"),
        (good(x_train=np.zeros(6, np.uint8)), r"x_train has shape \(6,\)"),
        (good(x_train=np.zeros((6, 1, 1, 1, 1), np.uint8)), "x_train has shape"),
        (good(x_train=np.uint8(3)), r"x_train has shape \(\)"),
        (good(x_train=np.zeros((0, 4, 5, 3), np.uint8)), r"shape \(0, 4, 5, 3\): it is empty"),
        (good(x_test=np.zeros((2, 0, 5, 3), np.uint8)), "x_test has shape .* it is empty"),
        (good(x_train=np.zeros((6, 4, 5, 3), complex)), "x_train holds complex128, not numbers"),
        (good(x_train=np.full((6, 4), "a")), "x_train holds <U1"),
        (good(x_train=np.zeros((6, 4), [("a", "f4")])), "x_train holds"),
        (good(x_train=np.zeros((6, 4), object)), "Object arrays cannot be loaded"),
        (good(y_train=np.zeros(6, object)), "Object arrays cannot be loaded"),
        (good(x_train=with_value(np.nan)), "x_train holds NaN, infinite"),
        (good(x_train=with_value(-np.inf)), "x_train holds NaN, infinite"),
        (good(x_test=np.zeros((2, 4, 4, 3), np.uint8)), r"\(4, 5, 3\), test inputs uint8 \(4, 4, 3\)"),
        (good(x_train=np.zeros((5, 4, 5, 3), np.uint8)), r"y_train has shape \(6,\) for 5 inputs"),
        (good(y_test=np.array([0, 1, 2])), r"y_test has shape \(3,\) for 2 inputs"),
        (good(y_train=np.zeros((6, 1), int)), r"y_train has shape \(6, 1\)"),
        (good(y_train=np.full(6, 0.5)), "y_train holds float64, not whole class numbers"),
        (good(y_train=np.full(6, np.nan)), "y_train holds float64"),
        (good(y_train=np.zeros(6, bool)), "y_train holds bool"),
        (good(y_train=np.zeros(0, int)), r"y_train has shape \(0,\)"),
        (good(y_train=np.array([0, 1, -2, 0, 1, 2])), "label -2 at position 2"),
        (good(classes=np.array(["a", "b"])), "label 2 at position 2 is not one of the 2 classes"),
        (good(y_train=np.zeros(6, int), y_test=np.zeros(2, int)), "only one class"),
        ({"x": np.zeros((8, 2)), "y": np.arange(8) % 2}, "no class has five examples"),
    ],
)
def test_npz_wrong_content_is_one_clear_line(saved, arrays, message):
    path = saved(arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_npz(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def archive_bytes(compress=False):
    content = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(content, **good())
    return content.getvalue()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", archive_bytes()[:-30]])
def test_npz_that_is_no_whole_archive_is_refused(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz: not a whole \.npz file"):
        load_npz(tmp_path / "bad.npz")


def test_npz_that_is_a_single_npy_array_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"not a whole \.npz file"):
        load_npz(tmp_path / "one.npy")


def test_npz_with_a_wrong_checksum_is_refused(tmp_path):
    content = bytearray(archive_bytes())
    content[content.index(good()["x_train"].tobytes()) + 11] ^= 1
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x_train\.npy fails its checksum"):
        load_npz(tmp_path / "bad.npz")


def test_npz_path_must_be_a_file(tmp_path):
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(DataError, match="the file is not there"):
            load_npz(path)
    with pytest.raises(TypeError):
        load_npz(None)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_npz_any_flipped_value_of_an_array_is_found(position, flip):
    content = bytearray(archive_bytes())
    values = good()["x_train"].tobytes()
    content[content.index(values) + position % len(values)] ^= flip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="fails its checksum"):
            load_npz(path)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.999), st.booleans())
def test_npz_cut_short_anywhere_is_a_data_error(share, compress):
    content = archive_bytes(compress)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npz"
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError) as caught:
            load_npz(path)
    assert "\n" not in str(caught.value)


def npy(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(80)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3,",
        "{[]: 1}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3L,)}",
        "{'descr': 3, 'fortran_order': False, 'shape': (3,)}",
        "nonsense",
    ],
)
@pytest.mark.filterwarnings("error")
def test_npz_with_a_header_that_somebody_made_up_is_refused(tmp_path, header):
    path = tmp_path / "made.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x", "y"):
            archive.writestr(f"{name}.npy", npy(header))
    with pytest.raises(DataError, match=r"made\.npz: ") as caught:
        load_npz(path)
    assert "\n" not in str(caught.value)


def test_npz_packed_by_lzma_and_damaged_is_refused(tmp_path):
    path = tmp_path / "packed.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name in ("x", "y"):
            archive.writestr(f"{name}.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10,)}"))
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"packed\.npz: "):
        load_npz(path)


def test_names_that_no_file_can_have_are_data_errors():
    for load in (load_npz, load_mnist, load_cifar10):
        with pytest.raises(DataError, match=r"a{300}"):
            load("a" * 300 + ".npz")


def test_npz_classes_that_are_no_text_are_named_by_what_is(saved):
    data = load_npz(saved(good(classes=np.array(["a\ud800", "b", "c"]))))
    assert data.classes == ("a?", "b", "c")
