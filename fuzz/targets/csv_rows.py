"""CSV in the native API: whole and as it comes, answered as CSV and as JSON."""

from __future__ import annotations

from typing import Any

from fuzz.models import INFERENCE, MODELS, allow_errors, make_request, run
from modelpad.errors import InvalidInput
from modelpad.fields import Choice, Number, Score, Signature
from modelpad.fields.csv_table import CsvTable, parse_row, split_rows
from modelpad.server.http.messages import JSON, Response
from modelpad.server.protocols.native_csv import predict_csv

DECODERS = (
    "modelpad.fields.csv_table",
    "modelpad.fields.number",
    "modelpad.fields.choice",
    "modelpad.server.protocols.native_csv",
)
WHOLE_BYTES = 1024
TABLE = Signature(
    (Number("a", whole=True), Number("b", nullable=True), Choice("c", ("x", ""), True)),
    (Score("d"),),
)


async def read_whole(response: Response) -> bytes:
    """The body of a response, streamed or not."""
    if response.parts is None:
        return response.body
    return b"".join([part async for part in response.parts])


async def predict_rows(model: Any, data: bytes, accept: str) -> None:
    """Predicts the rows with a model of the tests."""
    length = str(len(data)) if accept == JSON else ""  # else it is answered as it comes
    request = make_request(data, content_type="text/csv", accept=accept, content_length=length)
    await read_whole(await predict_csv(INFERENCE, model, request, WHOLE_BYTES))


def fuzz(data: bytes) -> None:
    """Predicts the rows with every model, and decodes them by fields of every kind."""
    for model in MODELS:
        for accept in ("text/csv", JSON):
            with allow_errors():
                run(predict_rows(model, data, accept))
    rows = split_rows(data.decode("utf-8", "surrogateescape").split("\n"))
    table = CsvTable.open(next(rows, ""), TABLE)
    for row in rows:
        try:
            values = table.read(parse_row(row))
            cells = [str(field.decode(values[field.name])) for field in table.inputs]
        except InvalidInput as error:
            table.write_error([], error.words)
        else:
            table.write(cells, {"d": 1.5})
