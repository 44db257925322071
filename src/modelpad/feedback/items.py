"""Between the values of a request and the items that are stored."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

from modelpad.errors import InvalidInput, StoreError
from modelpad.feedback.entry import JSON_TYPE, Item
from modelpad.fields import Field, Label, Signature
from modelpad.foreign_json import load_json

PICTURE_KINDS = ("image", "sketch")
CELL_KINDS = ("number", "choice")
MAGIC = (
    (b"\x89PNG", "image/png", ".png"),
    (b"\xff\xd8", "image/jpeg", ".jpg"),
    (b"GIF8", "image/gif", ".gif"),
    (b"BM", "image/bmp", ".bmp"),
    (b"RIFF", "image/webp", ".webp"),
    (b"II", "image/tiff", ".tiff"),
    (b"MM", "image/tiff", ".tiff"),
)
OTHER_PICTURE = ("image/x-portable-anymap", ".ppm")  # P1 to P6
SUFFIXES = {kind: suffix for _, kind, suffix in MAGIC} | dict([OTHER_PICTURE])


def find_label(signature: Signature) -> Label:
    """The one label among a model's outputs. Raises `InvalidInput` if there is not exactly one."""
    labels = [each for each in signature.outputs if isinstance(each, Label) and not each.multiple]
    if len(labels) != 1:
        kinds = ", ".join(each.kind for each in signature.outputs)
        raise InvalidInput(
            "Only models that predict one label can be corrected.",
            hint=f"This model's outputs are: {kinds}.",
            expected="a model with one label",
            got=kinds,
        )
    return labels[0]


def make_item(fields: Sequence[Field], values: Mapping[str, object]) -> Item:
    """The item of one input's values, which the fields can decode.

    A single picture is stored as its file. Raises `InvalidInput` for a picture as numbers.
    """
    if is_picture(fields):
        from modelpad.fields.file_bytes import read_bytes
        from modelpad.fields.picture import PICTURE

        body = read_bytes(values[fields[0].name], PICTURE, field=fields[0].name)
        return Item(name_media_type(body), body)
    plain = {each.name: _simplify(each, values[each.name]) for each in fields}
    text = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return Item(JSON_TYPE, text.encode("utf-8", "replace"))


def restore_values(fields: Sequence[Field], item: Item) -> dict[str, object]:
    """The values of a stored item, to be decoded by the fields. Raises `StoreError`."""
    if item.is_picture:
        return {fields[0].name: item.body}
    try:
        values = load_json(item.body)
    except ValueError as error:
        raise StoreError("An item of the feedback is not JSON.", hint="Delete it.") from error
    if not isinstance(values, dict):
        raise StoreError("An item of the feedback is not an object.", hint="Delete it.")
    return dict(values)


def is_picture(fields: Sequence[Field]) -> bool:
    """Whether a model's only input is a picture."""
    return len(fields) == 1 and fields[0].kind in PICTURE_KINDS


def name_media_type(body: bytes) -> str:
    """The media type of a picture that has been decoded, by its first bytes."""
    found = (kind for magic, kind, _ in MAGIC if body.startswith(magic))
    return next(found, OTHER_PICTURE[0])


def _simplify(field: Field, value: object) -> object:
    """A value as JSON, the same whether it came in a form or as JSON."""
    if field.kind in CELL_KINDS:
        return field.encode(field.decode(value))
    if field.kind in (*PICTURE_KINDS, "audio") and isinstance(value, bytes):
        media_type = "audio/wav" if field.kind == "audio" else name_media_type(value)
        encoded = base64.b64encode(value).decode("ascii")
        return f"data:{media_type};base64,{encoded}"
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
