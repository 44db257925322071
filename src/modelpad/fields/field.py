"""What every field can do. `kinds.py` reads fields back from a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelpad.errors import InvalidInput, ModelFailed
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.fields.arrays import Array


class Field(Protocol):
    """One typed input or output.

    `decode` and `encode` handle a single item: arrays have no batch axis.
    """

    @property
    def name(self) -> str:
        """The name of the graph's input or output."""

    @property
    def kind(self) -> str:
        """The type's name in a manifest: a key of `kinds.KINDS`."""

    @property
    def widget(self) -> str:
        """The page's widget for this type."""

    def decode(self, value: object) -> Array:
        """A request value as the array that the graph expects. Raises `InvalidInput`."""

    def encode(self, array: Array) -> object:
        """One item of the graph's output as a JSON value."""

    def schema(self) -> dict[str, Json]:
        """The JSON schema of the value in a request or response."""

    def preparation(self) -> dict[str, Json] | None:
        """The name and parameters of the preparation that `decode` applies; None if there is none.

        Parsing alone is not a preparation.
        """

    def to_dict(self) -> dict[str, Json]:
        """The field's entry in a manifest."""


def default_of(field: Field) -> object:
    """What a field stands for in a request without it; None if it must be given."""
    return getattr(field, "default", None)


def invalid_value(
    name: str, problem: str, *, expected: str, got: str, hint: str = ""
) -> InvalidInput:
    """The error of a value for the field `name`; its message says that it `problem`.

    Without a `hint`, what is expected is asked for.
    """
    return InvalidInput(
        f"The field {name!r} {problem}.",
        hint=hint or f"Send {expected}.",
        field=name,
        expected=expected,
        got=got,
    )


def check_sizes(name: str, *sizes: object, minimum: int = 1, maximum: int) -> None:
    """Raises `ValueError` unless each size is None or an integer from `minimum` to `maximum`."""
    for size in sizes:
        if size is None:
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not minimum <= size <= maximum:
            raise ValueError(f"{name} must be from {minimum} to {maximum}, not {size!r:.40}")


def read_one_number(array: NDArray[np.generic], what: str) -> float:
    """The number in a model's output of one element. Raises `ModelFailed`, naming `what` it is."""
    import numpy as np

    numbers = np.asarray(array, dtype=np.float64).reshape(-1)
    if numbers.size != 1 or not np.isfinite(numbers[0]):
        raise ModelFailed(
            f"{what} is not one finite number.",
            hint="Check the model on this input in its own framework.",
            got=f"shape {list(np.shape(array))}",
        )
    return float(numbers[0])
