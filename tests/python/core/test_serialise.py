"""`cr.save` and `cr.load`: what comes back, and every way that a file can be hostile or damaged."""

import errno
import json
import os
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr

dtypes = st.sampled_from(
    ["bool", "int8", "int16", "int64", "uint8", "uint64", "float16", "float32", "float64"]
)
states = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name != "__metadata__"),
    dtypes.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))),
    max_size=4,
)


@settings(deadline=None)
@given(states)
def test_what_is_saved_comes_back_to_the_bit(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("save") / "state.safetensors"
    cr.save(state, path)
    found = cr.load(str(path))
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes() and found[name].flags.writeable
    assert safetensors.numpy.load(path.read_bytes()).keys() == state.keys()


def test_state_of_a_model_an_optimizer_and_a_schedule_come_back(tmp_path):
    def setup():
        model = cr.nn.Sequential(cr.nn.Linear(3, 4), cr.nn.BatchNorm2d(4))
        optimizer = cr.optim.Adam(model.parameters())
        return model, optimizer, cr.optim.StepLR(optimizer, 2)

    parts, again = setup(), setup()
    model, optimizer, schedule = parts
    for _ in range(3):
        optimizer.zero_grad()
        (model(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)) ** 2.0).sum().backward()
        optimizer.step()
        schedule.step()
    for i, (part, other) in enumerate(zip(parts, again, strict=True)):
        cr.save(part.state_dict(), tmp_path / f"{i}.safetensors")
        other.load_state_dict(cr.load(tmp_path / f"{i}.safetensors"))
        for name, value in part.state_dict().items():
            assert np.array_equal(value, other.state_dict()[name])


def test_tensors_numbers_and_arrays_in_any_order_are_saved_as_they_are(tmp_path):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    cr.save({"t": cr.tensor(x), "n": 0.5, "i": 3, "f": x.T, "v": x[::-1, ::2]}, tmp_path / "s")
    found = cr.load(tmp_path / "s")
    assert found["t"].dtype == np.float32 and found["n"].dtype == np.float64 and found["i"] == 3
    for name, array in (("t", x), ("f", x.T), ("v", x[::-1, ::2])):
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "save: state is a list: give arrays by name, as state_dict"),
        ({1: np.zeros(2)}, "save: 1 is no name for an array: give another text"),
        ({"__metadata__": np.zeros(2)}, "save: '__metadata__' is no name for an array"),
        ({"a": {"b": 1}}, "save: 'a' is a dict of object: give an array of numbers"),
        ({"a": "text"}, "save: 'a' is a str of <U4: give an array of numbers"),
        ({"a": np.zeros(2, complex)}, "save: 'a' is a ndarray of complex128"),
        ({"a": np.array([{}, None])}, "save: 'a' is a ndarray of object"),
    ],
)
def test_what_is_no_state_is_refused_and_the_old_file_kept(tmp_path, state, message):
    path = tmp_path / "s"
    cr.save({"w": np.ones(3)}, path)
    with pytest.raises(TypeError, match=message):
        cr.save(state, path)
    assert list(cr.load(path)) == ["w"] and os.listdir(tmp_path) == ["s"]


def test_files_that_cannot_be_written_or_read_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent/s"):
        cr.save({}, tmp_path / "absent" / "s")
    with pytest.raises(FileNotFoundError):
        cr.load(tmp_path / "absent")
    with pytest.raises(OSError):
        cr.load(tmp_path)


def test_without_its_package_the_error_says_what_to_install(monkeypatch, tmp_path):
    cr.save({}, tmp_path / "s")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for call in (lambda: cr.save({}, tmp_path / "s"), lambda: cr.load(tmp_path / "s")):
        with pytest.raises(ModuleNotFoundError, match="safetensors is missing: pip install safetensors"):
            call()


# ---- Hostile and damaged files -----------------------------------------------------------------------------


def file(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return json.dumps({"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)} | more)


A = entry()
HOSTILE = {
    "nothing": b"",
    "no header": bytes(4),
    "a pickle": b"\x80\x04\x95" + bytes(60),
    "a zip": b"PK\x03\x04" + bytes(60),
    "a header longer than the file": file("{}", length=10**6),
    "a header longer than memory": file("{}", length=2**63 + 5),
    "a header of over 100 MB": file("{}", length=10**9),
    "a header that is no JSON": file("{'a': 1}"),
    "a header that is no object": file("[]"),
    "a header that is no UTF-8": file(b'{"\xff": 1}'),
    "a header nested deeply": file("[" * 100_000),
    "an entry nested deeply": file('{"a": ' + "[" * 100_000),
    "the same name twice": file(f'{{"a": {A}, "a": {A}}}', bytes(8)),
    "the same name twice, with other places": file(
        f'{{"a": {entry(shape=[1], offsets=[0, 4])}, "b": {entry(shape=[1], offsets=[4, 8])}, "a": {A}}}', bytes(8)
    ),
    "the same name twice by an escape": file(f'{{"a": {A}, "\\u0061": {A}}}', bytes(8)),
    "the same entry twice": file(f'{{"a": {A[:-1]}, "dtype": "F32"}}}}', bytes(8)),
    "the same metadata twice": file(f'{{"__metadata__": {{"x": "1", "x": "2"}}, "a": {A}}}', bytes(8)),
    "two metadata": file(f'{{"__metadata__": {{}}, "__metadata__": {{}}, "a": {A}}}', bytes(8)),
    "overlapping offsets": file(f'{{"a": {A}, "b": {entry(offsets=[4, 12])}}}', bytes(12)),
    "equal offsets": file(f'{{"a": {A}, "b": {A}}}', bytes(8)),
    "offsets beyond the file": file(f'{{"a": {entry(offsets=[8, 16])}}}', bytes(8)),
    "huge offsets": file(f'{{"a": {entry(offsets=[2**63, 2**63 + 8])}}}', bytes(8)),
    "offsets beyond 64 bits": file(f'{{"a": {entry(offsets=[2**64, 2**64 + 8])}}}', bytes(8)),
    "offsets in the wrong order": file(f'{{"a": {entry(offsets=[8, 0])}}}', bytes(8)),
    "negative offsets": file(f'{{"a": {entry(offsets=[-8, 0])}}}', bytes(8)),
    "a hole between arrays": file(f'{{"a": {A}, "b": {entry(offsets=[12, 20])}}}', bytes(20)),
    "a hole before them": file(f'{{"a": {entry(offsets=[4, 12])}}}', bytes(12)),
    "bytes after them": file(f'{{"a": {A}}}', bytes(9)),
    "too few bytes": file(f'{{"a": {A}}}', bytes(7)),
    "bytes without arrays": file("{}", bytes(8)),
    "a shape for other bytes": file(f'{{"a": {entry(shape=[3])}}}', bytes(8)),
    "a shape that overflows": file(f'{{"a": {entry(shape=[2**62, 4], offsets=[0, 0])}}}'),
    "a shape that overflows to the right size": file(f'{{"a": {entry(shape=[2**62 + 2])}}}', bytes(8)),
    "a negative shape": file(f'{{"a": {entry(shape=[-2])}}}', bytes(8)),
    "a shape of fractions": file(f'{{"a": {entry(shape=[2.0])}}}', bytes(8)),
    "a dtype for other bytes": file(f'{{"a": {entry("F64")}}}', bytes(8)),
    "a dtype that is none": file(f'{{"a": {entry("Q9")}}}', bytes(8)),
    "a dtype that is no text": file('{"a": {"dtype": 3, "shape": [2], "data_offsets": [0, 8]}}', bytes(8)),
    "a dtype that NumPy lacks": file(f'{{"a": {entry("BF16", offsets=[0, 4])}}}', bytes(4)),
    "truths that are neither": file(f'{{"a": {entry("BOOL", offsets=[0, 2])}}}', b"\x01\x07"),
    "an entry without a shape": file('{"a": {"dtype": "F32", "data_offsets": [0, 8]}}', bytes(8)),
    "metadata that is no text": file(f'{{"__metadata__": {{"x": 1}}, "a": {A}}}', bytes(8)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_clear_line(tmp_path, name):
    path = tmp_path / "s"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match=f"^load: {path}: damaged") as caught:
        cr.load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_names_are_compared_in_a_time_that_grows_as_their_number(tmp_path):
    # Compared pair by pair, they would take minutes.
    empty = entry(shape=[0], offsets=[0, 0])
    names = [*range(150_000), 149_999]
    (tmp_path / "s").write_bytes(file("{" + ", ".join(f'"{name}": {empty}' for name in names) + "}"))
    started = time.perf_counter()
    with pytest.raises(ValueError, match="damaged: its header has '149999' twice"):
        cr.load(tmp_path / "s")
    assert time.perf_counter() - started < 30


def test_the_file_that_the_hostile_ones_vary_is_fine(tmp_path):
    (tmp_path / "s").write_bytes(file(f'{{"a": {A}}}', np.array([1, 2], np.float32).tobytes()))
    assert cr.load(tmp_path / "s")["a"].tolist() == [1.0, 2.0]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_damage_is_refused_or_gives_arrays(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "s"
    cr.save({"a": np.arange(5), "b": np.ones((2, 3), bool)}, path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = cr.load(path)
    except ValueError as error:
        assert str(error).startswith(f"load: {path}: damaged")
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_give_arrays(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "s"
    path.write_bytes(content)
    try:
        cr.load(path)
    except ValueError as error:
        assert str(error).startswith(f"load: {path}: damaged")


# ---- Writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_keeps_the_old_file_and_names_it(tmp_path, monkeypatch, call):
    path = tmp_path / "s"
    cr.save({"old": np.ones(3)}, path)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        cr.save({"new": np.ones(3)}, path)
    monkeypatch.undo()
    assert list(cr.load(path)) == ["old"] and os.listdir(tmp_path) == ["s"]


def test_a_file_that_may_not_grow_keeps_its_old_content(tmp_path):
    path = tmp_path / "s"
    cr.save({"old": np.ones(3)}, path)
    code = (
        "import sys, resource, numpy as np, chainrule as cr\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "cr.save({'new': np.ones(10_000)}, sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert (
        done.returncode == 1
        and done.stderr.splitlines()[-1] == f"OSError: [Errno 27] File too large: '{path}'"
    )
    assert list(cr.load(path)) == ["old"] and os.listdir(tmp_path) == ["s"]
