"""The page's files, served from this folder without a build step, compressed where a client can.

The page loads its modules and style sheets joined, as `page.js` and `page.css`, the API's reference
as `docs-page.js` and `docs-page.css`, and a part that only some models need as `NAME-page.js`; see
`joining.py`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

from msgspec import structs

from modelpad.errors import NotFound
from modelpad.server.http.messages import Request, Response
from modelpad.server.page.joining import join_modules, join_part, join_styles

STYLES = ("style.css", "key.css", "feedback.css", "text.css", "studio.css", "painting.css")
PARTS = ("painting",)  # of the page, loaded when they are needed
DOCS_STYLES = ("style.css", "key.css", "docs.css")
# Without keys, the list of models is on its way before the first module runs.
MODELS_PRELOAD = "</models>; rel=preload; as=fetch; crossorigin=anonymous"
FOLDER = Path(__file__).parent
JOINED: dict[str, Callable[[], bytes]] = {
    "page.js": lambda: join_modules(FOLDER, "app"),
    "page.css": lambda: join_styles(FOLDER, STYLES),
    "docs-page.js": lambda: join_modules(FOLDER, "docs"),
    "docs-page.css": lambda: join_styles(FOLDER, DOCS_STYLES),
    **{f"{name}-page.js": partial(join_part, FOLDER, name, "app", "page.js") for name in PARTS},
}

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
    ".wav": "audio/wav",
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
    plain, packed, tag = _read(path)
    headers = {"cache-control": "no-cache", "etag": tag, "vary": "accept-encoding", **HEADERS}
    if request.headers.get("if-none-match") == tag:
        return Response(b"", content_type_of(path), 304, headers)
    if _accepts_gzip(request.headers.get("accept-encoding", "")):
        return Response(
            packed, content_type_of(path), headers={**headers, "content-encoding": "gzip"}
        )
    return Response(plain, content_type_of(path), headers=headers)


def compress(response: Response, request: Request) -> Response:
    """The response, with a compressed body where the client can read it."""
    headers = {**response.headers, "vary": "accept-encoding"}
    if not _accepts_gzip(request.headers.get("accept-encoding", "")):
        return structs.replace(response, headers=headers)
    packed = gzip.compress(response.body, mtime=0)
    return structs.replace(response, body=packed, headers={**headers, "content-encoding": "gzip"})


def respond_index(request: Request, *, is_open: bool) -> Response:
    """The page itself. If the server `is_open`, to anyone without a key, models are preloaded."""
    response = respond_file("index.html", request)
    links = {"link": MODELS_PRELOAD} if is_open else {}
    return structs.replace(response, headers={**response.headers, **links})


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


def _accepts_gzip(accepted: str) -> bool:
    codings = {part.partition(";")[0].strip(): part for part in accepted.lower().split(",")}
    return "gzip" in codings and "q=0" not in codings["gzip"].replace(" ", "")


@cache
def _read_known(path: str) -> tuple[bytes, bytes, str]:
    body = JOINED[path]() if path in JOINED else (FOLDER / path).read_bytes()
    packed = gzip.compress(body, mtime=0)
    return body, packed, f'W/"{sha256(body).hexdigest()[:16]}"'  # weak: the same for both


def _read(path: str) -> tuple[bytes, bytes, str]:
    if path not in _files() and path not in JOINED:
        raise NotFound(f"The page has no file {path!r}.", hint="The page is at /.")
    return _read_known(path)
