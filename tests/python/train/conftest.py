"""Small data, small jobs, and one thread for all but the tests about threads."""

import numpy as np
import pytest

from chainrule.train import Job, RunFolder, SaveRun, Trained, TrainSettings


@pytest.fixture(autouse=True)
def on_one_thread(one_thread):
    pass


@pytest.fixture
def npz(tmp_path):
    """A file with 40 training and 15 test images of 4 x 4 in three classes that a line separates."""
    rng = np.random.default_rng(0)

    def split(count):
        y = np.arange(count) % 3
        x = rng.integers(0, 60, (count, 4, 4), dtype=np.uint8)
        x[np.arange(count), y] += 150  # a bright row tells the class
        return x, y

    (x_train, y_train), (x_test, y_test) = split(40), split(15)
    path = tmp_path / "rows.npz"
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture
def train(tmp_path):
    """Runs a job of given settings into a folder and returns the folder; with `resume`, goes on in it."""

    def run(name="run", resume=False, **settings):
        if resume:
            folder = RunFolder.open(str(tmp_path / name))
            trained = Trained.load(folder)
            job = Job.resumed(trained, settings["settings"])
        else:
            folder = RunFolder.named(str(tmp_path / name))
            job = Job.new(TrainSettings(**settings))
        save = SaveRun(job, folder, lambda checkpoint: f"report of epoch {checkpoint.epoch}")
        job.run([save])
        save.finish()
        folder.release()
        return folder

    return run
