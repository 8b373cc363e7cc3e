"""The pages of docs: what they show runs, what they name exists, and the README leads to each."""

import importlib
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs").glob("*.md"))
CODE = [
    pytest.param(code, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]
# In a table or a block of commands.
COMMANDS = [
    (page.name, command)
    for page in PAGES
    for command in re.findall(
        r"^(?:\| `)?(chainrule (?:train|view) .*?)(?:` \||$)", page.read_text(), re.MULTILINE
    )
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_is_linked_and_its_links_lead_somewhere(page):
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text()
    text = page.read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for named in re.findall(r"`((?:examples|benchmarks|tests)/[\w/.]+)`", text):
        assert (ROOT / named).exists(), named


@pytest.mark.parametrize("code", CODE)
def test_example_prints_what_it_says(code, tmp_path):
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    said = re.findall(r"print\(.*\)  # (.*)", code)
    assert said and ran.stdout.splitlines() == said


def test_examples_and_commands_were_found():
    assert len(CODE) >= 2 and len(COMMANDS) > 10


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda text: text[:60])
def test_commands_are_what_the_program_takes(page, command):
    """Flags and settings that there are; the data and runs that they name need not be there."""
    pytest.importorskip("rich", reason="the commands need what the extra cli installs")
    from chainrule.cli.main import make_parser
    from chainrule.train import RunOptions, TrainSettings

    words = command.split()[1:]
    given = vars(make_parser(words[0]).parse_args(words))
    if words[0] == "train":
        options = {field.name for field in fields(RunOptions)}
        RunOptions(**{name: given[name] for name in given.keys() & options})
        TrainSettings(**{name: given[name] for name in given.keys() - options - {"run", "config"}})


def test_page_on_pictures_has_every_kind_and_functions_that_exist():
    text = (ROOT / "docs" / "looking.md").read_text()
    kinds = {command.split()[2] for page, command in COMMANDS if page == "looking.md"}
    assert kinds == {"filters", "features", "saliency", "explain", "patches", "cam", "confusion", "curves"}
    assert all(f"**{kind}.**" in text for kind in kinds)
    names = set(re.findall(r"`(view\.[\w.]+)`", text)) - {"view.plots", "view.sheet", "view.png"}
    assert len(names) > 8
    for name in names:
        module, function = f"chainrule.{name}".rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), function)), name


def test_page_on_training_names_settings_that_exist():
    from chainrule.train import RunOptions, TrainSettings
    from chainrule.train.build import OPTIMIZERS, SCHEDULES

    text = (ROOT / "docs" / "training.md").read_text()
    known = {f"--{f.name.replace('_', '-')}" for cls in (TrainSettings, RunOptions) for f in fields(cls)}
    found = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))
    assert len(found) > 20 and found <= known | {"--config", "--help"}
    assert all(f"`{name}`" in text for name in (*SCHEDULES, *OPTIMIZERS))
