"""Figures for the report: training curves, confusion matrix, worst mistakes, network diagram."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from modelpad.training.report import Figure

if TYPE_CHECKING:
    import keras

CELL, COLUMNS, CAPTION = 72, 8, 16
MAX_MISTAKES = 24


def draw_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Plots each metric by epoch, training and validation in one chart."""
    names = [
        name
        for name in dict.fromkeys(key for row in history for key in row)
        if name not in ("epoch", "learning_rate") and not name.startswith("val_")
    ]
    names.sort(key=lambda name: name != "loss")
    drawing = Drawing(figsize=(4.5 * max(1, len(names)), 3.4), layout="constrained")
    axes = np.atleast_1d(drawing.subplots(1, max(1, len(names))))
    epochs = [row["epoch"] for row in history]
    for axis, metric in zip(axes, names, strict=False):
        for name, words in ((metric, "training"), (f"val_{metric}", "validation")):
            if all(name in row for row in history):
                axis.plot(epochs, [row[name] for row in history], marker="o", label=words)
        axis.set(xlabel="epoch", title=metric)
        axis.grid(alpha=0.3)
        axis.legend()
    return Figure("report/curves.png", "Training", "metrics by epoch", _save(drawing))


def draw_confusion(confusion: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Plots the matrix, with the counts in its cells unless there are too many classes."""
    drawing = Drawing(figsize=(6.4, 6), layout="constrained")
    axis = drawing.subplots()
    axis.imshow(np.log1p(confusion), cmap="Blues")
    axis.set(xlabel="predicted", ylabel="true")
    if len(classes) <= 20:
        axis.set_xticks(range(len(classes)), classes)
        axis.set_yticks(range(len(classes)), classes)
        for row, column in np.argwhere(confusion):
            dark = confusion[row, column] > confusion.max() / 8
            colour = "white" if dark else "black"
            text = axis.text(column, row, str(confusion[row, column]), color=colour)
            text.set(ha="center", va="center", fontsize=7)
    alt = "true class against predicted class"
    return Figure("report/confusion.png", "Confusion", alt, _save(drawing))


def draw_mistakes(
    mistakes: Sequence[tuple[NDArray[np.uint8], str, str]], *, inverted: bool = False
) -> Figure:
    """Up to 24 images, each with its true and predicted class; included in the bundle.

    `inverted` shows white on black as black on white.
    """
    shown = mistakes[:MAX_MISTAKES]
    rows = max(1, -(-len(shown) // COLUMNS))
    sheet = Image.new("L", (COLUMNS * CELL, rows * (CELL + CAPTION)), 255)
    draw = ImageDraw.Draw(sheet)
    if not shown:
        draw.text((4, 4), "no mistakes", fill=0)
    for place, (image, truth, predicted) in enumerate(shown):
        left, top = place % COLUMNS * CELL, place // COLUMNS * (CELL + CAPTION)
        tile = Image.fromarray(image).convert("L")
        tile = tile.resize((CELL - 8, CELL - 8), Image.Resampling.NEAREST)
        tile = ImageOps.invert(tile) if inverted else tile
        sheet.paste(tile, (left + 4, top + CAPTION))
        draw.text((left + 4, top + 2), f"{truth[:6]} > {predicted[:6]}", fill=0)
    file = io.BytesIO()
    sheet.quantize(16).save(file, "PNG", optimize=True)
    alt = "wrong predictions, most confident first"
    return Figure("report/mistakes.png", "Worst mistakes", alt, file.getvalue(), in_bundle=True)


def draw_network(model: keras.Model) -> Figure:
    """Draws a Keras model as SVG: a box per layer, with its output shape and parameter count."""
    width, height, gap = 420, 46, 18
    parts = []
    layers = list(model.layers)
    for index, layer in enumerate(layers):
        top = 10 + index * (height + gap)
        shape = " × ".join("batch" if side is None else str(side) for side in layer.output.shape)
        words = f"{type(layer).__name__} · {shape}"
        parts.append(
            f'<rect x="10" y="{top}" width="{width - 20}" height="{height}" rx="9"/>'
            f'<text x="24" y="{top + 20}" class="n">{escape(layer.name)}</text>'
            f'<text x="24" y="{top + 37}">{escape(words)}</text>'
            f'<text x="{width - 24}" y="{top + 20}" class="p">{layer.count_params():,}</text>'
        )
        if index < len(layers) - 1:
            below = top + height
            parts.append(f'<path d="M{width / 2} {below}v{gap - 5}m-4 -4l4 4l4 -4"/>')
    total = 20 + len(layers) * (height + gap)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}">'
        "<style>rect{fill:#eef3ff;stroke:#5b7fd9}path{fill:none;stroke:#5b7fd9}"
        "text{font:12px system-ui,sans-serif;fill:#445}.n{font-weight:600;fill:#112}"
        ".p{text-anchor:end}</style>" + "".join(parts) + "</svg>\n"
    )
    return Figure("graph.svg", "Network", "layers of the network", svg.encode("utf-8"))


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encodes an image (H, W) or (H, W, 3) as PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    return file.getvalue()


def _save(drawing: Drawing) -> bytes:
    file = io.BytesIO()
    drawing.savefig(file, dpi=110, format="png")
    return file.getvalue()
