"""A process that is killed while it writes checkpoints leaves the old or the new one, whole; so does a full disk."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from chainrule.train import RunFolder, Trained, read_checkpoint
from chainrule.train.run_folder import CHECKPOINT, METRICS

# Starts children that write one checkpoint after another, kills each at a moment of its own, and looks at the file.
# The children are forks of a process that has everything loaded: each lives for milliseconds.
KILLER = """
import json, os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from chainrule.files import replace_file
from chainrule.train import EpochRecord, TrainSettings, read_checkpoint
from chainrule.train.checkpoint import Checkpoint, to_bytes

path, kills = Path(sys.argv[1]), int(sys.argv[2])
record = EpochRecord(1, 1.0, 0.5, 1.0, 0.5, 0.05, 1.0, 1.0, 1.0)


def version(number):
    # Every part of it tells which it is.
    arrays = {part: {"a": np.full(40_000, float(number))} for part in
              ("model", "optimizer", "schedule", "average", "early_stopping", "normaliser")}
    history = tuple(replace(record, epoch=k) for k in range(1, 1 + number % 7 + 1))
    return Checkpoint(TrainSettings(seed=number), history, None, number, np.random.PCG64(number).state, ("a", "b"),
                      (2, 2, 1), (0.0, 1.0), "scale", number, arrays)


def numbers(checkpoint):
    arrays = [named["a"] for named in checkpoint.arrays.values()]
    assert len(arrays) == 6 and all((a == a[0]).all() for a in arrays)
    assert checkpoint.generator == np.random.PCG64(checkpoint.step).state
    assert len(checkpoint.history) == checkpoint.step % 7 + 1
    return {checkpoint.step, checkpoint.settings.seed, checkpoint.data_checksum, *(int(a[0]) for a in arrays)}


replace_file(path, to_bytes(version(0)))
started = time.monotonic()
written = []
random.seed(1)
ready = [to_bytes(version(number)) for number in range(8)]  # a child spends its time writing
left_behind = 0
for kill in range(kills):
    before, first = path.stat().st_ino, random.randrange(8)
    child = os.fork()
    if child == 0:
        for number in range(first, 10**9):
            replace_file(path, ready[number % 8])
    while kill % 4 and path.stat().st_ino == before:  # most die after at least one write
        time.sleep(0.0005)
    time.sleep(random.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    found = numbers(read_checkpoint(path))
    assert len(found) == 1, found
    written.append(found.pop())
    left_behind += path.with_name(f".{path.name}.new").exists()
replace_file(path, to_bytes(version(5)))
print(json.dumps([written, left_behind, os.listdir(path.parent)]))
"""


def test_a_hundred_kills_leave_a_whole_checkpoint_each_time(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path / CHECKPOINT), "120"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    written, left_behind, names = json.loads(done.stdout)
    assert len(written) == 120 and len(set(written)) == 8  # each was the last at some time
    assert left_behind > 10  # and many children died in the middle of the next
    assert names == [CHECKPOINT]  # what they left is gone with the next write


RUN = [sys.executable, "-m", "chainrule", "train", "--quiet"]
FLAGS = [
    *("--model", "mlp", "--hidden", "12", "--epochs", "4", "--batch-size", "16", "--accumulate", "2"),
    *("--optimizer", "adamw", "--schedule", "cosine", "--warmup", "0.5", "--label-smoothing", "0.1"),
    *("--clip", "1", "--flip", "random", "--translate", "1", "--ema", "0.9", "--seed", "3"),
]


def results(folder):
    """All that a run learned, but for times and memory."""
    checkpoint = read_checkpoint(folder / CHECKPOINT)
    arrays = {
        f"{part}.{name}": array.tobytes()
        for part, named in checkpoint.arrays.items()
        for name, array in named.items()
    }
    history = [(r.epoch, r.train_loss, r.train_accuracy, r.test_loss, r.lr) for r in checkpoint.history]
    return arrays, history, checkpoint.generator, checkpoint.step


def test_a_run_that_is_killed_again_and_again_ends_with_the_bits_of_one_that_was_not(tmp_path):
    whole = subprocess.run([*RUN, *FLAGS, "--out", "whole"], cwd=tmp_path, capture_output=True, text=True)
    assert (whole.returncode, whole.stderr) == (0, "")
    part, kills, seen = tmp_path / "part", 0, []
    while True:
        arguments = ["--resume", "part"] if part.exists() else [*FLAGS, "--out", "part"]
        process = subprocess.Popen(
            [*RUN, *arguments, "--checkpoint-every", "3", "--threads", str(1 + kills % 2)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        # Killed as soon as it has saved something new.
        before, deadline = stamp(part), time.monotonic() + 60
        while process.poll() is None and stamp(part) == before and time.monotonic() < deadline:
            time.sleep(0.001)
        if process.poll() is None and kills < 6:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            checkpoint = read_checkpoint(part / CHECKPOINT)
            seen.append((checkpoint.epoch, checkpoint.progress.batch if checkpoint.progress else 0))
            continue
        _, err = process.communicate()
        assert (process.returncode, err) == (0, b"")
        break
    assert kills >= 2 and any(batch for _, batch in seen), seen  # also in the middle of an epoch
    assert results(part) == results(tmp_path / "whole")
    assert sorted(os.listdir(part)) == sorted(os.listdir(tmp_path / "whole"))
    assert len((part / METRICS).read_text().splitlines()) == 5


def stamp(folder):
    path = folder / CHECKPOINT
    try:
        return path.stat().st_mtime_ns, path.stat().st_ino
    except FileNotFoundError:
        return None


# ---- A disk that is full -----------------------------------------------------------------------------------

# A file may grow to so many bytes from the second run on: what a quota or a full disk does to a write.
FULL = """
import resource, sys
from chainrule.cli.main import main
print(main(["train", "--quiet", "--epochs", "1", "--hidden", "500", "--out", "run"]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
print(main(["train", "--quiet", "--resume", "run", "--epochs", "3"]))
"""


@pytest.mark.parametrize("limit", [0, 4096, 200_000])
def test_a_disk_that_fills_during_a_checkpoint_keeps_the_old_one_and_says_so(tmp_path, limit):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(limit)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2"
    assert done.stderr == (
        "chainrule: run/checkpoint.safetensors: cannot be written: File too large: what was written before is "
        "kept: go on from there with --resume once there is room\n"
    )
    run = tmp_path / "run"
    assert read_checkpoint(run / CHECKPOINT).epoch == 1
    assert Trained.load(RunFolder.open(str(run))).checkpoint.epoch == 1
    assert sorted(os.listdir(run)) == [CHECKPOINT, METRICS, "report.html", "settings.toml"]


def test_a_disk_that_is_full_from_the_beginning_leaves_nothing(tmp_path):
    code = FULL.replace('print(main(["train", "--quiet", "--epochs"', 'print(["train", "--quiet", "--epochs"')
    code = code.replace('"--out", "run"]))', '"--out", "run"])').replace(
        '"--resume", "run", "--epochs", "3"', '"--epochs", "1", "--out", "run"'
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "4096"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "2", done.stderr
    assert "cannot be written: File too large: nothing was written" in done.stderr
    assert os.listdir(tmp_path) == []
