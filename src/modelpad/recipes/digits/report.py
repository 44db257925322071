"""The report: curves, confusion matrix, worst mistakes and the network, as pictures and a page."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.recipes.digits.data import Splits


def write_report(
    folder: Path,
    model: Any,
    material: Splits,
    history: list[dict[str, float]],
    scores: NDArray[np.float32],
) -> None:
    """Writes `report.html`, its pictures in `report/`, and `graph.svg`."""
    pictures = folder / "report"
    pictures.mkdir(parents=True, exist_ok=True)
    labels, classes = material.test.labels, material.data.classes
    draw_curves(history, pictures / "curves.png")
    confusion = count_confusion(labels, scores.argmax(axis=1), len(classes))
    draw_confusion(confusion, classes, pictures / "confusion.png")
    draw_mistakes(material, scores, pictures / "mistakes.png")
    (folder / "graph.svg").write_text(draw_graph(model), "utf-8")
    right = int(np.trace(confusion))
    (folder / "report.html").write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>{escape(folder.name)}</title>
<style>body{{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}
img{{max-width:100%}}</style>
<h1>{escape(folder.name)}</h1>
<p>{right:,} of {len(labels):,} test images right: {100 * right / len(labels):.2f} %.
Trained on {escape(material.data.title)}.</p>
<h2>Training</h2><img src="report/curves.png" alt="loss and accuracy by epoch">
<h2>Confusion</h2><img src="report/confusion.png" alt="true class against answer">
<h2>Worst mistakes</h2><img src="report/mistakes.png" alt="wrong answers, surest first">
<h2>Network</h2><img src="graph.svg" alt="layers of the network"></html>
""",
        "utf-8",
    )


def count_confusion(
    labels: NDArray[np.int64], guesses: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """How often each true class (row) was answered as each class (column): int64 (C, C)."""
    cells = np.bincount(labels * classes + guesses, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def draw_curves(history: list[dict[str, float]], path: Path) -> None:
    """Loss and accuracy by epoch, training and validation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axis, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for name, words in ((metric, "training"), (f"val_{metric}", "validation")):
            if all(name in row for row in history):
                axis.plot(epochs, [row[name] for row in history], marker="o", label=words)
        axis.set(xlabel="epoch", title=metric)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)


def draw_confusion(confusion: NDArray[np.int64], classes: tuple[str, ...], path: Path) -> None:
    """The matrix, its counts written in where there are not too many classes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6), layout="constrained")
    axis = figure.subplots()
    axis.imshow(np.log1p(confusion), cmap="Blues")
    axis.set(xlabel="answer", ylabel="truth")
    if len(classes) <= 20:
        axis.set_xticks(range(len(classes)), classes)
        axis.set_yticks(range(len(classes)), classes)
        for row, column in np.argwhere(confusion):
            strong = confusion[row, column] > confusion.max() / 8
            axis.text(
                column,
                row,
                str(confusion[row, column]),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if strong else "black",
            )
    figure.savefig(path, dpi=110)


def draw_mistakes(
    material: Splits, scores: NDArray[np.float32], path: Path, most: int = 24
) -> None:
    """The wrong answers that the model was surest of, small enough to travel in a bundle."""
    from PIL import Image, ImageDraw

    labels, classes = material.test.labels, material.data.classes
    guesses, sureness = scores.argmax(axis=1), scores.max(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    wrong = wrong[np.argsort(-sureness[wrong], kind="stable")][:most]
    cell, columns = 72, 8
    rows = max(1, -(-len(wrong) // columns))
    sheet = Image.new("L", (columns * cell, rows * (cell + 16)), 255)
    draw = ImageDraw.Draw(sheet)
    if not len(wrong):
        draw.text((4, 4), "no mistakes", fill=0)
    for place, index in enumerate(wrong):
        left, top = place % columns * cell, place // columns * (cell + 16)
        tile = Image.fromarray(material.test.images[index]).convert("L")
        tile = tile.resize((cell - 8, cell - 8), Image.Resampling.NEAREST)
        if material.sketch:
            tile = Image.eval(tile, lambda level: 255 - level)
        sheet.paste(tile, (left + 4, top + 16))
        truth, guess = classes[labels[index]][:6], classes[guesses[index]][:6]
        draw.text((left + 4, top + 2), f"{truth} > {guess}", fill=0)
    sheet.quantize(16).save(path, optimize=True)


def draw_graph(model: Any) -> str:
    """The computation graph as an SVG: a box a layer, with its shape and parameters."""
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
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}">'
        "<style>rect{fill:#eef3ff;stroke:#5b7fd9}path{fill:none;stroke:#5b7fd9}"
        "text{font:12px system-ui,sans-serif;fill:#445}.n{font-weight:600;fill:#112}"
        ".p{text-anchor:end}</style>" + "".join(parts) + "</svg>\n"
    )
