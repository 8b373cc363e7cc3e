"""The scripts of the folder `results` as modules, and small rows for them to run."""

import sys
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[3] / "results"
sys.path.insert(0, str(RESULTS))


@pytest.fixture(autouse=True)
def on_one_thread(one_thread):
    pass


@pytest.fixture
def rows_file(tmp_path):
    """Writes rows.toml, and settings files beside it, by name. Returns the file."""

    def write(text, **settings):
        (tmp_path / "runs").mkdir(exist_ok=True)
        for name, content in settings.items():
            (tmp_path / "runs" / f"{name}.toml").write_text(content)
        (tmp_path / "rows.toml").write_text(text)
        return tmp_path / "rows.toml"

    return write


@pytest.fixture
def keep_run(tmp_path):
    """Writes the folder of a kept run whose test errors, in per cent, and speed are given. Returns all folders'
    parent."""
    import json

    def write(name, errors, images_per_second=1000.0, settings="", **result):
        folder = tmp_path / "metrics" / name
        folder.mkdir(parents=True)
        lines = [
            "epoch,train_loss,train_accuracy,test_loss,test_accuracy,lr,seconds,images_per_second,peak_mb"
        ]
        lines += [
            f"{epoch},1.0,0.5,1.0,{1 - error / 100},0.1,2.0,{images_per_second},100.0"
            for epoch, error in enumerate(errors, 1)
        ]
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
        (folder / "settings.toml").write_text(
            'data = "digits"\nmodel = "softmax"\nseed = 3\nprecision = "float32"\nbatch-size = 20\n'
            'optimizer = "sgd"\nlr = 0.1\nschedule = "constant"\nnormalize = "scale"\n' + settings
        )
        result = {
            "row": name,
            "engine": "chainrule",
            "status": "done",
            "command": f"chainrule train --config results/runs/{name}.toml --threads 2",
            "seconds": 10.0,
            "parts": 1,
            "peak_mb": 123.4,
            "machine": {"processor": "Some Processor", "cores": 2, "instruction_set": "avx2"},
            "versions": {"chainrule": "0.1.0"},
        } | result
        (folder / "result.json").write_text(json.dumps(result))
        return folder.parent

    return write
