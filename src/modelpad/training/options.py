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

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from math import isfinite
from os import PathLike, fspath
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

from modelpad.errors import UsageError, suggest_name

T = TypeVar("T")
KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


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
class OptimizerOptions:
    """What every recipe with an optimizer accepts; None is the recipe's own value."""

    learning_rate: float | None = option(
        None, "peak learning rate (default: chosen by the recipe)", metavar="RATE"
    )
    batch_size: int | None = option(
        None, "examples in a step (default: chosen by the recipe)", metavar="N"
    )
    weight_decay: float | None = option(
        None, "decay of the weights, relative to the learning rate (default: the recipe's)"
    )

    def __post_init__(self) -> None:
        limits = (
            ("--learning-rate", self.learning_rate, 0.0, "a number above 0"),
            ("--batch-size", self.batch_size, 0, "1 or more"),
            ("--weight-decay", self.weight_decay, -1e-9, "0 or more; 0.01 is usual"),
        )
        for name, value, above, hint in limits:
            if value is not None and not (isfinite(value) and value > above):
                raise UsageError(f"{name} is {value}.", hint=f"Give {hint}.")

    @property
    def chosen(self) -> dict[str, float]:
        """Those that are given, by name."""
        values: dict[str, float | None] = asdict(self)
        return {name: value for name, value in values.items() if value is not None}


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


def changed_options(options: object) -> dict[str, object]:
    """The options that differ from their defaults, by flag."""
    values = flatten(asdict(options))  # type: ignore[call-overload]
    return {
        flag.name: values[flag.name]
        for flag in read_flags(type(options))
        if values[flag.name] != flag.default
    }


def name_flag(name: str) -> str:
    """An option as the command line has it: `--from` for `from_`."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def write_flags(values: Mapping[str, object]) -> list[str]:
    """The words of a command line that give options these values."""
    words: list[str] = []
    for name, value in values.items():
        flag = name_flag(name)
        if value is True:
            words.append(flag)
            continue
        for item in value if isinstance(value, tuple) else (value,):
            words += [flag, str(item)]
    return words


def extend_command(command: str, values: Mapping[str, object]) -> str:
    """A command with options of these values."""
    return " ".join([command, *write_flags(values)])


def flatten(options: Mapping[str, object]) -> dict[str, object]:
    """Nested options in one flat mapping, like their flags."""
    flat: dict[str, object] = {}
    for name, value in options.items():
        flat |= flatten(value) if isinstance(value, Mapping) else {name: value}
    return flat


def check_options(options: type, values: Mapping[str, object]) -> dict[str, object]:
    """Options that Python code gives by name, as `build_options` takes them.

    Raises `UsageError`, in the words of the command line, for an option that there is not, and for
    a value of another type or that is not one of the choices.
    """
    flags = {flag.name.rstrip("_"): flag for flag in read_flags(options)}
    checked: dict[str, object] = {}
    for name, value in values.items():
        flag = flags.get(name.rstrip("_"))
        if flag is None:
            raise UsageError(
                f"There is no option {name!r}.", hint=suggest_name(name, flags, kind="option")
            )
        checked[flag.name] = _check_value(flag, value)
    return checked


def _check_value(flag: Flag, value: object) -> object:
    if value is None and flag.default is None:
        return None
    if flag.repeatable:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_check_item(flag, item) for item in items)
    return _check_item(flag, value)


def _check_item(flag: Flag, value: object) -> object:
    name = name_flag(flag.name)
    if isinstance(value, PathLike) and flag.kind is str:
        value = fspath(value)
    if flag.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not flag.kind:
        raise UsageError(f"{name} is {value!r}.", hint=f"Give {KINDS[flag.kind]}.")
    if flag.choices and value not in flag.choices:
        raise UsageError(
            f"{name} has no choice {value!r}.",
            hint=suggest_name(str(value), flag.choices, kind="choice"),
        )
    return value


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
