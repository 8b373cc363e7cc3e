"""The error of a command that only its user can put right."""


class CommandError(ValueError):
    """What is wrong with the command, in one line."""
