"""FastCifarNet: its layers, its start, its whitening, and the recipe's net in PyTorch."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.models import FastCifarNet

RNG = np.random.default_rng(0)


def images(count, shape=(32, 32, 3), seed=0):
    """Smooth images, whose neighbouring pixels are alike."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, *shape)).cumsum(axis=1).cumsum(axis=2)
    return ((x - x.mean()) / x.std()).astype(np.float32)


def test_layers_and_parameters_by_hand():
    rows = FastCifarNet().summary((32, 32, 3)).layers
    weighty = [row for row in rows if row.kind in ("WhiteningConv2d", "Conv2d", "MaxPool2d", "Linear")]
    assert [row.output_shape for row in weighty] == [
        (31, 31, 24),
        (31, 31, 64),
        (15, 15, 64),
        (15, 15, 64),
        (15, 15, 256),
        (7, 7, 256),
        (7, 7, 256),
        (7, 7, 256),
        (3, 3, 256),
        (3, 3, 256),
        (1, 1, 256),
        (10,),
    ]
    convolutions = [9 * 24 * 64, 9 * 64 * 64, 9 * 64 * 256, 3 * 9 * 256 * 256]
    shifts = 2 * (64 + 256 + 256)  # of batch norms, whose scales are not learned
    assert sum(p.size for p in FastCifarNet().parameters()) == 24 + sum(convolutions) + shifts + 2560
    assert [row.kind for row in rows if "Norm" in row.kind or row.kind == "GELU"] == [
        "GELU",
        *["BatchNorm2d", "GELU"] * 6,
    ]


def test_what_is_learned_and_what_is_state():
    net = FastCifarNet(seed=0)
    learned, state = dict(net.named_parameters()), net.state_dict()
    assert "whitening.bias" in learned and "whitening.weight" not in learned
    assert "whitening.weight" in state and state["whitening.weight"].shape == (2, 2, 3, 24)
    norms = [m for m in net.modules() if isinstance(m, cr.nn.BatchNorm2d)]
    assert len(norms) == 6
    for norm in norms:
        assert norm.weight is None and not norm.bias.numpy().any()
        assert norm.momentum == 0.4 and norm.epsilon == 1e-12
    assert net.first_weights() is net.whitening.weight
    other = FastCifarNet(seed=1)
    net.set_whitening(images(3))
    other.load_state_dict(net.state_dict())
    x = images(2, seed=1)
    np.testing.assert_array_equal(net.eval()(x).numpy(), other.eval()(x).numpy())


def test_the_first_filters_of_each_convolution_pass_one_channel_on():
    net = FastCifarNet(seed=0)
    for layer in (m for m in net.modules() if isinstance(m, cr.nn.Conv2d)):
        weight = layer.weight.numpy()
        channels, filters = weight.shape[2:]
        passed = min(channels, filters)
        dirac = np.zeros((3, 3, channels, passed))
        dirac[1, 1, range(passed), range(passed)] = 1
        np.testing.assert_array_equal(weight[..., :passed], dirac)
        rest, limit = weight[..., passed:], 1 / np.sqrt(9 * channels)
        if rest.size:
            assert 0.99 * limit < np.abs(rest).max() <= limit
            assert rest.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    head = net.head.weight.numpy()
    assert 0.98 / 16 < np.abs(head).max() <= 1 / 16 and net.head.bias is None


def test_whitened_patches_have_covariance_1():
    net, x = FastCifarNet(seed=0), images(64)
    net.set_whitening(x, epsilon=0)
    y = net.whitening(x).numpy().reshape(-1, 24).astype(np.float64)
    covariance = y[:, :12].T @ y[:, :12] / len(y)  # about 0, as the recipe takes it
    np.testing.assert_allclose(covariance, np.eye(12), atol=2e-3)
    np.testing.assert_array_equal(y[:, 12:], -y[:, :12])


def test_whitening_puts_the_largest_variance_first_and_shrinks_the_small():
    net, x = FastCifarNet(seed=0), images(64)
    net.set_whitening(x)
    sizes = np.linalg.norm(net.whitening.weight.reshape(12, 24)[:, :12], axis=0)
    assert (np.diff(sizes) >= 0).all() and sizes[-1] <= 1 / np.sqrt(5e-4)
    many = FastCifarNet(seed=0)
    many.set_whitening(np.concatenate([x] * 20))  # more than one chunk of images
    np.testing.assert_allclose(
        np.abs(many.whitening.weight), np.abs(net.whitening.weight), rtol=1e-3, atol=1e-4
    )


def test_before_whitening_each_value_passes_with_both_signs():
    x = images(2)
    y = FastCifarNet(seed=0).whitening(x).numpy()
    np.testing.assert_array_equal(y[..., :3], x[:, :-1, :-1])
    np.testing.assert_array_equal(y[..., 9:12], x[:, 1:, 1:])
    np.testing.assert_array_equal(y[..., 12:], -y[..., :12])


def torch_net(torch):
    """The recipe's net, as PyTorch's users write it."""
    parts, functional = torch.nn, torch.nn.functional

    class Block(parts.Module):
        def __init__(self, channels, filters):
            super().__init__()
            self.c1 = parts.Conv2d(channels, filters, 3, padding="same", bias=False)
            self.n1 = parts.BatchNorm2d(filters, eps=1e-12, momentum=0.4)
            self.c2 = parts.Conv2d(filters, filters, 3, padding="same", bias=False)
            self.n2 = parts.BatchNorm2d(filters, eps=1e-12, momentum=0.4)

        def forward(self, x):
            x = functional.gelu(self.n1(functional.max_pool2d(self.c1(x), 2)))
            return functional.gelu(self.n2(self.c2(x)))

    class Net(parts.Module):
        def __init__(self):
            super().__init__()
            self.w = parts.Conv2d(3, 24, 2)
            self.b = parts.Sequential(Block(24, 64), Block(64, 256), Block(256, 256))
            self.fc = parts.Linear(256, 10, bias=False)

        def forward(self, x):
            x = self.b(functional.gelu(self.w(x)))
            return self.fc(functional.max_pool2d(x, 3).flatten(1)) / 9

    return Net()


def channels_first(array):
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)


def test_beside_pytorch_in_training_and_evaluation():
    torch = pytest.importorskip("torch")
    net, twin = FastCifarNet(seed=0), torch_net(torch)
    net.set_whitening(images(16, seed=3))
    with torch.no_grad():
        twin.w.weight[:] = torch.tensor(channels_first(net.whitening.weight))
        twin.w.bias.zero_()
        convolutions = [m for m in net.modules() if isinstance(m, cr.nn.Conv2d)]
        for ours, theirs in zip(convolutions, [c for b in twin.b for c in (b.c1, b.c2)], strict=True):
            theirs.weight[:] = torch.tensor(channels_first(ours.weight.numpy()))
        twin.fc.weight[:] = torch.tensor(net.head.weight.numpy().T.copy())
    x, y = images(8, seed=1), RNG.integers(0, 10, 8)
    t = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    scores, expected = net(x), twin(t)
    np.testing.assert_allclose(scores.numpy(), expected.detach().numpy(), rtol=1e-3, atol=1e-4)
    net.loss(scores, y, 0.2).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(y), label_smoothing=0.2).backward()
    np.testing.assert_allclose(
        net.head.weight.grad.numpy(), twin.fc.weight.grad.numpy().T, rtol=1e-2, atol=1e-5
    )
    first = channels_first(convolutions[0].weight.grad.numpy())
    reference = twin.b[0].c1.weight.grad.numpy()
    assert np.abs(first - reference).max() < 1e-3 * np.abs(reference).max()
    norms = [m for m in net.modules() if isinstance(m, cr.nn.BatchNorm2d)]
    for ours, theirs in zip(norms, [n for b in twin.b for n in (b.n1, b.n2)], strict=True):
        np.testing.assert_allclose(ours.running_mean, theirs.running_mean.numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ours.running_var, theirs.running_var.numpy(), rtol=1e-3, atol=1e-4)
    net.eval()
    np.testing.assert_allclose(net(x).numpy(), twin.eval()(t).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_whitening_weights_are_the_recipes():
    torch = pytest.importorskip("torch")
    net, x = FastCifarNet(seed=0), images(50)
    net.set_whitening(x)
    t = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    patches = t.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    vectors = vectors.T.flip(0).reshape(12, 3, 2, 2) / torch.sqrt(values.flip(0).view(-1, 1, 1, 1) + 5e-4)
    ours = channels_first(net.whitening.weight)[:12]
    # An eigenvector's sign is free, and both signs are among the filters.
    signs = np.sign((ours * vectors.numpy()).sum(axis=(1, 2, 3), keepdims=True))
    np.testing.assert_allclose(ours, vectors.numpy() * signs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape, features", [((28, 28, 1), 256), ((56, 32, 3), 512)])
def test_other_images(shape, features):
    net = FastCifarNet(shape, 5, seed=0)
    assert net.head.weight.shape == (features, 5)
    net.set_whitening(images(4, shape))
    assert net(images(2, shape)).shape == (2, 5)


def test_the_bias_of_the_whitening_can_be_frozen():
    net = FastCifarNet(seed=0)
    net.whitening.bias.requires_grad = False
    net.loss(net(images(4)), np.arange(4)).backward()
    assert net.whitening.bias.grad is None
    assert all(p.grad is not None for p in net.parameters() if p is not net.whitening.bias)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: FastCifarNet((24, 32, 3)), "FastCifarNet: images of 24 x 32: give sides of at least 25"),
        (
            lambda: FastCifarNet().set_whitening(images(2, (32, 32, 1))),
            "FastCifarNet.set_whitening: images (2, 32, 32, 1) is not (N, 32, 32, 3), the images it was made for",
        ),
        (
            lambda: FastCifarNet().set_whitening(images(2)[:0]),
            "images (0, 32, 32, 3): give one or more, of finite",
        ),
        (
            lambda: FastCifarNet().set_whitening(images(2) * np.inf),
            "images (2, 32, 32, 3): give one or more, of fin",
        ),
        (lambda: FastCifarNet().set_whitening(images(2)[0]), "images (32, 32, 3) is not (N, 32, 32, 3)"),
        (
            lambda: FastCifarNet().set_whitening(images(2), -1),
            "set_whitening: epsilon = -1: give a finite number",
        ),
    ],
)
def test_what_does_not_fit_is_refused(act, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        act()
