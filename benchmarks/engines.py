"""Engines side by side: each in a process of its own (`worker.py`), asked in turns."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

# How their names are written. `steps_<name>.py` says what each does.
ENGINES = {
    "chainrule": "chainrule",
    "torch": "PyTorch",
    "onnxruntime": "onnxruntime",
    "jax": "JAX",
    "tensorflow": "TensorFlow",
}


def installed(engines):
    """Those that can be imported here."""
    return [engine for engine in engines if importlib.util.find_spec(engine) is not None]


class Worker:
    """An engine in a process of its own, on a fixed number of threads."""

    def __init__(self, engine, threads):
        here = Path(__file__).parent
        self.process = subprocess.Popen(
            [sys.executable, here / "worker.py", engine, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=here,
        )
        self.version = self.process.stdout.readline().strip()
        if not self.version:
            sys.exit(f"the {engine} worker did not start: is {engine} installed?")

    def _ask(self, command, case, settings, *more):
        self.process.stdin.write(json.dumps([command, case, settings, *more]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{case} {settings}: the worker ended; what it wrote stands above")
        return json.loads(answer)

    def times(self, case, *settings, repetitions=1):
        """Seconds of each of `repetitions` steps of the case; none where the engine lacks it."""
        return self._ask("times", case, settings, repetitions)

    def memory(self, case, *settings, steps=3):
        """Bytes: resident before the first step of the case, and at most until the last."""
        return self._ask("memory", case, settings, steps)

    def value(self, case, *settings):
        """What the case's function returns."""
        return self._ask("value", case, settings)

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def row(cells):
    """One line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def head(cells):
    """The first two lines of a Markdown table."""
    return row(cells) + "\n" + "|---" * len(cells) + "|"
