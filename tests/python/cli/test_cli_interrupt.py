"""Signals that ask a process to stop become the interruption that Ctrl-C is."""

import os
import signal
import threading
import time

import pytest

from chainrule.cli.interrupt import STOP, stop_signals_interrupt
from chainrule.train import Callback


@pytest.mark.parametrize("number", STOP)
def test_stop_signal_interrupts_inside_and_not_after(number):
    before = signal.signal(number, signal.SIG_DFL)  # under nohup it is ignored
    try:
        with pytest.raises(KeyboardInterrupt), stop_signals_interrupt():
            os.kill(os.getpid(), number)
            time.sleep(10)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_stop_signal_that_has_a_handler_or_is_ignored_stays_so(handler):
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with stop_signals_interrupt():
            signal.raise_signal(signal.SIGHUP)  # as under nohup
            assert signal.getsignal(signal.SIGHUP) is handler
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_stop_signals_stay_as_they_are_in_other_threads():
    seen = []

    def work():
        with stop_signals_interrupt():
            seen.extend(signal.getsignal(number) for number in STOP)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(number) for number in STOP]


class InterruptAt(Callback):
    def __init__(self, epoch, batch):
        self.epoch, self.batch, self.batches = epoch, batch, 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def batch_end(self, progress):
        self.batches = 1 if progress.seen <= 32 else self.batches + 1
        if (progress.epoch, self.batches) == (self.epoch, self.batch):
            raise KeyboardInterrupt


@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (1, 46), (2, 1), (4, 20)])
def test_interrupted_training_keeps_the_last_whole_epoch(command, quick, place, monkeypatch, epoch, batch):
    monkeypatch.setattr("chainrule.cli.train.display", lambda job, quiet: InterruptAt(epoch, batch))
    status, out, err = command("train", "--out", "run", "--model", "softmax")
    assert (status, out) == (130, "")
    if epoch == 1:
        assert err == "chainrule: interrupted before the first epoch was done: nothing was written\n"
        assert list(place.iterdir()) == []
        return
    assert err == (
        f"chainrule: interrupted after epoch {epoch - 1} of 30: go on with chainrule train --resume run\n"
    )
    assert len((place / "run" / "metrics.csv").read_text().splitlines()) == epoch
    monkeypatch.undo()
    monkeypatch.setattr("chainrule.cli.train.report_of", lambda checkpoint, data: "no report")
    monkeypatch.chdir(place)
    assert command("train", "--resume", "run", "--epochs", 6, "--quiet").status == 0
    assert command("train", "--epochs", 6, "--out", "whole", "--model", "softmax", "--quiet").status == 0
    outputs = [command("evaluate", name).out for name in ("run", "whole")]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(("epoch", "batch", "saved"), [(1, 20, 18), (2, 46, 44), (3, 2, 0)])
def test_interrupted_within_an_epoch_it_goes_on_from_the_last_save(
    command, quick, place, monkeypatch, epoch, batch, saved
):
    monkeypatch.setattr("chainrule.cli.train.display", lambda job, quiet: InterruptAt(epoch, batch))
    flags = [
        "--model",
        "mlp",
        "--hidden",
        "10",
        "--epochs",
        4,
        "--ema",
        "0.9",
        "--schedule",
        "cosine",
        "--out",
    ]
    status, out, err = command("train", *flags, "run", "--checkpoint-every", 6)
    assert (status, out) == (130, "")
    where = f"batch {saved} of epoch {epoch}" if saved else f"epoch {epoch - 1}"
    assert err == f"chainrule: interrupted after {where} of 4: go on with chainrule train --resume run\n"
    assert len((place / "run" / "metrics.csv").read_text().splitlines()) == epoch
    assert (place / "run" / "report.html").exists() == (epoch > 1)
    monkeypatch.undo()
    monkeypatch.setattr("chainrule.cli.train.report_of", lambda checkpoint, data: "no report")
    monkeypatch.chdir(place)
    assert command("evaluate", "run").status == 0
    assert command("train", "--resume", "run", "--quiet").status == 0
    assert command("train", *flags, "whole", "--quiet").status == 0
    outputs = [command("evaluate", name).out for name in ("run", "whole")]
    assert outputs[0] == outputs[1]


def test_interrupted_while_the_report_is_drawn_is_one_line(command, monkeypatch, place):
    def interrupt(checkpoint, data):
        raise KeyboardInterrupt

    monkeypatch.setattr("chainrule.cli.train.report_of", interrupt)
    status, _, err = command("train", "--out", "run", "--quiet", "--model", "softmax")
    assert status == 130 and err == "chainrule: interrupted\n"
    assert list(place.iterdir()) == []
