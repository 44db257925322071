"""The `modelpad` command: runs a subcommand, and prints errors as two lines."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from modelpad import __version__
from modelpad.cli.colour import paint_error
from modelpad.cli.config_file import apply_config
from modelpad.cli.help_format import HelpFormatter
from modelpad.cli.variables import read_variables
from modelpad.errors import MissingExtra, ModelpadError, UsageError, suggest_name

DONE, FAILED, WRONG_USAGE = 0, 1, 2

# Each command is a module of this folder with `configure(parser)` and `run(args) -> int`.
COMMANDS = {
    "init": "write a small project to start from: training, data, tests, a Makefile",
    "train": "train a model from data and save it as a new version",
    "tune": "search the options of a recipe by validation, and save the best model",
    "recipes": "list the recipes that train can use",
    "import": "add a trained model of any framework to the store, with a proof of parity",
    "export": "write a version as ONNX or Keras files, or as a web page that needs no server",
    "predict": "run a model on files or values, without a server",
    "samples": "write files to try commands with: pictures, texts, tables",
    "style": "paint a photograph like a painting, by optimisation",
    "serve": "serve models on a web page and an API",
    "deploy": "write a folder that a cloud platform, Docker or Kubernetes takes as it is",
    "bench": "measure how fast this machine serves a model",
    "models": "list, show, alias, roll back, verify, push, pull and remove models",
    "feedback": "list, show, export and delete corrections by users",
    "jobs": "list, show and cancel the jobs of servers, or print their logs",
    "promote": "point an alias at a version if it is good enough",
    "compare": "show two versions side by side, and which items they predict differently",
    "data": "list data sets, or describe one",
    "config": "show each setting and where it comes from",
    "completion": "print a script that completes commands and names in a shell",
    "doctor": "check this machine and report what to install",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0 (success), 1 (failure) or 2 (usage error)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    escape_unprintable()
    try:
        files = apply_config(os.environ)
        parser = build_parser(arguments, os.environ)
        if not arguments:
            parser.print_help()
            return DONE
        args, unknown = parser.parse_known_args(arguments)
        if unknown:
            raise _name_unknown(unknown[0], args)
        args.config = files
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
        # The reader has closed the pipe (`modelpad ... | head`): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            raise
        print(f"modelpad: {type(error).__name__}: {error}", file=sys.stderr)
        print(
            "  This is a bug in modelpad. Run again with --debug for the traceback.",
            file=sys.stderr,
        )
        return FAILED


def escape_unprintable() -> None:
    """Makes standard output write what it cannot encode as standard error does: `\\udcff`.

    Names of files need not be valid text.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def build_parser(
    arguments: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> argparse.ArgumentParser:
    """The parser of all commands; imports only the command named in `arguments`.

    Without arguments it imports them all, for the documentation tests. The options of `serve`
    and of recipes take their defaults from the environment's `variables`, if given.

    Raises `UsageError` for a variable that its option does not accept.
    """
    parser = Parser(
        prog="modelpad",
        description="Your trained model, live in one command.",
        epilog="Try: modelpad serve digits",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"modelpad {__version__}")
    commands = parser.add_subparsers(
        metavar="COMMAND", required=True, parser_class=Parser, title="commands"
    )
    requested = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=HelpFormatter,
        )
        if requested == name or not arguments:
            # `import` is a keyword, so no module can have that name.
            module = import_module(f"modelpad.cli.{'import_model' if name == 'import' else name}")
            module.configure(command)
            command.set_defaults(run=module.run, parser=command)
            if variables and name == "serve":
                read_variables(command, variables)
            if variables and name in ("train", "tune"):
                for recipe, one in list_parsers(command).items():
                    read_variables(one, variables, recipe)
    return parser


def list_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers below this one, by name."""
    return {
        name: child
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, child in action.choices.items()
    }


class Parser(argparse.ArgumentParser):
    """A parser that raises usage errors like all others, with a hint."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Raises `UsageError` for a value that is not one of the choices, with the nearest one."""
        if action.choices is None or value in action.choices:
            return
        option = "/".join(action.option_strings)
        kind = "choice" if option else str(action.metavar or action.dest).lower()
        raise UsageError(
            f"{option} has no choice {value!r}." if option else f"There is no {kind} {value!r}.",
            hint=f"{suggest_name(str(value), map(str, action.choices), kind=kind)}"
            f" See: {self.prog} --help",
        )

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See: {self.prog} --help")


def add_store_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--store DIR_OR_URL`."""
    parser.add_argument(
        "--store",
        metavar="DIR_OR_URL",
        help="model store: a folder, or the URL of a bucket (s3://, gs://, az://)"
        " (default: MODELPAD_STORE, else a folder in your home)",
    )


def add_feedback_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--feedback DIR`."""
    parser.add_argument(
        "--feedback",
        metavar="DIR",
        help="where corrections by users are stored: a folder, or sqlite:PATH (also: the variable"
        " MODELPAD_FEEDBACK; default: none)",
    )


def add_jobs_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--jobs DIR`."""
    parser.add_argument(
        "--jobs",
        metavar="DIR",
        help="where jobs, and the pictures and videos for them, are stored (default:"
        " MODELPAD_JOBS, else a folder in your home)",
    )


def add_common_options(parser: argparse._ActionsContainer, *, json: bool = True) -> None:
    """Adds `--json` and `--debug`."""
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback when an error occurs"
    )


def _name_unknown(word: str, args: argparse.Namespace) -> UsageError:
    from difflib import get_close_matches  # takes ten milliseconds: only after a mistake

    command: argparse.ArgumentParser = args.parser
    see = f"See: {command.prog} --help"
    if not word.startswith("-"):
        return UsageError(f"{command.prog}: unexpected argument {word!r}.", hint=see)
    option = word.split("=")[0]
    near = get_close_matches(option, command._option_string_actions, n=1)
    return UsageError(
        f"{command.prog}: unknown option {option}.",
        hint=f"Did you mean {near[0]}? {see}" if near else see,
    )


def describe_hint(error: ModelpadError) -> str:
    """What to do about an error; a missing extra is installed from where modelpad came from."""
    if not isinstance(error, MissingExtra):
        return error.hint
    from modelpad.installation import install_command

    return f"Install it with: {install_command(str(error.details['extra']))}"


def _report(error: ModelpadError) -> int:
    print(f"{paint_error('modelpad:', sys.stderr)} {error.message}", file=sys.stderr)
    hint = describe_hint(error)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    return WRONG_USAGE if isinstance(error, UsageError) else FAILED
