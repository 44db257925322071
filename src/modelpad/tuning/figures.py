"""Charts of the trials of a search, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from modelpad.training.charts import COLOURS, FADED, add_grid, new_chart, save_chart
from modelpad.training.findings import Figure
from modelpad.training.ranges import Range
from modelpad.tuning.journal import TrialRecord

TITLE = "Validation"
TENFOLD = 10  # losses that differ by more than that are shown on a logarithmic scale
TICKS = ((30, (1, 2, 5)), (300, (1, 3)))  # of a logarithmic scale, by the ratio of its ends
LOOKS = {"finished": (COLOURS[0], COLOURS[0]), "pruned": ("none", COLOURS[0])}
FAILED = ("none", COLOURS[6])


def draw_trials(records: Sequence[TrialRecord], metric: str, usual: float | None) -> Figure:
    """The metric of each trial, the best up to it, and that of the defaults."""
    drawing, axis = new_chart()
    finished = [each for each in records if each.state == "finished"]
    best = list(accumulate((each.loss for each in finished), min))
    numbers = [each.number for each in finished]
    axis.step(numbers, best, where="post", color=FADED, linewidth=1.2, label="best so far")
    plot_points(axis, records, [each.number for each in records])
    axis.set_xlabel("trial")
    finish_axis(axis, records, metric, usual)
    alt = f"{metric} of each trial of the search"
    return Figure("figures/trials.svg", TITLE, alt, save_chart(drawing))


def draw_option(
    records: Sequence[TrialRecord], name: str, tried: Range, metric: str, usual: float | None
) -> Figure:
    """The metric of the trials by the value of an option, and that of the defaults."""
    drawing, axis = new_chart()
    plot_points(axis, records, [each.tried({name: tried})[name] for each in records])
    if tried.log:
        axis.set_xscale("log")
        ratio = tried.high / tried.low
        ticks = next((each for widest, each in TICKS if ratio <= widest), (1,))
        axis.xaxis.set_major_locator(LogLocator(subs=ticks))
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(name.replace("_", " "))
    finish_axis(axis, records, metric, usual)
    alt = f"{metric} of the trials by their {name.replace('_', ' ')}"
    return Figure(f"figures/{name}.svg", TITLE, alt, save_chart(drawing))


def plot_points(axis: Axes, records: Sequence[TrialRecord], places: Sequence[float]) -> None:
    """A point for each trial: full if it has finished, hollow if it was ended early."""
    for kind in ("finished", "pruned", "failed"):
        chosen = [n for n, each in enumerate(records) if each.state == kind]
        if chosen:
            face, edge = LOOKS.get(kind, FAILED)
            axis.scatter(
                [places[n] for n in chosen],
                [records[n].loss for n in chosen],
                s=34,
                facecolors=face,
                edgecolors=edge,
                label=kind,
                zorder=3,
            )


def finish_axis(
    axis: Axes, records: Sequence[TrialRecord], metric: str, usual: float | None
) -> None:
    """The vertical axis, the grid, a line for the defaults, and the legend above."""
    if usual is not None:
        axis.axhline(usual, color=COLOURS[1], linewidth=1.2, linestyle="--", label="defaults")
    losses = [each.loss for each in records]
    if min(losses) > 0 and max(losses) > TENFOLD * min(losses):
        axis.set_yscale("log")
    axis.set_ylabel(metric)
    add_grid(axis)
    axis.legend(
        frameon=False,
        fontsize=9,
        ncols=4,
        loc="lower left",
        bbox_to_anchor=(-0.15, 1.0),
        columnspacing=1.0,
        handletextpad=0.4,
    )
