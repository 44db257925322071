"""A label: one of several classes, with a score for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from modelpad.errors import ModelFailed
from modelpad.fields.field import check_sizes, invalid_value
from modelpad.foreign_json import Json, list_at, optional_integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CLASSES = 1_000_000


@dataclass(frozen=True, slots=True)
class Label:
    """Scores over `classes`: float32 (classes,), summing to 1 if the model ends in a softmax.

    `top` limits how many scores a response contains; None means all of them.
    """

    name: str = "label"
    classes: tuple[str, ...] = ()
    top: int | None = None

    kind: ClassVar[str] = "label"
    widget: ClassVar[str] = "label-bars"

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError("a label needs at least two classes")
        if not all(isinstance(name, str) for name in self.classes):
            raise ValueError("class names must be strings")
        check_sizes("top", self.top, maximum=MAX_CLASSES)
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("duplicate class names")

    def decode(self, value: object) -> NDArray[np.int64]:
        """A class name or index as a 0-dimensional int64. Raises `InvalidInput`."""
        import numpy as np

        if isinstance(value, str) and value in self.classes:
            return np.array(self.classes.index(value), dtype=np.int64)
        if isinstance(value, int) and 0 <= value < len(self.classes):
            return np.array(value, dtype=np.int64)
        raise invalid_value(
            self.name,
            "is not one of its classes",
            hint=f"Classes: {', '.join(self.classes[:12])}.",
            expected="a class name or its index",
            got=repr(value)[:60],
        )

    def encode(self, array: NDArray[np.generic]) -> dict[str, Json]:
        """`{"label", "confidence", "scores"}`, with the scores in descending order.

        Raises:
            ModelFailed: there is not exactly one finite score for each class.
        """
        import numpy as np

        scores = np.asarray(array, dtype=np.float64).reshape(-1)
        if scores.size != len(self.classes) or not np.isfinite(scores).all():
            raise ModelFailed(
                f"The model's output {self.name!r} is not one finite score for each of"
                f" {len(self.classes)} classes.",
                hint="The model's last layer does not match its class names.",
                got=f"shape {list(np.shape(array))}",
            )
        order = np.argsort(-scores, kind="stable")[: self.top]
        ranked: dict[str, Json] = {
            self.classes[index]: round(float(scores[index]), 6) for index in order
        }
        best = next(iter(ranked))
        return {"label": best, "confidence": ranked[best], "scores": ranked}

    def schema(self) -> dict[str, Json]:
        """The object that `encode` returns."""
        return {
            "type": "object",
            "required": ["label", "confidence", "scores"],
            "properties": {
                "label": {"type": "string", "enum": [*self.classes]},
                "confidence": {"type": "number"},
                "scores": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        }

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "classes": [*self.classes],
            "top": self.top,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Label:
        classes = tuple(str(name) for name in list_at(record, "classes"))
        if [*classes] != record["classes"]:
            raise TypeError("class names are not strings")
        top = optional_integer_at(record, "top")
        return cls(name=text_at(record, "name"), classes=classes, top=top)
