"""How a run's progress is shown: a live bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time

from chainrule.train.fit import Callback, EpochRecord, Progress

REFRESH = 0.1  # seconds between two drawings of the bar
LEAST_BAR = 12  # characters that the bar has on a narrow terminal


class Lines(Callback):
    """One plain line an epoch, for files and pipes.

    Args:
        epochs: of the run.
    """

    def __init__(self, epochs: int):
        self.epochs = epochs

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def epoch_end(self, record: EpochRecord) -> None:
        print(
            f"epoch {record.epoch}/{self.epochs}  train loss {record.train_loss:.4f} accuracy "
            f"{100 * record.train_accuracy:.2f} %  test loss {record.test_loss:.4f} accuracy "
            f"{100 * record.test_accuracy:.2f} %  {record.images_per_second:,.0f} images/s  "
            f"{record.seconds:.2f} s",
            flush=True,
        )


class LiveBar(Callback):
    """A bar over all epochs with loss, accuracy, images a second and the time left, for a terminal.

    It is a context, in which `fit` runs with it as a callback:

        with LiveBar(epochs=5, batches=len(loader)) as bar:
            fit(model, optimizer, loader, test, range(1, 6), callbacks=[bar])

    Where the terminal is narrow, the accuracy of the last test is left out first, then images a second.

    Args:
        epochs: of the run.
        batches: of an epoch.
        done: batches that are done when it begins, those of finished epochs too.
        seen: training images of the first epoch that are.

    Errors: ModuleNotFoundError without the package rich, which the extra `cli` installs.
    """

    def __init__(self, epochs: int, batches: int, done: int = 0, seen: int = 0):
        # Here, for it takes longer to import than all the rest, which trains without it.
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.epochs = epochs
        self.batches = batches
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(),
            expand=True,
            auto_refresh=False,  # drawing happens here, between steps, and takes no thread from the kernels
        )
        self.done = done
        self.task = self.bar.add_task(
            "",
            total=epochs * batches,
            completed=self.done,
            epoch=done // batches + 1,
            epochs=epochs,
            figures="",
        )
        self.test: float | None = None
        self.next_drawing = 0.0
        self.seen = seen
        self.rate_since = (time.perf_counter(), seen)
        self.rate = 0.0

    def __enter__(self) -> LiveBar:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def epoch_begin(self, epoch: int) -> None:
        self.rate_since = (time.perf_counter(), self.seen)
        self.seen = 0

    def batch_end(self, progress: Progress) -> None:
        self.done += 1
        now = time.perf_counter()
        # The last of an epoch is always drawn: testing follows, which may take long.
        if now < self.next_drawing and progress.batch < self.batches:
            return
        self.next_drawing = now + REFRESH
        self._measure(progress.seen, now)
        self._draw(progress.epoch, progress.loss, progress.accuracy)

    def epoch_end(self, record: EpochRecord) -> None:
        self.test = record.test_accuracy
        # Drawn at the end, so that the bar stops full and with the last figures.
        if record.epoch == self.epochs or time.perf_counter() >= self.next_drawing:
            self._draw(record.epoch, record.train_loss, record.train_accuracy)

    def _measure(self, seen: int, now: float) -> None:
        """Training images a second over this epoch; testing and saving are not counted."""
        since, before = self.rate_since
        if seen > before and now > since:
            self.rate = (seen - before) / (now - since)

    def _draw(self, epoch: int, loss: float, accuracy: float) -> None:
        figures = [f"loss {loss:.4f}", f"train {100 * accuracy:.1f} %", f"{self.rate:,.0f} images/s"]
        if self.test is not None:
            figures.insert(2, f"test {100 * self.test:.1f} %")
        # Of a narrow terminal the bar gets its least width first, and the figures from the third on are left out.
        others = len(f"epoch {epoch}/{self.epochs}") + LEAST_BAR + len("00:00") + 3
        while len(figures) > 2 and others + len("  ".join(figures)) > self.bar.console.width:
            del figures[2]
        self.bar.update(self.task, completed=self.done, epoch=epoch, figures="  ".join(figures))
        self.bar.refresh()
