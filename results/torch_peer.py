"""A run of `chainrule train` by PyTorch: the same settings, net, initial weights, batches, schedule and tests.

    python results/torch_peer.py --config FILE --root DIR --out DIR [--epochs N --precision bfloat16 ...]

The flags are those of `chainrule train`. Data, batches with their augmentation, initial weights and the schedule come
from chainrule; every step and test is PyTorch's. Dropout draws from PyTorch's own generator. The folder gets
metrics.csv and settings.toml; a run that was interrupted begins anew.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch_model import Translation

import chainrule
from chainrule.cli.errors import CommandError
from chainrule.cli.main import Parser
from chainrule.cli.train import add_arguments
from chainrule.train import Job, RunOptions, TrainError, TrainSettings
from chainrule.train.build import MODELS, build_loader, normalised
from chainrule.train.config import read_config, to_toml
from chainrule.train.fit import EpochRecord, peak_mb
from chainrule.train.save_run import metrics_csv

TEST_BATCH = 250  # as chainrule's tests


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="torch_peer.py", description=__doc__, allow_abbrev=False)
    add_arguments(parser)
    try:
        arguments = vars(parser.parse_args(argv))
        config = arguments.pop("config")
        arguments.pop("run")
        given = (read_config(config) if config else {}) | arguments
        names = {f.name for f in fields(RunOptions)}
        options = RunOptions(**{name: value for name, value in given.items() if name in names})
        settings = TrainSettings(**{name: value for name, value in given.items() if name not in names})
        if options.out is None:
            raise CommandError("out: the folder to write is not given")
        check(settings)
        train(settings, Path(options.out), options.threads or torch.get_num_threads())
    except (CommandError, TrainError, ValueError, TypeError) as error:
        print(f"torch_peer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def check(settings: TrainSettings) -> None:
    """Errors: CommandError for settings that have no counterpart here."""
    plain = TrainSettings()
    for name in ("accumulate", "clip", "early_stop", "ema", "l1", "l2", "optimizer"):
        if getattr(settings, name) != getattr(plain, name):
            raise CommandError(f"{name}: {getattr(settings, name)!r} is not made for PyTorch here")
    if settings.schedule == "plateau":
        raise CommandError("schedule: plateau is not made for PyTorch here")


def train(settings: TrainSettings, folder: Path, threads: int) -> None:
    """Train, and write the folder's files after each epoch."""
    torch.set_num_threads(threads)
    chainrule.set_num_threads(1)  # batches cost little; two libraries' threads would disturb each other
    torch.manual_seed(settings.seed)
    job = Job.new(settings)
    loader = build_loader(settings, job.normaliser, job.data.train)
    test_images = normalised(job.normaliser, job.data.test.images)
    translation = Translation(job.model)
    names = {id(parameter): name for name, parameter in job.model.named_parameters()}
    optimizer = torch.optim.SGD(
        [
            {
                "params": [translation.parameters[names[id(p)]] for p in group["params"]],
                "weight_decay": group["weight_decay"],
                "lr": group["lr"],
            }
            for group in job.optimizer.param_groups
        ],
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
    )
    slow = Slow(translation.module, job.average)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.toml").write_text(to_toml(settings))
    history: list[EpochRecord] = []
    for epoch in range(1, settings.epochs + 1):
        for name, last in MODELS[settings.model].freeze.items():
            translation.parameters[name].requires_grad = epoch <= last
        started = time.perf_counter()
        loss, accuracy, seen = steps(settings, translation.module, optimizer, job, loader.epoch(epoch), slow)
        trained = time.perf_counter() - started
        with slow:
            scores = scores_of(settings, translation.module, test_images)
        labels = torch.from_numpy(job.data.test.labels)
        history.append(
            EpochRecord(
                epoch,
                loss,
                accuracy,
                F.cross_entropy(scores, labels).item(),
                (scores.argmax(1) == labels).float().mean().item(),
                job.optimizer.param_groups[0]["lr"],  # after the last step, as chainrule records it
                time.perf_counter() - started,
                seen / trained,
                peak_mb(),
            )
        )
        (folder / "metrics.csv").write_bytes(metrics_csv(history))
        last = history[-1]
        print(
            f"epoch {epoch}/{settings.epochs}  train loss {loss:.4f}  test accuracy "
            f"{100 * last.test_accuracy:.2f} %  {last.images_per_second:,.0f} images/s  {last.seconds:.2f} s",
            flush=True,
        )


def steps(settings, net, optimizer, job, batches, slow) -> tuple[float, float, int]:
    """An epoch's steps. Returns the mean loss, the accuracy before each step, and the number of examples."""
    net.train()
    loss_sum, right, seen = 0.0, 0, 0
    for images, labels in batches:
        for own, group in zip(optimizer.param_groups, job.optimizer.param_groups, strict=True):
            own["lr"], own["momentum"] = group["lr"], group["momentum"]
        labels = torch.from_numpy(labels)
        optimizer.zero_grad(set_to_none=True)
        with computing_in(settings.precision):
            scores = net(channels_first(images))
        loss = F.cross_entropy(scores.float(), labels, label_smoothing=settings.label_smoothing)
        loss.backward()
        optimizer.step()
        job.schedule.step()
        slow.update()
        loss_sum += loss.item() * len(labels)
        right += (scores.argmax(1) == labels).sum().item()
        seen += len(labels)
        if not np.isfinite(loss_sum):
            raise CommandError(f"the loss became {loss.item()}")
    return loss_sum / seen, right / seen, seen


def scores_of(settings, net, images) -> torch.Tensor:
    """Scores (N, classes) in evaluation mode, of the views that the settings name."""
    net.eval()

    def plain(x):
        return net(x.contiguous(memory_format=torch.channels_last)).float()

    def mirrored(x):
        return (plain(x) + plain(x.flip(3))) / 2

    def shifted(x):
        wide, (height, width) = F.pad(x, (1, 1, 1, 1), mode="reflect"), x.shape[2:]
        moved = [mirrored(wide[:, :, at : at + height, at : at + width]) for at in (0, 2)]
        return mirrored(x) / 2 + (moved[0] + moved[1]) / 4

    see = {"none": plain, "mirror": mirrored, "mirror-shift": shifted}[settings.tta]
    with torch.inference_mode(), computing_in(settings.precision):
        batches = [images[i : i + TEST_BATCH] for i in range(0, len(images), TEST_BATCH)]
        return torch.cat([see(channels_first(batch)) for batch in batches])


def channels_first(images: np.ndarray) -> torch.Tensor:
    """A view of images (N, height, width, channels) with channels first; in memory they stay last."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def computing_in(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


class Slow:
    """Lookahead's slow weights, where the run has them. As a context: the net has them for its own.

    Args:
        net: the module.
        average: the run's `chainrule.optim.Lookahead`, for its numbers, or None.
    """

    def __init__(self, net, average):
        self.net, self.average, self.count = net, average, 0
        self.weights = self._values() if average is not None else {}

    def _values(self):
        return {
            name: value.clone()
            for name, value in self.net.state_dict().items()
            if value.dtype.is_floating_point
        }

    @torch.no_grad()
    def update(self):
        """A step was made."""
        self.count += 1
        if self.weights and self.count % self.average.every == 0:
            state = self.net.state_dict()
            for name, weight in self.weights.items():
                weight.lerp_(state[name], self.average.alpha(self.count))
                state[name].copy_(weight)

    def __enter__(self):
        self.own = self._values() if self.weights else {}
        self._set(self.weights)

    def __exit__(self, *error):
        self._set(self.own)

    @torch.no_grad()
    def _set(self, values):
        state = self.net.state_dict()
        for name, value in values.items():
            state[name].copy_(value)


if __name__ == "__main__":
    sys.exit(main())
