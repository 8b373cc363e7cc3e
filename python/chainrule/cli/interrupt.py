"""Signals that ask a process to stop, as the interruption that Ctrl-C is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGHUP)  # from a batch system, from a terminal that closed


@contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise KeyboardInterrupt, unless whoever started the process has them ignored.

    Signals can only be set in the main thread: in another nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    changed = [s for s in STOP if signal.getsignal(s) is signal.SIG_DFL]
    try:
        for number in changed:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal's handler."""
    raise KeyboardInterrupt
