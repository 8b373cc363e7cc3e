"""The benchmarks' inference in onnxruntime: the net as an ONNX graph, channels first as ONNX has it."""

import tempfile
from pathlib import Path

import nets
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

version = onnxruntime.__version__
threads = 1


def set_threads(n):
    global threads
    threads = n


def build(net, batch):
    """The net in evaluation mode as an ONNX model."""
    nodes, weights = [], []
    value = "x"

    def add(operation, parameters=(), **attributes):
        nonlocal value
        names = [f"p{len(weights) + i}" for i in range(len(parameters))]
        weights.extend(numpy_helper.from_array(p, n) for p, n in zip(parameters, names, strict=True))
        result = f"y{len(nodes)}"
        nodes.append(helper.make_node(operation, [value, *names], [result], **attributes))
        value = result

    for layer, _, parameters in nets.channels_first(nets.built(net)):
        match layer:
            case nets.Conv(_, kernel, stride, padding):
                add("Conv", parameters, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4)
            case nets.Linear():
                add("Gemm", parameters, transB=1)
            case nets.BatchNorm():
                zeros = np.zeros_like(parameters[0])
                add("BatchNormalization", [*parameters, zeros, zeros + 1])
            case nets.ReLU():
                add("Relu")
            case nets.GELU():
                add("Gelu", domain="com.microsoft")  # ONNX itself has it from opset 20 on
            case nets.MaxPool(size, stride, padding):
                add("MaxPool", kernel_shape=[size] * 2, strides=[stride] * 2, pads=[padding] * 4)
            case nets.AveragePool(size, stride, padding):
                add(
                    "AveragePool",
                    kernel_shape=[size] * 2,
                    strides=[stride] * 2,
                    pads=[padding] * 4,
                    count_include_pad=1,
                )
            case nets.GlobalAveragePool():
                add("GlobalAveragePool")
                add("Flatten")
            case nets.Flatten():
                add("Flatten")
    shape = [batch, net.image[-1], *net.image[:-1]]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [batch, None])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return model


def inference(name, batch, output=None):
    """Scores of the same batch each time; the first go to the file `output`."""
    net = nets.NETS[name]
    x, _ = nets.data(net, batch)
    if x.ndim == 4:
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        onnx.save(build(net, batch), path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def step():
        return session.run(None, {"x": x})[0]

    if output is not None:
        np.save(output, step())
    return step
