"""A recipe's options: a frozen data class whose fields become command-line flags.

    @dataclass(frozen=True, slots=True)
    class Options:
        width: int = option(64, "units in the hidden layer")
        keras: KerasOptions = KerasOptions()

A field of type bool becomes a switch, a `Literal` a choice, a tuple a flag that may be repeated.
A field that is itself such a data class contributes its own fields. An underscore at the end of a
name, which keeps it apart from a word of Python's, is not part of the flag.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def option(default: T, help: str, *, metavar: str | None = None) -> T:
    """A field with a default and the sentence that `--help` shows for it."""
    value: T = field(default=default, metadata={"help": help, "metavar": metavar})
    return value


@dataclass(frozen=True, slots=True)
class KerasOptions:
    """What every Keras recipe accepts: the name of a Keras object, or a user-defined object."""

    loss: str | None = option(
        None,
        "use this loss instead of the recipe's: from Keras, or your own",
        metavar="NAME|FILE.py:OBJECT",
    )
    metric: tuple[str, ...] = option(
        (),
        "also compute this metric, from Keras or your own; repeatable",
        metavar="NAME|FILE.py:OBJECT",
    )
    callback: tuple[str, ...] = option(
        (),
        "also run this callback, from Keras or your own; repeatable",
        metavar="NAME|FILE.py:OBJECT",
    )


@dataclass(frozen=True, slots=True)
class Flag:
    """A command-line option. `kind` converts an argument to a value."""

    name: str
    help: str
    default: object
    kind: type
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    metavar: str | None = None


def read_flags(options: type) -> tuple[Flag, ...]:
    """The flags of an options class, including nested classes."""
    return tuple(_walk_flags(options))


def build_options(options: type[T], values: dict[str, object]) -> T:
    """An instance of the class from the values of its flags, by name."""
    arguments: dict[str, object] = {}
    hints = get_type_hints(options)
    for each in fields(options):  # type: ignore[arg-type]
        kind = hints[each.name]
        if is_dataclass(kind):
            arguments[each.name] = build_options(kind, values)  # type: ignore[arg-type]
        elif each.name in values:
            value = values[each.name]
            arguments[each.name] = tuple(value) if isinstance(value, list) else value
    return options(**arguments)


def _walk_flags(options: type) -> Iterator[Flag]:
    hints = get_type_hints(options)
    for each in fields(options):
        kind = hints[each.name]
        if is_dataclass(kind):
            yield from _walk_flags(kind)  # type: ignore[arg-type]
            continue
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        yield Flag(
            name=each.name,
            help=str(each.metadata["help"]),
            default=each.default,
            kind=str if choices else _item_kind(kind),
            choices=choices,
            repeatable=get_origin(kind) is tuple,
            metavar=each.metadata["metavar"],
        )


def _item_kind(kind: object) -> type:
    """`int` for int, `int | None` and `tuple[int, ...]`."""
    inner = [each for each in get_args(kind) if each not in (type(None), Ellipsis)]
    found = inner[0] if inner else kind
    if not isinstance(found, type):
        raise TypeError(f"{kind} cannot be a command-line option")
    return found
