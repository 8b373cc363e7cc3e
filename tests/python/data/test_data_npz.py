"""Data sets in .npz files, whole, wrong and damaged."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import DataError, load_npz
from chainrule.data.dataset import stratified_test_mask


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


def undivided(x, y, **more):
    return {"x": x, "y": y, **more}


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
    dataset = load_npz(saved(undivided(x, y)))
    test = stratified_test_mask(y)
    assert np.array_equal(dataset.test.images, x[test]) and len(x[test]) == 4
    assert np.array_equal(dataset.train.images, x[~test])
    assert np.array_equal(dataset.train.labels, y[~test])


def test_npz_gray_images_get_a_channel_and_vectors_stay(saved):
    y = np.zeros(5, int)
    assert load_npz(saved(undivided(np.zeros((5, 4, 3), np.uint8), y))).image_shape == (4, 3, 1)
    assert load_npz(saved(undivided(np.zeros((5, 7), np.uint8), y))).image_shape == (7,)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "longdouble"])
def test_npz_floating_point_becomes_float32(saved, dtype):
    x = np.linspace(-1, 1, 20).reshape(5, 4).astype(dtype)
    dataset = load_npz(saved(undivided(np.asfortranarray(x), np.zeros(5, int))))
    assert dataset.train.images.dtype == np.float32 and dataset.train.images.flags.c_contiguous
    assert np.array_equal(dataset.test.images, x[2:3].astype(np.float32))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", ">i4", "u8"])
def test_npz_integer_labels_become_int64(saved, dtype):
    labels = load_npz(saved(good(y_train=np.array([0, 1, 2, 0, 1, 2], dtype)))).train.labels
    assert labels.dtype == np.int64 and labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("classes", [["cat", "dog", "é", "unused"], [b"a", b"b", b"c"]])
def test_npz_classes_name_the_labels(saved, classes):
    expected = tuple(name if isinstance(name, str) else name.decode() for name in classes)
    assert load_npz(saved(good(classes=np.array(classes)))).classes == expected


def test_npz_other_arrays_are_ignored_even_objects(saved):
    dataset = load_npz(saved(good(notes=np.array([{"a": 1}], object))))
    assert dataset.num_classes == 3


FLOATS = np.ones((6, 4, 5, 3), np.float32)


def with_value(value, dtype=np.float32):
    x = FLOATS.astype(dtype)
    x[3, 0, 0, 0] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (good(y_test=None), "holds x_test, x_train, y_train: it must hold either x_train"),
        ({"a": np.ones(2), "b\n": np.ones(2)}, r"holds 'b\\n', a: needs x_train"),
        ({}, "holds no arrays"),
        (good(x=np.zeros((5, 2)), y=np.zeros(5, int)), "holds both"),
        (good(x_train=np.zeros(6, np.uint8)), r"x_train has shape \(6,\)"),
        (good(x_train=np.zeros((6, 1, 1, 1, 1), np.uint8)), "x_train has shape"),
        (good(x_train=np.uint8(3)), r"x_train has shape \(\)"),
        (good(x_train=np.zeros((0, 4, 5, 3), np.uint8)), "x_train is empty"),
        (good(x_test=np.zeros((2, 0, 5, 3), np.uint8)), "x_test is empty"),
        (good(x_train=np.zeros((6, 4, 5, 3), np.int64)), "x_train holds int64"),
        (good(x_train=np.zeros((6, 4, 5, 3), complex)), "x_train holds complex128"),
        (good(x_train=np.zeros((6, 4, 5, 3), bool)), "x_train holds bool"),
        (good(x_train=np.full((6, 4), "a")), "x_train holds <U1"),
        (good(x_train=np.zeros((6, 4), [("a", "f4")])), "x_train holds"),
        (good(x_train=np.zeros((6, 4), object)), "x_train holds Python objects"),
        (good(y_train=np.zeros(6, object)), "y_train holds Python objects"),
        (good(x_train=with_value(np.nan)), "x_train holds values that are not finite"),
        (good(x_train=with_value(-np.inf)), "x_train holds values that are not finite"),
        (good(x_train=with_value(1e200, np.float64)), "not finite in float32"),
        (good(x_train=FLOATS), "x_train holds float32 inputs .* x_test uint8"),
        (good(x_test=np.zeros((2, 4, 4, 3), np.uint8)), r"\(4, 5, 3\), x_test uint8 of \(4, 4, 3"),
        (good(x_train=np.zeros((5, 4, 5, 3), np.uint8)), "x_train has 5 rows, y_train has 6"),
        (good(y_test=np.array([0, 1, 2])), "x_test has 2 rows, y_test has 3"),
        (good(y_train=np.zeros((6, 1), int)), r"y_train has shape \(6, 1\)"),
        (good(y_train=np.zeros(6)), "y_train holds float64, not integers"),
        (good(y_train=np.zeros(6, bool)), "y_train holds bool, not integers"),
        (good(y_train=np.zeros(0, int)), "y_train is empty"),
        (good(y_train=np.array([0, 1, -2, 0, 1, 2])), "y_train holds the label -2"),
        (good(y_test=np.array([0, 2**64 - 1], np.uint64)), "beyond int64"),
        (good(y_test=np.array([0, 65536])), "label 65536 without `classes`"),
        (good(y_test=np.array([0, 2**62])), "without `classes`"),
        (good(classes=np.array(["a", "b"])), "label 2, but classes names 2"),
        (good(classes=np.array([1, 2, 3])), "classes is int64"),
        (good(classes=np.array("abc")), r"classes is <U3 \(\)"),
        (good(classes=np.array(["a", "b", "a"])), "classes holds a name that is empty, repeated"),
        (good(classes=np.array(["a", "b", ""])), "classes holds a name that is empty"),
        (good(classes=np.array(["a", "b", "c\nd"])), "not printable"),
        (good(classes=np.array([b"a", b"b", b"\xff"])), "not text"),
        (undivided(np.zeros((4, 2)), np.array([0, 1, 0, 1])), "too few examples"),
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
def test_npz_that_is_no_whole_zip_archive_is_refused(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad.npz: not an \.npz file, or damaged"):
        load_npz(path)


def test_npz_that_is_a_single_npy_array_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="not an .npz file"):
        load_npz(tmp_path / "one.npy")


def test_npz_with_a_wrong_checksum_is_refused(tmp_path):
    content = bytearray(archive_bytes())
    value = content.index(good()["x_train"].tobytes())
    content[value + 11] ^= 1
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match="damaged .Bad CRC-32 for file 'x_train.npy'"):
        load_npz(tmp_path / "bad.npz")


def header(text, version=b"\x01\x00"):
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode("latin1")


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"no array",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 9), }\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }\n") + bytes(8),
        header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {10**30}), }}\n"),
        header("{'descr': '<U0', 'fortran_order': False, 'shape': (999999999,), }\n"),
        header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1, 2), }\n") + bytes(8),
        header("__import__('os').abort()\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", b"\x09\x00"),
    ],
)
def test_npz_member_with_an_impossible_header_is_refused_before_allocating(tmp_path, member):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", member)
    with pytest.raises(DataError, match="x_train is") as caught:
        load_npz(path)
    assert "\n" not in str(caught.value)


def test_npz_compressed_by_another_method_is_refused(tmp_path):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", bytes(10))
    with pytest.raises(DataError, match="x is compressed by a method that NumPy does not write"):
        load_npz(path)


def test_npz_path_must_be_a_file(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz: no such file"):
        load_npz(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="not a file"):
        load_npz(tmp_path)
    with pytest.raises(TypeError):
        load_npz(None)


# NumPy warns when it mends a header that Python 2 could have written.
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@settings(max_examples=200, deadline=None)
@given(st.data(), st.booleans())
def test_npz_any_damage_is_a_data_error_or_harmless(data, compress):
    content = bytearray(archive_bytes(compress))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npz"
        path.write_bytes(content)
        try:
            dataset = load_npz(path)
        except DataError as error:
            assert "\n" not in str(error)
        else:
            assert np.array_equal(dataset.train.images, good()["x_train"])
            assert np.array_equal(dataset.test.labels, good()["y_test"])
