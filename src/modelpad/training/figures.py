"""Figures of any training: learning curves and the diagram of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from modelpad.training.charts import SCHEME, add_grid, add_legend, new_chart, save_chart, shorten
from modelpad.training.findings import Figure

if TYPE_CHECKING:
    import keras

LEFT_OUT = ("epoch", "learning_rate")


def draw_curves(history: Sequence[Mapping[str, float]]) -> list[Figure]:
    """A chart for each metric: its values by epoch, in training and validation; the loss first."""
    names = [
        name
        for name in dict.fromkeys(key for row in history for key in row)
        if name not in LEFT_OUT and not name.startswith("val_")
    ]
    names.sort(key=lambda name: name != "loss")
    return [draw_curve(history, name, number) for number, name in enumerate(names, start=1)]


def draw_curve(history: Sequence[Mapping[str, float]], metric: str, number: int) -> Figure:
    """One metric by epoch."""
    drawing, axis = new_chart()
    epochs = [row["epoch"] for row in history]
    for name, words in ((metric, "training"), (f"val_{metric}", "validation")):
        if all(name in row for row in history):
            axis.plot(epochs, [row[name] for row in history], marker="o", label=words)
    axis.set(xlabel="epoch", title=shorten(metric.replace("_", " "), 40))
    axis.xaxis.set_major_locator(whole_epochs())
    add_grid(axis)
    add_legend(axis)
    path = f"report/curves-{number}.svg"
    return Figure(path, "Training", f"{metric} by epoch", save_chart(drawing))


def whole_epochs() -> MaxNLocator:
    """Ticks at whole epochs only, also where there is a single one."""
    return MaxNLocator(integer=True, min_n_ticks=1)


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
        + SCHEME
        + "<style>rect{fill:#4c7fe0;fill-opacity:.12;stroke:#4c7fe0}path{fill:none;stroke:#4c7fe0}"
        "text{font:12px system-ui,sans-serif}.n{font-weight:600}.p{text-anchor:end}</style>"
        + "".join(parts)
        + "</svg>\n"
    )
    return Figure("graph.svg", "Network", "layers of the network", svg.encode("utf-8"))
