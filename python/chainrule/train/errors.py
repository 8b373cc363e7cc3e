"""The errors of a training run that a user can put right. Each message is one line."""

from __future__ import annotations


class TrainError(ValueError):
    """What is wrong with a run's settings, files or course, and what to do."""


class SettingsError(TrainError):
    """A setting that is unknown, of the wrong type, out of range, or contradicts another."""


class CheckpointError(TrainError):
    """A checkpoint that is damaged, or does not belong to what it is used with."""


class RunFolderError(TrainError):
    """A run folder that is not there, or in the way."""


class DivergenceError(TrainError):
    """A loss, or a weight, that is no longer finite."""
