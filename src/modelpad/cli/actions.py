"""Commands with actions, such as `modelpad jobs cancel`, that share the command's options."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from modelpad.cli.main import Parser

AddOptions = Callable[[argparse.ArgumentParser], None]
AddAction = Callable[[str, Callable[..., int], str], argparse.ArgumentParser]


def start_actions(
    parser: argparse.ArgumentParser, add_options: AddOptions, default: Callable[..., int]
) -> AddAction:
    """Adds the options to a command, and returns what adds an action with the same options.

    That takes the action's name, its function and a help text. Options may be given before or after
    the action; `default` is what happens without one.
    """
    parser.set_defaults(action=default)
    add_options(parser)
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser)

    def add(name: str, action: Callable[..., int], words: str) -> argparse.ArgumentParser:
        command = actions.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,  # keeps what was given before the action
        )
        add_options(command)
        for option in command._actions:
            option.default = argparse.SUPPRESS
        command.set_defaults(action=action)
        return command

    return add
