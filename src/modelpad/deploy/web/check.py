"""Compares the predictions of an exported page, in real Chromium, with modelpad's.

Uses Playwright and a Chromium where they are installed. The page is served on the loopback
interface, or opened as a file if it is one; the browser reaches nothing else.
"""

from __future__ import annotations

import base64
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from modelpad.deploy.web.examples import make_examples
from modelpad.deploy.web.predictions import Values, choose_function, make_prediction
from modelpad.errors import ParityFailed
from modelpad.store import ResolvedBundle

if TYPE_CHECKING:
    from playwright.sync_api import Page

Device = Literal["wasm", "webgpu"]

TOLERANCE = 1e-4
# Runtimes round an 8-bit graph's steps differently, even ONNX Runtime on two processors. Only
# scores and numbers are compared, as when such a graph is made: labels follow from them.
EIGHT_BIT = ("QuantizeLinear", "DynamicQuantizeLinear", "MatMulNBits")
EIGHT_BIT_TOLERANCE = 0.2
DERIVED = ("label", "labels", "confidence", "unknown", "heatmap")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Chromium runs WebGPU's programs on the processor, where there is no graphics card.
GPU_FLAGS = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
GPU_EXAMPLES = 2  # beside the samples: each may take half a minute there
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-sync", "--no-first-run")
# What a function of the page's own module gives for many values.
CALL = """async ([folder, device, items, name]) => {
  const within = document.querySelector('script[type="importmap"]');
  const path = within ? "modelpad.js" : new URL("modelpad.js", document.baseURI);
  const model = await (await import(path)).load(folder ?? undefined, { device });
  const used = (await model.ready).device;
  const found = [], start = performance.now();
  for (const item of items) {
    found.push(await model[name](item).catch((error) => ({ $error: error.message })));
  }
  return { found, used, ms: (performance.now() - start) / items.length };
}"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many predictions were compared, their largest difference, and milliseconds for one."""

    device: Device

    compared: int
    largest: float
    ms: float


def find_browser() -> str | None:
    """The path of a Chromium that Playwright can drive, or None."""
    if find_spec("playwright") is None:
        return None
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def check_page(
    found: ResolvedBundle, files: Mapping[str, bytes], browser: str, device: Device = "wasm"
) -> Agreement:
    """How well a page's predictions agree with modelpad's.

    Compares the bundle's samples, and generated drawings, pictures or texts. Raises as `compare`.
    """
    examples = make_examples(found.bundle)
    samples = examples[: len(found.bundle.manifest.samples)]
    reads_text = found.bundle.manifest.sequence is not None
    if is_eight_bit(found) and samples and not reads_text:
        examples = samples  # on pictures unlike any, such a graph is mostly noise
    if device == "webgpu":
        examples = examples[: len(samples) + GPU_EXAMPLES]
    with open_page(files, browser, GPU_FLAGS if device == "webgpu" else ()) as page:
        return compare(found, page, examples, device=device)


def compare(
    found: ResolvedBundle,
    page: Page,
    examples: Sequence[Values],
    folder: str | None = None,
    device: Device = "wasm",
) -> Agreement:
    """Predicts `examples` in an open page, and by modelpad; the page's model is in `folder`.

    Raises `ParityFailed` if a label differs, or a number by more than 1e-4; for a graph of 8 bits,
    if a number differs by more than 0.2; or if the graph does not run on the device.
    """
    predict, is_rough = make_prediction(found.bundle), is_eight_bit(found)
    tolerance = EIGHT_BIT_TOLERANCE if is_rough else TOLERANCE
    items = [encode_values(values) for values in examples]
    result = page.evaluate(CALL, [folder, device, items, choose_function(found.bundle)])
    if result["used"] != device:
        raise ParityFailed(
            f"The graph of {found.name} does not run on WebGPU in this Chromium.",
            hint="Nothing was written; leave --webgpu out.",
        )
    largest = 0.0
    for number, (values, got) in enumerate(zip(examples, result["found"], strict=True)):
        expected = predict(values)
        if is_rough:
            expected, got = drop_derived(expected), drop_derived(got)
        difference = find_difference(expected, got)
        if not difference <= tolerance:
            error = got.get("$error") if isinstance(got, Mapping) else None
            problem = error or f"the outputs differ by {difference:.2g}"
            raise ParityFailed(
                f"The page of {found.name} does not agree with modelpad:"
                f" example {number}: {problem}.",
                hint="Nothing was written; --no-check writes the page as it is.",
                example=number,
            )
        largest = max(largest, difference)
    return Agreement(device, len(examples), largest, float(result["ms"]))


def is_eight_bit(found: ResolvedBundle) -> bool:
    """Whether the graph computes in integers of 8 bits."""
    from modelpad.engine.operators import list_operators

    return not list_operators(found.bundle.path(found.bundle.graph)).isdisjoint(EIGHT_BIT)


def drop_derived(outputs: object) -> object:
    """Outputs with the scores alone of each label."""
    if not isinstance(outputs, Mapping):
        return outputs
    return {
        name: {key: each for key, each in value.items() if key not in DERIVED}
        if isinstance(value, Mapping) and "scores" in value
        else value
        for name, value in outputs.items()
    }


def find_difference(expected: object, got: object) -> float:
    """The largest difference of two outputs: of numbers absolute, or relative above 1; infinite
    for other values that are not equal."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        if "$error" in expected and "$error" in got:
            return 0.0
        if expected.keys() != got.keys():
            return math.inf
        return max((find_difference(expected[key], got[key]) for key in expected), default=0.0)
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        return max(map(find_difference, expected, got), default=0.0)
    if isinstance(expected, bool) or not isinstance(expected, int | float):
        is_same = expected == got or _are_pictures(expected, got)
        return 0.0 if is_same else math.inf
    if isinstance(got, bool) or not isinstance(got, int | float):
        return math.inf
    if expected == got:  # also if infinite
        return 0.0
    difference = abs(expected - got) / max(1.0, abs(expected))
    return math.inf if math.isnan(difference) else difference


def encode_values(values: Values) -> dict[str, object]:
    """Values as the page takes them: pictures as data: URLs."""
    return {
        name: f"data:image/png;base64,{base64.b64encode(value).decode('ascii')}"
        if isinstance(value, bytes)
        else value
        for name, value in values.items()
    }


@contextmanager
def open_page(
    files: Mapping[str, bytes], browser: str, flags: Sequence[str] = ()
) -> Iterator[Page]:
    """The page in Chromium, started with `flags`, from a temporary folder."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="modelpad-page-") as folder:
        for name, body in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        only = Path(folder, *files) if len(files) == 1 else None
        with serve_folder(folder) as url, sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=browser, args=[*FLAGS, *flags])
            try:
                page = chromium.new_page()
                page.goto(url if only is None else only.as_uri())
                page.wait_for_selector("main section")
                yield page
            finally:
                chromium.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


@contextmanager
def serve_folder(folder: str | os.PathLike[str]) -> Iterator[str]:
    """The URL of a folder's files, on a free port of the loopback interface."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=os.fspath(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _are_pictures(expected: object, got: object) -> bool:
    """Whether two data: URLs show the same picture, within one level of 255."""
    both = [each for each in (expected, got) if isinstance(each, str)]
    if len(both) != 2 or not all(each.startswith("data:image/png;base64,") for each in both):
        return False
    import io

    import numpy as np
    from PIL import Image

    left, right = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each[22:]))).convert("RGB"), np.int16)
        for each in both
    )
    return left.shape == right.shape and int(np.abs(left - right).max(initial=0)) <= 1
