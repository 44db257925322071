"""The page's files, served from this folder without a build step.

HTML gets one generated part: the list of modules to preload. Everything else is sent unchanged.
"""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from pathlib import Path

from msgspec import structs

from modelpad.errors import NotFound
from modelpad.server.http.messages import Request, Response

START = "app.js"
IMPORT = re.compile(r'^import (?:[^"]* from )?"\./([\w-]+\.js)";$', re.MULTILINE)
PRELOADS = b"<!-- modules -->"
# Without keys, the list of models is on its way before the first module runs.
MODELS_PRELOAD = "</models>; rel=preload; as=fetch; crossorigin=anonymous"
FOLDER = Path(__file__).parent

# A short table rather than `mimetypes`, whose results depend on the machine's files.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
}
# Scripts, styles and data from this server alone; no script from text, by Trusted Types.
SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": SECURITY_POLICY,
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# A bundle's files may come from anyone: they run nothing and load nothing, and are saved rather
# than opened unless they are raster images.
FILE_POLICY = "sandbox; default-src 'none'"
PICTURES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})


def content_type_of(path: str) -> str:
    """The media type by the file's ending."""
    return CONTENT_TYPES.get(Path(path).suffix.lower(), "application/octet-stream")


def respond_file(path: str, request: Request) -> Response:
    """One of the page's files, or 304 when the client has it. Raises `NotFound`."""
    body, tag = _read(path)
    headers = {"cache-control": "no-cache", "etag": tag, **HEADERS}
    if request.headers.get("if-none-match") == tag:
        return Response(b"", content_type_of(path), 304, headers)
    return Response(body, content_type_of(path), headers=headers)


def respond_index(request: Request, *, is_open: bool) -> Response:
    """The page itself. If the server `is_open`, to anyone without a key, models are preloaded."""
    response = respond_file("index.html", request)
    links = {"link": MODELS_PRELOAD} if is_open else {}
    return structs.replace(response, headers={**response.headers, **links})


def list_modules(start: str = START) -> list[str]:
    """The modules that `start` imports before it runs, itself included, each once."""
    found = [start]
    for name in found:  # grows while it is read
        text = (FOLDER / name).read_text("utf-8")
        found += [each for each in IMPORT.findall(text) if each not in found]
    return found


def respond_bundle_file(path: str, body: bytes) -> Response:
    """A file of a bundle, as content that no browser executes."""
    kind = content_type_of(path)
    headers = {
        "cache-control": "private, no-cache",
        "content-security-policy": FILE_POLICY,
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
    }
    if kind not in PICTURES:
        headers["content-disposition"] = "attachment"
    return Response(body, kind, headers=headers)


@cache
def _files() -> frozenset[str]:
    return frozenset(
        file.relative_to(FOLDER).as_posix()
        for file in FOLDER.rglob("*")
        if file.suffix in CONTENT_TYPES
    )


@cache
def _read_known(path: str) -> tuple[bytes, str]:
    body = (FOLDER / path).read_bytes()
    if PRELOADS in body:
        links = (f'<link rel="modulepreload" href="/static/{name}">' for name in list_modules())
        body = body.replace(PRELOADS, "\n".join(links).encode("ascii"))
    return body, f'"{sha256(body).hexdigest()[:16]}"'


def _read(path: str) -> tuple[bytes, str]:
    if path not in _files():
        raise NotFound(f"The page has no file {path!r}.", hint="The page is at /.")
    return _read_known(path)
