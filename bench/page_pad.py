"""Digits drawn with a mouse on the page's pad in a real Chromium; needs Playwright."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Strokes = Sequence[NDArray[np.floating]]
Ask = Callable[[Strokes], dict[str, Any]]


@contextmanager
def open_pad(model: Path) -> Iterator[Ask]:
    """A function from strokes, as shares of the pad's side, to what the page is answered."""
    from playwright.sync_api import Request, sync_playwright

    path = os.environ.get("MODELPAD_CHROMIUM") or shutil.which("chromium")
    with serve(model) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        sent: list[Request] = []

        def note(request: Request) -> None:
            if "/predict" in request.url:
                sent.append(request)

        page.on("request", note)
        page.goto(url)
        page.wait_for_selector("canvas.pad")
        clear = page.get_by_role("button", name="Clear")

        def ask(strokes: Strokes) -> dict[str, Any]:
            if clear.is_enabled():
                clear.click()
            box = page.locator("canvas.pad").bounding_box()
            assert box is not None
            corner, side = np.array([box["x"], box["y"]]), box["width"]
            sent.clear()
            for stroke in strokes:
                points = (np.asarray(stroke, np.float64) * side + corner).tolist()
                page.mouse.move(*points[0])
                page.mouse.down()
                for point in points[1:]:
                    page.mouse.move(*point)
                page.mouse.up()
            while len(sent) < len(strokes):  # one for each time that the pen is lifted
                page.wait_for_timeout(20)
            response = sent[-1].response()
            assert response is not None
            answer: dict[str, Any] = response.json()
            return answer

        yield ask


@contextmanager
def serve(*models: Path | str) -> Iterator[str]:
    """The address of a server of these models, in a store of their own."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "modelpad", "serve", *map(str, models), "--port", "0"]
        process = subprocess.Popen(
            [*command, "--no-open", "--store", store], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                found = re.search(r"page\s+(http://[\d.:]+)", line)
                if found:
                    yield found.group(1)
                    break
            else:
                raise SystemExit("The server did not start.")
        finally:
            process.terminate()
            process.wait()
