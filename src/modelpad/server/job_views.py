"""Jobs as clients see them: JSON, and server-sent events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelpad.jobs.job import Job, LogLine
from modelpad.server.http.messages import encode_json

if TYPE_CHECKING:
    from modelpad.server.studio import Event


def describe_job(job: Job) -> dict[str, object]:
    """A job as clients see it."""
    preview = f"/jobs/{job.id}/preview?n={job.previews}" if job.previews else None
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "fraction": round(job.fraction, 4),
        "step": job.step,
        "params": job.params,
        "created": write_time(job.created),
        "started": write_time(job.started),
        "finished": write_time(job.finished),
        "expires": write_time(job.expires),
        "attempt": job.attempt,
        "preview": preview,
        "error": job.error,
        "result": job.result,
    }


def write_event(event: Event) -> bytes:
    """A change of a job, a line of its log, or a sign of life, as a server-sent event."""
    if event is None:
        return b": still here\n\n"
    if isinstance(event, LogLine):
        body = encode_json({"time": write_time(event.time), "text": event.text})
        return b"event: log\nid: %d\ndata: %s\n\n" % (event.number, body)
    return b"event: job\ndata: %s\n\n" % encode_json(describe_job(event))


def write_time(seconds: float | None) -> str | None:
    """A time in UTC (ISO 8601)."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
