"""`chainrule view`: every kind of picture of real runs, and what is said to those who ask for the wrong one."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

import chainrule as cr
from chainrule.cli.report import first_weights
from chainrule.cli.subject import Subject
from chainrule.train import RunFolder

KINDS = ["filters", "features", "saliency", "explain", "patches", "cam", "confusion", "curves"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Small runs of several models, trained once: digits with 12 x 12 pixels, in gray and in colour, and vectors."""
    from chainrule.cli.main import main

    folder = tmp_path_factory.mktemp("runs")
    images, labels = cr.data.load_digits().train
    gray = np.pad(images[:300].astype(np.uint8) * 15, ((0, 0), (2, 2), (2, 2), (0, 0)))
    colour = np.concatenate([gray, gray // 2, 255 - gray], axis=3)
    np.savez(folder / "gray.npz", x=gray, y=labels[:300])
    np.savez(folder / "colour.npz", x=colour, y=labels[:300])
    np.savez(folder / "vectors.npz", x=images[:100].reshape(100, 64), y=labels[:100])
    before = cr.get_num_threads()
    cr.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.cli.train.report_of", lambda checkpoint, data: "no report")
        for name, data, *flags in (
            ("lenet", "gray", "--model", "lenet5", "--epochs", "2"),
            ("nin", "gray", "--model", "nin"),
            ("allcnn", "colour", "--model", "all-cnn-a", "--batch-norm"),
            ("tanh", "gray", "--model", "lenet5", "--form", "paper"),
            ("svm", "gray", "--model", "svm"),
            ("mlp", "colour", "--hidden", "20"),
            ("whitened", "gray", "--hidden", "20", "--normalize", "whiten"),
            ("vectors", "vectors", "--model", "softmax"),
        ):
            flags = ["--data", str(folder / f"{data}.npz"), "--epochs", "1", *flags]
            assert main(["train", "--quiet", "--out", str(folder / name), *flags]) == 0
    cr.set_num_threads(before)
    return folder


@pytest.fixture
def run(runs, place):
    """A copy of a run that a test may write into."""

    def copy(name):
        shutil.copytree(runs / name, place / name)
        return place / name

    return copy


def picture(folder, name):
    with Image.open(folder / name) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        image.load()
        return np.asarray(image)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("model", [["mlp"], ["all-cnn-a"]], ids=str)
def test_view_images_of_other_channels(command, trained, quick, place, channels, model):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 12, 12, channels), dtype=np.uint8)
    np.savez(place / "some.npz", x=images, y=np.arange(30) % 3)
    folder = trained("run", "--data", place / "some.npz", "--model", *model)
    kinds = ["filters", "saliency", "explain", *(["features", "patches", "cam"] if model != ["mlp"] else [])]
    for kind in kinds:
        numbers = ["0"] if kind not in ("filters", "patches") else []
        assert command("view", kind, folder, *numbers) == (0, f"{folder / kind}.png\n", "")
        assert picture(folder, f"{kind}.png").std() > 10


def test_view_scores_are_those_that_predict_gives(trained, quick, place):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    np.savez(place / "some.npz", x=images, y=np.arange(40) % 3)
    flags = ["--model", "nin", "--precision", "bfloat16", "--tta", "mirror-shift"]
    run = Subject.load(RunFolder.open(str(trained("run", "--data", place / "some.npz", *flags))), None)
    result = run.trained.test(run.data)
    found = run.examples([str(i) for i in range(len(result.labels))], False)
    np.testing.assert_array_equal([example.scores for example in found], result.scores)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lenet", ["filters"]),
        ("allcnn", ["filters"]),
        ("svm", ["filters"]),
        ("mlp", ["filters"]),
        ("whitened", ["filters"]),
        ("lenet", ["features", "0"]),
        ("lenet", ["features", "0", "--layer", "layers.3"]),
        ("allcnn", ["features", "3"]),
        ("tanh", ["features", "3"]),
        ("lenet", ["saliency", "0", "1", "2", "3", "4"]),
        ("svm", ["saliency", "0"]),
        ("whitened", ["saliency", "0"]),
        ("allcnn", ["saliency", "0", "--class", "7"]),
        ("lenet", ["explain", "0", "1"]),
        ("allcnn", ["explain", "0", "--class", "3"]),
        ("lenet", ["explain", "0", "--layer", "layers.4"]),
        ("lenet", ["explain", "0", "--layer", "layers.8", "--unit", "119"]),
        ("mlp", ["explain", "0"]),
        ("tanh", ["explain", "0", "1"]),  # without relu there is the gradient alone
        ("lenet", ["explain", "0", "--layer", "layers.0"]),
        ("lenet", ["patches"]),
        ("allcnn", ["patches", "--layer", "features.1", "--unit", "95"]),
        ("tanh", ["patches", "--layer", "layers.1"]),
        ("mlp", ["patches", "--layer", "layers.1"]),
        ("nin", ["cam", "0", "1"]),
        ("allcnn", ["cam", "0", "--class", "0"]),
        ("lenet", ["confusion"]),
        ("vectors", ["confusion"]),
        ("vectors", ["curves"]),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else x,
)
def test_view_writes_a_picture_into_the_run_folder(command, run, name, arguments):
    folder = run(name)
    before = {p.name for p in folder.iterdir()}
    kind, *rest = arguments
    outcome = command("view", kind, folder, *rest)
    assert outcome == (0, f"{folder / kind}.png\n", "")
    assert {p.name for p in folder.iterdir()} - before == {f"{kind}.png"}
    image = picture(folder, f"{kind}.png")
    assert image.shape[0] > 200 and image.shape[1] > 400
    assert (image[0] == 255).all() and (image[-1] == 255).all() and image.std() > 10


def test_view_takes_files_and_numbers_alike(command, run, runs, place):
    folder = run("lenet")
    test = Subject.load(RunFolder.open(folder), None).data.test
    Image.fromarray(test.images[7, ..., 0]).save(place / "7.png")
    Image.fromarray(255 - test.images[7, ..., 0]).save(place / "dark.png")
    Image.fromarray(test.images[7, ..., 0]).save(place / "7", format="PNG")
    drawn = []
    for name, flags in (("7", []), ("7.png", []), ("./7", []), ("dark.png", ["--invert"])):
        assert command("view", "explain", folder, name, *flags, "--class", "2").status == 0
        # Below the image stands a file's prediction, or a test image's true class: compare above it.
        drawn.append(picture(folder, "explain.png")[:500])
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])


def test_view_scales_image_files_to_the_size_of_the_run(command, run, place):
    folder = run("allcnn")
    Image.fromarray(np.arange(7 * 40 * 3, dtype=np.uint8).reshape(7, 40, 3)).save(place / "wide.png")
    (example,) = Subject.load(RunFolder.open(folder), None).examples(["wide.png"], False)
    assert example.pixels.shape == (12, 12, 3) and example.label is None
    assert command("view", "saliency", folder, "wide.png").status == 0


def test_view_shows_the_run_and_not_another(command, run):
    lenet, nin = run("lenet"), run("nin")
    for folder in (lenet, nin):
        command("view", "saliency", folder, "0")
    assert (picture(lenet, "saliency.png") != picture(nin, "saliency.png")).any()


def test_view_leaves_the_run_as_it_was_and_draws_the_same_again(command, run):
    folder = run("allcnn")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    drawn = []
    for _ in range(2):
        for kind in ("saliency", "explain", "cam"):
            assert command("view", kind, folder, "1").status == 0
        drawn.append([(folder / f"{kind}.png").read_bytes() for kind in ("saliency", "explain", "cam")])
    assert drawn[0] == drawn[1]
    for name, content in before.items():
        assert (folder / name).read_bytes() == content


def test_view_out_names_the_file(command, run, place):
    folder = run("lenet")
    assert command("view", "filters", folder, "--out", "slide.PNG") == (0, "slide.PNG\n", "")
    assert picture(place, "slide.PNG").any() and not (folder / "filters.png").exists()
    assert command("view", "curves", folder, run("nin"), "--out", "both.png") == (0, "both.png\n", "")


def test_view_curves_of_several_runs_go_to_the_first(command, run):
    folders = [run(name) for name in ("lenet", "nin", "svm")]
    assert command("view", "curves", *folders) == (0, f"{folders[0] / 'curves.png'}\n", "")
    alone = picture(folders[0], "curves.png")
    assert command("view", "curves", folders[0]).status == 0
    assert (
        picture(folders[0], "curves.png").shape != alone.shape
        or (picture(folders[0], "curves.png") != alone).any()
    )


def test_view_finds_data_that_were_moved(command, refused, place, run, runs):
    folder = run("lenet")
    assert "root: " in refused("view", "confusion", folder, "--root", ".")  # an npz file is no folder


def test_view_help_lists_every_kind(command):
    status, out, err = command("view", "--help")
    assert (status, err) == (0, "")
    assert all(re.search(rf"^ +{kind}\b", out, re.MULTILINE) for kind in KINDS)
    for kind in KINDS:
        status, out, err = command("view", kind, "--help")
        assert (status, err) == (0, "") and "RUN" in out and "--out FILE" in out
    assert re.search(r"^ +view ", command("--help").out, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lenet", ["features"], "the following arguments are required: IMAGE"),
        (
            "lenet",
            ["saliency", "60"],
            "image: 60: the test set has images 0 to 55 (a file of that name is ./60)",
        ),
        ("lenet", ["saliency", "9" * 50], "image: 99999999999999999999: the test set has images 0 to 55"),
        ("lenet", ["saliency", "absent.png"], "image: absent.png: no such file"),
        (
            "lenet",
            ["saliency", "0", "--class", "ten"],
            "class: 'ten' is not one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        ),
        ("lenet", ["features", "0", "1"], "view features: 2 images: give one"),
        (
            "lenet",
            ["features", "0", "--layer", "conv"],
            "layer: 'conv' is not one of layers, layers.0, layers.1",
        ),
        (
            "lenet",
            ["features", "0", "--layer", "layers.6"],
            "layer: layers.6 gives single units: name a layer of maps",
        ),
        ("lenet", ["explain", "0", "--unit", "3"], "unit: units are of a layer: give --layer"),
        (
            "lenet",
            ["explain", "0", "--layer", "layers.4", "--unit", "16"],
            "unit: 16: layers.4 has units 0 to 15",
        ),
        ("lenet", ["explain", "0", "--layer", "layers.4", "--unit", "-1"], "argument --unit: "),
        ("lenet", ["explain", "0", "--layer", "layers.4", "--unit", "x"], "'x' is no number of a unit"),
        (
            "lenet",
            ["explain", "0", "--layer", "layers.4", "--class", "1"],
            "class: a class is a unit of the last layer",
        ),
        (
            "whitened",
            ["patches", "--layer", "layers.1"],
            "view patches: gray, multi-layer perceptron: the inputs are whitened",
        ),
        ("lenet", ["patches", "--unit", "16"], "unit: 16: layers.4 has units 0 to 15"),
        ("lenet", ["patches", "--layer", "x"], "layer: 'x' is not one of"),
        (
            "lenet",
            ["cam", "0"],
            "view cam: gray, LeNet-5: class_activation_map: the model has 0 GlobalAvgPool2d",
        ),
        ("mlp", ["cam", "0"], "view cam: colour, multi-layer perceptron: the model has no feature maps"),
        ("mlp", ["features", "0"], "the model has no feature maps: it is no convolutional net"),
        ("mlp", ["patches"], "the model has no feature maps: name a layer of units with --layer"),
        ("vectors", ["filters"], "view filters: the run was trained on vectors of 64 features"),
        ("vectors", ["saliency", "0"], "trained on vectors of 64 features: there are no images to show"),
        ("vectors", ["patches"], "trained on vectors of 64 features"),
        (
            "lenet",
            ["filters", "--out", "x.jpg"],
            "out: x.jpg: pictures are PNG files: give a name that ends in .png",
        ),
        ("lenet", ["filters", "--out", "absent/x.png"], "out: absent/x.png: absent is no folder"),
        ("lenet", ["filters", "--out", "lenet.png"], "out: lenet.png: this is a folder: name a file"),
        ("lenet", ["filters", "--class", "1"], "unrecognized arguments: --class 1"),
    ],
    ids=lambda x: " ".join(x)[:50] if isinstance(x, list) else "",
)
def test_view_wrong_words_are_one_line(refused, run, place, name, arguments, message):
    folder = run(name)
    (place / "lenet.png").mkdir()
    kind, *rest = arguments
    assert message in refused("view", kind, folder, *rest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: KIND (see chainrule view --help)"),
        (["dreams", "x"], "'dreams'"),
        (["filters"], "the following arguments are required: RUN (see chainrule view filters --help)"),
        (["curves"], "the following arguments are required: RUN"),
        (["filters", "absent"], "run: absent is no folder"),
        (["curves", ".", "absent"], "run: . holds no checkpoint.safetensors"),
    ],
)
def test_view_wrong_words_without_a_run_are_one_line(refused, arguments, message):
    assert message in refused("view", *arguments)


def test_view_keeps_the_old_picture_when_the_disk_is_full(command, run, monkeypatch):
    folder = run("lenet")
    command("view", "filters", folder)
    old = (folder / "filters.png").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device", str(folder / "filters.png"))

    monkeypatch.setattr("chainrule.train.run_folder.os.replace", full)
    status, out, err = command("view", "filters", folder)
    assert (status, out) == (2, "") and "No space left on device" in err
    assert (folder / "filters.png").read_bytes() == old
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def subject(runs, name):
    return Subject.load(RunFolder.open(str(runs / name)), None)


def test_stages_are_the_layers_of_maps_with_what_follows_each(runs):
    assert [(s.layer, s.kinds, s.shape, s.pooling) for s in subject(runs, "lenet").stages] == [
        ("layers.1", "Conv2d, ReLU", (12, 12, 6), False),
        ("layers.2", "MaxPool2d", (6, 6, 6), True),
        ("layers.4", "Conv2d, ReLU", (2, 2, 16), False),
        ("layers.5", "MaxPool2d", (1, 1, 16), True),
    ]
    net = subject(runs, "allcnn")
    assert [s.layer for s in net.stages][:2] == ["features.3", "features.6"]
    assert all("Dropout" not in s.kinds for s in net.stages)
    assert net.stages[-1].shape[2] == 10 and net.stage_in_the_middle() == net.stages[-2]
    assert subject(runs, "mlp").stages == [] and subject(runs, "vectors").stages == []


def test_whitened_signals_are_pixels_again(runs):
    """The chain rule through the projection: the slope of the score in each pixel."""
    run = subject(runs, "whitened")
    image = run.data.test.images[:1].astype(np.float64)
    gradient = run.as_image(cr.grad(lambda x: run.model(x)[0, 3])(run.inputs(image))[0])
    assert gradient.shape == (12, 12, 1)
    for row, column in [(5, 5), (6, 8)]:
        moved = image.copy()
        moved[0, row, column] += 1
        scores = [run.model(run.inputs(x)).numpy()[0, 3] for x in (image, moved)]
        np.testing.assert_allclose(gradient[row, column, 0], scores[1] - scores[0], atol=2e-3)


def test_first_weights_are_filters_of_convolutions_and_templates_of_linear_layers(runs):
    for name, count, shape, expected in (
        ("lenet", 6, (5, 5, 1), "filters"),
        ("allcnn", 96, (5, 5, 3), "filters"),
        ("mlp", 20, (12, 12, 3), "templates"),
        ("svm", 10, (12, 12, 1), "templates"),
    ):
        pictures, word, note = first_weights(subject(runs, name).trained, 1000)
        assert len(pictures) == count and {p.image.shape for p in pictures} == {shape}
        assert word == expected and "The first" not in note
    pictures, _, note = first_weights(subject(runs, "allcnn").trained, 10)
    assert len(pictures) == 10 and "The first 10 of 96 filters." in note
