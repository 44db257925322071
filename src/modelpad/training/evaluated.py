"""The items that a model was evaluated on, and pictures of some of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelpad.datasets import Split
from modelpad.training.findings import Figure
from modelpad.training.recipe import Example

Pixels = NDArray[np.uint8]
MAX_EXAMPLES = 10
EXCERPT = 400  # characters of a text that are listed
TILE = 256
SMALL = 64  # drawings and thumbnails: lossless, and enlarged without smoothing


@dataclass(frozen=True, slots=True)
class EvaluatedItems:
    """The items that were scored: `read` decodes one, uint8 (H, W) or (H, W, C).

    `names` are their files, () if they have none. `groups` int64 (N,) tells items apart that are
    not independent of each other, such as the pictures of one patient. `out_of_fold`: each item was
    scored by a model of a cross-validation that was trained without it; otherwise all are a test
    split. `inverted` images are white on black; figures show them black on white. `texts` are the
    items where these are texts: they are listed instead of shown.
    """

    read: Callable[[int], Pixels]
    names: Sequence[str] = ()
    groups: NDArray[np.int64] | None = None
    out_of_fold: bool = False
    inverted: bool = False
    seed: int = 0
    texts: Sequence[str] = ()

    @property
    def prefix(self) -> str:
        """What the names of metrics begin with."""
        return "cross_validated" if self.out_of_fold else "test"

    @property
    def dependent_groups(self) -> NDArray[np.int64] | None:
        """The groups, or None if every item is one of its own."""
        if self.groups is None or len(np.unique(self.groups)) == len(self.groups):
            return None
        return self.groups

    def name(self, index: int) -> str:
        """The name of an item's file, or its number; the beginning of a text."""
        if self.texts:
            return shorten_text(self.texts[index])
        return self.names[index] if self.names else f"item {index}"

    def show(self, index: int) -> Pixels:
        """An item as it is shown: uint8 (H, W) or (H, W, 3)."""
        image = self.read(index)
        image = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
        return 255 - image if self.inverted else image


def evaluated_split(
    split: Split, *, out_of_fold: bool = False, inverted: bool = False, seed: int = 0
) -> EvaluatedItems:
    """The images of a split, with their file names and groups where they have any."""
    return EvaluatedItems(
        lambda index: np.asarray(split[index].input, np.uint8),
        split.names,
        split.groups,
        out_of_fold,
        inverted,
        seed,
    )


def evaluated_texts(texts: Sequence[str], *, seed: int = 0) -> EvaluatedItems:
    """Texts of a test split."""

    def read(index: int) -> Pixels:
        raise TypeError(f"item {index} is a text, not an image")

    return EvaluatedItems(read, seed=seed, texts=texts)


def shorten_text(text: str) -> str:
    """The beginning and the end of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT // 2]} … {line[-EXCERPT // 2 :]}"


def draw_gallery(
    items: EvaluatedItems,
    title: str,
    folder: str,
    chosen: Iterable[tuple[int, str]],
    *,
    in_bundle: bool = False,
) -> list[Figure]:
    """A figure for each of the `chosen` items, given as (index, caption), below `report/`.

    None for texts.
    """
    if items.texts:
        return []
    figures = []
    for place, (index, caption) in enumerate(chosen, start=1):
        content, suffix = encode_tile(items.show(index))
        path = f"report/{folder}/{place:02}.{suffix}"
        figures.append(Figure(path, title, items.name(index), content, in_bundle, caption))
    return figures


def pick_examples(
    items: EvaluatedItems, labels: NDArray[np.int64], classes: Sequence[str]
) -> list[Example]:
    """The first image of each class, at most ten, as examples for the web page."""
    present, first_indices = np.unique(labels, return_index=True)
    return [
        Example({"image": encode_picture(items.read(int(first)))}, classes[label])
        for label, first in list(zip(present, first_indices, strict=True))[:MAX_EXAMPLES]
    ]


def pick_first(
    items: EvaluatedItems, chosen: Iterable[int], expected: Sequence[str | None]
) -> list[Example]:
    """The first ten of the `chosen` items as examples for the web page."""
    pairs = list(zip(chosen, expected, strict=True))[:MAX_EXAMPLES]
    return [Example({"image": encode_picture(items.read(int(n)))}, text) for n, text in pairs]


def encode_tile(image: Pixels) -> tuple[bytes, str]:
    """An image, at most 256 pixels wide and high, with the suffix of its format."""
    tile = Image.fromarray(image)
    tile.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    content = save_picture(tile)
    return content, "png" if content.startswith(b"\x89PNG") else "jpg"


def encode_picture(image: Pixels) -> bytes:
    """An image (H, W), (H, W, 1) or (H, W, 3): PNG if it is small, else JPEG."""
    plain = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    return save_picture(Image.fromarray(plain))


def save_picture(picture: Image.Image) -> bytes:
    """A picture as PNG if it is small, else as JPEG of high quality."""
    file = io.BytesIO()
    if max(picture.size) <= SMALL:
        picture.save(file, "PNG", optimize=True)
    else:
        picture.save(file, "JPEG", quality=90, optimize=True)
    return file.getvalue()
