"""`/jobs`: long work: submit, look, follow, cancel. Only servers with `--studio` have jobs.

With API keys, a job belongs to the owner of the key that submitted it; admins see all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO

from modelpad.errors import InvalidInput, JobConflict, NotFound
from modelpad.server.backend import Backend
from modelpad.server.http.messages import (
    JSON,
    Request,
    Response,
    read_count,
    respond_json,
)
from modelpad.server.json_schema import make_list, make_object, refer
from modelpad.server.page import FILE_POLICY
from modelpad.server.routing import Names, Operation, Route

if TYPE_CHECKING:
    from modelpad.foreign_json import Json
    from modelpad.jobs import Job
    from modelpad.server.studio import Studio

EVENTS = "text/event-stream"
KEY = "idempotency-key"
LAST_EVENT = "last-event-id"
MAX_LISTED = 1000
MAX_KEY_CHARS = 200
PART_BYTES = 256 * 1024


async def submit_job(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /jobs/{kind}`: adds a job; 202, or 200 if the idempotency key is of an earlier one.

    Raises what the kind's check raises, `JobsFull` and `JobConflict`, and `ModelNotFound` for a
    model that is not served.
    """
    from modelpad.jobs import JobRequest  # not of the cold start
    from modelpad.server.job_views import describe_job

    studio = require_studio(backend)
    params = await request.read_object(
        hint='For example: {"collection": "...", "name": "pets"}',
        problem="A job's parameters are a JSON object.",
    )
    key = request.headers.get(KEY)
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARS:
        raise InvalidInput(
            f"{KEY} has {len(key)} characters.",
            hint=f"Send 1 to {MAX_KEY_CHARS}.",
            expected=f"1 to {MAX_KEY_CHARS} characters",
            got=f"{len(key)} characters",
        )
    job_request = JobRequest(names["kind"], params, request.owner, key)
    job, is_new = await studio.submit(job_request, await pin_model(backend, params))
    status = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    headers = {"location": f"/jobs/{job.id}"}
    return respond_json(describe_job(job), status=status, headers=headers)


async def show_job(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /jobs/{id}`: how far it is."""
    from modelpad.server.job_views import describe_job  # not of the cold start

    return respond_json(describe_job(await find_job(backend, request, names)))


async def list_jobs(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /jobs`: the newest first; one's own, for an admin all."""
    from modelpad.server.job_views import describe_job  # not of the cold start

    studio = require_studio(backend)
    owner = None if backend.access.is_admin(request.owner) else request.owner
    jobs = await asyncio.to_thread(studio.queue.jobs, owner)
    shown = [describe_job(job) | {"owner": job.owner} for job in jobs[:MAX_LISTED]]
    return respond_json({"jobs": shown, "count": len(jobs)})


async def cancel_job(backend: Backend, request: Request, names: Names) -> Response:
    """`DELETE /jobs/{id}`: cancels it. Raises `JobConflict` if it has ended otherwise."""
    from modelpad.server.job_views import describe_job  # not of the cold start

    job = await find_job(backend, request, names)
    cancelled = await asyncio.to_thread(require_studio(backend).queue.cancel, job.id)
    return respond_json(describe_job(cancelled))


async def follow_job(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /jobs/{id}/events`: server-sent events, `job` and `log`, until the job has ended.

    (https://html.spec.whatwg.org/multipage/server-sent-events.html) A client that connects again
    gets the lines of the log after `Last-Event-ID`.
    """
    from modelpad.server.job_views import write_event  # not of the cold start

    studio = require_studio(backend)
    job = await find_job(backend, request, names)
    studio.check_streams()
    after = read_count(request.headers.get(LAST_EVENT, "")) or 0

    async def write() -> AsyncIterator[bytes]:
        async for event in studio.follow(job, after):
            yield write_event(event)

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return Response(content_type=EVENTS, headers=headers, parts=write())


async def show_preview(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /jobs/{id}/preview`: the last picture of the work so far. Raises `NotFound`."""
    job = await find_job(backend, request, names)
    path = require_studio(backend).queue.folder_of(job.id) / "preview"
    try:
        body = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise NotFound("This job has no preview.", hint="See its previews first.") from error
    kind = "image/png" if body.startswith(b"\x89PNG") else "image/jpeg"
    headers = {"cache-control": "no-store", "content-security-policy": FILE_POLICY}
    return Response(body, kind, headers=headers)


async def show_result(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /jobs/{id}/result`: the file that a job has made. Raises `JobConflict`, `NotFound`."""
    job = await find_job(backend, request, names)
    if not job.is_finished:
        raise JobConflict(f"The job is {job.state}: it has no result yet.", hint="Wait for it.")
    result = job.result or {}
    path = require_studio(backend).queue.folder_of(job.id) / str(result.get("file", "none"))
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise NotFound("This job has no file as its result.", hint="See its result.") from error
    headers = {
        "cache-control": "private, no-store",
        "content-security-policy": FILE_POLICY,
        "content-disposition": f'attachment; filename="{path.name}"',
    }
    kind = str(result.get("content_type", "application/octet-stream"))
    return Response(content_type=kind, headers=headers, parts=read_parts(file))


async def read_parts(file: BinaryIO) -> AsyncIterator[bytes]:
    """A file piece by piece; closes it."""
    with file:
        while piece := await asyncio.to_thread(file.read, PART_BYTES):
            yield piece


async def pin_model(backend: Backend, params: Mapping[str, Json]) -> dict[str, Json]:
    """The parameter `model` as the very version that this server serves by that name.

    Raises `ModelNotFound` and `VersionNotFound`.
    """
    reference = params.get("model")
    if not isinstance(reference, str):
        return {}
    name, _, version = reference.partition("@")
    served = await backend.host.find(name, version)
    manifest = served.bundle.folder / "manifest.json"
    digest = hashlib.sha256(await asyncio.to_thread(manifest.read_bytes)).hexdigest()
    return {"model": f"{served.name}@{served.version}", "bundle": digest}


def require_studio(backend: Backend) -> Studio:
    """The studio. Raises `NotFound` if this server has none."""
    if backend.studio is None:
        raise NotFound("This server runs no jobs.", hint="Start it with: modelpad serve --studio")
    return backend.studio


async def find_job(backend: Backend, request: Request, names: Names) -> Job:
    """The job of the path, if the key's owner may see it. Raises `NotFound`."""
    owner = None if backend.access.is_admin(request.owner) else request.owner
    return await require_studio(backend).find(names["id"], owner)


JOB = {JSON: refer("Job")}
ROUTES = (
    Route(
        "POST",
        "/jobs/{kind}",
        submit_job,
        Operation(
            "Submit long work; only with --studio",
            JOB,
            {JSON: {"type": "object"}},
            failures=("404", "409", "422", "429", "501", "507"),
            needs_models=False,
            status="202",
        ),
    ),
    Route(
        "GET",
        "/jobs",
        list_jobs,
        Operation(
            "Your jobs, the newest first; for an admin all",
            {JSON: make_object({"jobs": make_list(refer("Job")), "count": {"type": "integer"}})},
            failures=("404",),
            needs_models=False,
        ),
    ),
    Route(
        "GET",
        "/jobs/{id}",
        show_job,
        Operation("How far a job is", JOB, failures=("404",), needs_models=False),
    ),
    Route(
        "DELETE",
        "/jobs/{id}",
        cancel_job,
        Operation("Cancel a job", JOB, failures=("404", "409"), needs_models=False),
    ),
    Route(
        "GET",
        "/jobs/{id}/events",
        follow_job,
        Operation(
            "Progress as server-sent events: job and log",
            {EVENTS: {"type": "string"}},
            failures=("404", "429"),
            needs_models=False,
        ),
    ),
    Route(
        "GET",
        "/jobs/{id}/preview",
        show_preview,
        Operation(
            "The last picture of the work so far",
            {"image/png": {}, "image/jpeg": {}},
            failures=("404",),
            needs_models=False,
        ),
    ),
    Route(
        "GET",
        "/jobs/{id}/result",
        show_result,
        Operation(
            "The file that a job has made",
            {"video/mp4": {}},
            failures=("404", "409"),
            needs_models=False,
        ),
    ),
)
