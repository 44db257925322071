"""Custom Keras objects, from the Python file that the user names."""

from __future__ import annotations

from pathlib import Path

from modelpad.convert.user_code import load_file
from modelpad.errors import UsageError


def register_custom(module: str | None) -> frozenset[str]:
    """Runs the file of `--module FILE.py`. Returns the names that Keras knows its objects by.

    These are the objects that the file registers, and its own layers, initializers and so on.
    Without a file there are none. Raises `UsageError` if the file fails, or has no such objects.
    """
    import keras

    if module is None:
        return frozenset()
    if not module.endswith(".py"):
        raise UsageError(
            f"--module {module!r} is not a Python file.",
            hint="For Keras, name the file that defines its custom layers: --module FILE.py",
        )
    known = keras.saving.get_custom_objects()
    before = dict(known)
    loaded = load_file(Path(module))
    registered = {id(value) for name, value in known.items() if before.get(name) is not value}
    bases = (
        keras.Operation,
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
    )
    for name, value in vars(loaded).items():
        own = isinstance(value, type) and value.__module__ == loaded.__name__
        if own and issubclass(value, bases) and id(value) not in registered:
            known[name] = value
    names = frozenset(name for name, value in known.items() if before.get(name) is not value)
    if not names:
        raise UsageError(
            f"--module {module} defines no Keras objects.",
            hint="It must define the model's custom layers, or register them.",
        )
    return names
