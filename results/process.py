"""A command in a process of its own, measured: wall time and peak memory, over as many parts as it took.

What was measured stands in a JSON file that is written anew every few seconds, so that a part whose end nobody saw
counts too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chainrule.files import replace_file

NOTE_EVERY = 5.0  # seconds
LOOK_EVERY = 0.02
INTERRUPTED = (130, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGKILL)


@dataclass
class Part:
    """One process.

    Attributes:
        seconds: wall time.
        peak_mb: the most memory it held, in MB of 2^20 bytes; 0 where its end was not seen. Linux counts what this
            process held when it started the other, which is less than any training run takes.
        status: its exit status, negative for a signal; None where its end was not seen.
    """

    seconds: float = 0.0
    peak_mb: float = 0.0
    status: int | None = None


def read_parts(path: Path) -> list[Part]:
    """The parts so far; none if there is no file."""
    return [Part(**part) for part in json.loads(path.read_text())] if path.exists() else []


def write_parts(path: Path, parts: Sequence[Part]) -> None:
    replace_file(path, json.dumps([asdict(part) for part in parts], indent=1).encode())


def run_part(command: Sequence[str], notes: Path) -> tuple[Part, str]:
    """Run the command to its end, as a further part in the file of notes. Returns it and what was said of errors.

    SIGINT and SIGTERM go on to the process, once, and are raised as KeyboardInterrupt when it has ended.
    """
    parts = [*read_parts(notes), Part()]
    part = parts[-1]
    write_parts(notes, parts)
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        started = noted = time.monotonic()
        # In a session of its own: Ctrl-C in a terminal would reach it twice.
        process = subprocess.Popen(command, stderr=errors, start_new_session=True)
        stop: list[int] = []
        handlers = {
            number: signal.signal(number, lambda number, frame: stop.append(number))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        told = False
        try:
            while True:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                now = time.monotonic()
                part.seconds = round(now - started, 2)
                if ended:
                    break
                if stop and not told:
                    process.send_signal(signal.SIGINT)
                    told = True
                if now - noted > NOTE_EVERY:
                    write_parts(notes, parts)
                    noted = now
                time.sleep(LOOK_EVERY)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        process.returncode = part.status = os.waitstatus_to_exitcode(status)
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes, Linux KiB
        part.peak_mb = round(usage.ru_maxrss / unit, 1)
        write_parts(notes, parts)
        errors.seek(0)
        said = errors.read()
    if said:
        print(said, end="", file=sys.stderr, flush=True)
    if stop:
        raise KeyboardInterrupt
    return part, said
