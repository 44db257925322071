"""Charts of the trials of a search, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes

from modelpad.training.charts import COLOURS, FADED, add_grid, add_legend, new_chart, save_chart
from modelpad.training.findings import Figure
from modelpad.training.ranges import Range
from modelpad.tuning.journal import TrialRecord

TITLE = "Validation"
TENFOLD = 10  # losses that differ by more than that are shown on a logarithmic scale


def draw_trials(records: Sequence[TrialRecord], metric: str) -> Figure:
    """The metric of each trial, and the best up to it."""
    drawing, axis = new_chart()
    finished = [each for each in records if each.state == "finished"]
    best = list(accumulate((each.loss for each in finished), min))
    numbers = [each.number for each in finished]
    axis.step(numbers, best, where="post", color=FADED, linewidth=1.2, label="best so far")
    plot_points(axis, records, [each.number for each in records])
    axis.set_xlabel("trial")
    finish_axis(axis, records, metric)
    add_legend(axis)
    alt = f"{metric} of each trial of the search"
    return Figure("figures/trials.svg", TITLE, alt, save_chart(drawing))


def draw_option(records: Sequence[TrialRecord], name: str, tried: Range, metric: str) -> Figure:
    """The metric of the trials by the value of an option."""
    drawing, axis = new_chart()
    plot_points(axis, records, [each.values[name] for each in records])
    if tried.log:
        axis.set_xscale("log")
    axis.set_xlabel(name.replace("_", " "))
    finish_axis(axis, records, metric)
    alt = f"{metric} of the trials by their {name.replace('_', ' ')}"
    return Figure(f"figures/{name}.svg", TITLE, alt, save_chart(drawing))


def plot_points(axis: Axes, records: Sequence[TrialRecord], places: Sequence[float]) -> None:
    """A point for each trial: full if it has finished, hollow if it was ended early."""
    for kind, face in (("finished", COLOURS[0]), ("pruned", "none"), ("failed", "none")):
        chosen = [n for n, each in enumerate(records) if each.state == kind]
        if chosen:
            axis.scatter(
                [places[n] for n in chosen],
                [records[n].loss for n in chosen],
                s=34,
                facecolors=face,
                edgecolors=COLOURS[0] if kind != "failed" else COLOURS[6],
                label=kind,
                zorder=3,
            )


def finish_axis(axis: Axes, records: Sequence[TrialRecord], metric: str) -> None:
    """The vertical axis and the grid."""
    losses = [each.loss for each in records]
    if min(losses) > 0 and max(losses) > TENFOLD * min(losses):
        axis.set_yscale("log")
    axis.set_ylabel(metric)
    add_grid(axis)
