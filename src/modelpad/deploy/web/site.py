"""The files of an exported page, as a folder for any host of static files."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from posixpath import dirname, join, normpath

from modelpad.bundle.description import describe_bundle, is_public
from modelpad.deploy.web.runtime import Runtime
from modelpad.deploy.web.texts import describe_sequence
from modelpad.deploy.web.weights import NBITS, expand_weights
from modelpad.engine.operators import list_operators
from modelpad.foreign_json import dump_json
from modelpad.server.page import PICTURES, STYLES, content_type_of
from modelpad.server.page.joining import join_styles
from modelpad.store import ResolvedBundle

OWN = Path(__file__).parent / "browser"
PAGE = Path(__file__).parents[2] / "server" / "page"
# Imports and re-exports of a module, also of parts that are loaded when they are needed; ours are
# written in one way, without comments in between.
IMPORT = re.compile(
    r"""(^(?:import|export) [^;"]*?"|\bimport\(")(\.[^"]+)(?="[;)])""", re.MULTILINE
)
# What the page shows of a bundle's files; others, such as HTML or SVG, could be pages themselves.
SHOWN = PICTURES | {"audio/wav"}
STYLE = "page/page.css"  # the page's style sheets, joined
ROOT_FILES = ("modelpad.js", "modelpad.d.ts", "start.js")
FOOTER = "Runs in this browser, with modelpad. Your inputs stay on this device."
# Nothing but this page's own files is loaded, and nothing is sent.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "manifest-src": "'self'",
    "worker-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "modelpad",
}
README = """\
# {title}

Written by `modelpad export {name} --to web`. Put this folder on any host of static files; use
without a network needs HTTPS, or localhost. To try it here: `python -m http.server`, and open
http://localhost:8000.

`modelpad.js` is the model for programs, with types in `modelpad.d.ts`:

```js
import {{ load }} from "./modelpad.js";
const model = await load("./");
console.log(await model.predict(canvas));
```

The page is part of modelpad (Apache-2.0). `runtime/` is ONNX Runtime Web (MIT, see
`runtime/LICENSE`). The model's licence: {licence}.
"""


def write_site(found: ResolvedBundle, runtime: Runtime) -> dict[str, bytes]:
    """All files of the folder, by path."""
    files = {**collect_files(found, runtime), "index.html": write_index(found).encode("utf-8")}
    files["manifest.webmanifest"] = write_manifest(found)
    files["service-worker.js"] = write_worker(files)
    manifest = found.bundle.manifest
    readme = README.format(  # hosts may show it as HTML
        title=html.escape(manifest.title or found.name, quote=False),
        name=found.name,
        licence=html.escape(manifest.licence or "not stated", quote=False),
    )
    files["README.md"] = readme.encode("utf-8")
    return files


def collect_files(found: ResolvedBundle, runtime: Runtime) -> dict[str, bytes]:
    """The files that a folder and a single file share: modules, styles, runtime and model."""
    files = {name: (OWN / name).read_bytes() for name in ROOT_FILES}
    files["page/icon.svg"] = (PAGE / "icon.svg").read_bytes()
    files[STYLE] = join_styles(PAGE, STYLES)
    files |= {f"runtime/{name}": body for name, body in runtime.files.items()}
    for path in [*find_modules("page/app.js"), *find_modules("modelpad.js")]:
        files.setdefault(path, b"")
        if not files[path]:
            files[path] = locate(path).read_bytes()
    return files | write_model(found, webgpu=runtime.webgpu)


def locate(path: str) -> Path:
    """The source of one of the page's modules, by its path in the export."""
    if path == "page/transport.js":  # in place of the server's
        return OWN / "transport.js"
    folder, _, name = path.rpartition("/")
    return (PAGE if folder == "page" else OWN) / name


def find_modules(start: str) -> list[str]:
    """A module and all that it imports, without those of the runtime."""
    found, pending = [start], [start]
    while pending:
        path = pending.pop()
        for _, name in IMPORT.findall(locate(path).read_text("utf-8")):
            other = resolve(path, name)
            if other not in found and not other.startswith("runtime/"):
                found.append(other)
                pending.append(other)
    return found


def resolve(path: str, name: str) -> str:
    """What a module at `path` imports as `name`."""
    return normpath(join(dirname(path), name))


def write_model(found: ResolvedBundle, *, webgpu: bool = False) -> dict[str, bytes]:
    """The description, the graph, the tokenizer, and the pictures and sounds of the model."""
    bundle = found.bundle
    manifest = bundle.manifest
    graph = sorted(name for name in manifest.files if name.startswith(bundle.graph))
    files_url = f"/models/{found.name}/files/"
    described = {
        **describe_bundle(bundle, found.name, found.version, bundle.read_card(), files_url),
        "graph": graph,
        "local": True,
        "webgpu": webgpu,
    }
    if manifest.sequence is not None:
        described["sequence"] = describe_sequence(bundle, manifest.sequence)
    files = {"model/model.json": dump_json(described)}
    packed = {name: bundle.path(name).read_bytes() for name in graph}
    if NBITS in list_operators(bundle.path(bundle.graph)):
        packed[bundle.graph] = expand_weights(packed[bundle.graph])
    if manifest.sequence is not None:
        name = manifest.sequence.tokenizer
        packed[name] = bundle.path(name).read_bytes()
    for name, body in packed.items():
        files[f"model/{name}.gz"] = gzip.compress(body, 9, mtime=0)
    for name in manifest.files:
        if is_public(bundle, name) and content_type_of(name) in SHOWN:
            files[f"model/{name}"] = bundle.path(name).read_bytes()
    return files


def adapt_index() -> str:
    """The server's page, for a folder: relative paths, and nothing that needs a server.

    Its modules are not joined, as one of them is another.
    """
    text = (PAGE / "index.html").read_text("utf-8")
    text = text.replace('"/static/', '"page/').replace('href="/"', 'href="./"')
    text = text.replace("page/page.js", "page/app.js")
    text = re.sub(r' *<a [^>]*href="/docs">[^<]*</a>\n', "", text)
    text = re.sub(r"<footer>.*?</footer>", f"<footer>{FOOTER}</footer>", text, flags=re.DOTALL)
    needed = '<noscript><p class="loading">This page needs JavaScript.</p></noscript>'
    return re.sub(r"<noscript>.*?</noscript>", needed, text, flags=re.DOTALL)


def write_index(found: ResolvedBundle) -> str:
    """`index.html` of the folder."""
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{write_policy(POLICY)}">\n'
        '<link rel="manifest" href="manifest.webmanifest">\n'
        '<script type="module" src="start.js"></script>\n'
    )
    text = name_page(adapt_index(), found)
    return text.replace("<link rel=", head + "<link rel=", 1)


def name_page(text: str, found: ResolvedBundle) -> str:
    """The page with the model's title and summary."""
    manifest = found.bundle.manifest
    title, summary = html.escape(manifest.title or found.name), html.escape(manifest.summary)
    text = re.sub(r"<title>.*?</title>", lambda _: f"<title>{title}</title>", text)
    described = f'<meta name="description" content="{summary or title}">'
    return re.sub(r'<meta name="description"[^>]*>', lambda _: described, text)


def write_policy(policy: Mapping[str, str]) -> str:
    """A Content-Security-Policy."""
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def write_manifest(found: ResolvedBundle) -> bytes:
    """The manifest that lets browsers install the page as an app."""
    title = found.bundle.manifest.title or found.name
    manifest = {
        "name": title,
        "short_name": found.name,
        "description": found.bundle.manifest.summary,
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#f6f5f1",
        "theme_color": "#f6f5f1",
        "icons": [{"src": "page/icon.svg", "sizes": "any", "type": "image/svg+xml"}],
    }
    return json.dumps(manifest, indent=2, ensure_ascii=False).encode("utf-8")


def write_worker(files: Mapping[str, bytes]) -> bytes:
    """The service worker that keeps `files`; its version is that of their content."""
    digest = hashlib.sha256()
    for name, body in sorted(files.items()):
        digest.update(name.encode("utf-8") + hashlib.sha256(body).digest())
    kept = ["./", *sorted(_list_kept(files))]
    text = (OWN / "service-worker.js").read_text("utf-8")
    text = text.replace("{version}", digest.hexdigest()[:12])
    return text.replace("{files}", json.dumps(kept)).encode("utf-8")


def _list_kept(files: Mapping[str, bytes]) -> Iterator[str]:
    yield from (name for name in files if name not in ("index.html", "modelpad.d.ts"))
