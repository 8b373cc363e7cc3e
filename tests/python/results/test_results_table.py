"""The table is what the kept runs say, and the one in the repository was written by the script."""

import pytest
import table
from rows import ResultsError, read_rows

ROWS = """
[row.good]
title = "some net"
table = "figures"
paper = "1 %"
most-error = 2.0
most-seconds = 60

[row.high]
title = "some net"
table = "figures"
most-error = 2.0

[row.late]
title = "some net"
table = "figures"
most-error = 2.0
most-seconds = 60

[row.broken]
title = "some net"
table = "figures"
most-error = 2.0

[row.missing]
title = "some net"
table = "figures"
most-error = 2.0

[row.peer]
title = "some net by PyTorch"
table = "figures"
settings = "good"
engine = "torch"

[[comparison]]
title = "Some net"
ours = "good"
peer = "peer"
within = 1.0
most-share = 0.5

[[comparison]]
title = "Other net"
ours = "missing"
peer = "peer"
"""
MARKS = ("figures", "seeds", "comparisons", "curves", "commands", "machines")


@pytest.fixture
def readme(tmp_path):
    text = "# Title\n" + "".join(
        f"before {name}\n<!-- {name}: written by table.py -->\nold\n<!-- end of {name} -->\nafter {name}\n"
        for name in MARKS
    )
    path = tmp_path / "README.md"
    path.write_text(text)
    return path


@pytest.fixture
def written(readme, tmp_path, rows_file, keep_run):
    settings = 'data = "digits"\n'
    names = ("good", "high", "late", "broken", "missing")
    file = rows_file(ROWS, **dict.fromkeys(names, settings))
    keep_run("good", [5.0, 2.0], 2000.0, parts=2, seconds=59.9, settings="batch-norm = true\ntranslate = 2\n")
    keep_run("high", [5.0, 2.01])
    keep_run("late", [5.0, 2.0], seconds=60.1)
    keep_run("broken", [5.0], status="failed", reason="the loss became nan | in epoch 2")
    metrics = keep_run("peer", [4.0, 1.5], 500.0, engine="torch")

    def write(**more):
        return table.write(readme, metrics, file, **more)

    write()
    write.text = readme.read_text()
    return write


def line_of(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]


def test_a_run_that_reached_its_figures(written):
    cells = line_of(written.text, "| `good` | some net")
    expected = ["3", "float32", "2", "59.9 s in 2 parts", "123 MB", "**2.00 %**", "1 %"]
    assert cells == ["`good`", "some net, UCI digits", *expected, "at most 2 % in 1 min", "yes"]


def test_runs_that_missed_theirs(written):
    assert line_of(written.text, "| `high` | some net")[-1] == "**no** (error)"
    assert line_of(written.text, "| `late` | some net")[-1] == "**no** (time)"


def test_a_run_that_failed_is_shown(written):
    assert line_of(written.text, "| `broken` | some net")[-1] == "failed: the loss became nan / in epoch 2"


def test_a_run_that_was_not_made_is_shown(written):
    assert line_of(written.text, "| `missing` | some net")[-1] == "not run yet"


def test_comparisons(written):
    cells = line_of(written.text, "| Some net (`good`, `peer`)")
    # 1,442 digits twice, at 2,000 and at 500 a second.
    assert cells[1:8] == ["2", "2.00 %", "1.50 %", "+0.50", "1.4 s", "5.8 s", "0.25"]
    assert cells[8:] == ["within 1 point, at most 0.5 of the time", "yes"]
    assert line_of(written.text, "| Other net")[-1] == "waits for missing"
    assert "| `peer` | PyTorch | 4.00 1.50 |" in written.text


@pytest.mark.parametrize(
    ("errors", "speed", "missed"),
    [([3.1], 2000.0, "error"), ([2.0], 999.0, "time"), ([0.4], 2000.0, "error")],
)
def test_comparisons_that_missed(errors, speed, missed, readme, tmp_path, rows_file, keep_run):
    file = rows_file(
        ROWS, **dict.fromkeys(("good", "high", "late", "broken", "missing"), 'data = "digits"\n')
    )
    keep_run("good", errors, speed)
    table.write(readme, keep_run("peer", [1.5], 500.0), file)
    assert line_of(readme.read_text(), "| Some net (`good`, `peer`)")[-1] == f"**no** ({missed})"


SEEDS = """
[row.narrow]
title = "narrow net"
table = "figures"
paper = "2 %"
settings = "net"
arguments = ["--width", 8]

[row.narrow-again]
title = "narrow net"
table = "figures"
settings = "net"
arguments = ["--seed", 1, "--width", 8]

[row.wide]
title = "wide net"
table = "figures"
settings = "net"

[row.wide-again]
title = "wide net"
table = "figures"
settings = "net"
arguments = ["--seed", 1]

[row.alone]
title = "wide net"
table = "figures"
settings = "net"
arguments = ["--width", 8]
"""


def test_rows_that_differ_in_their_seed_alone_have_a_mean(readme, rows_file, keep_run):
    file = rows_file(SEEDS, net='data = "digits"\n')
    keep_run("narrow", [9.0, 2.0])
    keep_run("narrow-again", [8.0, 2.5])
    keep_run("alone", [8.0, 2.5])
    metrics = keep_run("wide", [8.0, 3.0])
    keep_run("wide-again", [7.0], status="failed")
    table.write(readme, metrics, file)
    text = (
        readme.read_text().split("<!-- seeds: written by table.py -->")[1].split("<!-- end of seeds -->")[0]
    )
    assert line_of(text, "| narrow net")[1:] == ["2.00 % (3), 2.50 % (3)", "**2.25 %**", "2 %"]
    assert line_of(text, "| wide net")[1:] == ["3.00 % (3)", "waits for wide-again", "-"]


def test_commands_settings_and_machines(written):
    assert "batches of 20, sgd, learning rate 0.1, constant rate, batch norm" in written.text
    assert "`chainrule train --config results/runs/good.toml --threads 2`" in written.text
    assert written.text.count("Some Processor") == 1


def test_only_the_tables_are_written(written):
    for name in MARKS:
        assert f"before {name}\n<!--" in written.text and f"-->\nafter {name}\n" in written.text
    assert "old" not in written.text


def test_check_says_whether_anything_would_change(written, readme):
    assert written(check=True) == 0
    readme.write_text(written.text.replace("**2.00 %**", "**1.00 %**"))
    assert written(check=True) == 1
    assert "**1.00 %**" in readme.read_text()


def test_missing_marks(written, readme):
    readme.write_text("no marks")
    with pytest.raises(ResultsError, match="the marks of figures are missing"):
        written()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("result.json", "{", "good/result.json: damaged"),
        ("result.json", "{}", "it lacks some of command"),
        ("metrics.csv", "epoch,test_accuracy\n1,0.5\n", "good/metrics.csv: damaged"),
        ("metrics.csv", "epoch\n", "no epoch of a run that is done"),
        ("metrics.csv", "epoch,test_accuracy,images_per_second\n2,0.5,1\n", "epochs are not 1, 2"),
        ("metrics.csv", "epoch,test_accuracy,images_per_second\n1,1.5,1\n", "figures out of range"),
        ("settings.toml", "= 1", "settings.toml: no valid TOML"),
    ],
)
def test_damaged_files_are_named(written, tmp_path, file, content, message):
    (tmp_path / "metrics" / "good" / file).write_text(content)
    with pytest.raises(ResultsError, match=message):
        written()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (20, "20 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (61.4, "1 min 01 s"),
        (5400, "1 h 30 min"),
    ],
)
def test_durations(seconds, text):
    assert table.duration(seconds) == text


def test_the_repository_s_table_is_what_the_script_writes():
    assert table.write(check=True) == 0


def test_the_repository_s_rows_are_whole():
    rows, _ = read_rows()
    assert all(row.settings.exists() for row in rows.values())
