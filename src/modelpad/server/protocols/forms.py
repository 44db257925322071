"""Multipart forms, as browsers and `curl -F` send them."""

from __future__ import annotations

from typing import Any

from modelpad.errors import InvalidInput, TooLarge
from modelpad.server.http.decoding import MAX_PARTS
from modelpad.server.http.messages import Request

FORM = "multipart/form-data"


def read_form(request: Request, body: bytes) -> dict[str, object]:
    """The values of a form's parts by name: bytes of files, text, or lists as JSON.

    Raises:
        InvalidInput: the body is not such a form.
        TooLarge: it has more than `MAX_PARTS` parts.
    """
    from python_multipart import FormParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    values: dict[str, object] = {}

    def take_field(part: Any) -> None:
        values[part.field_name.decode("utf-8", "replace")] = _read_part(request, part.value or b"")

    def take_file(part: Any) -> None:
        part.file_object.seek(0)
        values[part.field_name.decode("utf-8", "replace")] = part.file_object.read()

    content_type = request.headers["content-type"]
    boundary = parse_options_header(content_type)[1].get(b"boundary") or b""
    if body.count(b"--" + boundary) > MAX_PARTS:
        raise TooLarge(
            f"A form may have at most {MAX_PARTS:,} parts.",
            hint="Send one part for each input of the model.",
            limit=MAX_PARTS,
        )
    request.reservation.grow(len(body))  # the parser copies every part
    try:
        parser = FormParser(
            FORM,
            take_field,
            take_file,
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_DIR": None},
        )
        try:
            parser.write(body)
            parser.finalize()
        finally:
            parser.parser = None  # its callbacks refer back to it: a cycle that keeps every part
    except (FormParserError, ValueError, TypeError, AssertionError) as error:
        raise InvalidInput(
            f"The form cannot be read: {error}.",
            hint="With curl: curl -F image=@picture.png URL",
            expected="multipart/form-data with a boundary",
            got=content_type[:100],
        ) from error
    return values


def _read_part(request: Request, value: bytes) -> object:
    """A form's text, as text; lists and numbers as the JSON they are."""
    text = value.decode("utf-8", "replace")
    return request.parse_json(value) if text[:1] == "[" else text
