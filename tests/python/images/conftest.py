"""Puts the references of the core's tests on the import path, and leaves threads and algorithm as they were."""

import sys
from pathlib import Path

import pytest

import chainrule as cr

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))


@pytest.fixture(autouse=True)
def restored():
    threads, algorithm = cr.get_num_threads(), cr.get_conv_algorithm()
    yield
    cr.set_num_threads(threads)
    cr.set_conv_algorithm(algorithm)


@pytest.fixture(params=["auto", "direct", "winograd"])
def algorithm(request):
    cr.set_conv_algorithm(request.param)
    return request.param
