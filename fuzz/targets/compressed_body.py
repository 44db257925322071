"""Bodies as gzip and deflate."""

from __future__ import annotations

from fuzz.models import LIMITS, make_request, refusals, run

DECODERS = ("modelpad.server.http.messages",)


def fuzz(data: bytes) -> None:
    """Decompresses the input in every way that a header can name."""
    for encoding in ("gzip", "x-gzip", "deflate", "identity"):
        with refusals():
            body = run(make_request(data, content_encoding=encoding).body())
            assert len(body) <= LIMITS.body_bytes
