"""Rows run in processes of their own: what is kept of them, interruptions, failures."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run
from kept import read_kept
from process import Part, read_parts, run_part, write_parts

RESULTS = Path(run.__file__).parent
ROW = '[row.{0}]\ntitle = "t"\ntable = "figures"\n'
TINY = 'data = "digits"\nmodel = "softmax"\nepochs = {}\nbatch-size = 50\n'


@pytest.fixture
def results(tmp_path, capfd):
    """Runs run.py's main on the rows of tmp_path. Returns exit status, output, errors."""

    def call(*arguments):
        places = ["--file", "rows.toml", "--work", "work", "--metrics", "metrics"]
        places = [str(tmp_path / part) if "-" not in part else part for part in places]
        status = run.main([*arguments, "--threads", "1", *places])
        return status, *capfd.readouterr()

    return call


def test_a_row_leaves_what_the_table_needs(rows_file, results, tmp_path):
    rows_file(ROW.format("tiny") + 'arguments = ["--seed", "7"]\n', tiny=TINY.format(2))
    status, out, _ = results("tiny")
    assert status == 0 and "tiny: begins" in out
    kept = read_kept(tmp_path / "metrics" / "tiny")
    assert kept.done and len(kept.history) == 2 and kept.settings["seed"] == 7
    result = kept.result
    assert result["seed"] == 7 and result["precision"] == "float32" and result["parts"] == 1
    assert 0 < result["seconds"] < 60 and 20 < result["peak_mb"] < 2000
    assert abs(result["test_error"] - kept.errors[-1] / 100) < 1e-6
    assert result["command"] == "chainrule train --config results/runs/tiny.toml --seed 7 --threads 1"
    assert result["machine"].keys() == {"processor", "cores", "instruction_set"}
    assert sorted(p.name for p in (tmp_path / "metrics" / "tiny").iterdir()) == [
        "metrics.csv",
        "result.json",
        "settings.toml",
    ]
    for file in (tmp_path / "metrics" / "tiny").iterdir():
        assert str(tmp_path) not in file.read_text()

    before = (tmp_path / "metrics" / "tiny" / "result.json").read_text()
    status, out, _ = results()
    assert status == 0 and "tiny: has a result: --again trains it anew" in out
    assert (tmp_path / "metrics" / "tiny" / "result.json").read_text() == before
    status, out, _ = results("tiny", "--again")
    assert status == 0 and "tiny: begins" in out
    assert read_kept(tmp_path / "metrics" / "tiny").result["parts"] == 1


def test_an_interrupted_row_goes_on_and_counts_both_parts(rows_file, results, tmp_path):
    file = rows_file(ROW.format("tiny"), tiny=TINY.format(4000))
    places = ["--file", file, "--work", tmp_path / "work", "--metrics", tmp_path / "metrics"]
    process = subprocess.Popen(
        [sys.executable, RESULTS / "run.py", "tiny", *map(str, places)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = tmp_path / "work" / "tiny" / "run" / "checkpoint.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "results: interrupted: the same command goes on from here" in errors
    assert not (tmp_path / "metrics").exists()
    (first,) = read_parts(tmp_path / "work" / "tiny" / "parts.json")
    assert first.status == 130 and first.peak_mb > 20

    # The rest is short: as many epochs as are done, and one more.
    done = len((tmp_path / "work" / "tiny" / "run" / "metrics.csv").read_text().splitlines()) - 1
    rows_file(ROW.format("tiny"), tiny=TINY.format(done + 1))
    status, out, _ = results("tiny")
    assert status == 0 and "tiny: goes on" in out
    kept = read_kept(tmp_path / "metrics" / "tiny")
    assert len(kept.history) == done + 1 and kept.result["parts"] == 2
    _, second = read_parts(tmp_path / "work" / "tiny" / "parts.json")
    assert kept.result["seconds"] == round(first.seconds + second.seconds, 1)
    assert kept.result["peak_mb"] == max(first.peak_mb, second.peak_mb)


def test_a_row_that_fails_is_kept_as_such(rows_file, results, tmp_path):
    rows_file(ROW.format("tiny"), tiny=TINY.format(2) + "lr = 1e38\n")
    status, _, errors = results("tiny")
    assert status == 1 and "learning rate" in errors
    kept = read_kept(tmp_path / "metrics" / "tiny")
    assert not kept.done and "learning rate" in kept.result["reason"]
    assert str(tmp_path) not in json.dumps(kept.result)
    rows_file(ROW.format("tiny"), tiny=TINY.format(1))
    assert results()[0] == 0  # it begins anew
    assert read_kept(tmp_path / "metrics" / "tiny").done


def test_a_row_that_fails_with_a_checkpoint_keeps_it_and_goes_on(rows_file, results, tmp_path):
    rows_file(ROW.format("tiny"), tiny=TINY.format(1))
    assert results("tiny")[0] == 0
    rows_file(ROW.format("tiny"), tiny=TINY.format(2))
    run_folder, kept = tmp_path / "work" / "tiny" / "run", tmp_path / "metrics" / "tiny"
    # As if it had been stopped after the first epoch of two.
    (kept / "result.json").unlink()
    written = (run_folder / "settings.toml").read_text()
    (run_folder / "settings.toml").write_text(written.replace("epochs = 1", "epochs = 2"))
    before = (run_folder / "checkpoint.safetensors").read_bytes()
    # No room for the next checkpoint: the name that it is written under is taken by a folder.
    (blocked := run_folder / ".checkpoint.safetensors.new").mkdir()
    status, _, errors = results("tiny")
    assert status == 1 and "cannot be written" in errors and "--resume" in errors
    assert not read_kept(kept).done and (run_folder / "checkpoint.safetensors").read_bytes() == before
    blocked.rmdir()
    status, out, _ = results("tiny")
    assert status == 0 and "tiny: goes on" in out
    assert read_kept(kept).done and len(read_kept(kept).history) == 2 and read_kept(kept).result["parts"] == 3


def test_a_row_that_failed_begins_anew_where_that_is_asked_for(rows_file, results, tmp_path):
    rows_file(ROW.format("tiny"), tiny=TINY.format(2))
    assert results("tiny")[0] == 0
    rows_file(ROW.format("tiny"), tiny=TINY.format(2) + "lr = 1e38\n")
    assert results("tiny", "--again")[0] == 1
    kept = tmp_path / "metrics" / "tiny"
    # It failed before its first epoch: figures of the run before are none of its own.
    assert [p.name for p in kept.iterdir()] == ["result.json"]
    assert not read_kept(kept).done and not read_kept(kept).history
    rows_file(ROW.format("tiny"), tiny=TINY.format(1))
    status, out, _ = results("tiny", "--again")
    assert status == 0 and "tiny: begins" in out and read_kept(kept).result["parts"] == 1


def test_the_time_of_a_part_that_is_thrown_away_does_not_count(rows_file, results, tmp_path):
    rows_file(ROW.format("tiny"), tiny=TINY.format(1))
    (tmp_path / "work" / "tiny").mkdir(parents=True)  # as a kill before the first checkpoint leaves it
    write_parts(tmp_path / "work" / "tiny" / "parts.json", [Part(1000.0, 5000.0, None)])
    status, out, _ = results("tiny")
    assert status == 0 and "tiny: begins" in out
    result = read_kept(tmp_path / "metrics" / "tiny").result
    assert result["parts"] == 1 and result["seconds"] < 100 and result["peak_mb"] < 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["other"], "results: row 'other': there is none: give one of tiny, needy"),
        (
            ["needy"],
            "results: row needy: it needs MNIST: give its folder as MNIST=DIR with make, --mnist DIR",
        ),
        (["needy", "--mnist", "/nowhere"], "results: row needy: MNIST: /nowhere is no folder"),
        (["tiny", "--threads", "0"], "results: threads: 0: give 1 or more"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(rows_file, tmp_path, capfd, arguments, message):
    rows_file(
        ROW.format("tiny") + ROW.format("needy"), tiny=TINY.format(1), needy='data = "mnist"\nmodel = "svm"\n'
    )
    places = [
        "--file",
        tmp_path / "rows.toml",
        "--work",
        tmp_path / "work",
        "--metrics",
        tmp_path / "metrics",
    ]
    assert run.main([*map(str, places), *arguments]) == 2
    out, errors = capfd.readouterr()
    assert out == "" and errors.startswith(message) and errors.count("\n") == 1
    assert not (tmp_path / "work").exists()


def test_rows_without_their_data_are_left_out_of_all(rows_file, results, tmp_path):
    rows_file(ROW.format("needy"), needy='data = "mnist"\nmodel = "svm"\n')
    status, out, _ = results()
    assert status == 0 and out.startswith("needy: left out: it needs MNIST")


def test_a_process_is_measured(tmp_path):
    hold = "import sys, time; x = bytearray(200 << 20); time.sleep(0.3); print('no', file=sys.stderr); sys.exit(3)"
    part, said = run_part([sys.executable, "-c", hold], tmp_path / "parts.json")
    assert part.status == 3 and said == "no\n"
    assert 0.3 <= part.seconds < 30 and part.peak_mb > 200
    run_part([sys.executable, "-c", ""], tmp_path / "parts.json")
    first, second = read_parts(tmp_path / "parts.json")
    assert first == part and second.status == 0 and second.seconds < part.seconds
