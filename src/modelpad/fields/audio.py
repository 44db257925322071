"""Sound, as samples of one channel at the model's rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.fields.field import check_sizes, invalid_value
from modelpad.fields.sound import (
    MAX_RATE,
    MAX_SAMPLES,
    MIN_RATE,
    check_count,
    count_resampled,
    read_sound,
    resample,
)
from modelpad.foreign_json import Json, integer_at, optional_integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Audio(msgspec.Struct, frozen=True):
    """Sound as float32 (samples,), -1..1, of one channel with `rate` samples a second.

    With a `length`, shorter sounds are followed by silence, and longer ones rejected. A list of
    numbers is used unchanged.
    """

    name: str = "audio"
    rate: int = 16_000
    length: int | None = None

    kind: ClassVar[str] = "audio"
    widget: ClassVar[str] = "microphone"

    def __post_init__(self) -> None:
        check_sizes("rate", self.rate, minimum=MIN_RATE, maximum=MAX_RATE)
        check_sizes("length", self.length, maximum=MAX_SAMPLES)

    def decode(self, value: object) -> NDArray[np.float32]:
        """A WAV file, or a list of numbers, as float32 (samples,).

        Raises:
            InvalidInput: the value is neither, or too long for the model.
            TooLarge: there are too many samples.
        """
        import numpy as np

        if isinstance(value, list) or hasattr(value, "dtype"):
            from modelpad.fields.tensor import Tensor

            return Tensor(self.name, "float32", (self.length,)).decode(value).astype(np.float32)

        samples, rate = read_sound(value, field=self.name)
        check_count(count_resampled(len(samples), rate, self.rate), self.name)
        return self._fit(resample(samples, rate, self.rate))

    def encode(self, array: NDArray[np.generic]) -> object:
        return array.tolist()

    def schema(self) -> dict[str, Json]:
        """A base64 string, a `data:` URL, or a list of samples."""
        samples: dict[str, Json] = {"type": "array", "items": {"type": "number"}}
        if self.length is not None:
            samples |= {"minItems": self.length, "maxItems": self.length}
        return {
            "anyOf": [
                {"type": "string", "description": "a WAV file as a data: URL or base64"},
                {**samples, "description": f"samples -1..1, {self.rate:,} a second"},
            ]
        }

    def preparation(self) -> dict[str, Json]:
        return {"name": "audio", "rate": self.rate, "length": self.length}

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "rate": self.rate,
            "length": self.length,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Audio:
        return cls(
            name=text_at(record, "name"),
            rate=integer_at(record, "rate"),
            length=optional_integer_at(record, "length"),
        )

    def _fit(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        import numpy as np

        if self.length is None:
            return samples
        if len(samples) > self.length:
            longest = f"{self.length / self.rate:.3g} seconds"
            raise invalid_value(
                self.name,
                "is too long",
                hint=f"Cut it to {longest}.",
                expected=f"a sound of at most {longest}",
                got=f"{len(samples) / self.rate:.3g} seconds",
            )
        return np.pad(samples, (0, self.length - len(samples)))
