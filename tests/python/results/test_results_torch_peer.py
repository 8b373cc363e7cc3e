"""PyTorch's side of the comparisons: the same net with the same weights, steps and tests."""

import csv

import numpy as np
import pytest
import torch
import torch_model
import torch_peer

from chainrule import models
from chainrule.cli.main import main
from chainrule.nn import Module

NETS = {
    "all-cnn-c": lambda: models.AllConvNet((16, 16, 3), batch_norm=True, seed=1),
    "strided": lambda: models.AllConvNet((16, 16, 3), variant="strided", seed=1),
    "nin": lambda: models.NetworkInNetwork((8, 8, 3), batch_norm=True, seed=1),
    "nin, average": lambda: models.NetworkInNetwork((8, 8, 3), pooling="average", seed=1),
    "nin, fully connected": lambda: models.NetworkInNetwork((8, 8, 1), classifier="fully_connected", seed=1),
    "fast-cifar": lambda: models.FastCifarNet(seed=1),
    "lenet5": lambda: models.LeNet5((16, 16, 1), seed=1),
}


@pytest.mark.parametrize("name", NETS)
def test_the_translation_gives_the_same_scores(name):
    model = NETS[name]().eval()
    translation = torch_model.Translation(model)
    images = np.random.default_rng(0).standard_normal((3, *model.input_shape), dtype=np.float32)
    with torch.inference_mode():
        scores = translation.module.eval()(torch_peer.channels_first(images))
    np.testing.assert_allclose(scores.numpy(), model(images).numpy(), rtol=1e-4, atol=1e-4)
    assert translation.parameters.keys() == {n for n, _ in model.named_parameters()}
    assert {id(p) for p in translation.parameters.values()} == {
        id(p) for p in translation.module.parameters() if p.requires_grad
    }


def test_what_is_not_translated():
    with pytest.raises(TypeError, match="Translation: MLP is not translated"):
        torch_model.Translation(models.MLP(4, 3, 2))
    net = models.LeNet5((16, 16, 1))
    net.layers = Module()
    with pytest.raises(TypeError, match="Translation: Module is not translated"):
        torch_model.Translation(net)


SETTINGS = {
    "nin": [
        "--model",
        "nin",
        "--batch-norm",
        "--dropout",
        "0",
        "--translate",
        "1",
        "--label-smoothing",
        "0.1",
    ],
    "lookahead": [
        "--model",
        "nin",
        "--dropout",
        "0",
        "--lookahead",
        "2",
        "--bias-lr",
        "4",
        "--bias-weight-decay",
        "1e-3",
    ],
    "views": [
        "--lr",
        "0.005",
        "--model",
        "nin",
        "--dropout",
        "0",
        "--tta",
        "mirror-shift",
        "--schedule",
        "one-cycle",
        "--nesterov",
    ],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_both_train_alike(name, tmp_path, capsys):
    digits = tmp_path / "digits.npz"
    rng = np.random.default_rng(0)
    splits = {f"{kind}_{part}": None for part in ("train", "test") for kind in "xy"}
    for part, count in (("train", 60), ("test", 20)):
        splits[f"y_{part}"] = np.arange(count) % 3
        splits[f"x_{part}"] = rng.integers(0, 60, (count, 8, 8), dtype=np.uint8)
        splits[f"x_{part}"][np.arange(count), np.arange(count) % 3] += 150
    np.savez(digits, **splits)
    shared = ["--data", str(digits), "--epochs", "2", "--batch-size", "10", "--lr", "0.02", *SETTINGS[name]]
    shared += ["--weight-decay", "0.001", "--normalize", "channel", "--threads", "1"]
    assert main(["train", *shared, "--quiet", "--out", str(tmp_path / "ours")]) == 0
    threads = torch.get_num_threads()
    try:
        assert torch_peer.main([*shared, "--out", str(tmp_path / "peer")]) == 0
    finally:
        torch.set_num_threads(threads)
    assert "epoch 2/2" in capsys.readouterr().out
    ours, peer = (
        list(csv.DictReader((tmp_path / folder / "metrics.csv").read_text().splitlines()))
        for folder in ("ours", "peer")
    )
    assert len(ours) == len(peer) == 2
    for a, b in zip(ours, peer, strict=True):
        for field in ("train_loss", "test_loss", "lr"):
            assert float(a[field]) == pytest.approx(float(b[field]), rel=2e-3)
    assert (tmp_path / "peer" / "settings.toml").read_bytes() == (
        tmp_path / "ours" / "settings.toml"
    ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "adam"], "optimizer: 'adam' is not made for PyTorch here"),
        (["--ema", "0.9"], "ema: 0.9 is not made for PyTorch here"),
        (["--schedule", "plateau"], "schedule: plateau is not made for PyTorch here"),
        (["--model", "mlp"], "Translation: MLP is not translated"),
        (["--data", "mnist"], "root: mnist needs the folder"),
        (["--epochs", "0"], "epochs: 0 is not in 1"),
        (["--no-such"], "unrecognized arguments"),
    ],
)
def test_bad_settings(arguments, message, tmp_path, capsys):
    assert torch_peer.main(["--model", "nin", *arguments, "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"torch_peer: {message}") and errors.count("\n") == 1


def test_a_folder_is_needed(capsys):
    assert torch_peer.main(["--model", "nin"]) == 2
    assert capsys.readouterr().err == "torch_peer: out: the folder to write is not given\n"
