"""A run's model, the images that it is shown, and its layers: what `chainrule view` draws pictures from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

import chainrule
from chainrule.cli.errors import CommandError
from chainrule.cli.images import read_image
from chainrule.data import Dataset, Whiten
from chainrule.nn import Module, observe
from chainrule.train import Checkpoint, RunFolder, Trained
from chainrule.train.build import MODELS, load_data, model_title, normalised
from chainrule.train.config import with_absolute_paths
from chainrule.train.evaluate import scores_of
from chainrule.view import activations, to_pixels


@dataclass(frozen=True)
class Example:
    """One image.

    Attributes:
        pixels: (H, W, C) uint8, to be shown.
        input: as the model takes it.
        name: of the file, or the number of the test image.
        label: its class, None for a file.
        scores: the model's, (classes,).
    """

    pixels: np.ndarray
    input: np.ndarray
    name: str
    label: int | None
    scores: np.ndarray

    @property
    def predicted(self) -> int:
        return int(self.scores.argmax())


@dataclass(frozen=True)
class Stage:
    """A layer of maps with what follows it one by one: normalisation and activation.

    Attributes:
        layer: the dotted name of the last of them.
        kinds: the classes' names, 'Conv2d, ReLU'.
        shape: (height, width, channels) of its maps.
        pooling: whether it begins without weights, as pooling does.
    """

    layer: str
    kinds: str
    shape: tuple[int, int, int]
    pooling: bool

    @property
    def size(self) -> str:
        """The number and size of its maps as text."""
        height, width, maps = self.shape
        return f"{maps} maps of {height} \u00d7 {width}"


@dataclass(frozen=True)
class Subject:
    """A run to look into.

    Attributes:
        root: the folder with the data set's files, where it is not the one that the run was trained with.
    """

    trained: Trained
    root: str | None = None

    @classmethod
    def load(cls, folder: RunFolder, root: str | None) -> Subject:
        return cls(Trained.load(folder), root)

    @property
    def checkpoint(self) -> Checkpoint:
        return self.trained.checkpoint

    @property
    def model(self) -> Module:
        return self.trained.model

    @property
    def classes(self) -> Sequence[str]:
        return self.checkpoint.classes

    @property
    def title(self) -> str:
        """The run's data set and model, for headings."""
        settings = self.checkpoint.settings
        return f"{settings.shown_data}, {model_title(settings)}"

    @cached_property
    def data(self) -> Dataset:
        """The run's data set. Errors: DataError, TrainError."""
        settings = self.checkpoint.settings
        changes = {} if self.root is None else with_absolute_paths({"root": self.root})
        data, _ = load_data(replace(settings, **changes))
        self.trained.check_fits(data)
        return data

    def require_images(self, kind: str) -> None:
        """Errors: CommandError where the run was trained on vectors."""
        if len(self.checkpoint.image_shape) != 3:
            raise CommandError(
                f"view {kind}: the run was trained on vectors of {self.checkpoint.image_shape[0]} features: there are "
                "no images to show"
            )

    def require_pixels(self, kind: str) -> None:
        """Errors: CommandError where the model takes principal components, which are nowhere in the image."""
        if isinstance(self.trained.normaliser, Whiten):
            raise CommandError(
                f"view {kind}: {self.title}: the inputs are whitened, so that no part of them is a part of the image: "
                "view filters shows what the first layer looks for"
            )

    def pixels(self, images: np.ndarray) -> np.ndarray:
        return to_pixels(images, self.checkpoint.value_range)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        return normalised(self.trained.normaliser, images)

    def examples(self, names: Sequence[str], invert: bool) -> list[Example]:
        """The images, by number in the test set or by file. Errors: CommandError naming the one."""
        images, labels = [], []
        for name in names:
            if name.isascii() and name.isdigit():
                test = self.data.test
                number = int(name[:20])
                if number >= len(test.labels):
                    raise CommandError(
                        f"image: {name[:20]}: the test set has images 0 to {len(test.labels) - 1} (a file of that name "
                        f"is ./{name[:20]})"
                    )
                images.append(test.images[number])
                labels.append(int(test.labels[number]))
            else:
                shape, value_range = self.checkpoint.image_shape, self.checkpoint.value_range
                images.append(read_image(name, shape, value_range, invert))
                labels.append(None)
        stack = np.stack([np.asarray(image, np.float32) for image in images])
        inputs = self.inputs(stack)
        settings = self.checkpoint.settings
        scores = scores_of(self.model, inputs, precision=settings.precision, tta=settings.tta)
        return [
            Example(self.pixels(image), row, name, label, score)
            for image, row, name, label, score in zip(stack, inputs, names, labels, scores, strict=True)
        ]

    def class_number(self, name: str) -> int:
        """Errors: CommandError for a class that the run does not know."""
        if name not in self.classes:
            known = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
            raise CommandError(f"class: {name!r} is not one of {known}")
        return self.classes.index(name)

    def share(self, scores: np.ndarray, unit: int) -> str:
        """A class's probability, or score where the model has none, as text."""
        if MODELS[self.checkpoint.settings.model].probabilities:
            return f"{100 * chainrule.softmax(scores)[unit]:.1f} %"
        return f"score {scores[unit]:.2f}"

    def as_image(self, signal: np.ndarray) -> np.ndarray:
        """What reached the model's input as an image: principal components become the pixels that they stand for."""
        normaliser = self.trained.normaliser
        if isinstance(normaliser, Whiten):
            signal = (normaliser.projection @ signal).astype(np.float32)
        return signal.reshape(self.checkpoint.image_shape)

    @cached_property
    def probe(self) -> np.ndarray:
        """One black image as the model takes it."""
        return self.inputs(
            np.full((1, *self.checkpoint.image_shape), self.checkpoint.value_range[0], np.float32)
        )

    @cached_property
    def stages(self) -> list[Stage]:
        """The layers of maps in the order in which they run, each with what works on its maps one by one."""
        found: list[Stage] = []
        parts = dict(self.model.named_modules())

        def see(name: str, inputs, output) -> None:
            module, before, shape = parts[name], np.shape(inputs[0]), np.shape(output)
            if len(shape) != 4 or any(True for _ in module.children()) or output is inputs[0]:
                return
            arrays = [*module.parameters(), *(buffer for _, buffer in module.named_buffers())]
            weighty = any(len(array.shape) > 1 for array in arrays)
            kind = type(module).__name__
            if found and not weighty and shape == before:
                found[-1] = replace(found[-1], layer=name, kinds=f"{found[-1].kinds}, {kind}")
            else:
                found.append(Stage(name, kind, shape[1:], pooling=not weighty))

        with observe(self.model, see):
            scores_of(self.model, self.probe)
        return found

    def stage_in_the_middle(self) -> Stage:
        """The last layer of maps that has weights and is not one map a class: what the classifier reads."""
        with_weights = [s for s in self.stages if not s.pooling]
        inner = [s for s in with_weights if s.shape[2] != len(self.classes)]
        return (inner or with_weights)[-1]

    def require_maps(self, kind: str, instead: str = "it is no convolutional net") -> None:
        """Errors: CommandError where the model has no layer of maps, which says what to do instead."""
        self.require_images(kind)
        if not any(not s.pooling for s in self.stages):
            raise CommandError(f"view {kind}: {self.title}: the model has no feature maps: {instead}")

    def output_shape(self, layer: str) -> tuple[int, ...]:
        """Of a layer for one image: (units,) or (height, width, channels). Errors: CommandError where it has none."""
        names = [name for name, _ in self.model.named_modules() if name]
        if layer not in names:
            raise CommandError(f"layer: {layer!r} is not one of {', '.join(names)}")
        try:
            shape = activations(self.model, self.probe, [layer])[layer].shape[1:]
        except ValueError as error:
            raise CommandError(f"layer: {error}") from None
        if len(shape) not in (1, 3):
            raise CommandError(f"layer: {layer} gives {shape}: name a layer of units or maps")
        return shape
