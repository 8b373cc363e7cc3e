"""The models are the nets that the benchmarks time."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from chainrule.models import MLP, AllConvNet, LeNet5, NetworkInNetwork
from chainrule.nn import Dropout, Sequential

MODELS = {
    "mlp": lambda: MLP(784, (100,), 10),
    "lenet5": LeNet5,
    "all_cnn_c": lambda: AllConvNet(base="C", variant="all"),
    "network_in_network": lambda: NetworkInNetwork(pooling=("max", "average")),
}


@pytest.fixture(scope="module")
def nets():
    path = Path(__file__).parents[3] / "benchmarks" / "nets.py"
    spec = importlib.util.spec_from_file_location("nets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_layers_of_the_benchmark(nets, name):
    net, model = nets.NETS[name], MODELS[name]()
    layers = [m for m in model.modules() if m is not model and not isinstance(m, Sequential)]
    kinds = {
        "Conv": "Conv2d",
        "MaxPool": "MaxPool2d",
        "AveragePool": "AvgPool2d",
        "GlobalAveragePool": "GlobalAvgPool2d",
    }
    built = list(nets.built(net))
    expected = [kinds.get(type(layer).__name__, type(layer).__name__) for layer, _, _ in built]
    assert [type(layer).__name__ for layer in layers] == expected
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
