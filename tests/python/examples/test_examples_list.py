"""Every example is listed in its README, says what it shows, and has a test."""

import ast
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_the_readme_lists_each_script_once():
    listed = re.findall(r"`python examples/(\w+)\.py`", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_has_a_docstring_a_source_a_main_and_a_test(name):
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text())
    text = ast.get_docstring(tree)
    assert f"python examples/{name}.py" in text
    assert "Source: " in text
    assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert (Path(__file__).parent / f"test_examples_{name}.py").exists()
