"""Leaves out the files that compare with PyTorch where it is not installed, and says so at the end."""

import importlib.util
import re
import signal

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
# A file needs it that imports it at its top, or a table that does.
NEEDS_TORCH = re.compile(
    r"^(import torch|from torch|from gate_table|from gate_cases|from torch_images)", re.MULTILINE
)
left_out = []


def pytest_configure():
    # A shell starts what it runs in the background with interrupts ignored, and so would be all processes begun here.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path):
    if HAS_TORCH or collection_path.suffix != ".py":
        return None
    if NEEDS_TORCH.search(collection_path.read_text()):
        left_out.append(collection_path.name)
        return True
    return None


@pytest.fixture
def one_thread():
    """The test runs on one thread. The conftest of a folder that wants it for all its tests asks for it there."""
    import chainrule as cr

    before = cr.get_num_threads()
    cr.set_num_threads(1)
    yield
    cr.set_num_threads(before)


def pytest_terminal_summary(terminalreporter):
    if left_out:
        terminalreporter.write_line(f"PyTorch is not installed: {', '.join(sorted(left_out))} were left out")
