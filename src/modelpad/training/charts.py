"""Charts as SVG that follow the reader's colour scheme, drawn with Matplotlib.

It knows nothing of what is drawn. Text and axes take the reader's text colour and the background is
transparent, so a chart fits on a light page and on a dark one.
"""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Drawing

COLOURS = ("#4c7fe0", "#e0812b", "#3aa06b", "#c65bb0", "#d3a11e", "#7d6be0", "#d5585b", "#2f9fb4")
FADED = "#888888"
NAME_LENGTH = 16
SHADES = LinearSegmentedColormap.from_list("shades", [(*(0.298, 0.498, 0.878), a) for a in (0, 1)])
"""From transparent to the first colour: for cells."""

SETTINGS = {"svg.hashsalt": "modelpad", "font.size": 10, "axes.titlesize": 11}
INK = re.compile(r"#000000|(?<=[ :\"])black(?=[;\"])")
SCHEME = (
    "<style>svg{color:#1b1f24;fill:currentColor}"
    "@media(prefers-color-scheme:dark){svg{color:#e4e7eb}}</style>"
)


def new_chart(
    width: float = 4.2, height: float = 3.4, *, fitted: bool = False
) -> tuple[Drawing, Axes]:
    """An empty drawing of `width` x `height` inches, with its axes.

    `fitted` makes room for long names beside the axes, which takes several times as long.
    """
    drawing = Drawing(figsize=(width, height), layout="constrained" if fitted else None)
    axis = drawing.subplots()
    if not fitted:
        drawing.subplots_adjust(left=0.15, right=0.97, bottom=0.15, top=0.91)
    axis.set_prop_cycle(color=COLOURS)
    axis.set_facecolor("none")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return drawing, axis


def add_grid(axis: Axes) -> None:
    """Faint lines behind the data."""
    axis.grid(color=FADED, alpha=0.25, linewidth=0.8)
    axis.set_axisbelow(True)


def add_legend(axis: Axes, title: str | None = None, place: str = "best") -> None:
    """A legend without a frame."""
    axis.legend(frameon=False, fontsize=9, title=title, title_fontsize=9, loc=place)


def save_chart(drawing: Drawing) -> bytes:
    """The drawing as SVG; the same drawing gives the same bytes."""
    file = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        drawing.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    head, tag, body = file.getvalue().partition("<defs>")
    return (head + SCHEME + tag + INK.sub("currentColor", body)).encode("utf-8")


def shorten(name: str, length: int = NAME_LENGTH) -> str:
    """A name in at most `length` characters, with an ellipsis; safe as a chart's text."""
    short = name if len(name) <= length else f"{name[: length - 1]}…"
    return short.replace("$", r"\$")  # dollars would begin a formula
