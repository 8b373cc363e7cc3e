"""`chainrule train` from end to end on real digits, and what each of its flags does."""

import csv
import re
from dataclasses import fields
from html.parser import HTMLParser

import numpy as np
import pytest
from safetensors.numpy import load_file

from chainrule.cli.subject import Subject
from chainrule.train import RunFolder, RunOptions, TrainSettings, read_checkpoint
from chainrule.train.config import read_config
from chainrule.train.settings import hyphened

FILES = ["checkpoint.safetensors", "metrics.csv", "report.html", "settings.toml"]


def settings_of(folder):
    return read_checkpoint(folder / "checkpoint.safetensors").settings


def weights_of(folder):
    arrays = load_file(folder / "checkpoint.safetensors")
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def test_train_is_the_whole_job_with_one_word(command, place):
    status, out, err = command("train", "--epochs", 8)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 8 + 3
    for number, line in enumerate(lines[:8], 1):
        assert re.fullmatch(
            rf"epoch {number}/8  train loss \d+\.\d{{4}} accuracy \d+\.\d\d %  "
            r"test loss \d+\.\d{4} accuracy \d+\.\d\d %  [\d,]+ images/s  \d+\.\d\d s",
            line,
        )
    accuracy, right = re.fullmatch(r"test accuracy  (\d+\.\d\d) % \((\d+) of 355\)", lines[8]).groups()
    assert float(accuracy) > 95 and f"{100 * int(right) / 355:.2f}" == accuracy
    assert lines[9:] == ["run folder     runs/digits-mlp-1", "report         runs/digits-mlp-1/report.html"]

    folder = place / "runs" / "digits-mlp-1"
    assert [p.name for p in place.iterdir()] == ["runs"]
    assert [p.name for p in folder.parent.iterdir()] == ["digits-mlp-1"]
    assert sorted(p.name for p in folder.iterdir()) == FILES
    assert TrainSettings(**read_config(str(folder / "settings.toml"))) == TrainSettings(epochs=8)
    with open(folder / "metrics.csv", newline="") as file:
        metrics = list(csv.DictReader(file))
    assert [row["epoch"] for row in metrics] == [str(n) for n in range(1, 9)]
    assert f"{100 * float(metrics[-1]['test_accuracy']):.2f}" == accuracy
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{right} of 355" in page


def test_train_help_lists_every_flag_with_its_default(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    status, out, err = command("train", "--help")
    assert (status, err) == (0, "")
    for cls in (TrainSettings, RunOptions):
        for field in fields(cls):
            assert f"--{hyphened(field.name)} " in out or f"--{hyphened(field.name)}, " in out
    text = " ".join(out.split())
    for line in (
        "learning rate (default: 0.05 for sgd, 0.001 for adam, adamw and rmsprop, 0.01 for adagrad)",
        "widths of the hidden layers (for model mlp or two-layer; default: 100)",
        "Nesterov's momentum (for optimizer sgd)",
        "epochs after which the learning rate falls (for schedule multi-step)",
        "passes over the training set (default: 30)",
        "share of each label that goes to all classes, in [0, 1) (default: 0.0)",
    ):
        assert line in text
    assert "predict" in command("--help").out
    assert "instruction set" in command("config").out


def test_train_numbers_its_folders(quick, command, place):
    for _ in range(2):
        assert command("train", "--epochs", 1, "--quiet", "--model", "softmax").status == 0
    assert sorted(p.name for p in (place / "runs").iterdir()) == ["digits-softmax-1", "digits-softmax-2"]


@pytest.mark.parametrize("model", ["svm", "softmax", "mlp"])
def test_train_every_model_says_the_accuracy_and_the_folder_alone_when_quiet(quick, command, model):
    status, out, err = command(
        "train", "--quiet", "--model", model, "--epochs", 3, "--out", "run", "--lr", 0.02
    )
    assert (status, err) == (0, "")
    accuracy = re.fullmatch(
        r"test accuracy  (\d+\.\d\d) % \(\d+ of 355\)\nrun folder     run\nreport         run/report.html\n",
        out,
    )
    assert float(accuracy[1]) > 85


FLAGS = [
    (
        ["--model", "svm", "--delta", "2", "--squared-hinge"],
        {"model": "svm", "delta": 2.0, "squared_hinge": True},
    ),
    (["--epochs", "2"], {"epochs": 2}),
    (["--batch-size", "100"], {"batch_size": 100}),
    (["--batch-size", "full"], {"batch_size": None}),
    (["--lr", "1e-2"], {"lr": 0.01}),
    (["--momentum", "0"], {"momentum": 0.0}),
    (["--nesterov"], {"nesterov": True}),
    (["--no-nesterov"], {"nesterov": False}),
    (["--l1", "1e-4"], {"l1": 1e-4}),
    (["--l2", ".001"], {"l2": 0.001}),
    (["--seed", "5"], {"seed": 5}),
    (["--hidden", "30,20"], {"hidden": (30, 20)}),
    (["--model", "two-layer", "--hidden", "30"], {"model": "two-layer", "hidden": (30,)}),
    (["--optimizer", "adamw"], {"optimizer": "adamw", "lr": 0.001, "weight_decay": 0.01}),
    (["--optimizer", "rmsprop", "--momentum", ".5"], {"optimizer": "rmsprop", "momentum": 0.5}),
    (["--weight-decay", "1e-2"], {"weight_decay": 0.01}),
    (["--bias-lr", "8"], {"bias_lr": 8.0}),
    (["--bias-weight-decay", "1e-3"], {"bias_weight_decay": 0.001}),
    (["--label-smoothing", "0.1"], {"label_smoothing": 0.1}),
    (["--clip", "0.5"], {"clip": 0.5}),
    (["--accumulate", "3"], {"accumulate": 3}),
    (["--schedule", "cosine", "--final-lr", "0.1"], {"schedule": "cosine", "final_lr": 0.1}),
    (["--schedule", "one-cycle"], {"schedule": "one-cycle"}),
    (["--warmup", "0.5", "--warmup-from", "0"], {"warmup": 0.5, "warmup_from": 0.0}),
    (["--ema", "0.9"], {"ema": 0.9}),
    (["--lookahead", "5"], {"lookahead": 5}),
    (["--flip", "random"], {"flip": "random"}),
    (["--translate", "1", "--padding", "reflect"], {"translate": 1, "padding": "reflect"}),
    (["--cutout", "3"], {"cutout": 3}),
    (["--normalize", "channel"], {"normalize": "channel"}),
    (["--normalize", "standard"], {"normalize": "standard"}),
    (["--normalize", "whiten"], {"normalize": "whiten"}),
    (["--normalize=none", "--lr=1e-4"], {"normalize": "none", "lr": 1e-4}),
]


@pytest.mark.parametrize(("flags", "values"), FLAGS, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_train_flag_reaches_the_run_and_changes_it(quick, trained, place, flags, values):
    folder = trained("run", *flags)
    assert settings_of(folder) == TrainSettings(**{"epochs": 1} | values)
    if flags != ["--no-nesterov"]:
        assert weights_of(folder) != weights_of(trained("plain"))


def test_train_config_holds_the_same_names_and_flags_win_over_it(quick, command, place):
    (place / "run.toml").write_text(
        'model = "svm"\nepochs = 2\nbatch-size = 50\nlr = 0.01\nmomentum = 0.5\nl1 = 0\nl2 = 1e-3\n'
        'seed = 3\nout = "there"\nquiet = true\nthreads = 1\nsquared_hinge = true\n'
    )
    status, out, err = command("train", "--config", "run.toml", "--lr", "0.02")
    assert (status, err) == (0, "") and out.startswith("test accuracy")
    expected = TrainSettings(
        model="svm", epochs=2, batch_size=50, lr=0.02, momentum=0.5, l2=1e-3, seed=3, squared_hinge=True
    )
    assert settings_of(place / "there") == expected
    # A run's own settings are such a file: the same run again.
    assert command("train", "--config", "there/settings.toml", "--out", "again", "--quiet").status == 0
    assert weights_of(place / "again") == weights_of(place / "there")


def test_train_same_seed_same_bits_on_any_number_of_threads(quick, trained):
    runs = [
        weights_of(trained(f"run{i}", "--threads", n, "--batch-size", 300))
        for i, n in enumerate((1, 2, 2, 3))
    ]
    assert all(run == runs[0] for run in runs)


def test_train_resume_goes_on_to_the_bits_of_a_run_that_never_stopped(quick, command, trained, place):
    flags = ["--model", "mlp", "--hidden", "20", "--l2", "1e-4"]
    whole, part = trained("whole", *flags, "--epochs", 4), trained("part", *flags, "--epochs", 2)
    status, out, err = command("train", "--resume", "part", "--epochs", 4, "--threads", 2)
    assert (status, err) == (0, "")
    assert [line[:9] for line in out.splitlines()[:2]] == ["epoch 3/4", "epoch 4/4"]
    assert "run folder     part" in out
    assert weights_of(part) == weights_of(whole)
    assert (part / "settings.toml").read_bytes() == (whole / "settings.toml").read_bytes()
    assert sorted(p.name for p in part.iterdir()) == FILES

    def figures(folder):
        with open(folder / "metrics.csv", newline="") as file:
            return [row[:-3] for row in csv.reader(file)]  # all but time, speed and memory

    assert figures(part) == figures(whole)


def test_train_resume_may_lower_the_learning_rate(quick, command, trained):
    folder = trained("run")
    assert command("train", "--resume", "run", "--epochs", 2, "--lr", "0.001", "--quiet").status == 0
    assert settings_of(folder) == TrainSettings(epochs=2, lr=0.001)


def test_train_on_a_file_of_ones_own_and_resume_it_where_it_was_moved(quick, command, trained, rows, place):
    folder = trained("run", "--data", "rows.npz", "--model", "softmax")
    assert settings_of(folder).data == str(rows)
    rows.rename(place / "moved.npz")
    assert "rows.npz" in command("train", "--resume", "run", "--epochs", 2).err
    assert command("train", "--resume", "run", "--epochs", 2, "--data", "moved.npz").status == 0
    assert settings_of(folder).data == str(place / "moved.npz")


@pytest.mark.parametrize("shape", [(60, 7), (60, 6, 5), (60, 5, 4, 3), (60, 4, 4, 4), (60, 3, 3, 2)])
@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_train_takes_inputs_of_any_shape(trained, place, shape, model):
    rng = np.random.default_rng(0)
    np.savez(place / "x.npz", x=rng.normal(size=shape), y=np.arange(60) % 3, classes=["a", "b $x^$", "<i>"])
    page = (trained("run", "--data", "x.npz", "--model", model) / "report.html").read_text(encoding="utf-8")
    assert ("Templates" in page) == ("Worst mistakes" in page) == (len(shape) > 2)


class Page(HTMLParser):
    """What a report holds: headings, images, and everything that it could fetch from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.images, self.references, self.ids, self.tags = [], [], [], [], []
        self._in_heading = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._in_heading = tag in ("h1", "h2")
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"):
                self.references.append(value)
            if name == "id":
                self.ids.append(value)
            if name.startswith("on"):
                self.references.append(value)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_data(self, text):
        if self._in_heading and text.strip():
            self.headings.append(text.strip())
            self._in_heading = False


@pytest.mark.parametrize("model", ["svm", "softmax", "mlp"])
def test_train_report_is_one_page_with_everything_in_it(trained, model):
    folder = trained("run", "--model", model, "--epochs", 2)
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.headings[1:] == [
        "Loss",
        "Accuracy",
        "Confusion matrix",
        "Worst mistakes",
        "Templates: the first layer\u2019s weights",
        "Settings",
        "Classes",
        "Software",
    ]
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in page.references)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", text)
    # Addresses are names of XML languages alone, which nobody fetches.
    assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert page.tags.count("svg") == 3
    assert len(page.ids) == len(set(page.ids))
    assert {r[1:] for r in page.references if r.startswith("#")} <= set(page.ids)
    templates = [i["alt"] for i in page.images if "\u2192" not in i["alt"]]
    assert templates == [str(n) for n in range(100 if model == "mlp" else 10)]
    mistakes = [i["alt"] for i in page.images if "\u2192" in i["alt"]]
    assert 1 <= len(mistakes) <= 16 and all(re.fullmatch(r"\d \u2192 \d", m) for m in mistakes)
    assert all(m[0] != m[-1] for m in mistakes)


@pytest.mark.parametrize(
    ("model", "flags", "pictures"),
    [
        ("lenet5", ["--form", "paper", "--optimizer", "adam", "--schedule", "step", "--early-stop", 5], 6),
        ("nin", ["--batch-norm", "--dropout", "0.1", "--flip", "random", "--ema", "0.5"], 96),
        ("all-cnn-a", ["--variant", "strided", "--schedule", "plateau", "--clip", 1, "--accumulate", 2], 96),
        ("fast-cifar", ["--lookahead", 5, "--tta", "mirror-shift", "--normalize", "channel"], 24),
        ("two-layer", ["--hidden", 20, "--label-smoothing", "0.2", "--weight-decay", "0.1"], 20),
    ],
)
def test_train_convolutional_nets_with_all_that_is_theirs(trained, command, place, model, flags, pictures):
    rng = np.random.default_rng(0)
    channels = 3 if model == "fast-cifar" else 1
    np.savez(
        place / "x.npz", x=rng.integers(0, 256, (30, 28, 28, channels), dtype=np.uint8), y=np.arange(30) % 3
    )
    folder = trained("run", "--data", "x.npz", "--model", model, "--epochs", 2, "--lr", "1e-3", *flags)
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert len([i for i in page.images if i["alt"] and "\u2192" not in i["alt"]]) == pictures
    assert ("Feature maps" in page.headings) == (model != "two-layer")
    tested = command("evaluate", "run")
    assert tested.status == 0
    with open(folder / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert f"test accuracy  {100 * float(last['test_accuracy']):.2f} %" in tested.out
    assert float(last["images_per_second"]) > 0 and float(last["peak_mb"]) > 10
    assert command("train", "--resume", "run", "--epochs", 3, "--quiet").status == 0


def test_train_data_go_by_their_title_in_reports_and_pictures(trained, command, rows):
    title = "rows (a copy, 75 %)"
    folder = trained("run", "--data", rows, "--data-title", title)
    assert f"<title>{title}: multi-layer perceptron" in (folder / "report.html").read_text(encoding="utf-8")
    assert Subject.load(RunFolder.open(folder), None).title == f"{title}, multi-layer perceptron"
    # It decides nothing, so that a run that goes on may have another.
    assert command("train", "--resume", folder, "--epochs", 2, "--data-title", "rows", "--quiet").status == 0
    assert settings_of(folder).shown_data == "rows"


def test_train_stops_early_and_says_so(command, quick, rows):
    flags = ["--data", "rows.npz", "--model", "softmax", "--label-smoothing", "0.5", "--early-stop", 1]
    status, out, err = command("train", *flags, "--lr", "0.1", "--out", "run")
    lines = out.splitlines()
    assert (status, err) == (0, "") and len(lines) < 30
    assert lines[-4] == "stopped early  no lower test loss in 1 epochs"
    assert command("train", "--resume", "run").err == (
        f"chainrule: early-stop: the run stopped after epoch {len(lines) - 4}: there is nothing to go on with\n"
    )


def test_train_where_a_class_is_absent(trained, command, place):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    for name, train, test in (
        ("test", [0, 1, 2], [0, 1]),
        ("training", [0, 1], [0, 1, 2]),
        ("both", [0, 3], [0, 3]),
    ):
        y_train, y_test = np.resize(train, 40), np.resize(test, 12)
        np.savez(place / "x.npz", x_train=x, y_train=y_train, x_test=x[:12], y_test=y_test)
        folder = trained(name, "--data", "x.npz")
        assert "Confusion matrix" in (folder / "report.html").read_text(encoding="utf-8")
        lines = command("evaluate", name).out.splitlines()[4:]
        assert len(lines) == max(*train, *test) + 1
        for label, line in enumerate(lines):
            assert ("-" in line) == (label not in test)
