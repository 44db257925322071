"""An exported page as a single HTML file, which opens by double click."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping

from modelpad.deploy.web.runtime import Runtime
from modelpad.deploy.web.site import (
    IMPORT,
    POLICY,
    STYLE,
    adapt_index,
    collect_files,
    name_page,
    resolve,
    write_policy,
)
from modelpad.store import ResolvedBundle

START = 'import "page/app.js";'
MODULES = (".js", ".mjs")


def write_page(found: ResolvedBundle, runtime: Runtime) -> bytes:
    """The file. Modules are in an import map, as data: URLs; other files as base64 in scripts that
    run nothing."""
    files = collect_files(found, runtime)
    style = files.pop(STYLE).decode("utf-8")
    modules = {path: body for path, body in files.items() if path.endswith(MODULES)}
    modules.pop("start.js")
    imports = {path: _write_module(path, body) for path, body in modules.items()}
    imports_map = json.dumps({"imports": imports})
    icon = _write_url("image/svg+xml", files.pop("page/icon.svg"))
    data = {path: body for path, body in files.items() if path.startswith(("model/", "runtime/"))}
    policy = POLICY | {
        "script-src": f"{_hash(imports_map)} {_hash(START)} data: 'wasm-unsafe-eval'",
        "style-src": _hash(style),
        "connect-src": "'none'",
        "img-src": "data: blob:",
        "media-src": "blob:",
        "manifest-src": "'none'",
        "worker-src": "'none'",
        "trusted-types": "'none'",
    }
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{write_policy(policy)}">\n'
        f"<style>{style}</style>\n"
        f'<script type="importmap">{imports_map}</script>\n'
        f'<script type="module">{START}</script>\n'
    )
    text = name_page(adapt_index(), found)
    text = re.sub(r'<link rel="stylesheet"[^>]*>\n', "", text)
    text = re.sub(r'<script [^>]*src="page/app.js"[^>]*></script>\n', "", text)
    text = text.replace("page/icon.svg", icon).replace('href="./"', 'href="#"')
    text = text.replace("<link rel=", head + "<link rel=", 1)
    return text.replace("</body>", f"{_write_data(data, modules)}</body>").encode("utf-8")


def _write_module(path: str, body: bytes) -> str:
    """A module whose imports name others by their path, as a data: URL."""
    text = body.decode("utf-8")
    if not path.startswith("runtime/"):
        text = IMPORT.sub(lambda found: f"{found[1]}{resolve(path, found[2])}", text)
    return _write_url("text/javascript", text.encode("utf-8"))


def _write_url(kind: str, body: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(body).decode('ascii')}"


def _write_data(data: Mapping[str, bytes], modules: Mapping[str, bytes]) -> str:
    return "".join(
        f'<script type="application/octet-stream" data-file="{html.escape(path)}">'
        f"{base64.b64encode(body).decode('ascii')}</script>\n"
        for path, body in data.items()
        if path not in modules
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
