"""The models are the nets that the benchmarks time, and the engines that are compared build the same ones."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from chainrule.models import MLP, AllConvNet, FastCifarNet, LeNet5, NetworkInNetwork
from chainrule.nn import Dropout, Sequential

MODELS = {
    "mlp": lambda: MLP(784, (100,), 10),
    "lenet5": LeNet5,
    "all_cnn_c": lambda: AllConvNet(base="C", variant="all"),
    "network_in_network": lambda: NetworkInNetwork(pooling=("max", "average")),
}
KINDS = {
    "Conv": "Conv2d",
    "BatchNorm": "BatchNorm2d",
    "MaxPool": "MaxPool2d",
    "AveragePool": "AvgPool2d",
    "GlobalAveragePool": "GlobalAvgPool2d",
}


def kind(layer):
    """The class that the library has for a layer of the benchmarks."""
    name = type(layer).__name__
    return KINDS.get(name, name)


@pytest.fixture
def imported(monkeypatch):
    """Imports a module of the benchmarks, which import each other by name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "benchmarks")
    return importlib.import_module


@pytest.fixture
def nets(imported):
    return imported("nets")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_layers_of_the_benchmark(nets, name):
    net, model = nets.NETS[name], MODELS[name]()
    layers = [m for m in model.modules() if m is not model and not isinstance(m, Sequential)]
    built = list(nets.built(net))
    assert [type(layer).__name__ for layer in layers] == [kind(layer) for layer, _, _ in built]
    for own, (layer, _, parameters) in zip(layers, built, strict=True):
        assert [p.shape for p in own.parameters()] == [p.shape for p in parameters]
        if hasattr(layer, "stride"):
            settings = getattr(own, "settings", vars(own))
            assert (settings["stride"] or own.size, settings["padding"]) == (layer.stride, layer.padding)
        if hasattr(layer, "size"):
            assert own.size == layer.size
        if isinstance(own, Dropout):
            assert own.p == layer.p
    x, _ = nets.data(net, 2)
    assert model.eval()(x).shape == (2, 10)
    assert np.isfinite(model(x).numpy()).all()


def test_fast_cifar_has_the_layers_of_its_model(nets):
    """All but what the model does not learn, and the bias of the last layer."""
    net = nets.NETS["fast_cifar"]
    rows = [row for row in FastCifarNet().summary(net.image).layers if row.output_shape is not None]
    rows = [row for row in rows if row.kind not in ("FastCifarNet", "Sequential")]
    built = list(nets.built(net))
    kinds = [row.kind for row in rows]
    assert ["Conv2d" if k == "WhiteningConv2d" else k for k in kinds] == [kind(layer) for layer, *_ in built]
    shapes = [shape for _, shape, _ in built]
    assert shapes == [net.image, *(row.output_shape for row in rows[:-1])]
    biases = [layer.bias for layer, *_ in built if isinstance(layer, nets.Conv)]
    assert biases == [True, *[False] * 6]


@pytest.mark.parametrize(
    "name", ["all_cnn_c", "fast_cifar", "lenet5", "mlp", "network_in_network", "vgg_like"]
)
@pytest.mark.parametrize(
    ("engine", "needed"), [("torch", ["torch"]), ("onnxruntime", ["onnx", "onnxruntime"])]
)
def test_engines_build_the_same_net(imported, engine, needed, name):
    for package in needed:
        pytest.importorskip(package)
    scores = [imported(f"steps_{e}").inference(name, 2)() for e in ("chainrule", engine)]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4 * np.abs(scores[0]).max())
