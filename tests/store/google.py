"""The part of Google Cloud Storage's XML API that stores need, as the service documents it.

Known emulators ignore `x-goog-if-generation-match`, on which every alias and every version depends.
What is not implemented is answered with 501.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 7  # objects of a list, so that lists have several pages
KNOWN = {"list-type", "prefix", "delimiter", "continuation-token", "uploads", "uploadId"}
KNOWN |= {"partNumber", "max-keys", "start-after"}
DATE = "2026-01-01T00:00:00.000Z"


@dataclass(slots=True)
class Stored:
    """An object, and its generation: it changes whenever the object is written."""

    body: bytes
    generation: int

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


@dataclass(slots=True)
class Bucket:
    """Objects by name, and parts of uploads by their number."""

    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    generation: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, name: str, body: bytes, expected: str | None) -> Stored | None:
        """Writes an object if it has the expected generation, 0 for none; None if not."""
        with self.lock:
            seen = self.objects.get(name)
            if expected is not None and int(expected) != (seen.generation if seen else 0):
                return None
            self.generation += 1
            self.objects[name] = Stored(body, self.generation)
            return self.objects[name]


class Handler(BaseHTTPRequestHandler):
    """Requests for the bucket `bucket`."""

    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def do_GET(self) -> None:
        name, query = self._read_address()
        if name is None:
            return
        if "list-type" in query:
            return self._list(query)
        found = self.bucket.objects.get(name)
        if found is None:
            return self._refuse(404, "NoSuchKey")
        body, status, more = found.body, 200, {}
        if asked := self.headers.get("range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            stop = int(last) + 1 if last else len(body)
            more = {"content-range": f"bytes {first}-{stop - 1}/{len(body)}"}
            body, status = body[int(first) : stop], 206
        self._answer(status, body, {**self._describe(found), **more})

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        name, query = self._read_address()
        body = self._read_body()
        if name is None:
            return
        if "uploadId" in query:
            self.bucket.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return self._answer(200, b"", {"etag": Stored(body, 0).tag})
        stored = self.bucket.write(name, body, self.headers.get("x-goog-if-generation-match"))
        if stored is None:
            return self._refuse(412, "PreconditionFailed")
        self._answer(200, b"", self._describe(stored))

    def do_POST(self) -> None:
        name, query = self._read_address()
        self._read_body()
        if name is None:
            return
        if "uploads" in query:
            number = f"upload-{len(self.bucket.uploads)}"
            self.bucket.uploads[number] = {}
            return self._xml(
                "InitiateMultipartUploadResult",
                f"<Bucket>bucket</Bucket><Key>{escape(name)}</Key><UploadId>{number}</UploadId>",
            )
        parts = self.bucket.uploads.pop(query["uploadId"])
        whole = b"".join(parts[number] for number in sorted(parts))
        stored = self.bucket.write(name, whole, self.headers.get("x-goog-if-generation-match"))
        if stored is None:
            return self._refuse(412, "PreconditionFailed")
        self._xml(
            "CompleteMultipartUploadResult",
            f"<Bucket>bucket</Bucket><Key>{escape(name)}</Key><ETag>{stored.tag}</ETag>",
            self._describe(stored),
        )

    def do_DELETE(self) -> None:
        name, query = self._read_address()
        if name is None:
            return
        if "uploadId" in query:
            self.bucket.uploads.pop(query["uploadId"], None)
        elif self.bucket.objects.pop(name, None) is None:
            return self._refuse(404, "NoSuchKey")
        self._answer(204, b"", {})

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""

    def _list(self, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        names = sorted(each for each in self.bucket.objects if each.startswith(prefix))
        names = [each for each in names if each > after]
        page, rest = names[:PAGE], names[PAGE:]
        rows = "".join(
            f"<Contents><Key>{escape(each)}</Key><LastModified>{DATE}</LastModified>"
            f"<ETag>{escape(found.tag)}</ETag><Size>{len(found.body)}</Size></Contents>"
            for each in page
            if (found := self.bucket.objects.get(each)) is not None
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if rest else ""
        self._xml("ListBucketResult", f"<Name>bucket</Name>{rows}{token}")

    def _read_address(self) -> tuple[str | None, dict[str, str]]:
        """The object's name and the query; no name, and an answer, for what is not known."""
        parts = urlsplit(self.path)
        query = {
            key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
        if not query.keys() <= KNOWN or query.get("delimiter"):
            self._refuse(501, "NotImplemented")
            return None, query
        if bucket != "bucket":
            self._refuse(404, "NoSuchBucket")
            return None, query
        return name, query

    def _read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _describe(self, stored: Stored) -> dict[str, str]:
        return {
            "etag": stored.tag,
            "x-goog-generation": str(stored.generation),
            "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT",
        }

    def _xml(self, root: str, inside: str, headers: dict[str, str] | None = None) -> None:
        space = 'xmlns="http://doc.s3.amazonaws.com/2006-03-01"'
        body = f'<?xml version="1.0" encoding="UTF-8"?><{root} {space}>{inside}</{root}>'
        self._answer(200, body.encode(), {"content-type": "application/xml", **(headers or {})})

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode(), {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def run_google() -> Iterator[tuple[str, int]]:
    """A server with an empty bucket; gives its address."""
    handler = type("BucketHandler", (Handler,), {"bucket": Bucket()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
