"""Checkpoints: what is written is read to the bit, and what is damaged is refused in one line."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.train import Checkpoint, CheckpointError, EpochRecord, TrainSettings, read_checkpoint
from chainrule.train.checkpoint import CHECKSUM, KEY, checksum, to_bytes
from chainrule.train.fit import Progress

RECORD = EpochRecord(1, 0.1 + 0.2, 0.5, 1 / 3, 0.25, 0.05, 0.125, 1e4 / 3, 81.5)


def sample():
    rng = np.random.default_rng(0)
    return Checkpoint(
        settings=TrainSettings(model="softmax", lr=1 / 3),
        history=(RECORD, replace(RECORD, epoch=2)),
        progress=Progress(3, 2, 64, 40, 1.5, 0.25),
        step=9,
        generator=np.random.default_rng(3).bit_generator.state,
        classes=("zero", "één", "two\n"),
        image_shape=(2, 3, 1),
        value_range=(0.0, 16.0),
        normaliser="scale",
        data_checksum=2**32 - 1,
        arrays={
            "model": {
                "linear.weight": rng.normal(size=(6, 3)).astype(np.float32),
                "linear.bias": np.zeros(3),
            },
            "optimizer": {"lr": np.array(0.05), "velocity.0": rng.normal(size=(6, 3)).astype(np.float32).T},
            "schedule": {"count": np.array(9), "best": np.array(np.inf)},
            "average": {"linear.bias": np.ones(3)},
            "early_stopping": {},
            "normaliser": {"offset": np.array(0.0), "deviation": np.array([1.0, np.inf])},
        },
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(to_bytes(sample()))
    return path


def test_checkpoint_comes_back_to_the_bit(path):
    read, expected = read_checkpoint(path), sample()
    for part, arrays in expected.arrays.items():
        assert read.arrays[part].keys() == arrays.keys()
        for name, array in arrays.items():
            found = read.arrays[part][name]
            assert found.dtype == array.dtype and found.shape == array.shape
            assert found.tobytes() == np.ascontiguousarray(array).tobytes()
    assert replace(read, arrays={}) == replace(expected, arrays={})
    assert read.epoch == 2


def test_checkpoint_of_the_same_state_is_the_same_file():
    assert to_bytes(sample()) == to_bytes(sample())


def test_checkpoint_is_plain_safetensors_with_json_and_no_pickle(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    state = json.loads(header["__metadata__"][KEY])
    assert state["settings"]["model"] == "softmax" and state["format"] == 3
    assert {name for name in header if name != "__metadata__"} == {
        "model.linear.weight",
        "model.linear.bias",
        "optimizer.lr",
        "optimizer.velocity.0",
        "schedule.count",
        "schedule.best",
        "average.linear.bias",
        "normaliser.offset",
        "normaliser.deviation",
    }
    assert b"pickle" not in content and not content.startswith(b"\x80")


@settings(deadline=None)
@given(st.data())
def test_checkpoint_cut_short_anywhere_is_refused(tmp_path_factory, data):
    content = to_bytes(sample())
    path = tmp_path_factory.mktemp("cut") / "c"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(CheckpointError, match=f"^{path}: damaged, or no safetensors file") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_checkpoint_with_any_flipped_byte_is_refused_or_harmless(tmp_path_factory, data):
    content = bytearray(to_bytes(sample()))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flip") / "c"
    path.write_bytes(content)
    try:
        read = read_checkpoint(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:  # white space between the header's entries
        assert to_bytes(read) == to_bytes(sample())


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04" + bytes(100), bytes(8), b"\xff" * 64, b"\x80\x04\x95" + bytes(50)],
)
def test_checkpoint_that_is_another_file_is_refused(tmp_path, content):
    path = tmp_path / "c"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{path}: (damaged|a safetensors file)"):
        read_checkpoint(path)


def test_checkpoint_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent: cannot be read"):
        read_checkpoint(tmp_path / "absent")
    with pytest.raises(CheckpointError, match=f"^{tmp_path}: "):
        read_checkpoint(tmp_path)


def test_checkpoint_of_another_program_is_told_apart(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(safetensors.numpy.save({"w": np.zeros(3, np.float32)}))
    with pytest.raises(CheckpointError, match="a safetensors file, but no checkpoint of chainrule"):
        read_checkpoint(path)


def write_state(path, change, tensors=None):
    """A checkpoint with a right checksum whose state was changed: what a wrong program could write."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    state = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
    arrays = safetensors.numpy.load(content) if tensors is None else tensors
    if not isinstance(change, str):
        del state[CHECKSUM]
        state = change(state)
        change = json.dumps(state | {CHECKSUM: checksum(state, arrays)})
    path.write_bytes(safetensors.numpy.save(arrays, {KEY: change}))


def with_entry(name, value):
    return lambda state: state | {name: value}


def with_record(**values):
    return lambda state: state | {"history": [state["history"][0] | values, state["history"][1]]}


def with_progress(**values):
    return lambda state: state | {"progress": state["progress"] | values}


def with_generator(**values):
    return lambda state: state | {"generator": state["generator"] | values}


def with_setting(name, value):
    return lambda state: state | {"settings": state["settings"] | {name: value}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no JSON", "damaged: Expecting value"),
        ("[" * 100_000, "damaged: its state is nested too deeply"),
        ("[]", "its state is no JSON object"),
        ("{}", "its format is None, this version of chainrule reads 3"),
        (with_entry("format", 1), "its format is 1"),
        (with_entry("settings", 3), "settings: missing, or not of type dict"),
        (with_setting("lr", -1), r"lr: -1\.0 is not above 0"),
        (with_setting("lr", "x"), "settings: lr: 'x' is no number"),
        (with_setting("speed", 1), "settings: unknown name 'speed'"),
        (with_setting("out", "x"), "out"),
        (with_entry("history", {}), "history: missing, or not of type list"),
        (with_entry("history", []), "progress: it holds wrong values"),
        (lambda state: state | {"history": [], "progress": None}, "history: no epoch is done"),
        (with_entry("progress", 3), "progress: it has not the entries"),
        (with_progress(more=1), "progress: it has not the entries"),
        (with_progress(epoch=2), "progress: it holds wrong values"),
        (with_progress(batch=0), "progress: it holds wrong values"),
        (with_progress(batch=1.0), "progress: it holds wrong values"),
        (with_progress(seen=-1), "progress: it holds wrong values"),
        (with_progress(loss_sum=float("nan")), "progress: it holds wrong values"),
        (with_progress(complete=False), "progress: it holds wrong values"),
        (with_entry("step", 1.5), "step: missing, or not of type int"),
        (with_entry("generator", None), "generator: missing, or not of type dict"),
        (with_entry("generator", {}), "generator: no state of a PCG64 generator"),
        (with_generator(bit_generator="MT19937"), "generator: no state of a PCG64 generator"),
        (with_generator(state={"state": "x", "inc": 1}), "generator: no state of a PCG64"),
        (with_generator(state={"state": -1, "inc": 1}), "generator: no state of a PCG64"),
        (with_generator(state={"state": 1 << 128, "inc": 1}), "generator: no state of a PCG64"),
        (with_entry("history", [1]), "history: epoch 1 has not the entries"),
        (with_record(epoch=3), "history: epoch 1 holds wrong values"),
        (with_record(train_loss=None), "history: epoch 1 holds wrong values"),
        (with_record(train_loss=float("nan")), "history: epoch 1 holds wrong values"),
        (with_record(seconds=10**400), "history: epoch 1 holds wrong values"),
        (with_record(more=1), "history: epoch 1 has not the entries"),
        (with_entry("classes", []), "classes: not a list of names"),
        (with_entry("classes", [1, 2]), "classes: not a list of names"),
        (with_entry("image_shape", [0, 2, 1]), r"image_shape: \[0, 2, 1\] is not"),
        (with_entry("image_shape", [2, 3]), r"image_shape: \[2, 3\] is not"),
        (with_entry("image_shape", [2.0]), "image_shape"),
        (with_entry("value_range", [1, 1]), r"value_range: \[1, 1\] is not two numbers in order"),
        (with_entry("value_range", [0, float("inf")]), "value_range"),
        (with_entry("value_range", [0, 10**400]), "value_range"),
        (with_entry("normaliser", 1), "normaliser: missing, or not of type str"),
        (with_entry("data_checksum", True), "data_checksum: missing, or not of type int"),
    ],
)
def test_checkpoint_whose_state_makes_no_sense_is_refused(path, change, message):
    write_state(path, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_checkpoint_whose_state_and_arrays_do_not_belong_together_is_refused(path):
    arrays = safetensors.numpy.load(path.read_bytes())
    with safetensors.safe_open(path, framework="numpy") as file:
        text = file.metadata()[KEY]
    arrays["model.linear.bias"][1] = 1e-3
    path.write_bytes(safetensors.numpy.save(arrays, {KEY: text}))
    with pytest.raises(CheckpointError, match=f"^{path}: damaged: its checksum fails"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"model.w": np.array([1, np.nan], np.float32)}, "array 'model.w' holds values that are not finite"),
        ({"optimizer.v": np.array([np.inf])}, "array 'optimizer.v' holds values that are not finite"),
        ({"average.w": np.array([np.nan])}, "array 'average.w' holds values that are not finite"),
        ({"w": np.zeros(2)}, "array 'w' belongs to none of model, optimizer, schedule"),
        ({"model.": np.zeros(2)}, "array 'model.' belongs to none"),
    ],
)
def test_checkpoint_with_wrong_arrays_is_refused(path, tensors, message):
    write_state(path, lambda state: state, tensors)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)
