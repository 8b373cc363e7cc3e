"""The command `chainrule`: train, evaluate, predict, config.

`main` parses and turns errors into one line; each command is a module, imported when it is called, because
commands need packages that the extra `cli` installs.
"""
