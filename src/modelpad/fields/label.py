"""A label: one of several classes, with a score for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from modelpad.errors import InvalidInput, ModelFailed
from modelpad.fields.field import check_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CLASSES = 1_000_000


@dataclass(frozen=True, slots=True)
class Label:
    """Scores over `classes`: float32 (classes,), adding up to 1 where the model ends in softmax.

    `top` limits how many scores an answer carries; None means all of them.
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
            raise ValueError("class names are not text")
        check_sizes("top", self.top, most=MAX_CLASSES)
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names repeat")

    def decode(self, value: object) -> NDArray[np.int64]:
        """A class name or its index, as a 0-dimensional int64. Raises `InvalidInput`."""
        import numpy as np

        if isinstance(value, str) and value in self.classes:
            return np.array(self.classes.index(value), dtype=np.int64)
        if isinstance(value, int) and 0 <= value < len(self.classes):
            return np.array(value, dtype=np.int64)
        raise InvalidInput(
            f"The field {self.name!r} is not one of its classes.",
            hint=f"Classes: {', '.join(self.classes[:12])}.",
            field=self.name,
            expected="a class name or its index",
            got=repr(value)[:60],
        )

    def encode(self, array: NDArray[np.generic]) -> dict[str, Any]:
        """`{"label", "confidence", "scores"}`, scores from the highest down.

        Raises:
            ModelFailed: there is not one finite score a class.
        """
        import numpy as np

        scores = np.asarray(array, dtype=np.float64).reshape(-1)
        if scores.size != len(self.classes) or not np.isfinite(scores).all():
            raise ModelFailed(
                f"The model's {self.name!r} is not one finite score for each of"
                f" {len(self.classes)} classes.",
                hint="The model's last layer and its class names do not agree.",
                got=f"shape {list(np.shape(array))}",
            )
        order = np.argsort(-scores, kind="stable")[: self.top]
        ranked = {self.classes[index]: round(float(scores[index]), 6) for index in order}
        best = next(iter(ranked))
        return {"label": best, "confidence": ranked[best], "scores": ranked}

    def schema(self) -> dict[str, Any]:
        """The object that `encode` makes."""
        return {
            "type": "object",
            "required": ["label", "confidence", "scores"],
            "properties": {
                "label": {"type": "string", "enum": list(self.classes)},
                "confidence": {"type": "number"},
                "scores": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        }

    def preparation(self) -> None:
        """Nothing is prepared."""
        return

    def to_dict(self) -> dict[str, Any]:
        """The field as a manifest holds it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "classes": list(self.classes),
            "top": self.top,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Label:
        """The field that `to_dict` described."""
        return cls(name=record["name"], classes=tuple(record["classes"]), top=record.get("top"))
