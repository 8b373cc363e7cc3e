"""Jobs: the same seed gives the same bits, however often the run was stopped and on however many threads."""

import csv
import zlib

import numpy as np
import pytest

import chainrule as cr
from chainrule.train import (
    Callback,
    CheckpointError,
    Job,
    RunFolder,
    SaveRun,
    SettingsError,
    Trained,
    TrainError,
    TrainSettings,
    read_checkpoint,
)
from chainrule.train.checkpoint import to_bytes
from chainrule.train.config import read_config
from chainrule.train.run_folder import CHECKPOINT, METRICS, REPORT, SETTINGS


def bits(folder):
    """Everything a run learned: the arrays' bytes and the figures of each epoch but its time."""
    checkpoint = read_checkpoint(folder / CHECKPOINT)
    arrays = {
        f"{part}.{name}": (array.dtype.str, array.shape, array.tobytes())
        for part, named in checkpoint.arrays.items()
        for name, array in named.items()
    }
    return arrays, [
        (r.epoch, r.train_loss, r.train_accuracy, r.test_loss, r.test_accuracy) for r in checkpoint.history
    ]


MODELS = {
    "svm": {"model": "svm", "squared_hinge": True, "delta": 0.5, "lr": 0.01},
    "softmax": {"model": "softmax", "l1": 1e-4, "l2": 1e-3, "batch_size": None},
    "mlp": {"model": "mlp", "hidden": (20, 10), "nesterov": True, "batch_size": 50},
}


@pytest.mark.parametrize("model", MODELS)
def test_run_has_every_file_and_they_agree(train, model):
    folder = train(epochs=3, **MODELS[model])
    assert sorted(p.name for p in folder.path.iterdir()) == sorted([CHECKPOINT, METRICS, SETTINGS, REPORT])
    checkpoint = read_checkpoint(folder / CHECKPOINT)
    assert TrainSettings(**read_config(str(folder / SETTINGS))) == checkpoint.settings
    assert (folder / REPORT).read_text() == "report of epoch 3"
    with open(folder / METRICS, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "lr",
        "seconds",
        "images_per_second",
        "peak_mb",
    ]
    for row, record in zip(rows, checkpoint.history, strict=True):
        assert {name: float(value) for name, value in row.items()} == vars(record)  # to the bit
    assert checkpoint.history[-1].train_loss < checkpoint.history[0].train_loss
    trained = Trained.load(RunFolder.open(str(folder.path)))
    assert trained.test(cr.data.load_digits()).accuracy == checkpoint.history[-1].test_accuracy


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_same_bits_and_another_seed_others(train, model):
    one, same = (train(name, epochs=2, seed=7, **MODELS[model]) for name in "ab")
    other = train("c", epochs=2, seed=8, **MODELS[model])
    assert bits(one) == bits(same)
    assert bits(one)[0] != bits(other)[0]


@pytest.mark.parametrize(
    ("model", "normalize"),
    [
        ("svm", "none"),
        ("softmax", "scale"),
        ("mlp", "scale"),
        ("mlp", "standard"),
        ("softmax", "whiten"),
        ("softmax", "gcn+zca"),
    ],
)
def test_resumed_run_has_the_bits_of_one_that_never_stopped(train, model, normalize):
    settings = MODELS[model] | {"normalize": normalize} | ({"lr": 1e-4} if normalize == "none" else {})
    whole = train("whole", epochs=4, **settings)
    for stops in ([1], [2, 3]):
        name = f"parts-{len(stops)}"
        train(name, epochs=stops[0], **settings)
        for threads, epochs in enumerate([*stops[1:], 4], 2):
            cr.set_num_threads(threads)  # the number of threads makes no difference
            part = train(name, resume=True, settings=TrainSettings(epochs=epochs, **settings))
        cr.set_num_threads(1)
        assert bits(part) == bits(whole)
        assert read_checkpoint(part / CHECKPOINT).settings == TrainSettings(epochs=4, **settings)


@pytest.mark.parametrize("model", MODELS)
def test_any_number_of_threads_gives_the_same_bits(train, model):
    runs = []
    for threads in (1, 2, 3):
        cr.set_num_threads(threads)
        runs.append(bits(train(str(threads), epochs=2, **MODELS[model])))
    assert runs[0] == runs[1] == runs[2]


def test_a_run_on_a_file_of_ones_own(train, npz):
    folder = train(data=str(npz), model="softmax", epochs=10)
    checkpoint = read_checkpoint(folder / CHECKPOINT)
    assert checkpoint.history[-1].test_accuracy == 1.0
    assert (checkpoint.classes, checkpoint.image_shape) == (("0", "1", "2"), (4, 4, 1))
    assert checkpoint.value_range == (0.0, 255.0)
    with np.load(npz) as arrays:
        images, labels = arrays["x_train"][..., None], arrays["y_train"].astype(np.int64)
    assert checkpoint.data_checksum == zlib.crc32(labels.tobytes(), zlib.crc32(images.tobytes()))


@pytest.mark.parametrize("value", [0.0, -3.5, 1e30, -1e30, np.float32(3.4e38)])
def test_inputs_that_are_all_alike_can_be_trained_on(train, tmp_path, value):
    path = tmp_path / "flat.npz"
    np.savez(path, x=np.full((20, 3), value, np.float32), y=np.arange(20) % 2)
    checkpoint = read_checkpoint(train(data=str(path), epochs=1, model="softmax") / CHECKPOINT)
    black, white = checkpoint.value_range
    assert black == np.float32(value) and white > black


# What does not fit


def damaged(folder, change):
    """The folder, with a checkpoint that is whole as a file but changed by `change(checkpoint)`."""
    path = folder / CHECKPOINT
    checkpoint = read_checkpoint(path)
    change(checkpoint)
    path.write_bytes(to_bytes(checkpoint))
    return RunFolder.open(str(folder.path))


def without(part, name):
    return lambda c: c.arrays[part].pop(name)


def holding(part, name, array):
    return lambda c: c.arrays[part].__setitem__(name, array)


def state(name, value):
    return lambda c: object.__setattr__(c, name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("model", "linear.weight"), r"missing \['linear.weight'\]"),
        (holding("model", "more", np.zeros(3)), r"not known \['more'\]"),
        (holding("model", "linear.bias", np.zeros(10)), "linear.bias is float64"),
        (holding("model", "linear.bias", np.zeros(9, np.float32)), r"linear.bias is float32 \(9,\)"),
        (holding("average", "linear.weight", np.zeros((64, 10), np.float32)), "averages of weights"),
        (without("normaliser", "offset"), r"scale lacks \['offset'\]"),
        (holding("normaliser", "factor", np.array(np.nan)), "scale factor"),
        (holding("normaliser", "input_shape", np.array([8, 8, 2])), "its normaliser is for inputs"),
        (state("normaliser", "magic"), "kind 'magic' is not known"),
        (state("image_shape", (4, 16, 1)), "its normaliser is for inputs"),
        (state("classes", ("a", "b")), "linear.weight"),
    ],
)
def test_checkpoint_of_another_model_is_one_line(train, change, message):
    folder = damaged(train(epochs=1, model="softmax"), change)
    with pytest.raises(CheckpointError, match=message) as caught:
        Trained.load(folder)
    assert str(caught.value).startswith(f"{folder / CHECKPOINT}: damaged: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        without("optimizer", "velocity.0"),
        without("schedule", "count"),
        without("optimizer", "lr"),
        holding("optimizer", "velocity.0", np.zeros((3, 3), np.float32)),
        holding("optimizer", "velocity.9", np.zeros(3, np.float32)),
        holding("optimizer", "lr", np.zeros(3)),
    ],
)
def test_optimizer_state_that_does_not_fit_is_one_line(train, change):
    folder = damaged(train(epochs=1, model="softmax"), change)
    with pytest.raises(CheckpointError, match=r"^checkpoint.safetensors: damaged: ") as caught:
        Job.resumed(Trained.load(folder), TrainSettings(model="softmax", epochs=2))
    assert "\n" not in str(caught.value)


def test_resume_wants_epochs_that_are_left(train):
    trained = Trained.load(train(epochs=2, model="softmax"))
    for epochs in (1, 2):
        with pytest.raises(SettingsError, match=rf"^epochs: {epochs} are asked for and the run has 2"):
            Job.resumed(trained, TrainSettings(model="softmax", epochs=epochs))


def test_resume_wants_the_data_that_the_run_began_with(train, npz, tmp_path):
    settings = {"data": str(npz), "model": "softmax"}
    folder = train(epochs=1, **settings)
    trained = Trained.load(folder)
    with np.load(npz) as file:
        arrays = dict(file)
    moved = tmp_path / "moved.npz"
    np.savez_compressed(moved, **arrays)
    Job.resumed(trained, TrainSettings(epochs=2, data=str(moved), model="softmax"))
    arrays["x_train"][3, 1, 1] ^= 1
    np.savez(npz, **arrays)
    with pytest.raises(
        SettingsError, match=r"^data: the training set is not the one that the run began with"
    ):
        Job.resumed(trained, TrainSettings(epochs=2, **settings))
    np.savez(npz, x=np.zeros((20, 5, 5), np.uint8), y=np.arange(20) % 3)
    with pytest.raises(
        TrainError, match=r"^data: inputs of rows have shape \(5, 5, 1\), the run was trained on"
    ):
        Job.resumed(trained, TrainSettings(epochs=2, **settings))
    np.savez(npz, x=np.zeros((40, 4, 4), np.uint8), y=np.arange(40) % 5)
    with pytest.raises(TrainError, match=r"^data: rows has 5 classes, the run knows 3"):
        Job.resumed(trained, TrainSettings(epochs=2, **settings))


def test_a_range_too_small_to_scale_is_one_line(tmp_path):
    path = tmp_path / "tiny.npz"
    x = np.zeros((20, 3), np.float32)
    x[0] = 1e-45  # the least float32: its reciprocal is finite in float64, and so this can be trained on
    np.savez(path, x=x, y=np.arange(20) % 2)
    assert Job.new(TrainSettings(data=str(path), model="softmax")).value_range[1] > 0


# When a run's state is written


@pytest.mark.parametrize(("seconds", "written"), [(0.0, [1, 2, 3, 4]), (1e9, [1, 1, 1, 1])])
def test_short_epochs_are_written_at_most_so_often_and_the_last_always(tmp_path, seconds, written):
    folder = RunFolder.named(str(tmp_path / "run"))
    job = Job.new(TrainSettings(model="softmax", epochs=4))
    save = SaveRun(job, folder, lambda checkpoint: f"report of epoch {checkpoint.epoch}", seconds)
    found = []

    class Look(Callback):
        def epoch_end(self, record):
            lines = (folder / METRICS).read_text().splitlines()
            found.append(read_checkpoint(folder / CHECKPOINT).epoch)
            assert len(lines) == found[-1] + 1

    job.run([save, Look()])
    assert found == written
    assert (folder / REPORT).read_text() == "report of epoch 1"
    checkpoint = save.finish()
    assert checkpoint.epoch == read_checkpoint(folder / CHECKPOINT).epoch == 4
    assert len((folder / METRICS).read_text().splitlines()) == 5
    assert (folder / REPORT).read_text() == "report of epoch 4"
    folder.release()
