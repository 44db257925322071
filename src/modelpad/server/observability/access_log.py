"""A line of JSON for each request, on standard error, with an id that clients can quote."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import sys
import time

from modelpad.server.http.messages import Request, Response

PLAIN_ID = re.compile(r"[\w.:-]{1,128}")
# https://www.w3.org/TR/trace-context/: version, trace id, parent id, flags.
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def name_request(request: Request) -> str:
    """The client's own `x-request-id` where it is plain, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if PLAIN_ID.fullmatch(given) else secrets.token_hex(8)


def read_trace(request: Request) -> str | None:
    """The trace id of the client's `traceparent`; None without a valid one."""
    found = TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return found[1] if found and set(found[1]) != {"0"} else None


def log_request(
    request: Request, response: Response, seconds: float, request_id: str, trace_id: str | None
) -> None:
    """Writes the line for one request."""
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z",
        "method": request.method,
        "path": request.path,
        "status": response.status,
        "ms": round(1000 * seconds, 2),
        "bytes": len(response.body),
        "request_id": request_id,
    }
    if trace_id:
        record["trace_id"] = trace_id
    with contextlib.suppress(OSError):  # a closed pipe or a full disk must not fail the request
        print(json.dumps(record, ensure_ascii=False), file=sys.stderr, flush=True)
