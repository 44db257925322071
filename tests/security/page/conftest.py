"""Parts for attacks: a real browser, a hostile bundle, and a web site of the attacker's own."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle, Manifest, Sample, write_bundle
from modelpad.fields import Image, Label, Signature, Tensor, Text


@dataclass
class Tab:
    """A browser tab, and everything that its pages complained about or asked for."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def open_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, each in a browser profile of its own."""
    contexts: list[Any] = []

    def open_one(width: int = 1200, height: int = 900, **options: Any) -> Tab:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        tab = Tab(context.new_page())
        tab.page.on("console", lambda message: tab.problems.append(message.text))
        tab.page.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        return tab

    yield open_one
    for context in contexts:
        context.close()


@dataclass
class Site:
    """A web site on another port: what it serves, and what browsers sent to it."""

    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    received: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def foreign_site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.received.append({name.lower(): value for name, value in self.headers.items()})
            body = site.pages.get(self.path, "").encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield site
    server.shutdown()
    server.server_close()


def draw_png() -> bytes:
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_model(
    folder: Path,
    name: str,
    graph: Any,
    signature: Signature,
    files: dict[str, bytes] | None = None,
    **told: Any,
) -> Bundle:
    """A bundle of a graph with files; `told` is the rest of the manifest."""
    manifest = Manifest(name=name, task="test", signature=signature, **told)
    return write_bundle(folder / name, manifest, {"model.onnx": graph, **(files or {})})


def build_graph(name: str, nodes: Any, inputs: Any, outputs: Any) -> bytes:
    """An ONNX file; `inputs` and `outputs` are (name, type, item shape)."""
    from onnx import helper

    def describe(values: Any) -> list[Any]:
        return [helper.make_tensor_value_info(n, kind, ["batch", *s]) for n, kind, s in values]

    graph = helper.make_graph(nodes, name, describe(inputs), describe(outputs))
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


MARKUP = '<img src="/x" onerror="window.pwned=1"><script>window.pwned=1</script>'
ACTIVE = "<script>localStorage.setItem('pwned', sessionStorage.length + document.cookie)</script>"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose every text is markup, and whose report holds pages that run scripts."""
    from onnx import TensorProto, helper

    row = ("row", TensorProto.FLOAT, [3])
    kind = (MARKUP, TensorProto.FLOAT, [3])
    graph = build_graph(
        "hostile", [helper.make_node("Softmax", ["row"], [MARKUP], axis=-1)], [row], [kind]
    )
    classes = (f"a{MARKUP}", f"b{MARKUP}", "c")
    card = {
        "metrics": {f"accuracy{MARKUP}": 0.9, "note": MARKUP},
        "training": {MARKUP: MARKUP},
        "parameters": MARKUP,
        "data": [{"name": MARKUP, "examples": MARKUP, "licence": MARKUP, "role": MARKUP}],
        "limits": [MARKUP],
        "notes": [MARKUP],
        "history": [
            {"epoch": MARKUP, "loss": 1.0, "accuracy": 0.5},
            {"epoch": 2, "loss": 0.5, "accuracy": 0.8},
        ],
        "confusion": {"labels": list(classes), "matrix": [[5, 1, 0], [0, 6, 0], [0, 0, 7]]},
        "pictures": [
            {"title": MARKUP, "file": "report/x.svg"},
            {"title": "raster", "file": "report/x.png"},
            {"title": "elsewhere", "file": "../../../static/icon.svg"},
        ],
    }
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{ACTIVE}</svg>'
    files = {
        "card.json": json.dumps(card).encode(),
        "report/x.html": f"<!doctype html><p>report</p>{ACTIVE}".encode(),
        "report/x.svg": svg.encode(),
        "report/x.png": draw_png(),
        "report/x.xml": b'<?xml version="1.0"?><a/>',
    }
    bundle = write_model(
        tmp_path_factory.mktemp("hostile"),
        "hostile",
        graph,
        Signature((Tensor("row", "float32", (3,)),), (Label(MARKUP, classes),)),
        files,
        title=MARKUP,
        summary=MARKUP,
        licence=MARKUP,
        samples=(
            Sample({"row": {"value": [0, 5, 0], "url": "https://elsewhere.example/x"}}, MARKUP),
        ),
    )
    return bundle.path("model.onnx").parent


@pytest.fixture(scope="session")
def widgets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Models that bring every widget and every kind of answer onto the page."""
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("widgets")
    number = TensorProto.FLOAT

    def same(taken: str, given: str) -> list[Any]:
        return [helper.make_node("Identity", [taken], [given])]

    picture = (Image("photo", 8, 8), Image("copy", 8, 8))
    large = (Tensor("grid", "float32", (40,)), Tensor("same", "float32", (40,)))
    words = (Text("words"), Text("same"))
    bundles = [
        write_model(
            folder,
            "photo",
            build_graph(
                "photo",
                same("photo", "copy"),
                [("photo", number, [8, 8, 3])],
                [("copy", number, [8, 8, 3])],
            ),
            Signature((picture[0],), (picture[1],)),
            {"samples/a.png": draw_png(), "samples/b c#d.png": draw_png()},
            samples=(
                Sample({"photo": {"file": "samples/a.png"}}),
                Sample({"photo": {"file": "samples/b c#d.png"}}),
            ),
        ),
        write_model(
            folder,
            "grid",
            build_graph(
                "grid", same("grid", "same"), [("grid", number, [40])], [("same", number, [40])]
            ),
            Signature((large[0],), (large[1],)),
            samples=(Sample({"grid": {"value": list(range(40))}}),),
        ),
        write_model(
            folder,
            "words",
            build_graph(
                "words",
                same("words", "same"),
                [("words", TensorProto.STRING, [])],
                [("same", TensorProto.STRING, [])],
            ),
            Signature((words[0],), (words[1],)),
            samples=(Sample({"words": {"value": "a fine film"}}),),
        ),
    ]
    return [bundle.path("model.onnx").parent for bundle in bundles]


@pytest.fixture
def stored_digits(digits: Bundle, tmp_path: Path) -> Path:
    """A store that holds the digits."""
    from modelpad.store import LocalStore

    store = LocalStore(tmp_path / "store")
    store.push(digits)
    return store.root
