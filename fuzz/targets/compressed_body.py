"""Bodies compressed with gzip or deflate."""

from __future__ import annotations

from fuzz.models import LIMITS, allow_errors, make_request, run

DECODERS = ("modelpad.server.http.messages",)


def fuzz(data: bytes) -> None:
    """Decompresses the input with every supported Content-Encoding."""
    for encoding in ("gzip", "x-gzip", "deflate", "identity"):
        with allow_errors():
            body = run(make_request(data, content_encoding=encoding).body())
            assert len(body) <= LIMITS.body_bytes
