"""`/videos`: videos that clients send, in parts if they are large, for jobs to paint.

Only servers with `--studio` take any. With API keys, a video belongs to the key's owner. Nothing
here decodes one: a job does, in a process of its own.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput
from modelpad.server.backend import Backend
from modelpad.server.http.messages import JSON, Request, Response, read_count, respond_json
from modelpad.server.json_schema import TEXT, WHOLE, Schema, make_object
from modelpad.server.protocols.jobs import require_studio
from modelpad.server.routing import Names, Operation, Route

if TYPE_CHECKING:
    from modelpad.jobs.uploads import Upload

EXPECTED = "an MP4, MOV, MKV, WebM, AVI, MPEG, Ogg, FLV or WMV file"
# Bytes near the start of files of these formats, and where. MPEG-TS repeats one every 188 bytes.
MAGIC = (
    *((4, each) for each in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    *((0, each) for each in (b"\x1aE\xdf\xa3", b"OggS", b"FLV", b"0&\xb2u", b"\x00\x00\x01\xba")),
    *((8, b"AVI "), (188, b"G"), (196, b"G")),
)


async def create_video(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /videos`: a new one, which begins with the body; more may follow.

    Raises `InvalidInput` for another file, `UploadsFull`, `TooLarge`, and `Unsupported` if no job
    could read it.
    """
    from modelpad.jobs import load_kind  # not of the cold start

    studio = require_studio(backend)
    load_kind("video").require_package()
    body = await request.body()
    if not any(body.startswith(magic, place) for place, magic in MAGIC):
        raise InvalidInput(
            "This file is not a video in a known format.",
            hint=f"Send {EXPECTED}.",
            field="video",
            expected=EXPECTED,
            got=repr(body[:12]) if body else "0 bytes",
        )
    made = await asyncio.to_thread(studio.uploads.create, request.owner, body)
    headers = {"location": f"/videos/{made.id}"}
    return respond_json(describe(made), status=HTTPStatus.CREATED, headers=headers)


async def append_video(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /videos/{id}?offset=N`: adds the next bytes. Raises as `Uploads.append`."""
    studio = require_studio(backend)
    given = request.query().get("offset", "")
    offset = read_count(given)
    if offset is None:
        raise InvalidInput(
            "The query says not where these bytes begin.",
            hint="Send ?offset=N, the number of bytes before them.",
            field="offset",
            expected="a number",
            got=given[:40] or "nothing",
        )
    body = await request.body()
    upload = await asyncio.to_thread(
        studio.uploads.append, names["id"], request.owner, offset, body
    )
    return respond_json(describe(upload))


async def show_video(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /videos/{id}`: how much of it has arrived. Raises `NotFound`."""
    upload = require_studio(backend).uploads.open(names["id"], request.owner)
    return respond_json(describe(upload))


async def delete_video(backend: Backend, request: Request, names: Names) -> Response:
    """`DELETE /videos/{id}`: deletes it; a job that has begun keeps it. Raises `NotFound`."""
    await asyncio.to_thread(require_studio(backend).uploads.delete, names["id"], request.owner)
    return respond_json({"deleted": names["id"]})


def describe(upload: Upload) -> dict[str, object]:
    """An upload as JSON."""
    return {"id": upload.id, "bytes": upload.bytes}


ONE = {JSON: make_object({"id": TEXT, "bytes": WHOLE})}
VIDEO: dict[str, Schema] = {"application/octet-stream": {}}


ROUTES = (
    Route(
        "POST",
        "/videos",
        create_video,
        Operation(
            "Send a video, or the first part of one; only with --studio",
            ONE,
            VIDEO,
            failures=("404", "422", "501", "507"),
            needs_models=False,
            status="201",
        ),
    ),
    Route(
        "POST",
        "/videos/{id}",
        append_video,
        Operation(
            "Send the next part of a video, from byte ?offset=N on",
            ONE,
            VIDEO,
            failures=("404", "422", "507"),
            needs_models=False,
            query=("offset",),
        ),
    ),
    Route(
        "GET",
        "/videos/{id}",
        show_video,
        Operation("How much of a video has arrived", ONE, failures=("404",), needs_models=False),
    ),
    Route(
        "DELETE",
        "/videos/{id}",
        delete_video,
        Operation(
            "Delete a video",
            {JSON: make_object({"deleted": TEXT})},
            failures=("404",),
            needs_models=False,
        ),
    ),
)
