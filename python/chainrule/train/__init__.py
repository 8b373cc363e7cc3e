"""Training as a job: settings, the training loop, checkpoints and run folders.

Needs what the extra `cli` installs (safetensors, tomli-w, rich for the live bar; tomli on Python 3.10); `import
chainrule` does not import it. Reports are made by `chainrule.view`, commands by `chainrule.cli`.
"""

from chainrule.train.checkpoint import Checkpoint, read_checkpoint
from chainrule.train.errors import (
    CheckpointError,
    DivergenceError,
    RunFolderError,
    SettingsError,
    TrainError,
)
from chainrule.train.evaluate import Evaluation, evaluate
from chainrule.train.fit import Callback, EpochRecord, Progress, fit
from chainrule.train.job import Job, Trained
from chainrule.train.progress import Lines, LiveBar
from chainrule.train.run_folder import RunFolder
from chainrule.train.save_run import SaveRun
from chainrule.train.settings import RunOptions, TrainSettings

__all__ = [
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "DivergenceError",
    "EpochRecord",
    "Evaluation",
    "Job",
    "Lines",
    "LiveBar",
    "Progress",
    "RunFolder",
    "RunFolderError",
    "RunOptions",
    "SaveRun",
    "SettingsError",
    "TrainError",
    "TrainSettings",
    "Trained",
    "evaluate",
    "fit",
    "read_checkpoint",
]
