"""The kind of job `video`: paints an uploaded video with a model of the store.

The video is opened in the job's process alone, which may crash or hang on a damaged file.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput, ModelNotFound, VersionNotFound
from modelpad.jobs.kinds import Kind, invalid
from modelpad.jobs.uploads import FOLDER, Upload, Uploads
from modelpad.video.library import EXTRA, PACKAGE
from modelpad.video.parts import Parts, hash_file
from modelpad.video.source import SourceLimits

if TYPE_CHECKING:
    from av import VideoFrame

    from modelpad.foreign_json import Json
    from modelpad.jobs.settings import WorkSettings
    from modelpad.jobs.work import Work
    from modelpad.store import ResolvedBundle
    from modelpad.video.painting import Progress

LIMITS = SourceLimits(pixels=1920 * 1920, frames=20_000)
SOURCE, RESULT = "source", "result.mp4"
TITLE = "The video"  # in errors
PREVIEW_S = 3.0
PREVIEW_SIDE = 640
SHARE = 0.98  # of the progress; then the segments are joined


def check(params: Mapping[str, Json], settings: WorkSettings) -> Mapping[str, Json]:
    """The parameters, with the model's version and its other inputs checked.

    Raises `InvalidInput` and `NotFound`.
    """
    from modelpad.video.painter import find_picture

    known = {"video", "model", "inputs", "bundle"}
    if not {"video", "model"} <= params.keys() <= known:
        raise invalid("params", "video, model and inputs", ", ".join(params)[:100])
    id, reference, inputs = params["video"], params["model"], params.get("inputs", {})
    if not isinstance(id, str) or not isinstance(reference, str):
        raise invalid("video", "an upload's id, and the model's name", repr(params)[:60])
    if not isinstance(inputs, dict):
        raise invalid("inputs", "an object of the model's other inputs", repr(inputs)[:60])
    open_upload(id, settings)
    model = open_model(reference, params.get("bundle"), settings)
    find_picture(model.bundle.manifest.signature, inputs)
    return {
        "video": id,
        "model": f"{model.name}@{model.version}",
        "inputs": dict(inputs),
        "bundle": hash_manifest(model),
    }


def run(work: Work) -> Mapping[str, Json]:
    """Paints the video, after the segments of earlier attempts, unless one has finished it."""
    from modelpad.video.painting import PaintRequest, paint_video

    params: Any = work.job.params
    source, target = work.folder / SOURCE, work.folder / RESULT
    work.progress(0.0, "Reading the video")
    if not target.exists():
        if not source.exists():
            link(open_upload(params["video"], work.settings).path, source)
        model = open_model(params["model"], params["bundle"], work.settings)
        request = PaintRequest(model, params["inputs"], source, target, TITLE, LIMITS)
        paint_video(request, Parts(work.folder / "parts"), Reporter(work).report)
    source.unlink(missing_ok=True)
    return {"file": RESULT, "content_type": "video/mp4", "bytes": target.stat().st_size}


class Reporter:
    """Reports the progress of a painting, with a painted frame every few seconds."""

    def __init__(self, work: Work) -> None:
        self._work, self._shown = work, float("-inf")

    def report(self, progress: Progress) -> None:
        """Raises `JobStopped`."""
        total = f" of {progress.total:,}" if progress.total else ""
        now = time.monotonic()
        if now - self._shown >= PREVIEW_S:
            self._shown = now
            words = f"Painting: {progress.frames_per_s:.1f} frames a second"
            if progress.left_s is not None:
                words += f", {describe_seconds(progress.left_s)} left"
            self._work.progress(SHARE * progress.fraction, words)
            self._work.preview(draw_preview(progress.frame))
        elif progress.total and progress.frames >= progress.total:
            self._work.progress(SHARE, f"Writing {progress.frames:,}{total} frames")
        else:
            self._work.progress(SHARE * progress.fraction)


def describe_seconds(seconds: float) -> str:
    """For example `40 s` or `12 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def draw_preview(frame: VideoFrame) -> bytes:
    """A frame as a small JPEG."""
    from modelpad.video.pixels import to_picture

    picture = to_picture(frame)
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    body = io.BytesIO()
    picture.save(body, "JPEG", quality=80)
    return body.getvalue()


def open_upload(id: str, settings: WorkSettings) -> Upload:
    """The upload of that id, whoever owns it. Raises `NotFound`."""
    return Uploads(settings.folder / FOLDER).open(id, None)


def open_model(reference: str, digest: object, settings: WorkSettings) -> ResolvedBundle:
    """The model of the store, or that ships with modelpad.

    Raises `InvalidInput` if it is not there, or is not the one with that digest.
    """
    from modelpad.store import resolve_bundle

    name = reference.partition("@")[0]
    problem = InvalidInput(
        f"The model {name[:60]!r} is not in the server's store, so a job cannot use it.",
        hint="Add it to the store, and serve it from there: modelpad import, modelpad models push",
        field="model",
        expected="a model of the store",
        got=reference[:60],
    )
    if "/" in reference or "\\" in reference or reference.startswith("."):
        raise problem
    try:
        model = resolve_bundle(reference, settings.location)
    except (ModelNotFound, VersionNotFound) as error:
        raise problem from error
    if digest is not None and hash_manifest(model) != digest:
        raise problem
    return model


def hash_manifest(model: ResolvedBundle) -> str:
    """What tells one bundle from all others: its manifest has the checksums of all files."""
    return hash_file(model.bundle.folder / "manifest.json")


def link(source: Path, target: Path) -> None:
    """Makes `target` the same file, also when the upload is deleted."""
    try:
        os.link(source, target)
    except OSError:
        staged = target.with_suffix(".new")
        shutil.copyfile(source, staged)
        staged.replace(target)


KIND = Kind(
    name="video",
    summary="paint an uploaded video with a picture-to-picture model",
    check=check,
    run="modelpad.video.job:run",
    package=PACKAGE,
    extra=EXTRA,
)
