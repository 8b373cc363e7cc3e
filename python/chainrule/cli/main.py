"""The entry point: parses the command line, runs a command, and says every user error in one line.

Exit status: 0 done, 2 a user error, 130 interrupted. What each command does is left to its module.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import chainrule
from chainrule.cli.errors import CommandError
from chainrule.cli.extras import require_extras

USER_ERROR = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions; `main` says them."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def main(argv: list[str] | None = None) -> int:
    """Run the command line (default: the process's own) and return its exit status.

    >>> main(["--version"])
    chainrule 0.1.0
    0
    """
    try:
        status = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except SystemExit as done:  # argparse has printed a help or version text
        return int(done.code or 0)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has gone. Python would complain at its end about what is left to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        return fail(f"not enough memory: {error}" if str(error) else "not enough memory")
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except user_errors() as error:
        return fail(str(error))


def run(argv: list[str]) -> int:
    """Parse the command line and run its command."""
    # Names of files and classes may hold characters that the output's encoding lacks.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Without the packages there is no parser for training either: its flags are the settings' fields.
    commands = ("train", "evaluate", "predict", "view")
    if argv and argv[0] in commands:
        require_extras()
    arguments = make_parser(argv[0] if argv else "").parse_args(argv)
    return arguments.run(arguments)


def make_parser(command: str) -> argparse.ArgumentParser:
    """The parser; only the named command's flags are filled in, so that other modules stay unloaded."""
    parser = Parser(
        prog="chainrule",
        description="Train, evaluate and use classifiers on the CPU.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"chainrule {chainrule.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for name, (help_text, fill) in COMMANDS.items():
        part = commands.add_parser(
            name, help=help_text, description=help_text.capitalize() + ".", allow_abbrev=False
        )
        if name == command:
            fill(part)
    return parser


def fill_train(parser: argparse.ArgumentParser) -> None:
    from chainrule.cli import train

    train.add_arguments(parser)


def fill_evaluate(parser: argparse.ArgumentParser) -> None:
    from chainrule.cli import evaluate

    evaluate.add_arguments(parser)


def fill_predict(parser: argparse.ArgumentParser) -> None:
    from chainrule.cli import predict

    predict.add_arguments(parser)


def fill_view(parser: argparse.ArgumentParser) -> None:
    from chainrule.cli import view

    view.add_arguments(parser)


def fill_config(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=config)


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "train": ("train a classifier and write a run folder with its report", fill_train),
    "evaluate": ("test a trained run", fill_evaluate),
    "predict": ("classify images with a trained run", fill_predict),
    "view": ("draw what a trained run has learned", fill_view),
    "config": ("show the version, processor features, threads and compiler in use", fill_config),
}


def config(arguments: argparse.Namespace) -> int:
    print(chainrule.show_config())
    return 0


def user_errors() -> tuple[type[Exception], ...]:
    """The errors whose message is all that a user needs. Any other error is a fault of ours and keeps its trace."""
    errors: list[type[Exception]] = [CommandError]
    # A module that was never imported raised nothing.
    for module, name in (("chainrule.data", "DataError"), ("chainrule.train", "TrainError")):
        if module in sys.modules:
            errors.append(getattr(sys.modules[module], name))
    return tuple(errors)


def fail(message: str, status: int = USER_ERROR) -> int:
    """Say the message in one line on stderr."""
    print("chainrule: " + " ".join(message.split()), file=sys.stderr)
    return status
