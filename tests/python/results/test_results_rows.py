"""rows.toml: what it may say, and that every row's settings are settings."""

import pytest
from rows import ResultsError, chosen, read_rows

from chainrule.cli.main import make_parser
from chainrule.train import TrainSettings
from chainrule.train.config import read_config

ROW = '[row.some]\ntitle = "t"\ntable = "figures"\n'


@pytest.mark.parametrize("name", read_rows()[0])
def test_every_row_is_a_run_that_could_begin(name):
    row = read_rows()[0][name]
    given = vars(make_parser("train").parse_args(["train", *row.arguments]))
    given.pop("run"), given.pop("config")
    settings = TrainSettings(**(read_config(str(row.settings)) | {"root": "."} | given))
    assert settings.data == row.data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[row", "rows.toml: no valid TOML"),
        ("[lines]", r"rows.toml: unknown \['lines'\]"),
        ("[row]\nsome = 1", "row some: give a table"),
        (ROW + "speed = 1", r"row some: unknown \['speed'\]"),
        ('[row.some]\ntitle = "t"', "row some: missing 1 required positional argument: 'table'"),
        (ROW + 'engine = "jax"', "row some: engine 'jax': give one of chainrule, torch"),
        (ROW + '[[comparison]]\ntitle = "c"\nours = "some"\npeer = "other"', "there is no row 'other'"),
        (ROW + "[[comparison]]\nours = 'some'", "comparison: missing 2 required positional arguments"),
    ],
)
def test_bad_files(rows_file, text, message):
    with pytest.raises(ResultsError, match=message):
        read_rows(rows_file(text))


def test_a_missing_file(tmp_path):
    with pytest.raises(ResultsError, match=r"rows\.toml: No such file"):
        read_rows(tmp_path / "rows.toml")


def test_rows_are_chosen_by_name(rows_file):
    rows, _ = read_rows(rows_file(ROW))
    assert [row.name for row in chosen(rows, [])] == ["some"]
    with pytest.raises(ResultsError, match="row 'other': there is none: give one of some"):
        chosen(rows, ["other"])
