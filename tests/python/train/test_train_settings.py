"""Settings: their ranges, their contradictions, and their way into files and back."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.train import RunOptions, SettingsError, TrainSettings
from chainrule.train.config import (
    read_config,
    settings_from_file_values,
    settings_to_file_values,
    to_toml,
    with_absolute_paths,
)
from chainrule.train.settings import hyphened, resumed_settings

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
positive = st.floats(1e-30, 1e30)
shares = st.floats(0, 0.99)
# What goes by a model, an optimizer or a schedule, with that.
MODELS = {
    "svm": {"delta": positive, "squared_hinge": st.booleans()},
    "softmax": {"label_smoothing": shares},
    "mlp": {"hidden": st.lists(st.integers(1, 10**6), min_size=1, max_size=4).map(tuple)},
    "two-layer": {"hidden": st.tuples(st.integers(1, 10**6))},
    "lenet5": {"form": st.sampled_from(["modern", "paper"])},
    "nin": {"classifier": st.just("fully-connected"), "classifier_dropout": shares, "dropout": shares},
    "all-cnn-b": {
        "variant": st.sampled_from(["base", "strided", "convpool", "all"]),
        "batch_norm": st.booleans(),
        "input_dropout": shares,
    },
    "fast-cifar": {},
}
OPTIMIZERS = {
    "sgd": {"momentum": st.floats(0.01, 0.99), "nesterov": st.booleans(), "weight_decay": positive},
    "adamw": {"lr": positive},
    "rmsprop": {"momentum": st.floats(0.01, 0.99)},
}
SCHEDULES = {
    "constant": {"warmup": st.sampled_from([0.0, 0.5])},
    "step": {"gamma": shares, "step_size": st.integers(1, 10**9)},
    "multi-step": {"milestones": st.lists(st.integers(1, 10**9), min_size=1).map(tuple)},
    "cosine": {"final_lr": positive, "warmup_from": shares},
    "one-cycle": {},
    "plateau": {"patience": st.integers(0, 10**9), "gamma": shares},
}


def choices(of, table):
    return st.sampled_from(sorted(table)).flatmap(
        lambda name: st.fixed_dictionaries({of: st.just(name), **table[name]})
    )


valid_settings = st.builds(
    lambda *parts: TrainSettings(**{name: value for part in parts for name, value in part.items()}),
    st.fixed_dictionaries(
        {"data": st.sampled_from(["digits"]) | texts.map(lambda name: name + ".npz"), "lr": positive},
        optional={
            "epochs": st.integers(1, 10**9),
            "batch_size": st.none() | st.integers(1, 10**12),
            "accumulate": st.integers(1, 10**12),
            "l1": st.just(0.0) | positive,
            "l2": st.just(0.0) | positive,
            "bias_lr": positive,
            "bias_weight_decay": st.just(0.0) | positive,
            "clip": positive,
            "normalize": st.sampled_from(["none", "scale", "standard", "channel", "whiten"]),
            "flip": st.sampled_from(["none", "random", "alternate"]),
            "translate": st.integers(0, 10**4),
            "cutout": st.integers(0, 10**4),
            "early_stop": st.none() | st.integers(1, 10**9),
            "precision": st.sampled_from(["float32", "bfloat16"]),
            "tta": st.sampled_from(["none", "mirror", "mirror-shift"]),
            "seed": st.integers(0, 2**63 - 1),
        },
    ),
    choices("model", MODELS),
    choices("optimizer", OPTIMIZERS),
    choices("schedule", SCHEDULES),
    st.fixed_dictionaries({}, optional={"ema": shares}) | st.just({"lookahead": 5}),
)


@given(valid_settings)
def test_settings_written_as_toml_are_read_back_to_the_bit(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("toml") / "settings.toml"
    path.write_text(to_toml(settings), encoding="utf-8")
    assert TrainSettings(**read_config(str(path))) == settings


@given(valid_settings)
def test_settings_survive_the_values_of_a_file(settings):
    assert TrainSettings(**settings_from_file_values(settings_to_file_values(settings), "x")) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs: 0 is not in 1 to 1000000000"),
        ({"epochs": -3}, "epochs: -3 is not in"),
        ({"epochs": 10**400}, r"epochs: 1000+\.\.\. is not in"),
        ({"epochs": 16**9000}, "epochs: a value too long to write is not in"),
        ({"batch_size": 0}, "batch-size: 0 is not in 1 to"),
        ({"batch_size": -1}, "batch-size: -1 is not"),
        ({"lr": 0.0}, r"lr: 0\.0 is not above 0"),
        ({"lr": -1.0}, r"lr: -1\.0 is not above 0"),
        ({"lr": float("nan")}, "lr: nan is not above 0"),
        ({"lr": float("inf")}, "lr: inf is not above 0"),
        ({"momentum": 1.0}, r"momentum: 1\.0 is not in \[0, 1\)"),
        ({"momentum": -0.1}, r"momentum: -0\.1 is not in"),
        ({"momentum": float("nan")}, "momentum: nan is not in"),
        ({"l1": -1e-9}, "l1: -1e-09 is not at least 0"),
        ({"l2": float("nan")}, "l2: nan is not at least 0"),
        ({"l2": float("inf")}, "l2: inf is not at least 0"),
        ({"seed": -1}, r"seed: -1 is not in \[0, 2\^63\)"),
        ({"seed": 2**63}, r"seed: 9223372036854775808 is not in"),
        ({"hidden": ()}, "hidden: give at least one width"),
        ({"hidden": (10, 0)}, "hidden: 0 is not in 1 to 1000000"),
        ({"hidden": (10**20,)}, "hidden: 100000000000000000000 is not in"),
        ({"model": "svm", "delta": 0.0}, r"delta: 0\.0 is not above 0"),
        ({"model": "svm", "delta": float("inf")}, "delta: inf is not above 0"),
        ({"model": "forest"}, "model: 'forest' is not one of svm, softmax, mlp"),
        ({"normalize": "log"}, "normalize: 'log' is not one of none, scale, standard, channel, whiten"),
        ({"data": "iris"}, "data: 'iris' is not one of digits, mnist, cifar10 or a PATH.npz"),
        ({"data": "mnist"}, "root: mnist needs the folder with its files: give --root DIR"),
        ({"data": "cifar10"}, "root: cifar10 needs the folder"),
        ({"root": "x"}, "root: digits reads no folder"),
        ({"data_title": " "}, "data-title: ' ': give 1 to 60 characters in one line"),
        ({"data_title": "a\nb"}, r"data-title: 'a\\nb': give 1 to 60"),
        ({"data_title": 61 * "x"}, "data-title: 'x+.*: give 1 to 60"),
        ({"data": "x.npz", "root": "x"}, "root: x.npz reads no folder"),
        ({"model": "softmax", "hidden": (5,)}, "hidden: only mlp and two-layer read it, not softmax"),
        ({"model": "mlp", "delta": 2.0}, "delta: only svm reads it, not mlp"),
        ({"model": "mlp", "delta": 1.0}, "delta: only svm reads it, not mlp"),
        ({"model": "two-layer", "hidden": (3, 4)}, "hidden: 2 widths for two-layer: give one"),
        ({"model": "mlp", "form": "paper"}, "form: only lenet5 reads it, not mlp"),
        ({"model": "lenet5", "form": "old"}, "form: 'old' is not one of modern, paper"),
        (
            {"model": "nin", "variant": "all"},
            "variant: only all-cnn-a, all-cnn-b and all-cnn-c read it, not nin",
        ),
        ({"model": "all-cnn-c", "variant": "x"}, "variant: 'x' is not one of base, strided, convpool, all"),
        (
            {"model": "nin", "classifier": "x"},
            "classifier: 'x' is not one of global-average, fully-connected",
        ),
        (
            {"model": "nin", "classifier_dropout": 0.5},
            "classifier-dropout: only fully-connected reads it, not global-average",
        ),
        (
            {"classifier_dropout": 0.5},
            "classifier-dropout: only fully-connected reads it as classifier: leave",
        ),
        ({"model": "nin", "dropout": 1.5}, r"dropout: 1\.5 is not in \[0, 1\]"),
        ({"model": "lenet5", "batch_norm": True}, "batch-norm: only nin, all-cnn-a, .* read it, not lenet5"),
        ({"model": "svm", "label_smoothing": 0.1}, "label-smoothing: only softmax, .* read it, not svm"),
        ({"label_smoothing": 1.0}, r"label-smoothing: 1\.0 is not in \[0, 1\)"),
        ({"optimizer": "lion"}, "optimizer: 'lion' is not one of sgd, adam, adamw, rmsprop, adagrad"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum: only sgd and rmsprop read it, not adam"),
        ({"optimizer": "adam", "nesterov": True}, "nesterov: only sgd reads it, not adam"),
        ({"weight_decay": -1.0}, r"weight-decay: -1\.0 is not at least 0"),
        ({"bias_lr": 0.0}, r"bias-lr: 0\.0 is not above 0"),
        ({"bias_weight_decay": -1.0}, r"bias-weight-decay: -1\.0 is not at least 0"),
        ({"clip": 0.0}, r"clip: 0\.0 is not above 0"),
        ({"accumulate": 0}, "accumulate: 0 is not in 1 to"),
        ({"schedule": "sine"}, "schedule: 'sine' is not one of constant, step, multi-step"),
        ({"gamma": 0.1}, "gamma: only step, multi-step, exponential and plateau read it, not constant"),
        ({"schedule": "step", "gamma": -0.1}, r"gamma: -0\.1 is not at least 0"),
        ({"schedule": "step", "step_size": 0}, "step-size: 0 is not in 1 to"),
        ({"schedule": "multi-step"}, "milestones: multi-step needs epochs: give them as --milestones"),
        ({"schedule": "multi-step", "milestones": (3, 0)}, "milestones: 0 is not in 1 to"),
        (
            {"schedule": "multi-step", "milestones": (3, 9), "warmup": 4.0},
            "milestones: 3 is within the 4 epochs of warm-up",
        ),
        ({"schedule": "plateau", "gamma": 1.0}, r"gamma: 1\.0 is not in \[0, 1\)"),
        ({"schedule": "plateau", "patience": -1}, "patience: -1 is not in 0 to"),
        (
            {"schedule": "plateau", "warmup": 0.5},
            r"warmup: 0\.5: plateau goes by epochs: give a whole number",
        ),
        ({"schedule": "one-cycle", "warmup": 1.0}, "warmup: only constant, step, .* read it, not one-cycle"),
        ({"lr": 1e306, "bias_lr": 100.0}, r"lr: 1e\+306 makes a learning rate beyond 1e\+307, with bias-lr"),
        (
            {"schedule": "step", "step_size": 10, "gamma": 1e200},
            r"gamma: 1e\+200 makes a learning rate beyond 1e\+307 in the end",
        ),
        ({"schedule": "exponential", "gamma": 1e300}, "gamma: .* in the end"),
        ({"schedule": "multi-step", "milestones": (1, 2), "gamma": 1e200}, "gamma: .* in the end"),
        ({"schedule": "cosine", "final_lr": 1e300, "lr": 1e10}, "final-lr: .* in the end"),
        ({"schedule": "one-cycle", "momentum": 0.0}, "schedule: one-cycle moves momentum, which is 0"),
        ({"warmup": 30.0}, r"warmup: 30\.0 is not below the 30 epochs of the run"),
        ({"warmup": -1.0}, r"warmup: -1\.0 is not at least 0"),
        ({"warmup_from": 2.0}, r"warmup-from: 2\.0 is not in \[0, 1\]"),
        ({"ema": 1.0}, r"ema: 1\.0 is not in \[0, 1\)"),
        ({"lookahead": -1}, "lookahead: -1 is not in 0 to"),
        ({"ema": 0.9, "lookahead": 5}, "lookahead: the run has an average of weights, ema: give one"),
        ({"early_stop": 0}, "early-stop: 0 is not in 1 to"),
        ({"precision": "float16"}, "precision: 'float16' is not one of float32, bfloat16"),
        ({"tta": "flip"}, "tta: 'flip' is not one of none, mirror, mirror-shift"),
        ({"flip": "up"}, "flip: 'up' is not one of none, random, alternate"),
        ({"translate": -1}, "translate: -1 is not in 0 to 10000"),
        ({"cutout": 10**6}, "cutout: 1000000 is not in 0 to 10000"),
        ({"padding": "wrap"}, "padding: 'wrap' is not one of zero, reflect"),
        ({"padding": "reflect"}, "padding: reflect without --translate pads nothing"),
        ({"model": "softmax", "squared_hinge": True}, "squared-hinge: only svm reads it, not softmax"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov: momentum is 0"),
    ],
)
def test_settings_out_of_range_or_in_contradiction_are_named(values, message):
    with pytest.raises(SettingsError, match=f"^{message}") as caught:
        TrainSettings(**values)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**400])
def test_options_threads_out_of_range(threads):
    with pytest.raises(SettingsError, match=r"^threads: .* is not in 1 to 1024"):
        RunOptions(threads=threads)


@pytest.mark.parametrize("every", [(0, "steps"), (-1, "steps"), (0.0, "seconds"), (float("nan"), "seconds")])
def test_options_checkpoint_every_out_of_range(every):
    with pytest.raises(SettingsError, match=rf"^checkpoint-every: .* is not above 0 {every[1]}"):
        RunOptions(checkpoint_every=every)


def test_options_resume_and_out_contradict_each_other():
    with pytest.raises(SettingsError, match=r"^out: a resumed run stays where it is"):
        RunOptions(resume="a", out="b")


# Configuration files


TEXTS = ["flip", "padding", "form", "variant", "classifier", "optimizer", "schedule", "precision", "tta"]
NUMBERS = [
    "dropout",
    "input-dropout",
    "classifier-dropout",
    "weight-decay",
    "bias-lr",
    "bias-weight-decay",
    "label-smoothing",
    "clip",
    "gamma",
    "final-lr",
    "warmup",
    "warmup-from",
    "ema",
]


def config(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_config_holds_every_name_as_flags_or_fields_write_it(tmp_path):
    for spell in (hyphened, lambda name: name.replace("-", "_")):
        text = "\n".join(
            f"{spell(name)} = {value}"
            for name, value in {
                "data": '"cifar10"',
                "root": '"there"',
                "data-title": '"a copy"',
                "model": '"mlp"',
                "hidden": "[3, 4]",
                "epochs": "7",
                "batch_size": '"full"',
                "lr": "1",
                "momentum": "0.5",
                "nesterov": "true",
                "l1": "1e-3",
                "l2": "0",
                "normalize": '"none"',
                **{name: '"x"' for name in TEXTS},
                **dict.fromkeys(["translate", "cutout", "accumulate", "step-size", "patience"], "1"),
                **dict.fromkeys(["lookahead", "early-stop"], "1"),
                **dict.fromkeys(NUMBERS, "0.5"),
                "batch-norm": "true",
                "milestones": "[6, 8]",
                "checkpoint-every": '"60s"',
                "delta": "1.0",
                "squared_hinge": "false",
                "seed": "9",
                "out": '"o"',
                "resume": '"r"',
                "threads": "2",
                "quiet": "true",
            }.items()
        )
        read = read_config(config(tmp_path, text))
        names = {f.name for cls in (TrainSettings, RunOptions) for f in fields(cls)}
        assert read.keys() == names and read["checkpoint_every"] == (60.0, "seconds")
        assert read["hidden"] == (3, 4) and read["batch_size"] is None
        assert read["lr"] == 1.0 and isinstance(read["lr"], float)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs = ", "no valid TOML: Invalid value"),
        ("epochs = 1\nepochs = 2", "no valid TOML"),
        ("batch-size = 1\nbatch_size = 2", "'batch_size' is given twice"),
        (b"\xff\xfe", "not UTF-8 text"),
        ("a = " + "[" * 100_000, "no valid TOML: it is nested too deeply"),
        ("epoch = 3", r"unknown name 'epoch': did you mean epochs\?"),
        ("xyz = 3", "unknown name 'xyz': chainrule train --help lists the names"),
        ("config = 'x'", "unknown name 'config'"),
        ("[train]\nepochs = 3", "unknown name 'train'"),
        ("epochs = 2.5", r"epochs: 2\.5 is no integer"),
        ("epochs = '3'", "epochs: '3' is no integer"),
        ("epochs = true", "epochs: True is no integer"),
        ("epochs = [1]", r"epochs: \[1\] is no integer"),
        ("lr = 'fast'", "lr: 'fast' is no number"),
        ("lr = true", "lr: True is no number"),
        (f"lr = 0x{'f' * 10_000}", "lr: a value too long to write is no number"),
        ("nesterov = 1", r"nesterov: 1 is no boolean \(true or false\)"),
        ("model = 3", "model: 3 is no text"),
        ("model = ''", "model: '' is no text"),
        ('out = "a\\u0000b"', "out: .* is no text"),
        ("hidden = 100", "hidden: 100 is no list of integers"),
        ("hidden = [1.5]", r"hidden: \[1\.5\] is no list of integers"),
        ("hidden = [[1]]", r"hidden: \[\[1\]\] is no list of integers"),
        ("batch-size = 'half'", "batch-size: 'half' is no integer or 'full'"),
        ("seed = 2020-01-01", "seed: .* is no integer"),
        ("milestones = 3", "milestones: 3 is no list of integers"),
        (
            "checkpoint-every = 1.5",
            r"checkpoint-every: 1\.5 is no number of steps such as 500, or of seconds",
        ),
        ("checkpoint-every = '5m'", "checkpoint-every: '5m' is no number of steps"),
        (f"'{'n' * 500}' = 1", r"unknown name 'n+\.\.\."),
    ],
)
def test_config_that_is_damaged_or_wrong_is_one_line_with_its_name(tmp_path, content, message):
    path = config(tmp_path, content)
    with pytest.raises(SettingsError, match=f"^config: {path}: {message}") as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_config_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.toml: No such file"):
        read_config(str(tmp_path / "absent.toml"))
    with pytest.raises(SettingsError, match="Is a directory"):
        read_config(str(tmp_path))


@given(st.binary(max_size=60))
def test_config_of_any_bytes_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("toml") / "x.toml"
    path.write_bytes(content)
    try:
        read_config(str(path))
    except SettingsError as error:
        assert "\n" not in str(error)


# Resuming


def test_resumed_settings_are_the_stored_ones_with_what_may_change():
    stored = TrainSettings(data="mnist", root="a", model="softmax", lr=0.1, seed=5)
    assert resumed_settings(stored, {}) == stored
    changed = resumed_settings(stored, {"epochs": 50, "lr": 0.01, "root": "b", "seed": 5})
    assert changed == replace(stored, epochs=50, lr=0.01, root="b")


def test_resumed_settings_let_a_file_of_data_move():
    stored = TrainSettings(data="/a/x.npz")
    assert resumed_settings(stored, {"data": "/b/y.npz"}).data == "/b/y.npz"
    with pytest.raises(SettingsError, match=r"^data: 'digits' contradicts"):
        resumed_settings(stored, {"data": "digits"})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model", "svm", "model: 'svm' contradicts the run to resume, which has 'mlp'"),
        ("batch_size", None, "batch-size: 'full' contradicts the run to resume, which has 32"),
        ("hidden", (3,), r"hidden: \[3\] contradicts the run to resume, which has \[100\]"),
        ("seed", 1, "seed: 1 contradicts the run to resume, which has 0"),
        ("momentum", 0.5, r"momentum: 0\.5 contradicts"),
        ("schedule", "step", "schedule: 'step' contradicts the run to resume, which has 'constant'"),
        ("milestones", (3,), r"milestones: \[3\] contradicts the run to resume, which has None"),
        ("data", "x.npz", r"data: 'x\.npz' contradicts the run to resume, which has 'digits'"),
    ],
)
def test_resumed_settings_refuse_what_contradicts(name, value, message):
    with pytest.raises(SettingsError, match=f"^{message}"):
        resumed_settings(TrainSettings(), {name: value})


def test_paths_of_data_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert with_absolute_paths({"data": "x.npz", "root": "r"}) == {
        "data": str(tmp_path / "x.npz"),
        "root": str(tmp_path / "r"),
    }
    assert with_absolute_paths({"data": "mnist", "epochs": 3}) == {"data": "mnist", "epochs": 3}
