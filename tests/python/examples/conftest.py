"""The scripts of the folder `examples` as modules."""

import importlib.util
from pathlib import Path

import pytest

import chainrule as cr

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def example(request):
    """The script that the test module names in EXAMPLE. It runs on one thread: the problems are small."""
    name = request.module.EXAMPLE
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = cr.get_num_threads()
    cr.set_num_threads(1)
    yield module
    cr.set_num_threads(threads)


@pytest.fixture
def printed(example, capsys, monkeypatch, tmp_path):
    """What the script prints when it is run, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [f"{example.__name__}.py"])
    example.main()
    return capsys.readouterr().out
