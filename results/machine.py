"""What a run's figures depend on beside its settings: the processor and the versions. No names of hosts or paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import numpy as np

import chainrule
from chainrule import _core


def processor() -> str:
    """The processor's model, as it names itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, str | int]:
    return {"processor": processor(), "cores": cores(), "instruction_set": _core.active_isa()}


def versions(engine: str) -> dict[str, str]:
    found = {
        "chainrule": chainrule.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    if engine == "torch":
        found["torch"] = importlib.metadata.version("torch")
    return found
