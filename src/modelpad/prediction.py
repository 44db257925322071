"""A prediction as Python code sees it, from a server or from a model in this process.

Independent of how it was made: it knows neither HTTP nor the engine.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, cast

from modelpad.errors import InvalidInput
from modelpad.foreign_json import Json, object_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN_SCORES = 5
SHOWN_CHARS = 60
BAR = "display:inline-block;height:.7em;background:#3b6fd4;border-radius:2px"


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """A prediction's outputs by name.

    A label is `{"label", "confidence", "scores"}`, with `unknown` if the model can tell, a tensor
    a NumPy array and an image a Pillow image. Texts are strings and scores are numbers.
    """

    model: str
    version: int
    outputs: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The predicted label. Raises `InvalidInput` unless there is exactly one."""
        return text_at(self._only_label(), "label")

    @property
    def labels(self) -> list[str]:
        """The labels of an item that may have several, else the only one. Raises like `label`."""
        record = self._only_label()
        several = record.get("labels")
        return [str(name) for name in several] if isinstance(several, list) else [self.label]

    @property
    def confidence(self) -> float:
        """The label's score, from 0 to 1. Raises like `label`."""
        return _as_number(self._only_label()["confidence"])

    @property
    def scores(self) -> dict[str, float]:
        """Each class's score, in descending order. Raises like `label`."""
        scores = object_at(self._only_label(), "scores")
        return {name: _as_number(score) for name, score in scores.items()}

    @property
    def unknown(self) -> bool:
        """Whether the input looks like none of the classes; False if the model cannot tell.

        Raises like `label`.
        """
        return self._only_label().get("unknown") is True

    @property
    def value(self) -> object:
        """The only output. Raises `InvalidInput` if there are several."""
        if len(self.outputs) != 1:
            raise InvalidInput(
                f"{self.model} has several outputs: {', '.join(self.outputs)}.",
                hint="Use .outputs.",
            )
        return next(iter(self.outputs.values()))

    def _only_label(self) -> dict[str, Json]:
        labels = [output for output in self.outputs.values() if _is_label(output)]
        if len(labels) != 1:
            raise InvalidInput(
                f"{self.model} does not have exactly one label output.", hint="Use .outputs."
            )
        return cast("dict[str, Json]", labels[0])

    def __repr__(self) -> str:
        described = [describe_output(output) for output in self.outputs.values()]
        if len(described) > 1:
            described = [f"{k}: {v}" for k, v in zip(self.outputs, described, strict=True)]
        return f"<Prediction of {self.model} version {self.version}: {'; '.join(described)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: bars for labels, pictures as such."""
        several = len(self.outputs) > 1
        rows = [
            (f"<div><b>{escape(name)}</b></div>" if several else "") + "".join(_write_html(output))
            for name, output in self.outputs.items()
        ]
        source = f"{escape(self.model)} version {self.version}"
        return f"<div>{''.join(rows)}<small>{source}</small></div>"


def describe_output(output: object) -> str:
    """One output on one line: `7, 99.9 %`, `text`, `float32 (1, 4)`, `picture of 64 x 48`."""
    if _is_label(output):
        record = cast("dict[str, Json]", output)
        unknown = ", unknown" if record.get("unknown") else ""
        names = record.get("labels")
        shown = ", ".join(map(str, names)) or "none" if isinstance(names, list) else record["label"]
        return f"{shown}, {100 * _as_number(record['confidence']):.1f} %{unknown}"
    if hasattr(output, "dtype") and hasattr(output, "shape"):
        array = cast("NDArray[np.generic]", output)
        return _shorten(repr(array.tolist())) if array.size <= 4 else f"{array.dtype} {array.shape}"
    if hasattr(output, "size") and hasattr(output, "save"):
        width, height = output.size
        return f"picture of {width} x {height}"
    return _shorten(repr(output))


def decode_output(kind: str, dtype: str, value: object) -> object:
    """The Python value of an output field: an array for a tensor, a Pillow image for an image.

    `value` is the field's JSON value or, for images, also uint8 pixels (height, width, channels).
    """
    if kind == "tensor":
        import numpy as np

        return np.asarray(value, dtype=object if dtype == "string" else dtype)
    if kind == "image":
        from PIL import Image

        if isinstance(value, str):
            return Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2])))
        pixels = cast("NDArray[np.uint8]", value)
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return value


def _write_html(output: object) -> Iterator[str]:
    if _is_label(output):
        record = cast("dict[str, Json]", output)
        yield f"<div><b>{escape(describe_output(output))}</b></div><table>"
        for name, value in [*object_at(record, "scores").items()][:SHOWN_SCORES]:
            score = _as_number(value)
            bar = f'<span style="{BAR};width:{max(0.0, min(1.0, score)) * 10:.2f}em"></span>'
            name_cell = f'<td style="text-align:left">{escape(name)}</td>'
            yield f"<tr>{name_cell}<td>{100 * score:.1f} %</td>"
            yield f'<td style="text-align:left;min-width:10em">{bar}</td></tr>'
        yield "</table>"
    elif hasattr(output, "save"):
        file = io.BytesIO()
        output.save(file, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        yield f'<img src="{url}" alt="{describe_output(output)}" style="max-width:100%">'
    elif isinstance(output, str):
        yield f'<div style="white-space:pre-wrap">{escape(output)}</div>'
    else:
        yield f"<div>{escape(describe_output(output))}</div>"


def _is_label(output: object) -> bool:
    return isinstance(output, dict) and "label" in output and "confidence" in output


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."


def _as_number(value: Json) -> float:
    if not isinstance(value, int | float):
        raise TypeError("a score is not a number")
    return value
