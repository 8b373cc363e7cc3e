"""The command as a process of its own: signals, pipes, terminals, and what importing it costs."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from chainrule.train import read_checkpoint

COMMAND = [sys.executable, "-m", "chainrule"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def start(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | ONE_THREAD,
        **options,
    )


def until(process, line):
    """Read the process's output up to a line that begins so."""
    for text in process.stdout:
        if text.startswith(line):
            return
    pytest.fail(f"no line {line!r}: {process.stderr.read()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_process_that_is_interrupted_keeps_its_last_whole_epoch_and_can_go_on(command, quick, place, number):
    flags = ["--model", "mlp", "--hidden", "10", "--out"]
    process = start("train", "--epochs", 1_000_000, *flags, "run")
    until(process, "epoch 3/")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    match = re.fullmatch(
        r"chainrule: interrupted after epoch (\d+) of 1000000: go on with chainrule train --resume run\n", err
    )
    done = int(match[1])
    assert done >= 3
    assert sorted(p.name for p in (place / "run").iterdir()) == [
        "checkpoint.safetensors",
        "metrics.csv",
        "report.html",
        "settings.toml",
    ]
    assert f"epoch {done} of 1000000" in (place / "run" / "report.html").read_text(encoding="utf-8")
    assert len((place / "run" / "metrics.csv").read_text().splitlines()) == done + 1
    if number == signal.SIGINT:
        epochs = done + 2
        assert command("train", "--resume", "run", "--epochs", epochs, "--quiet").status == 0
        assert command("train", "--epochs", epochs, *flags, "whole", "--quiet").status == 0
        part, whole = (read_checkpoint(place / name / "checkpoint.safetensors") for name in ("run", "whole"))
        for name, array in whole.arrays["model"].items():
            assert part.arrays["model"][name].tobytes() == array.tobytes()


def test_process_killed_at_once_leaves_whole_files(command, place, quick):
    process = start("train", "--epochs", 1_000_000, "--model", "softmax", "--out", "run")
    until(process, "epoch 2/")
    process.kill()
    process.communicate(timeout=60)
    assert read_checkpoint(place / "run" / "checkpoint.safetensors").epoch >= 1
    assert command("evaluate", "run").status == 0


def killed_within_an_epoch(path, *arguments):
    """Start the command, and kill it as soon as there is a checkpoint; its place in the epoch, None after one."""
    process = start(*arguments)
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=60)
    return read_checkpoint(path).progress


def test_process_killed_within_an_epoch_of_augmented_images_ends_with_the_same_bits(command, place, quick):
    flags = ["--flip", "random", "--translate", 1, "--cutout", 3, "--batch-size", 4, "--hidden", "10"]
    flags = ["train", "--quiet", "--epochs", 2, *flags]
    # The process is killed wherever it is by then: once more in the rare case that it is between two epochs.
    for attempt in range(5):
        path = place / f"run-{attempt}" / "checkpoint.safetensors"
        progress = killed_within_an_epoch(path, *flags, "--checkpoint-every", 5, "--out", path.parent)
        if progress is not None:
            break
    assert progress.batch >= 5
    assert command("train", "--quiet", "--resume", path.parent, "--threads", 2).status == 0
    assert command(*flags, "--threads", 1, "--out", "whole").status == 0
    part, whole = read_checkpoint(path), read_checkpoint(place / "whole" / "checkpoint.safetensors")
    assert (part.epoch, part.progress, part.generator) == (2, None, whole.generator)
    assert part.arrays.keys() == whole.arrays.keys()
    for kind, arrays in whole.arrays.items():
        assert {k: v.tobytes() for k, v in part.arrays[kind].items()} == {
            k: v.tobytes() for k, v in arrays.items()
        }


def test_process_that_trains_keeps_others_out_of_its_folder(command, refused, place):
    process = start("train", "--epochs", 1_000_000, "--model", "softmax", "--out", "run")
    try:
        until(process, "epoch 1/")
        outcome = command("train", "--resume", "run", "--epochs", 2_000_000)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err == "chainrule: run: run is being trained by another process\n"
        assert command("evaluate", "run").status == 0
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_process_whose_reader_has_gone_says_nothing(place):
    process = start("train", "--epochs", 200, "--model", "softmax", "--out", "run")
    until(process, "epoch 1/")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert read_checkpoint(place / "run" / "checkpoint.safetensors").epoch >= 1


def test_process_in_another_encoding_prints_what_it_can(trained, place, quick):
    np.savez(place / "x.npz", x=np.zeros((20, 3)), y=np.arange(20) % 2, classes=["été", "\u4e2d"])
    trained("run", "--data", "x.npz", "--model", "softmax")
    done = subprocess.run(
        [*COMMAND, "evaluate", "run"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\xe9t\xe9" in done.stdout and b"\\u4e2d" in done.stdout


def test_process_has_a_name_and_python_m(place):
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True)
    assert re.fullmatch(r"chainrule \d+\.\d+\.\d+\n", done.stdout) and done.stderr == ""


def test_process_help_and_import_load_nothing_that_only_commands_need():
    code = (
        "import sys, chainrule\n"
        "from chainrule.cli.main import main\n"
        "main(['--help'])\n"
        "heavy = {'matplotlib', 'rich', 'PIL', 'jinja2', 'safetensors'}\n"
        "print('loaded', *(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded"


# On a terminal


def on_terminal(columns, *arguments):
    """What the command writes to a terminal of so many columns, and its exit status."""
    main, side = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=side,
        stdout=side,
        stderr=subprocess.PIPE,
        env=os.environ | ONE_THREAD | {"TERM": "xterm", "COLUMNS": ""},
    )
    os.close(side)
    output = b""
    while select.select([main], [], [], 60)[0]:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        output += piece
    os.close(main)
    err = process.stderr.read()
    process.stderr.close()
    return process.wait(timeout=60), output.decode(), err.decode()


@pytest.mark.parametrize(("columns", "figures"), [(120, 4), (80, 3), (60, 2)])
def test_terminal_shows_a_live_bar_that_fits(place, columns, figures):
    status, output, err = on_terminal(columns, "train", "--epochs", 20, "--out", "run")
    assert (status, err) == (0, "")
    drawings = re.split(r"[\r\n]|\x1b\[2K", output)
    plain = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawing) for drawing in drawings]
    bars = [line.rstrip() for line in plain if line.startswith("epoch ")]
    assert len(bars) >= 2 and all(len(bar) <= columns for bar in bars)
    assert re.match(r"epoch 20/20 \u2501{10,} loss \d\.\d{4}  train \d+\.\d %", bars[-1])
    # Room goes first to what a run is watched by.
    parts = [" loss ", "  train ", " images/s", "  test "]
    assert [part in bars[-1] for part in parts] == [k < figures for k in range(4)]
    assert re.search(r"\d\d:\d\d$", bars[-1])
    assert "test accuracy  9" in output and "\u2026" not in "".join(bars[1:])
