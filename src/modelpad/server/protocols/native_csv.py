"""CSV in and CSV out in the native API: each row is a prediction of its own.

The header names the input fields. The response has the same columns, then the outputs', then
`error`.

A body of known length is read before the first row is answered, because most clients read no
response until they have sent the request. One that is chunked, or larger than other bodies may be,
is answered as it comes: it may have any number of rows, but its sender must read meanwhile.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import AsyncIterator

from modelpad.errors import InvalidInput, ModelpadError, Overloaded, TooLarge
from modelpad.fields.csv_table import CsvTable, RowReader, parse_row
from modelpad.server.budget import Reservation
from modelpad.server.http.decoding import VALUE_BYTES, WIDE_FACTOR
from modelpad.server.http.messages import JSON, Request, Response, read_count
from modelpad.server.inference import Inference
from modelpad.server.models import ServedModel
from modelpad.server.protocols.native_items import (
    JSON_LINES,
    Items,
    check_plain,
    predict_items,
    respond_lines,
    respond_list,
)

CSV = "text/csv"
MAX_ROW_BYTES = 1024 * 1024
CELL_BYTES = 4 * VALUE_BYTES  # a string, its slots in a list and in a dict, and an array
CHARSETS = ("", "utf-8", "utf8", "us-ascii")

# A row's text, or why there is none, with the bytes that are reserved for it.
Rows = AsyncIterator[tuple["str | ModelpadError", int]]


async def predict_csv(
    inference: Inference, model: ServedModel, request: Request, whole_bytes: int
) -> Response:
    """CSV with predictions; with `Accept: application/json` a list, with JSON lines' type lines.

    A row that fails has the reason in its `error` column. A row that is too long, or does not fit
    into the server's memory, is the last one. Bodies of at most `whole_bytes` are read first.

    Raises:
        InvalidInput: the body is not UTF-8, the header does not name the fields, or a body that is
            answered as it comes is compressed.
        TooLarge, Overloaded: the header is too long, or too many bytes are in flight.
    """
    _check_charset(request)
    with model.batcher.hold():  # a version being replaced stays until the header is here
        rows = _read_rows(_read_lines(request, whole_bytes), request.reservation)
        table = CsvTable.open(await _read_header(rows, request), model.bundle.manifest.signature)
    sent: deque[list[str]] = deque()
    items = _read_items(table, rows, sent)
    written = predict_items(inference, model, items, request.reservation)
    accepted = request.headers.get("accept", "").lower()
    if CSV not in accepted and any(kind in accepted for kind in JSON_LINES):
        return respond_lines(written)
    if CSV not in accepted and JSON in accepted:
        return await respond_list(model, written)
    return Response(
        content_type=f"{CSV}; charset=utf-8", parts=_write_rows(model, table, sent, written)
    )


async def _write_rows(
    model: ServedModel,
    table: CsvTable,
    sent: deque[list[str]],
    written: AsyncIterator[dict[str, object]],
) -> AsyncIterator[bytes]:
    """The response's rows; `sent` has the cells of those that are not answered yet."""
    outputs = model.bundle.manifest.signature.outputs
    yield table.write_header().encode()
    async for record in written:
        cells = sent.popleft()
        if "error" in record:
            row = table.write_error(cells, _describe(record["error"]))
        else:
            # An only label is flat: see `write_outputs`.
            named = record.get("outputs", {outputs[0].name: record})
            row = _write_row(table, cells, named)
        yield row.encode("utf-8", "replace")


def _write_row(table: CsvTable, cells: list[str], outputs: object) -> str:
    assert isinstance(outputs, dict)
    try:
        return table.write(cells, outputs)
    except TooLarge as error:
        return table.write_error(cells, error.words)


def _describe(error: object) -> str:
    assert isinstance(error, dict)
    return f"{error['message']} {error['hint']}".strip()


async def _read_items(table: CsvTable, rows: Rows, sent: deque[list[str]]) -> Items:
    """The values of each row; its cells are added to `sent`."""
    async for row, size in rows:
        sent.append([])
        if isinstance(row, ModelpadError):
            yield row, size
            continue
        try:
            sent[-1] = parse_row(row)
            values = table.read(sent[-1])
        except InvalidInput as error:
            yield error, size
        else:
            yield values, size


async def _read_header(rows: Rows, request: Request) -> str:
    async for row, size in rows:
        request.reservation.shrink(size)
        if isinstance(row, ModelpadError):
            raise row
        return row
    raise InvalidInput(
        "The CSV is empty.",
        hint="Send a header with the names of the inputs, then a row for each prediction.",
        expected="a header and rows",
        got="0 rows",
    )


async def _read_lines(request: Request, whole_bytes: int) -> AsyncIterator[bytes]:
    declared = read_count(request.headers.get("content-length", ""))
    if declared is not None and declared <= whole_bytes:
        for line in io.BytesIO(await request.body()):
            yield line.removesuffix(b"\n")
        return
    check_plain(request, "a body that is answered as it comes")
    async for line in request.lines(MAX_ROW_BYTES, keep_empty=True):
        yield line


async def _read_rows(lines: AsyncIterator[bytes], reservation: Reservation) -> Rows:
    """The rows that are not blank. A row that is too long is the last one."""
    reader, size = RowReader(), 0
    try:
        async for line in lines:
            _check_length(reader.characters + len(line))
            needed = _estimate(line)
            reservation.grow(needed)
            size += needed
            row = reader.add(line.decode("utf-8", "surrogateescape"))
            if row is None:
                continue
            if row.strip():
                yield row, size
            else:
                reservation.shrink(size)
            size = 0
        if reader.lines:
            yield reader.finish(), size
    except (TooLarge, Overloaded) as error:
        yield error, size


def _check_length(size: int) -> None:
    if size > MAX_ROW_BYTES:
        raise TooLarge(
            f"A row has more than {MAX_ROW_BYTES:,} bytes.",
            hint="Close the quotes of its last cell, or write shorter cells.",
            limit=MAX_ROW_BYTES,
        )


def _check_charset(request: Request) -> None:
    parameters = request.headers.get("content-type", "").lower().split(";")[1:]
    named = dict(each.strip().partition("=")[::2] for each in parameters)
    charset = named.get("charset", "").strip('"')
    if charset not in CHARSETS:
        raise InvalidInput(
            f"Unsupported charset for CSV: {charset[:40]!r}.",
            hint="Send the CSV in UTF-8.",
            expected="UTF-8",
            got=charset[:40],
        )


def _estimate(line: bytes) -> int:
    """The most bytes that a line's cells, and the arrays made from them, need."""
    text = len(line) if line.isascii() else len(line) * WIDE_FACTOR
    return CELL_BYTES * (line.count(b",") + 1) + 2 * text
