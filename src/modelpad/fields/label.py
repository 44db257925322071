"""A label: one of several classes, with a score for each, or none that the model knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import ModelFailed
from modelpad.fields.field import check_sizes, invalid_value, read_one_number
from modelpad.fields.heatmap import Heatmap
from modelpad.foreign_json import (
    Json,
    boolean_at,
    list_at,
    object_at,
    optional_integer_at,
    text_at,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CLASSES = 1_000_000
LABEL_SEPARATOR = "|"  # between several labels in one cell of a table
PRESENT = 0.5  # the score from which one of several labels is present


class Familiarity(msgspec.Struct, frozen=True):
    """Which items a model does not know: those whose number in `tensor` is below `threshold`.

    `tensor` is an output of the graph with one number for each item, (batch,) or (batch, 1), which
    is higher the more an item resembles those that the model was trained on.
    """

    tensor: str
    threshold: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ValueError("the threshold of a familiarity must be finite")

    def to_dict(self) -> dict[str, Json]:
        return {"tensor": self.tensor, "threshold": self.threshold}

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Familiarity:
        threshold = record["threshold"]
        if not isinstance(threshold, int | float) or isinstance(threshold, bool):
            raise TypeError("the threshold of a familiarity is not a number")
        return cls(text_at(record, "tensor"), float(threshold))


class Label(msgspec.Struct, frozen=True):
    """Scores over `classes`: float32 (classes,), summing to 1 if the model ends in a softmax.

    `top` limits how many scores a response contains; None means all of them. With `familiarity`,
    a response also says whether the item is `unknown`: like none of the classes. With `heatmap`,
    it also says where in an image the label is seen.

    If `multiple`, classes do not exclude each other: each score is a probability of its own, and a
    response has `labels`, those of at least 0.5; `label` is the likeliest.
    """

    name: str = "label"
    classes: tuple[str, ...] = ()
    top: int | None = None
    familiarity: Familiarity | None = None
    heatmap: Heatmap | None = None
    multiple: bool = False

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

    def encode(
        self,
        array: NDArray[np.generic],
        companions: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> dict[str, Json]:
        """`{"label", "confidence", "scores"}`, with the scores in descending order; see `multiple`.

        `companions` has the item's part of the `companion_tensors`; with them there are also
        `unknown` and `heatmap`.

        Raises:
            ModelFailed: there is not exactly one finite score for each class, the familiarity is
                not one finite number, or the heat map is invalid.
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
        answer: dict[str, Json] = {"label": best, "confidence": ranked[best], "scores": ranked}
        if self.multiple:
            everything = np.argsort(-scores, kind="stable")
            answer["labels"] = [self.classes[n] for n in everything if scores[n] >= PRESENT]
        if self.familiarity is not None and companions is not None:
            what = f"The familiarity of the model's output {self.name!r}"
            number = read_one_number(companions[self.familiarity.tensor], what)
            answer["unknown"] = number < self.familiarity.threshold
        if self.heatmap is not None and companions is not None:
            answer["heatmap"] = [
                [*row] for row in self.heatmap.encode(companions[self.heatmap.tensor])
            ]
        return answer

    @property
    def companion_tensors(self) -> tuple[str, ...]:
        """The graph's outputs beside the scores that a response needs."""
        companions = (self.familiarity, self.heatmap)
        return tuple(each.tensor for each in companions if each is not None)

    def schema(self) -> dict[str, Json]:
        """The object that `encode` returns."""
        properties: dict[str, Json] = {
            "label": {"type": "string", "enum": [*self.classes]},
            "confidence": {"type": "number"},
            "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        }
        if self.multiple:
            meaning = f"the labels with a score of at least {PRESENT}"
            names: Json = {"type": "string", "enum": [*self.classes]}
            properties["labels"] = {"type": "array", "items": names, "description": meaning}
        if self.familiarity is not None:
            meaning = "whether the input looks like none of the classes"
            properties["unknown"] = {"type": "boolean", "description": meaning}
        if self.heatmap is not None:
            properties["heatmap"] = self.heatmap.schema()
        return {"type": "object", "required": [*properties], "properties": properties}

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "classes": [*self.classes],
            "top": self.top,
            **({"familiarity": self.familiarity.to_dict()} if self.familiarity else {}),
            **({"heatmap": self.heatmap.to_dict()} if self.heatmap else {}),
            **({"multiple": True} if self.multiple else {}),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Label:
        classes = tuple(str(name) for name in list_at(record, "classes"))
        if [*classes] != record["classes"]:
            raise TypeError("class names are not strings")
        top = optional_integer_at(record, "top")
        familiarity, heatmap = None, None
        if "familiarity" in record:
            familiarity = Familiarity.from_dict(object_at(record, "familiarity"))
        if "heatmap" in record:
            heatmap = Heatmap.from_dict(object_at(record, "heatmap"))
        multiple = boolean_at(record, "multiple") if "multiple" in record else False
        return cls(text_at(record, "name"), classes, top, familiarity, heatmap, multiple)
