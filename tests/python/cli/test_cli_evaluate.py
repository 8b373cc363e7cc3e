"""`chainrule evaluate`: the figures are those of the run, class by class."""

import re

import numpy as np
import pytest

from chainrule.train import read_checkpoint


@pytest.mark.parametrize("model", ["svm", "softmax", "mlp"])
def test_evaluate_repeats_the_figures_of_the_run(command, trained, quick, model):
    folder = trained("run", "--model", model)
    record = read_checkpoint(folder / "checkpoint.safetensors").history[-1]
    status, out, err = command("evaluate", "run")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"test loss      {record.test_loss:.4f}"
    right = round(record.test_accuracy * 355)
    assert lines[1] == f"test accuracy  {100 * record.test_accuracy:.2f} % ({right} of 355)"
    rows = [re.fullmatch(r"(\d) +(\d+\.\d\d) % +(\d+) +(\d+)", line).groups() for line in lines[4:]]
    assert [row[0] for row in rows] == list("0123456789")
    assert sum(int(row[2]) for row in rows) == right and sum(int(row[3]) for row in rows) == 355
    assert all(f"{100 * int(hits) / int(count):.2f}" == share for _, share, hits, count in rows)


def test_evaluate_does_not_change_the_run(command, trained, quick):
    folder = trained("run")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert command("evaluate", "run").status == 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_evaluate_other_data(command, refused, trained, rows, place, quick):
    trained("run", "--data", "rows.npz", "--model", "softmax", "--epochs", 10)
    with np.load(rows) as file:
        x = file["x"]
    np.savez(place / "first.npz", x=x, y=np.zeros(60, int), classes=["zero", "one"])
    status, out, _ = command("evaluate", "run", "--data", "first.npz")
    assert status == 0 and "(4 of 12)" in out
    assert re.search(r"^1 +- +0 +0$", out, re.MULTILINE)  # a class without examples
    assert "inputs of UCI digits have shape (8, 8, 1), the run was trained on (4, 4, 1)" in refused(
        "evaluate", "run", "--data", "digits"
    )
    np.savez(place / "many.npz", x=x, y=np.arange(60) % 4)
    assert "many has 4 classes, the run knows 3" in refused("evaluate", "run", "--data", "many.npz")
    assert "absent.npz: the file is not there" in refused("evaluate", "run", "--data", "absent.npz")
    assert "root: mnist needs" in refused("evaluate", "run", "--data", "mnist")
    rows.unlink()
    assert "rows.npz: the file is not there" in refused("evaluate", "run")
