"""A run that stops in the middle of an epoch goes on, on other threads, to the bits of one that never stopped."""

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
    TrainSettings,
    read_checkpoint,
)
from chainrule.train.run_folder import CHECKPOINT, METRICS, REPORT


class Stopped(Exception):
    pass


class StopAfter(Callback):
    """Stops a run after some batches, as a kill would: whatever is not written is lost."""

    def __init__(self, batches):
        self.left = batches

    def batch_end(self, progress):
        self.left -= 1
        if self.left == 0:
            raise Stopped


@pytest.fixture
def images(tmp_path):
    """50 training and 20 test images of 4 x 4 in three classes."""
    rng = np.random.default_rng(0)
    y = np.arange(70) % 3
    x = rng.integers(0, 60, (70, 4, 4), dtype=np.uint8)
    x[np.arange(70), y] += 150
    path = tmp_path / "images.npz"
    np.savez(path, x_train=x[:50], y_train=y[:50], x_test=x[50:], y_test=y[50:])
    return str(path)


def learned(folder):
    checkpoint = read_checkpoint(folder / CHECKPOINT)
    arrays = {
        f"{part}.{name}": (array.dtype.str, array.shape, array.tobytes())
        for part, named in checkpoint.arrays.items()
        for name, array in named.items()
    }
    history = [
        (r.epoch, r.train_loss, r.train_accuracy, r.test_loss, r.test_accuracy, r.lr)
        for r in checkpoint.history
    ]
    return arrays, history, checkpoint.generator, checkpoint.step, checkpoint.progress


def run(folder, job, stops=None, every=(1, "steps")):
    save = SaveRun(job, folder, lambda checkpoint: f"report of epoch {checkpoint.epoch}", every=every)
    try:
        job.run([save, *([] if stops is None else [StopAfter(stops)])])
    except Stopped:
        return
    save.finish()


# Dropout, batch norm's statistics, augmentation, momentum, schedules and averages: each run has a state of its own.
RUNS = {
    "all of it": dict(
        model="nin", batch_norm=True, dropout=0.3, momentum=0.8, nesterov=True, weight_decay=1e-3, ema=0.9,
        schedule="one-cycle", flip="random", translate=2, cutout=2, label_smoothing=0.1, clip=1.0, l2=1e-4,
    ),
    "adam and lookahead": dict(
        model="nin", batch_norm=True, classifier="fully-connected", classifier_dropout=0.5, optimizer="adam",
        lookahead=3, schedule="cosine", warmup=1.0, flip="alternate", normalize="channel",
    ),
    "accumulation": dict(model="nin", accumulate=2, schedule="linear", ema=0.5, lr=0.02, bias_lr=2.0),
    "plateau": dict(
        model="mlp", optimizer="rmsprop", momentum=0.5, schedule="plateau", patience=0, early_stop=9, warmup=1.0,
        normalize="standard", translate=1,
    ),
    "steps": dict(model="two-layer", optimizer="adagrad", schedule="multi-step", milestones=(1, 2)),
    "bfloat16": dict(
        model="nin", batch_norm=True, dropout=0.3, schedule="one-cycle", precision="bfloat16", translate=1,
        label_smoothing=0.1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("stops", [(7, 2), (4, 7, 8)], ids=str)
def test_stopped_in_mid_epoch_it_ends_with_the_bits_of_one_that_was_not(tmp_path, images, name, stops):
    settings = TrainSettings(data=images, epochs=3, batch_size=8, seed=5, **RUNS[name])
    whole, part = (RunFolder.named(str(tmp_path / which)) for which in ("whole", "part"))
    run(whole, Job.new(settings), every=None)
    run(part, Job.new(settings), stops[0])
    for threads, more in enumerate([*stops[1:], None], 2):
        cr.set_num_threads(threads)
        cr.manual_seed(999)  # what else the process drew does not matter
        folder = RunFolder.open(str(part.path))
        trained = Trained.load(folder)
        if threads == 2:
            progress = trained.checkpoint.progress
            assert (trained.checkpoint.epoch, progress.epoch, progress.batch) == (0, 1, stops[0])
        run(folder, Job.resumed(trained, settings), more)
    found, wanted = learned(part), learned(whole)
    assert found == wanted
    assert wanted[0].keys() >= {"schedule.count"} and wanted[4] is None
    assert len((part / METRICS).read_text().splitlines()) == 4
    assert (part / REPORT).read_text() == "report of epoch 3"
    for folder in (whole, part):
        folder.release()


def test_a_net_with_parameters_that_come_to_rest_resumes_too(tmp_path):
    """As the row of the results trains: whitening, a bias that rests from the fourth epoch on, lookahead, bfloat16."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (28, 31, 31, 3), dtype=np.uint8), np.arange(28) % 3
    np.savez(tmp_path / "images.npz", x_train=x[:24], y_train=y[:24], x_test=x[24:], y_test=y[24:])
    settings = TrainSettings(
        data=str(tmp_path / "images.npz"), model="fast-cifar", epochs=5, batch_size=12, normalize="channel",
        nesterov=True, momentum=0.85, schedule="linear", warmup=1.0, bias_lr=8.0, weight_decay=1e-3, lookahead=3,
        flip="alternate", translate=2, padding="reflect", precision="bfloat16", label_smoothing=0.2,
    )  # fmt: skip
    whole, part = (RunFolder.named(str(tmp_path / which)) for which in ("whole", "part"))
    run(whole, Job.new(settings), every=None)
    run(part, Job.new(settings), 3)
    for threads, more in ((2, 4), (1, None)):  # up to the fourth epoch, then within it
        cr.set_num_threads(threads)
        folder = RunFolder.open(str(part.path))
        run(folder, Job.resumed(Trained.load(folder), settings), more)
    assert learned(part) == learned(whole)
    for folder in (whole, part):
        folder.release()


def test_the_state_that_such_a_run_needs_is_in_its_checkpoint(tmp_path, images):
    settings = TrainSettings(data=images, epochs=2, batch_size=8, **RUNS["all of it"])
    folder = RunFolder.named(str(tmp_path / "run"))
    run(folder, Job.new(settings), stops=10)
    checkpoint = read_checkpoint(folder / CHECKPOINT)
    arrays = checkpoint.arrays
    assert (checkpoint.epoch, checkpoint.progress.epoch, checkpoint.progress.batch) == (1, 2, 3)
    assert checkpoint.step == arrays["schedule"]["count"] == 10
    assert any(name.endswith("running_var") for name in arrays["model"])
    assert any(name.startswith("velocity") for name in arrays["optimizer"])
    assert arrays["average"].keys() == arrays["model"].keys()
    assert checkpoint.generator != Job.new(settings).generator  # dropout has drawn
    folder.release()


def test_stopped_before_the_first_epoch_is_done_it_has_a_folder_without_a_report(tmp_path, images):
    settings = TrainSettings(data=images, epochs=2, batch_size=8)
    folder = RunFolder.named(str(tmp_path / "run"))
    run(folder, Job.new(settings), stops=3)
    assert sorted(p.name for p in folder.path.iterdir()) == [CHECKPOINT, METRICS, "settings.toml"]
    assert (folder / METRICS).read_text().splitlines() == [
        "epoch,train_loss,train_accuracy,test_loss,test_accuracy,lr,seconds,images_per_second,peak_mb"
    ]
    folder.release()
    folder = RunFolder.open(str(folder.path))
    run(folder, Job.resumed(Trained.load(folder), settings))
    assert (folder / REPORT).read_text() == "report of epoch 2"


@pytest.mark.parametrize(("every", "batches"), [((3, "steps"), [3, 6]), ((2, "steps"), [2, 4, 6])])
def test_within_an_epoch_it_is_saved_every_so_many_steps(tmp_path, images, every, batches):
    job = Job.new(TrainSettings(data=images, epochs=1, batch_size=8))
    folder = RunFolder.named(str(tmp_path / "run"))
    found = []

    class Look(Callback):
        def batch_end(self, progress):
            if folder.exists:
                found.append(read_checkpoint(folder / CHECKPOINT).progress.batch)

    save = SaveRun(job, folder, lambda checkpoint: "", every=every)
    job.run([save, Look()])
    assert sorted(set(found)) == batches
    folder.release()


def test_within_an_epoch_it_is_saved_every_so_many_seconds(tmp_path, images, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("chainrule.train.save_run.time.monotonic", lambda: now[0])
    job = Job.new(TrainSettings(data=images, epochs=1, batch_size=8))
    folder = RunFolder.named(str(tmp_path / "run"))
    found = []

    class Look(Callback):
        def batch_end(self, progress):
            now[0] += 1.0
            if folder.exists:
                found.append(read_checkpoint(folder / CHECKPOINT).progress.batch)

    job.run([SaveRun(job, folder, lambda checkpoint: "", every=(2.5, "seconds")), Look()])
    assert sorted(set(found)) == [4, 7]
    folder.release()


# ---- What does not fit -------------------------------------------------------------------------------------


def stopped(tmp_path, images, batches=10, **settings):
    folder = RunFolder.named(str(tmp_path / "run"))
    settings = TrainSettings(data=images, epochs=3, batch_size=8, **settings)
    run(folder, Job.new(settings), stops=batches)
    folder.release()
    return Trained.load(RunFolder.open(str(folder.path))), settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["schedule"].clear(), r"LambdaLR.load_state_dict: missing \['base_lr.0', 'count'\]"),
        (lambda a: a["schedule"].update(count=np.array(1.5)), "count = 1.5: give a whole number"),
        (lambda a: a["early_stopping"].clear(), "EarlyStopping.load_state_dict"),
        (lambda a: a["average"].pop("layers.0.bias"), "missing"),
        (lambda a: a["average"].update(more=np.ones(3)), r"not known \['more'\]"),
        (lambda a: a["average"].update({"layers.0.bias": np.ones(3)}), "layers.0.bias is float64"),
    ],
)
def test_a_state_that_does_not_fit_is_one_line(tmp_path, images, change, message):
    trained, settings = stopped(tmp_path, images, hidden=(5,), ema=0.9, early_stop=3)
    change(trained.checkpoint.arrays)
    with pytest.raises(CheckpointError, match=f"^checkpoint.safetensors: damaged: .*{message}") as caught:
        Job.resumed(trained, settings)
    assert "\n" not in str(caught.value)


def test_progress_beyond_the_epoch_is_damage(tmp_path, images):
    trained, settings = stopped(tmp_path, images)
    trained.checkpoint.progress.batch = 8
    with pytest.raises(CheckpointError, match="damaged: batch 8 of an epoch of 7 batches"):
        Job.resumed(trained, settings)


def test_a_run_that_stopped_early_has_nothing_to_go_on_with(tmp_path, images):
    settings = TrainSettings(data=images, epochs=60, batch_size=8, lr=0.1, label_smoothing=0.5, early_stop=1)
    folder = RunFolder.named(str(tmp_path / "run"))
    run(folder, Job.new(settings), every=None)
    folder.release()
    trained = Trained.load(RunFolder.open(str(folder.path)))
    epochs = trained.checkpoint.epoch
    assert epochs < 60
    with pytest.raises(
        SettingsError, match=f"^early-stop: the run stopped after epoch {epochs}: there is nothing"
    ):
        Job.resumed(trained, settings)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle", "plateau", "linear"])
def test_a_new_learning_rate_scales_what_the_schedule_gives(tmp_path, images, schedule):
    more = {} if schedule == "one-cycle" else {"warmup": 1.0}
    trained, settings = stopped(tmp_path, images, schedule=schedule, **more)
    job = Job.resumed(trained, settings)
    before = job.optimizer.lr
    again = Job.resumed(trained, TrainSettings(**{**vars(settings), "lr": settings.lr / 2}))
    assert again.optimizer.lr == pytest.approx(before / 2)
    for _ in range(4):
        arguments = [1.0] if schedule == "plateau" else []
        job.schedule.step(*arguments), again.schedule.step(*arguments)
        assert again.optimizer.lr == pytest.approx(job.optimizer.lr / 2)
