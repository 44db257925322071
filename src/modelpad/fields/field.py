"""What every field can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


class Field(Protocol):
    """One typed input or output.

    `decode` and `encode` work on one item: arrays have no batch axis.
    """

    @property
    def name(self) -> str:
        """The name of the graph's input or output."""

    @property
    def kind(self) -> str:
        """The word for this type in a manifest: `sketch`, `image`, `text`, `tensor`, `label`."""

    @property
    def widget(self) -> str:
        """The page's widget that shows it."""

    def decode(self, value: object) -> Array:
        """One value as it arrived, as the array that the graph takes. Raises `InvalidInput`."""

    def encode(self, array: Array) -> object:
        """One item of the graph's answer, as a value that JSON can carry."""

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the value on the wire."""

    def preparation(self) -> dict[str, Any] | None:
        """What `decode` does beyond reading, by name and parameters; None when nothing."""

    def to_dict(self) -> dict[str, Any]:
        """The field as a manifest holds it."""


def check_sizes(name: str, *sizes: object, least: int = 1, most: int) -> None:
    """Raises `ValueError` unless each size is None or a whole number within these bounds."""
    for size in sizes:
        whole = isinstance(size, int) and not isinstance(size, bool)
        if size is not None and not (whole and least <= size <= most):  # type: ignore[operator]
            raise ValueError(f"{name} is not a whole number from {least} to {most}: {size!r:.40}")
