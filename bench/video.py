"""Frames a second of painting a video with sound, by step: decode, paint, encode, and the whole.

Without `--model`, the network is as large as `modelpad train style` makes it by default, but
untrained: it takes the same time. The video is a picture that moves, of `--frames` frames, or
`--clip`. Needs the extra `video`.

usage: python bench/video.py [--model BUNDLE] [--clip FILE | --photo FILE] [--frames 200]
           [--width 640] [--height 360]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from modelpad.bundle import open_bundle
from modelpad.engine.session import allotted_cpus
from modelpad.store import ResolvedBundle
from modelpad.video import PaintRequest, paint_video
from modelpad.video.painter import FramePainter
from modelpad.video.painting import choose_encoding
from modelpad.video.parts import Parts
from modelpad.video.source import VideoSource

STYLES, RATE, SOUND_RATE = 4, 25, 48_000
STEP = 3  # pixels that the photograph moves from frame to frame


def make_model(folder: Path) -> Path:
    """The bundle of an untrained painter of the default size."""
    import torch

    from modelpad.recipes.style.network import Painter
    from modelpad.recipes.style.recipe import BLOCKS, WIDTHS
    from modelpad.recipes.style.served import make_source, plan_inputs, plan_outputs
    from modelpad.training.card import Card
    from modelpad.training.pipeline import finish
    from modelpad.training.recipe import Trained
    from modelpad.training.run import Run, TrainRequest

    torch.manual_seed(0)
    source = make_source(Painter(STYLES, WIDTHS, BLOCKS), STYLES)
    trained = Trained(
        source=source,
        inputs=plan_inputs(source, [f"style{number}" for number in range(STYLES)]),
        outputs=plan_outputs(source),
        proof={
            "image": np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32),
            "style": np.eye(STYLES, dtype=np.float32)[:1],
            "strength": np.ones(1, np.float32),
            "preserve_colour": np.zeros(1, np.float32),
        },
        metrics={},
        card=Card("Styles", "Untrained.", []),
    )
    request = TrainRequest("styles", "photos", folder)
    return finish(Run(request, {}, io.StringIO()), trained).folder


def make_clip(path: Path, photo: Path | None, frames: int, size: tuple[int, int]) -> Path:
    """A photograph, or smooth noise, that moves to the side, with as much sound."""
    width, height = size
    wide = (width + STEP * frames, height)
    if photo is None:
        noise = np.random.default_rng(0).integers(0, 256, (18, 64, 3)).astype(np.uint8)
        picture = Image.fromarray(noise)
    else:
        picture = Image.open(photo).convert("RGB")
    pixels = np.asarray(picture.resize(wide, Image.Resampling.BICUBIC))
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        track: Any = out.add_stream("aac", rate=SOUND_RATE, layout="stereo")
        for index in range(frames):
            part = np.ascontiguousarray(pixels[:, STEP * index : STEP * index + width])
            out.mux(video.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
            wave = np.random.default_rng(index).normal(0, 0.1, (2, SOUND_RATE // RATE))
            sound = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", "stereo")
            sound.sample_rate, sound.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
            sound.pts = index * (SOUND_RATE // RATE)
            out.mux(track.encode(sound))
        out.mux(video.encode(None))
        out.mux(track.encode(None))
    return path


class Steps:
    """Frames a second, and CPU time of a frame, of each step that was measured."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.found: dict[str, dict[str, float]] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        start, cpu = time.perf_counter(), time.process_time()
        yield
        rate = self.frames / (time.perf_counter() - start)
        cpu_ms = 1000 * (time.process_time() - cpu) / self.frames
        self.found[name] = {"frames_per_s": round(rate, 1), "cpu_ms": round(cpu_ms, 1)}


def measure(model: ResolvedBundle, clip: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Each step by itself, and all together."""
    with VideoSource(clip) as video:
        steps = Steps(video.expected_frames or 0)
        painter = FramePainter(model.bundle, {}, video.first.width * video.first.height)
        encoding = choose_encoding(video, painter.paint(video.first))
        with steps.measure("decode"):
            given = [*video.frames()]
        with steps.measure("paint"):
            painted = [*painter.stream(given, (encoding.width, encoding.height))]
        with steps.measure("encode"):
            encoding.write_segment(folder / "segment.nut", painted)
        painter.close()
        del given, painted
    request = PaintRequest(model, {}, clip, folder / "painted.mp4")
    with steps.measure("whole"):
        paint_video(request, Parts(folder / "parts"), lambda progress: None)
    return steps.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a bundle's folder")
    parser.add_argument("--clip", type=Path, help="a video")
    parser.add_argument("--photo", type=Path, help="a photograph that the video is made of")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = open_bundle(args.model or make_model(folder))
        size = (args.width, args.height)
        clip = args.clip or make_clip(folder / "clip.mp4", args.photo, args.frames, size)
        load = os.getloadavg()[0]
        steps = measure(ResolvedBundle("styles", 1, bundle), clip, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found = {"steps": steps, "cpus": allotted_cpus(), "load_before": round(load, 1)}
    print(json.dumps(found | {"peak_mb": peak, "size": size}))


if __name__ == "__main__":
    main()
