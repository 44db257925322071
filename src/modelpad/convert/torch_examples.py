"""Example inputs: to run and to export a module with, and those that are hard for a framework.

Sides that a model leaves free take their size from `--input`, from `--samples`, or a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.samples.files import PICTURES
from modelpad.convert.samples.generated import FREE_PICTURE_SIDE, FREE_SIDE
from modelpad.convert.source import ImportRequest, Shape, TensorSpec
from modelpad.convert.specs import InputSpec, parse_input
from modelpad.fields.arrays import Array, Arrays

if TYPE_CHECKING:
    import torch

BRIGHT = 255.0
WORDS = ("", "zzzunseen", "A" * 300, "the same word " * 60)


def fill_sizes(
    inputs: Sequence[TensorSpec],
    request: ImportRequest,
    own: Sequence[Shape] = (),
) -> tuple[TensorSpec, ...]:
    """The inputs with a size for each free side, except those of batch axes.

    `own` are whole shapes that the model itself suggests. Raises
    `UsageError` if an `--input` is not valid.
    """
    specs = [parse_input(text) for text in request.inputs]
    named = {spec.name: spec for spec in specs}
    filled = []
    for position, tensor in enumerate(inputs):
        spec = named.get(tensor.name)
        if (
            spec is None
            and position < len(specs)
            and specs[position].name not in {each.name for each in inputs}
        ):
            spec = specs[position]
        known = [_sizes_from_spec(tensor, spec), _sizes_from_samples(tensor, request.samples)]
        if position < len(own) and len(own[position]) == len(tensor.shape):
            known.append(replace(tensor, shape=own[position]).item_shape)
        filled.append(_fill(tensor, known))
    return tuple(filled)


def _fill(tensor: TensorSpec, known: Sequence[Shape]) -> TensorSpec:
    sides = list(tensor.item_shape)
    for shape in known:
        if len(shape) == len(sides):
            sides = [k if side is None else side for side, k in zip(sides, shape, strict=True)]
    default = FREE_PICTURE_SIDE if looks_like_picture(tensor) else FREE_SIDE
    sides = [default if side is None else side for side in sides]
    if tensor.batch_axis is not None:
        sides.insert(tensor.batch_axis, None)
    return replace(tensor, shape=tuple(sides))


def looks_like_picture(tensor: TensorSpec) -> bool:
    """Whether an input is (H, W, channels) or (channels, H, W), of numbers."""
    sides = tensor.item_shape
    return len(sides) == 3 and (sides[2] in (1, 3, 4) or sides[0] in (1, 3, 4))


def _sizes_from_spec(tensor: TensorSpec, spec: InputSpec | None) -> Shape:
    if spec is not None and spec.kind == "audio":
        return tuple(spec.rate if side is None else side for side in tensor.item_shape)
    if spec is None or not spec.sides:
        return ()
    if spec.kind == "tensor":
        return spec.sides
    height, width = spec.sides[:2]
    return _picture_sizes(tensor, height, width)


def _picture_sizes(tensor: TensorSpec, height: int | None, width: int | None) -> Shape:
    sides = tensor.item_shape
    if len(sides) != 3:
        return (height, width)
    first = sides[0] in (1, 3, 4) and sides[2] not in (1, 3, 4)
    return (sides[0], height, width) if first else (height, width, sides[2])


def _sizes_from_samples(tensor: TensorSpec, samples: object) -> Shape:
    """The sizes of the first sample; empty if it does not tell. Invalid samples fail later."""
    if isinstance(samples, Path):
        files = sorted(samples.rglob("*")) if samples.is_dir() else [samples]
        return _sizes_in_file(tensor, files[0]) if files else ()
    if isinstance(samples, Mapping):
        samples = samples.get(tensor.name)
    if isinstance(samples, str | bytes) or not isinstance(samples, Sequence | np.ndarray):
        return ()
    try:
        return tuple(np.shape(np.asarray(samples[0])))
    except (ValueError, IndexError, TypeError):
        return ()


def _sizes_in_file(tensor: TensorSpec, file: Path) -> Shape:
    try:
        if file.suffix.lower() in PICTURES:
            from PIL import Image

            with Image.open(file) as picture:
                return _picture_sizes(tensor, picture.height, picture.width)
        if file.suffix in (".npy", ".npz"):
            loaded = np.load(file, allow_pickle=False)
            if file.suffix == ".npz":
                loaded = loaded[tensor.name if tensor.name in loaded else loaded.files[0]]
            return tuple(int(side) for side in loaded.shape[1:])
    except (OSError, ValueError, KeyError, IndexError):
        return ()
    return ()


def resize(inputs: Sequence[TensorSpec], sizes: Sequence[TensorSpec]) -> list[TensorSpec]:
    """`sizes`, with larger sides wherever `inputs` leave them free."""
    return [
        replace(
            used,
            shape=tuple(
                side + max(1, side // 4) if own is None and side is not None else side
                for own, side in zip(spec.shape, used.shape, strict=True)
            ),
        )
        for spec, used in zip(inputs, sizes, strict=True)
    ]


def make_array(spec: TensorSpec, batch: int, seed: int = 3) -> Array:
    """A random array that fits `spec`, whose only free side may be the batch axis."""
    shape = tuple(
        batch if axis == spec.batch_axis else FREE_SIDE if side is None else side
        for axis, side in enumerate(spec.shape)
    )
    rng, kind = np.random.default_rng(seed), spec.dtype
    if kind == "string":
        return np.full(shape, "a good film", dtype=object)
    dtype = np.dtype(kind)
    if "mask" in spec.name and dtype.kind in "iub" and shape:
        return pad_mask(shape).astype(dtype)
    if dtype.kind in "iu" or spec.limit is not None:
        return np.asarray(rng.integers(0, min(spec.limit or 2, 127), shape)).astype(dtype)
    if dtype.kind == "b":
        return np.ones(shape, dtype)
    return np.asarray(rng.normal(0, 1, shape)).astype(dtype)


def pad_mask(shape: Sequence[int]) -> Array:
    """A mask of ones, with zeros in the last third of the last axis."""
    mask = np.ones(shape, np.int64)
    mask[..., shape[-1] - shape[-1] // 3 :] = 0
    return mask


def make_examples(inputs: Sequence[TensorSpec], batch: int, seed: int = 3) -> list[torch.Tensor]:
    """A random tensor for each input."""
    import torch

    return [
        torch.from_numpy(np.asarray(make_array(s, batch, seed + n))) for n, s in enumerate(inputs)
    ]


def make_hard_samples(inputs: Sequence[TensorSpec]) -> tuple[Arrays, ...]:
    """Raw inputs of single items that exporters get wrong most often.

    All zeros, negative and large numbers, the first and last index of an embedding, padding; empty,
    unseen and long texts. `inputs` have sizes for all free sides (see `fill_sizes`).
    """
    return tuple(
        {spec.name: _make_hard(spec, number) for spec in inputs} for number in range(len(WORDS))
    )


def _make_hard(spec: TensorSpec, number: int) -> Array:
    shape = tuple(FREE_SIDE if side is None else side for side in spec.item_shape)
    if spec.dtype == "string":
        return np.full(shape, WORDS[number], dtype=object)
    dtype, rng = np.dtype(spec.dtype), np.random.default_rng(11 + number)
    if dtype.kind == "b":
        return np.full(shape, number % 2 == 0, dtype)
    if "mask" in spec.name and dtype.kind in "iu":
        whole = number % 2 == 0 or not shape
        return (np.ones(shape, dtype) if whole else pad_mask(shape)).astype(dtype)
    if dtype.kind in "iu" or spec.limit is not None:
        last = (spec.limit or 2) - 1
        random = np.asarray(rng.integers(0, min(last, 10_000) + 1, shape))
        padded = np.where(pad_mask(shape), random, 0) if shape else random
        return np.asarray((np.zeros(shape), np.full(shape, last), random, padded)[number], dtype)
    normal = rng.normal(0, 1, shape)
    values = (np.zeros(shape), -np.abs(normal), rng.uniform(0, BRIGHT, shape), -BRIGHT * normal)
    return np.asarray(values[number], dtype)
