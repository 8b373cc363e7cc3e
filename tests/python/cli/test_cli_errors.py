"""Every mistake of a user is one line on stderr and exit status 2, and leaves nothing behind."""

import gzip
import os
import re
import shutil
import struct

import numpy as np
import pytest

from chainrule.data import DataError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "'fly'"),
        (["train", "more"], "unrecognized arguments: more"),
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["train", "--epochs"], "--epochs: expected one argument"),
        (["train", "--epochs", "-1"], "epochs: -1 is not in 1 to"),
        (["train", "--epochs", "0"], "epochs: 0 is not in 1 to"),
        (["train", "--epochs", "1.5"], "argument --epochs: '1.5' is no integer"),
        (["train", "--epochs", "x\ny"], "is no integer"),
        (["train", "--epochs", "9" * 400], "... is not in 1 to"),
        (["train", "--epochs", "9" * 5000], "... is no integer"),
        (["train", "--batch-size", "0"], "batch-size: 0 is not in 1 to"),
        (["train", "--batch-size", "-5"], "batch-size: -5 is not in 1 to"),
        (["train", "--batch-size", "all"], "argument --batch-size: 'all' is no integer or 'full'"),
        (["train", "--lr", "nan"], "lr: nan is not above 0"),
        (["train", "--lr", "inf"], "lr: inf is not above 0"),
        (["train", "--lr", "0"], "lr: 0.0 is not above 0"),
        (["train", "--lr", "-0.1"], "lr: -0.1 is not above 0"),
        (["train", "--lr", "fast"], "argument --lr: 'fast' is no number"),
        (["train", "--momentum", "1"], "momentum: 1.0 is not in [0, 1)"),
        (["train", "--l1", "-1"], "l1: -1.0 is not at least 0"),
        (["train", "--l2", "nan"], "l2: nan is not at least 0"),
        (["train", "--seed", "-1"], "seed: -1 is not in [0, 2^63)"),
        (["train", "--seed", "0.5"], "argument --seed: '0.5' is no integer"),
        (["train", "--hidden", ""], "argument --hidden: '' is no list of integers"),
        (["train", "--hidden", "10,x"], "argument --hidden: '10,x' is no list of integers"),
        (["train", "--hidden", "10,-1"], "hidden: -1 is not in 1 to"),
        (["train", "--threads", "0"], "threads: 0 is not in 1 to 1024"),
        (["train", "--threads", "2000"], "threads: 2000 is not in 1 to 1024"),
        (["train", "--model", "forest"], "model: 'forest' is not one of svm, softmax, mlp"),
        (["train", "--normalize", "log"], "normalize: 'log' is not one of"),
        (["train", "--data", "iris"], "data: 'iris' is not one of digits, mnist, cifar10 or a PATH.npz"),
        (["train", "--data", ""], "argument --data: '' is no text"),
        (["train", "--data", "absent.npz"], "absent.npz: the file is not there"),
        (["train", "--data", "mnist"], "root: mnist needs the folder with its files: give --root DIR"),
        (["train", "--data", "mnist", "--root", "absent"], "absent is not a folder"),
        (["train", "--data", "cifar10", "--root", "."], "data_batch_1.bin: the file is not there"),
        (["train", "--root", "."], "root: digits reads no folder"),
        (
            ["train", "--model", "softmax", "--hidden", "5"],
            "hidden: only mlp and two-layer read it, not softmax",
        ),
        (["train", "--delta", "2"], "delta: only svm reads it, not mlp"),
        (["train", "--nesterov", "--momentum", "0"], "nesterov: momentum is 0"),
        (
            ["train", "--optimizer", "adam", "--momentum", "0.5"],
            "momentum: only sgd and rmsprop read it, not adam",
        ),
        (["train", "--schedule", "step", "--gamma", "x"], "argument --gamma: 'x' is no number"),
        (["train", "--milestones", "3,x"], "argument --milestones: '3,x' is no list of integers"),
        (["train", "--checkpoint-every", "0"], "checkpoint-every: 0 is not above 0 steps"),
        (["train", "--checkpoint-every", "nans"], "checkpoint-every: nan is not above 0 seconds"),
        (
            ["train", "--checkpoint-every", "5m"],
            "argument --checkpoint-every: '5m' is no number of steps such",
        ),
        (["train", "--model", "lenet5"], "model lenet5: LeNet5: images of 8 x 8: give sides of at least 12"),
        (
            ["train", "--model", "nin", "--normalize", "whiten"],
            "normalize: whiten makes vectors of images, nin",
        ),
        (
            ["train", "--normalize", "whiten", "--flip", "random"],
            "flip, translate, cutout: the inputs are vectors",
        ),
        (["train", "--translate", "9", "--padding", "reflect"], "flip, translate, cutout: "),
        (["train", "--normalize", "whiten", "--tta", "mirror"], "tta: the inputs are vectors, not images"),
        (["train", "--out", "a", "--resume", "b"], "out: a resumed run stays where it is"),
        (["train", "--resume", "absent"], "run: absent is no folder"),
        (["train", "--resume", "."], "run: . holds no checkpoint.safetensors"),
        (["train", "--config", "absent.toml"], "config: absent.toml: No such file or directory"),
        (["train", "--config", "."], "config: .: Is a directory"),
        (["train", "--out", "n" * 300], "File name too long"),
        (["train", "--out", "/proc/nothing/run"], "out: /proc/nothing/run cannot be made"),
        (["train", "--out", "/sys/run"], "out: /sys/run cannot be made"),
        (["train", "--out", "/dev/null"], "out: /dev/null is there and no folder"),
        (["train", "--out", "/dev/null/run"], "out: /dev/null/run cannot be made"),
        (["train", "--quiet", "--l2", "1e300"], "before the first step"),
        (["evaluate"], "the following arguments are required: RUN"),
        (["evaluate", "absent"], "run: absent is no folder"),
        (["evaluate", ""], "holds no checkpoint.safetensors"),
        (["evaluate", "/dev/null"], "run: /dev/null is no folder"),
        (["evaluate", "n" * 300], "File name too long"),
        (["predict"], "the following arguments are required: RUN, IMAGE"),
        (["predict", "absent"], "the following arguments are required: IMAGE"),
        (["predict", "absent", "x.png"], "run: absent is no folder"),
        (["config", "x"], "unrecognized arguments: x"),
    ],
    ids=lambda x: " ".join(x)[:40] if isinstance(x, list) else "",
)
def test_cli_wrong_words_are_one_line(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs = ", "config: c.toml: no valid TOML"),
        (b"\xff", "config: c.toml: not UTF-8 text"),
        (b"x = " + b"[" * 100_000, "config: c.toml: no valid TOML: it is nested too deeply"),
        (b"epochs = '3'", "config: c.toml: epochs: '3' is no integer"),
        (b"lr = true", "config: c.toml: lr: True is no number"),
        (b"epoch = 3", "config: c.toml: unknown name 'epoch'"),
        (b"epochs = 0", "epochs: 0 is not in 1 to"),
        (b"seed = 0x" + b"f" * 9000, "seed: a value too long to write is not in"),
        (b"out = 'a'\nresume = 'b'", "out: a resumed run stays where it is"),
        (b"model = 'svm'\nhidden = [3]", "hidden: only mlp and two-layer read it, not svm"),
    ],
)
def test_cli_wrong_configuration_files_are_one_line(refused, place, content, message):
    (place / "c.toml").write_bytes(content)
    assert message in refused("train", "--config", "c.toml")


def test_cli_output_folder_that_is_in_the_way_is_one_line(refused, place):
    (place / "full").mkdir()
    (place / "full" / "notes.txt").write_text("mine")
    (place / "file").write_text("mine")
    assert "out: full is not empty: name another folder" in refused("train", "--out", "full")
    assert "out: file is there and no folder" in refused("train", "--out", "file")
    assert "file is no folder" in refused("train", "--out", "file/run")
    (place / "runs").write_text("a file where the default folder would be")
    assert "runs is no folder" in refused("train")


# Data that are damaged


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist(place):
    rng = np.random.default_rng(0)
    folder = place / "mnist"
    folder.mkdir()
    for name, count in (("train", 20), ("t10k", 8)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def flip(position):
    def change(content):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        return bytes(changed)

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte.gz", flip(-8), "crc check failed"),
        ("train-images-idx3-ubyte.gz", flip(-1), "incorrect length"),
        ("train-images-idx3-ubyte.gz", flip(0), "not a gzipped file"),
        ("train-images-idx3-ubyte.gz", lambda c: c[:-20], "truncated"),
        ("train-images-idx3-ubyte.gz", lambda c: gzip.compress(gzip.decompress(c)[:-1]), "truncated"),
        ("train-images-idx3-ubyte.gz", lambda c: gzip.compress(gzip.decompress(c) + b"x"), "too long"),
        ("train-labels-idx1-ubyte", flip(3), "wrong magic number 0x000008fe"),
        ("train-labels-idx1-ubyte", flip(-1), "label 246 at position 19 is not one of the 10 classes"),
        ("t10k-labels-idx1-ubyte", lambda c: c[:-1], "truncated"),
        ("t10k-labels-idx1-ubyte", lambda c: b"", "too few for an IDX header"),
    ],
)
def test_cli_damaged_mnist_is_one_line(refused, command, place, quick, name, change, message):
    path = mnist(place) / name
    path.write_bytes(change(path.read_bytes()))
    line = refused("train", "--data", "mnist", "--root", "mnist", "--quiet")
    assert message in line and name in line


def test_cli_whole_mnist_and_cifar10_are_trained_on(trained, command, place, quick):
    mnist(place)
    trained("m", "--data", "mnist", "--root", "mnist", "--model", "softmax")
    rng = np.random.default_rng(0)
    (place / "c").mkdir()
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        records = rng.integers(0, 256, (4, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (place / "c" / name).write_bytes(records.tobytes())
    trained("k", "--data", "cifar10", "--root", "c", "--model", "svm", "--lr", "1e-4")
    assert command("evaluate", "k").status == 0
    (place / "c").rename(place / "d")
    assert command("evaluate", "k").status == 2
    assert command("evaluate", "k", "--root", "d").status == 0
    assert command("train", "--resume", "k", "--epochs", 2, "--root", "d").status == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda c: c[:-1], "the file is damaged"), (flip(3073), "label "), (lambda c: b"", "0 bytes")],
)
def test_cli_damaged_cifar10_is_one_line(refused, place, change, message):
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        (place / name).write_bytes(bytes(4 * 3073))
    path = place / "data_batch_4.bin"
    path.write_bytes(change(path.read_bytes()))
    line = refused("train", "--data", "cifar10", "--root", ".")
    assert message in line and "data_batch_4.bin" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:-30], "not a whole .npz file"),
        (lambda c: c[:100], "not a whole .npz file"),
        (lambda c: b"", "not a whole .npz file"),
        (lambda c: b"no archive", "not a whole .npz file"),
        (flip(500), "fails its checksum"),
    ],
)
def test_cli_damaged_npz_is_one_line(refused, rows, change, message):
    rows.write_bytes(change(rows.read_bytes()))
    line = refused("train", "--data", "rows.npz")
    assert message in line and "rows.npz" in line


def test_cli_npz_that_would_run_code_is_refused(refused, place):
    np.savez(place / "x.npz", x=np.array([{}, {}], object), y=np.array([0, 1]))
    assert "x.npz: Object arrays cannot be loaded" in refused("train", "--data", "x.npz")


# Runs that are damaged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:-7], "damaged, or no safetensors file"),
        (lambda c: c[:5], "damaged, or no safetensors file"),
        (lambda c: b"", "damaged, or no safetensors file"),
        (lambda c: b"\x80\x04\x95" + c, "damaged, or no safetensors file"),
        (flip(-1), "damaged: its checksum fails"),
        (flip(-3000), "damaged: its checksum fails"),
    ],
)
def test_cli_damaged_checkpoint_is_one_line_for_every_command(
    refused, trained, place, quick, change, message
):
    path = trained("run", "--model", "softmax") / "checkpoint.safetensors"
    path.write_bytes(change(path.read_bytes()))
    for arguments in (
        ["train", "--resume", "run", "--epochs", 5],
        ["evaluate", "run"],
        ["predict", "run", "x.png"],
    ):
        line = refused(*arguments)
        assert message in line and "run/checkpoint.safetensors" in line


def test_cli_missing_checkpoint_is_one_line(refused, trained, quick):
    (trained("run") / "checkpoint.safetensors").unlink()
    for arguments in (["train", "--resume", "run"], ["evaluate", "run"], ["predict", "run", "x.png"]):
        assert "run: run holds no checkpoint.safetensors" in refused(*arguments)


def test_cli_damaged_settings_do_not_matter_to_a_run_but_to_a_new_one(refused, command, trained, quick):
    (trained("run") / "settings.toml").write_bytes(b"epochs = \xff")
    assert "not UTF-8" in refused("train", "--config", "run/settings.toml")
    assert command("train", "--resume", "run", "--epochs", 2, "--quiet").status == 0
    assert command("train", "--config", "run/settings.toml", "--out", "new", "--quiet").status == 0


def test_cli_resume_refuses_what_contradicts_the_run(refused, trained, quick):
    trained("run", "--model", "softmax")
    for flags, message in [
        (["--model", "svm"], "model: 'svm' contradicts the run to resume, which has 'softmax'"),
        (["--batch-size", "16"], "batch-size: 16 contradicts the run to resume, which has 32"),
        (["--data", "x.npz"], "data: "),
        (["--epochs", "1"], "epochs: 1 are asked for and the run has 1"),
        ([], "epochs: 1 are asked for and the run has 1"),
    ]:
        assert message in refused("train", "--resume", "run", *flags)


def test_cli_divergence_keeps_the_epochs_before_it(command, place):
    # Each step multiplies the weights by 1 - 2 lr l2 = -1.5: their squares overflow in the third epoch.
    flags = [
        "--model",
        "softmax",
        "--lr",
        "0.1",
        "--momentum",
        "0",
        "--l2",
        "12.5",
        "--out",
        "run",
        "--quiet",
    ]
    status, out, err = command("train", *flags)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert re.search(r"the loss became inf in epoch 3: .* lower --lr \(run keeps epoch 2\)", err)
    assert len(list((place / "run").iterdir())) == 4
    page = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert "epoch 2 of 30" in page
    assert command("evaluate", "run").status == 0


def test_cli_weights_that_diverge_before_the_loss_does_do_not_replace_a_checkpoint(command, place, quick):
    flags = ["--model", "softmax", "--momentum", "0", "--weight-decay", "1", "--epochs", "1", "--out", "run"]
    assert command("train", *flags, "--quiet").status == 0
    before = (place / "run" / "checkpoint.safetensors").read_bytes()
    # Each step multiplies the weights by -1e30: the second overflows, after a loss that was finite.
    flags = ["--resume", "run", "--epochs", "2", "--lr", "1e30", "--checkpoint-every", "2", "--quiet"]
    status, out, err = command("train", *flags)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert re.search(r"array model\.\S+ became (-?inf|nan) in epoch 2: .* \(run keeps epoch 1\)", err)
    assert (place / "run" / "checkpoint.safetensors").read_bytes() == before
    assert command("evaluate", "run").status == 0


def test_cli_a_batch_of_one_under_batch_norm_is_refused_before_it_trains(refused, rows):
    images = np.zeros((9, 12, 12, 3), np.uint8)
    np.savez(rows, x_train=images, y_train=np.arange(9) % 3, x_test=images, y_test=np.arange(9) % 3)
    line = refused(
        "train", "--data", rows, "--model", "all-cnn-c", "--batch-norm", "--batch-size", 4, "--out", "run"
    )
    assert "batch-size: 4: the last of 9 training images would be a batch alone" in line


def test_cli_missing_packages_are_named_before_anything_else(refused, monkeypatch):
    monkeypatch.setattr("chainrule.cli.extras.PACKAGES", {"numpy": "numpy", "no_such_package": "such-a-one"})
    line = refused("train", "--epochs", "nonsense")
    assert "missing such-a-one: install what the commands need with pip install 'chainrule[cli]'" in line


def test_cli_paths_that_are_no_text_are_refused_before_training(command, place, rows, monkeypatch):
    folder = place / os.fsdecode(b"bad\xff")
    folder.mkdir()
    shutil.copy(rows, folder / "rows.npz")
    monkeypatch.chdir(folder)
    status, out, err = command("train", "--data", "rows.npz", "--epochs", 1, "--out", "run")
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert "the path is no UTF-8 text, which the run's files hold" in err and not (folder / "run").exists()


def test_cli_curves_of_a_run_whose_name_is_no_text(command, trained, quick, place):
    folder = trained("run", "--model", "softmax")
    folder = folder.rename(place / os.fsdecode(b"nu\xff"))
    assert command("view", "curves", folder).status == 0 and (folder / "curves.png").exists()


def test_cli_evaluate_on_other_data_does_not_look_into_the_runs_folder(
    command, trained, quick, place, monkeypatch
):
    folder = trained("run", "--model", "softmax")
    asked = []

    def load(settings):
        asked.append((settings.data, settings.root))
        raise DataError("enough")

    monkeypatch.setattr("chainrule.cli.evaluate.load_data", load)
    command("evaluate", folder, "--data", "mnist", "--root", "there")
    assert command("evaluate", folder, "--data", "mnist").err.startswith(
        "chainrule: root: mnist needs the folder"
    )
    assert asked == [("mnist", str(place / "there"))]
