"""Image processors of Hugging Face models, as options of an image field."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from modelpad.convert.input_plan import plan_inputs
from modelpad.convert.plans import Evidence
from modelpad.convert.source import TensorSpec
from modelpad.convert.specs import InputSpec
from modelpad.engine.typed import TypedInputs
from modelpad.errors import ModelpadError

PROCESSOR = "preprocessor_config.json"
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
SIZES = ((200, 301), (331, 130))  # of the pictures to compare on
CLOSE = 1e-4  # of processed pixels, which are about -2..2
LEVIT = 256 / 224
SMALL = 384  # pixels; ConvNeXt's processor crops smaller pictures


def read_image_spec(transformers: ModuleType, path: Path) -> InputSpec | None:
    """The image field that prepares pictures as the processor in a folder does.

    None if there is no processor, or if it does something that the field cannot: the two are
    compared on pictures.
    """
    if not (path / PROCESSOR).is_file():
        return None
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            str(path), backend="pil", local_files_only=True, trust_remote_code=False
        )
        specs = [*_list_specs(processor)]
    except Exception:  # whatever a processor's code raises: the raw contract does not need it
        return None
    return next((spec for spec in specs if _agrees(spec, processor)), None)


def _list_specs(processor: Any) -> Iterator[InputSpec]:
    """What the processor's attributes may mean; some processors interpret them in another way."""
    for sides, options in _list_sizes(processor):
        for order in ("rgb", "bgr") if _get(processor, "do_flip_channel_order") else ("rgb",):
            spec = {"layout": "nchw", "order": order, **_scale_options(processor), **options}
            yield InputSpec("image", None, (*sides, 3), options=spec)


def _list_sizes(processor: Any) -> Iterator[tuple[tuple[int | None, int | None], dict[str, str]]]:
    """The sides of prepared pictures, and how they are reached."""
    size, crop = _sides(processor, "size"), _sides(processor, "crop_size")
    if not _get(processor, "do_resize"):
        yield (None, None), {}
        return
    resample = {"resample": FILTERS[int(_get(processor, "resample") or 0)]}
    if not _get(processor, "do_center_crop"):
        crop = None
    if isinstance(size, tuple):
        if crop is None:
            yield size, resample
        elif isinstance(crop, tuple) and size[0] == size[1]:
            yield crop, {**resample, "resize": str(size[0])}
    elif isinstance(size, int):
        share = _get(processor, "crop_pct")
        target = crop if isinstance(crop, tuple) else (size, size)
        if crop is None and size >= SMALL:
            yield target, resample
        edges = [size, *([int(size / share)] if share else []), int(LEVIT * size)]
        for edge in edges:
            yield target, {**resample, "fit": "crop", "resize": str(edge)}


def _scale_options(processor: Any) -> dict[str, str]:
    options = {"scale": "none"}
    if _get(processor, "do_rescale"):
        divisor = f"{1 / float(processor.rescale_factor):.9g}"
        options["scale"] = "0..1" if divisor == "255" else f"1/{divisor}"
    if _get(processor, "do_normalize"):
        for key, values in (("mean", processor.image_mean), ("std", processor.image_std)):
            numbers = values if isinstance(values, list | tuple) else [values]
            options[key] = ",".join(repr(float(number)) for number in numbers)
    return options


def _sides(processor: Any, name: str) -> tuple[int, int] | int | None:
    """Height and width, or the shorter edge."""
    size = _get(processor, name)
    if size is None:
        return None
    keys = ("height", "width", "shortest_edge", "longest_edge")
    sides: list[Any] = [
        size.get(key) if isinstance(size, dict) else _get(size, key) for key in keys
    ]
    height, width, shortest, longest = sides
    if height and width:
        return (int(height), int(width))
    return int(shortest) if shortest and not longest else None


def _get(processor: Any, name: str) -> Any:
    return getattr(processor, name, None)


def _agrees(spec: InputSpec, processor: Any) -> bool:
    """Whether a field prepares pictures as the processor does."""
    from PIL import Image

    tensor = TensorSpec("pixel_values", "float32", (None, 3, None, None))
    try:
        plan = plan_inputs("huggingface", [tensor], [spec], Evidence({}))[0]
    except ModelpadError:
        return False
    typed = TypedInputs([plan.field], [plan.binding])
    for number, (width, height) in enumerate(SIZES):
        rng = np.random.default_rng(number)
        small = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        picture = small.resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        picture.save(file, "PNG")
        got = typed.decode({plan.field.name: file.getvalue()})["pixel_values"]
        wanted = np.asarray(processor(picture, return_tensors="np")["pixel_values"])
        if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=0, atol=CLOSE):
            return False
    return True
