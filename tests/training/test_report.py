"""The report is one page that needs nothing else, and shows every finding safely."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from modelpad.foreign_json import Json
from modelpad.statistics import Interval
from modelpad.training.card import Card, DataRow, write_card
from modelpad.training.charts import new_chart, save_chart
from modelpad.training.evaluation_figures import draw_confusion
from modelpad.training.figures import whole_epochs
from modelpad.training.findings import (
    ClassScores,
    Figure,
    Findings,
    Table,
    join_findings,
    join_sets,
)
from modelpad.training.report import Report, render_report, write_report
from modelpad.training.report_page import format_metric, format_seconds, name_metric

CARD = Card(
    "Lungs <b>",
    "Finds pneumonia.",
    [DataRow("X-rays", 80, "CC0", "all")],
    warning="A demonstration and no medical device.",
    limits=["Only adults."],
)
FOUND = Findings(
    metrics={"test_accuracy": 0.9, "test_auc": 0.95},
    intervals={"test_accuracy": Interval(0.8, 0.96)},
    classes=("well", "ill"),
    class_scores=[
        ClassScores("well", 20, 0.9, 0.8, 0.85, 0.95, Interval(0.9, 0.99)),
        ClassScores("ill <i>", 0, 0.0, 0.0, 0.0, float("nan"), Interval(np.nan, np.nan)),
    ],
    confusion=np.array([[8, 2], [1, 9]]),
    figures=[
        draw_confusion(np.array([[8, 2], [1, 9]]), ("we$ll$", "ill")),
        Figure("report/mistakes/01.jpg", "Worst mistakes", 'a"b.jpg', b"x", True, "well, not ill"),
        Figure("report/mistakes/02.png", "Worst mistakes", "c.png", b"y", True, "ill, not well"),
    ],
    tables=[Table("Likely wrong labels", ("file", "label"), [("<script>.jpg", "well")], "One.")],
    notes=["Cross-validated."],
    warnings=["No better than chance."],
)
SETTINGS: dict[str, Json] = {"epochs": 3, "augment": True, "limit": None, "metric": ["auc", "f1"]}
FACTS: dict[str, Json] = {"training_time": "33 s", "cores": 2}
REPORT = Report("lungs", CARD, FOUND, SETTINGS, FACTS, Path("runs/my lungs/logs"))


class Page(HTMLParser):
    """The addresses that a page refers to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "b", "i")
        self.addresses += [value or "" for name, value in attrs if name == "src"]
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    write_report(tmp_path, REPORT)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert page.links == ["http://localhost:6006", "logs/", "history.csv"]  # links load nothing
    assert (tmp_path / "report" / "confusion.svg").is_file()


def test_everything_is_said_and_the_warnings_first() -> None:
    text = " ".join(Page(render_report(REPORT)).words)
    for words in (
        "Test AUC",
        "80.0 to 96.0\N{NO-BREAK SPACE}%",
        "0.900 to 0.990",
        "Cross-validated",
        "Only adults",
        "Epochs",
        "auc, f1",
        "Training time",
        "--logdir 'runs/my lungs/logs'",
    ):
        assert words in text
    assert "<script>.jpg" in text
    assert "c.png" in text
    order = [text.index(words) for words in ("no medical", "No better", "Finds", "Test accuracy")]
    assert order == sorted(order)


def test_the_card_has_warnings_scores_and_no_nan() -> None:
    pictures = [figure for figure in FOUND.figures if figure.in_bundle]
    history = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": float("nan")}]
    found = join_findings(FOUND, Findings(metrics={"test_mine": np.float64(np.inf)}))
    content = write_card(CARD, found, {"epochs": 3}, history, pictures).decode("utf-8")
    assert content.startswith('{"warnings":["A demonstration and no medical device.","No better')
    assert "NaN" not in content
    assert '"history":[{"epoch":1,"loss":0.5},{"epoch":2,"loss":null}]' in content
    assert '"test_mine":null' in content
    assert '"auc":null,"auc_interval":null' in content
    assert '"intervals":{"test_accuracy":[0.8,0.96]}' in content
    assert '"caption":"well, not ill","alt":"a\\"b.jpg"' in content


def test_findings_are_joined() -> None:
    joined = join_findings(FOUND, Findings(metrics={"extra": 1.0}, notes=["Cross-validated."]))
    assert list(joined.metrics) == ["test_accuracy", "test_auc", "extra"]
    assert joined.notes == ("Cross-validated.",)
    assert joined.confusion is FOUND.confusion


def test_sets_of_items_are_told_apart() -> None:
    joined = join_sets({"cross-validated": FOUND, "test set": FOUND})
    paths = [figure.path for figure in joined.figures]
    assert len({*paths}) == len(paths) == 2 * len(FOUND.figures)
    assert "report/test-set/mistakes/01.jpg" in paths
    titles = {each.title for each in joined.figures} | {each.title for each in joined.tables}
    assert {"Worst mistakes, cross-validated", "Likely wrong labels, test set"} < titles
    assert "The scores by class: cross-validated." in joined.notes
    assert join_sets({"cross-validated": Findings(), "test set": FOUND}) is FOUND


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_ticks_are_whole_epochs(epochs: int) -> None:
    margin = 0.05 * max(epochs - 1, 1)
    ticks = whole_epochs().tick_values(1 - margin, epochs + margin)
    assert all(tick == round(tick) for tick in ticks)
    assert any(1 <= tick <= epochs for tick in ticks)


def test_times_are_read_at_a_glance() -> None:
    times = [format_seconds(seconds) for seconds in (8.13, 33.2, 125, 3950.1, 59.7)]
    assert times == ["8.1 s", "33 s", "2 min 5 s", "1 h 5 min", "1 min 0 s"]


def test_charts_are_repeatable_and_follow_the_colour_scheme() -> None:
    drawing, axis = new_chart()
    axis.plot([0, 1], [1, 0])
    text = save_chart(drawing).decode("utf-8")
    assert text == save_chart(drawing).decode("utf-8")
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"(stroke|fill): (#000000|#ffffff|black)", text)


def test_metrics_are_named_as_people_do() -> None:
    assert name_metric("cross_validated_auc") == "Cross-validated AUC"
    name = name_metric("test_sensitivity_at_90_specificity")
    assert name == "Test sensitivity at 90 % specificity"
    assert format_metric("test_accuracy", 0.5) == "50.00 %"
