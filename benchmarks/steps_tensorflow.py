"""The benchmarks' training steps in TensorFlow: a Keras model in one compiled function."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nets
import tensorflow as tf

version = tf.__version__


def set_threads(n):
    tf.config.threading.set_intra_op_parallelism_threads(n)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _padding(layer, size):
    """Keras pads by name. With a stride its 'same' puts the zeros on other sides, for the same work."""
    return "same" if layer.padding == size // 2 and size > 1 else "valid"


def build(net):
    """The net as a Keras model."""
    own = tf.keras.layers
    layers = [tf.keras.Input(net.image)]
    weights = []
    for layer, _, parameters in nets.built(net):
        match layer:
            case nets.Conv(filters, kernel, stride, _, bias):
                padding = _padding(layer, kernel)
                layers.append(own.Conv2D(filters, kernel, stride, padding, use_bias=bias))
            case nets.Linear(outputs):
                layers.append(own.Dense(outputs))
            case nets.BatchNorm():
                layers.append(own.BatchNormalization(momentum=0.9, epsilon=1e-5))
            case nets.ReLU():
                layers.append(own.ReLU())
            case nets.GELU():
                layers.append(own.Activation(tf.nn.gelu))
            case nets.MaxPool(size, stride):
                layers.append(own.MaxPooling2D(size, stride, _padding(layer, size)))
            case nets.AveragePool(size, stride):
                layers.append(own.AveragePooling2D(size, stride, _padding(layer, size)))
            case nets.GlobalAveragePool():
                layers.append(own.GlobalAveragePooling2D())
            case nets.Dropout(p):
                layers.append(own.Dropout(p))
            case nets.Flatten():
                layers.append(own.Flatten())
        weights += parameters
    model = tf.keras.Sequential(layers)
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    return model


def _hinge(labels, scores):
    chosen = tf.one_hot(labels, scores.shape[1])
    margins = tf.nn.relu(scores - tf.reduce_sum(scores * chosen, 1, keepdims=True) + 1) * (1 - chosen)
    return tf.reduce_mean(tf.reduce_sum(margins, 1))


def _cross_entropy(labels, scores):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))


def training(name, batch, precision="float32"):
    """Forward, loss, backward and an update by momentum, on the same batch each time."""
    if precision != "float32":
        raise NotImplementedError("compared in float32 alone")
    net = nets.NETS[name]
    x, labels = map(tf.constant, nets.data(net, batch))
    model = build(net)
    optimizer = tf.keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-3)
    loss_function = _hinge if net.loss == "hinge" else _cross_entropy

    @tf.function
    def update(x, labels):
        with tf.GradientTape() as tape:
            loss = loss_function(labels, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return lambda: float(update(x, labels))
