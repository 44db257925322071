"""What every field can do, and how one is read back from a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from modelpad.errors import BundleInvalid

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


def field_from_dict(record: Mapping[str, Any]) -> Field:
    """The field that `to_dict` described.

    Raises:
        BundleInvalid: the kind is unknown or its parameters make no sense.
    """
    from modelpad.fields.image import Image
    from modelpad.fields.label import Label
    from modelpad.fields.score import Score
    from modelpad.fields.sketch import Sketch
    from modelpad.fields.tensor import Tensor
    from modelpad.fields.text import Text

    kinds: dict[str, Callable[..., Field]] = {
        "image": Image.from_dict,
        "label": Label.from_dict,
        "score": Score.from_dict,
        "sketch": Sketch.from_dict,
        "tensor": Tensor.from_dict,
        "text": Text.from_dict,
    }
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise BundleInvalid(
            f"The manifest has a field of kind {kind!r}.",
            hint=f"Known kinds: {', '.join(sorted(kinds))}. A newer modelpad may read it.",
        )
    try:
        if not isinstance(record["name"], str):
            raise TypeError("its name is not text")
        return kinds[kind](record)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleInvalid(
            f"The manifest's {kind} field makes no sense: {error}.",
            hint="Write the bundle again from its source model.",
        ) from error
