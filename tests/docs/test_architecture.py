"""The way of a request is what `docs/architecture.md` says: at most eight files, in that order."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from pathlib import Path
from types import FrameType

import httpx
import pytest

import modelpad
from modelpad.bundle import Bundle
from modelpad.engine import Batcher
from modelpad.server import LoadOptions, ModelTable, ServedModel, build_app
from modelpad.server.http.server import HttpServer

PACKAGE = Path(modelpad.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
STATIONS = re.findall(r"^\| \d \| `([\w/]+\.py)` \| `([\w.]+)` \|", PAGE.read_text("utf-8"), re.M)
MAX_FILES = 8


class Recorder:
    """Notes the functions of the package that run in this thread: (file, name)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            call = path.relative_to(PACKAGE).as_posix(), frame.f_code.co_qualname
            if call not in self.calls:
                self.calls.append(call)


def test_a_picture_passes_the_files_of_the_page(digits: Bundle) -> None:
    recorder = Recorder()

    async def ask() -> str:
        model = ServedModel.load("digits", 1, digits, LoadOptions(batch=4))
        assert isinstance(model.batcher, Batcher)
        model.batcher.inline = True  # the batch runs on this thread, too
        app = build_app(ModelTable([model]))
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(app.respond, app.backend.limits, app.shed_load, app.backend.budget)
        await server.listen(listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/predict/digits"
        picture = digits.path("samples/7.png").read_bytes()
        async with httpx.AsyncClient() as client:
            sys.setprofile(recorder)
            sent = client.post(url, content=picture, headers={"content-type": "image/png"})
            answer = (await sent).json()
            sys.setprofile(None)
        await server.stop(1)
        await app.host.stop()
        return str(answer["label"])

    assert asyncio.run(ask()) == "7"
    assert 0 < len(STATIONS) <= MAX_FILES
    assert len({file for file, _ in STATIONS}) == len(STATIONS), "each file once"
    assert [call for call in recorder.calls if call in STATIONS] == STATIONS


@pytest.mark.parametrize("path", re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE.read_text("utf-8")))
def test_the_files_of_the_page_exist(path: str) -> None:
    if "NAME" not in path:
        folders = PACKAGE, PACKAGE.parent, PACKAGE / "server", PACKAGE.parents[1]
        assert any((folder / path).exists() for folder in folders)
