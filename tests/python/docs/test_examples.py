"""Every example in a docstring and in the README runs and gives what it says; every public name has a docstring."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(chainrule.__path__, "chainrule.")
    if not module.name.endswith(("_core", "__main__"))
)
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["chainrule", *MODULES])
def test_docstring_examples(name):
    module = importlib.import_module(name)
    chainrule.manual_seed(0)
    with np.printoptions(legacy=False):
        result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_examples_were_found():
    finder = doctest.DocTestFinder()
    examples = [
        example
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        for example in test.examples
    ]
    assert len(examples) > 60


@pytest.mark.parametrize("name", chainrule.__all__)
def test_public_names_are_documented(name):
    public = getattr(chainrule, name)
    assert inspect.getdoc(public), name


def test_readme_example_prints_what_it_says():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = re.findall(r"print\(.*\)  # (.*)", code)
    assert said and ran.stdout.splitlines() == said


def test_readme_names_files_that_exist():
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
