"""`modelpad`: reads the command, runs it, and turns errors into two lines and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from modelpad import __version__
from modelpad.errors import ModelpadError, UsageError

DONE, FAILED, WRONG_USAGE = 0, 1, 2

# Each command is a module of this folder with `configure(parser)` and `run(args) -> int`.
COMMANDS = {
    "train": "train a model from data and save it as a new version",
    "recipes": "list what can be trained",
    "import": "turn a trained model of any framework into a version, with proof",
    "export": "write a version as files that other tools read: ONNX, Keras",
    "predict": "ask a model, without a server",
    "serve": "serve models: a page for people, an API for programs",
    "bench": "measure how fast a model is served on this machine",
    "models": "list, show, alias, roll back, verify, push, pull and remove models",
    "data": "list data sets, or describe one",
    "doctor": "check this machine and say what to install",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Answers 0 (done), 1 (it failed) or 2 (wrong usage)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        args, unknown = build_parser(arguments).parse_known_args(arguments)
        if unknown:
            raise _name_unknown(unknown[0], args)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except ModelpadError as error:
        if debug:
            raise
        return _report(error)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away (`modelpad ... | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            raise
        print(f"modelpad: {type(error).__name__}: {error}", file=sys.stderr)
        print("  This is a defect of modelpad; --debug shows where.", file=sys.stderr)
        return FAILED


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of all commands; only the command that is asked for is imported.

    With no arguments all of them are, as documentation needs it.
    """
    parser = Parser(
        prog="modelpad",
        description="Your trained model, live in one command.",
        epilog="Try: modelpad serve digits",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"modelpad {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    asked = next((word for word in arguments if not word.startswith("-")), None)
    for name, words in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=words,
            description=words[0].upper() + words[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if asked == name or not arguments:
            # `import` is no name that a module can have.
            module = import_module(f"modelpad.cli.{'import_model' if name == 'import' else name}")
            module.configure(command)
            command.set_defaults(run=module.run, parser=command)
    return parser


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours, in the same two lines as any other."""

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See: {self.prog} --help")


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """`--store DIR`, the same for every command."""
    parser.add_argument("--store", metavar="DIR", help="the store's folder (MODELPAD_STORE)")


def add_common_options(parser: argparse.ArgumentParser, *, json: bool = True) -> None:
    """`--json` and `--debug`, the same for every command."""
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _name_unknown(word: str, args: argparse.Namespace) -> UsageError:
    from difflib import get_close_matches  # ten milliseconds that a good command line need not pay

    command: argparse.ArgumentParser = args.parser
    see = f"See: {command.prog} --help"
    if not word.startswith("-"):
        return UsageError(f"{command.prog} has no use for {word!r}.", hint=see)
    option = word.split("=")[0]
    near = get_close_matches(option, command._option_string_actions, n=1)
    return UsageError(
        f"{command.prog} has no option {option}.",
        hint=f"Did you mean {near[0]}? {see}" if near else see,
    )


def _report(error: ModelpadError) -> int:
    print(f"modelpad: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
    return WRONG_USAGE if isinstance(error, UsageError) else FAILED
