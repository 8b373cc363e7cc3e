"""Settings: their ranges, their contradictions, and their way into files and back."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.train import RunOptions, SettingsError, TrainSettings
from chainrule.train.settings import (
    hyphened,
    read_config,
    resumed_settings,
    settings_from_file_values,
    settings_to_file_values,
    to_toml,
    with_absolute_paths,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
positive = st.floats(1e-30, 1e30)
valid_settings = st.builds(
    TrainSettings,
    data=st.sampled_from(["digits"]) | texts.map(lambda name: name + ".npz"),
    model=st.just("mlp"),
    hidden=st.lists(st.integers(1, 10**6), min_size=1, max_size=4).map(tuple),
    epochs=st.integers(1, 10**9),
    batch_size=st.none() | st.integers(1, 10**12),
    lr=positive,
    momentum=st.floats(0.01, 0.99),
    nesterov=st.booleans(),
    l1=st.just(0.0) | positive,
    l2=st.just(0.0) | positive,
    normalize=st.sampled_from(["none", "scale", "standard", "whiten"]),
    seed=st.integers(0, 2**63 - 1),
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
        ({"normalize": "log"}, "normalize: 'log' is not one of none, scale, standard, whiten"),
        ({"data": "iris"}, "data: 'iris' is not one of digits, mnist, cifar10 or a PATH.npz"),
        ({"data": "mnist"}, "root: mnist needs the folder with its files: give --root DIR"),
        ({"data": "cifar10"}, "root: cifar10 needs the folder"),
        ({"root": "x"}, "root: digits reads no folder"),
        ({"data": "x.npz", "root": "x"}, "root: x.npz reads no folder"),
        ({"model": "softmax", "hidden": (5,)}, "hidden: only mlp reads it, not softmax"),
        ({"model": "mlp", "delta": 2.0}, "delta: only svm reads it, not mlp"),
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


def test_options_resume_and_out_contradict_each_other():
    with pytest.raises(SettingsError, match=r"^out: a resumed run stays where it is"):
        RunOptions(resume="a", out="b")


# Configuration files


def config(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_config_holds_every_name_as_flags_or_fields_write_it(tmp_path):
    for spell in (hyphened, str):
        text = "\n".join(
            f"{spell(name)} = {value}"
            for name, value in {
                "data": '"cifar10"',
                "root": '"there"',
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
        assert read.keys() == names
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
        ("epoch = 3", "unknown name 'epoch': known are data, root, model"),
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
