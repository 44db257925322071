"""The report in real Chromium, on a phone and a desk, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from modelpad.datasets import Split
from modelpad.training.evaluated import draw_gallery, evaluated_split
from modelpad.training.figures import draw_curves
from modelpad.training.findings import Findings, Table, join_findings
from modelpad.training.report import render_report
from tests.conftest import RUN_AXE
from tests.training.test_report import FOUND, REPORT

pytestmark = pytest.mark.browser

OVERLAPS = """() => {
  const parts = [...document.querySelectorAll('figcaption, img, h2, .scroll')];
  const boxes = parts.map((each) => each.getBoundingClientRect());
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => meet(a, b))).length;
}"""
DARKNESS = """async () => {
  const image = document.querySelector('.gallery img[alt="dark-lung.png"]');
  await image.decode();
  const sheet = new OffscreenCanvas(1, 1).getContext('2d');
  sheet.drawImage(image, 0, 0, 1, 1);
  return [sheet.getImageData(0, 0, 1, 1).data[0], getComputedStyle(image).filter];
}"""
CUT = """() => [...document.querySelectorAll('tbody th')]
  .filter((cell) => cell.textContent === 'PNEUMONIA' && cell.offsetHeight > 40).length"""


@pytest.fixture(scope="module")
def html() -> str:
    """A report with long captions, wide tables, dark pictures and a single epoch."""
    xrays = Split(
        np.full((9, 100, 80), 30, np.uint8), np.zeros(9, np.int64), ("dark-lung.png",) * 9
    )
    caption = "ACUTE RESPIRATORY DISTRESS SYNDROME, predicted NO PATHOLOGICAL FINDING (88.1 %)"
    mistakes = draw_gallery(
        evaluated_split(xrays), "Worst mistakes", "xrays", [(k, caption) for k in range(9)]
    )
    classes = [replace(FOUND.class_scores[0], name="PNEUMONIA")]
    found = Findings(
        figures=[*mistakes, *draw_curves([{"epoch": 1, "loss": 0.5, "val_loss": 0.6}])],
        class_scores=classes,
        tables=[Table("Texts", ("text", "label"), [("A long review. " * 20, "neg")])],
    )
    plain = replace(FOUND, class_scores=classes, figures=FOUND.figures[:1])
    return render_report(replace(REPORT, findings=join_findings(plain, found)))


@pytest.fixture(params=[(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")], ids=str)
def page(browser: Browser, html: str, request: Any) -> Iterator[Page]:
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.set_content(html)
    yield page
    context.close()


def test_it_fits_is_readable_and_shows_pictures_as_they_are(page: Page, axe: str) -> None:
    size = page.viewport_size
    assert size is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert page.evaluate(OVERLAPS) == 0
    assert page.evaluate(CUT) == 0
    brightness, effect = page.evaluate(DARKNESS)
    assert abs(brightness - 30) < 3
    assert effect == "none"
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert paper == ("rgb(19, 18, 24)" if is_dark else "rgb(246, 245, 241)")
    page.evaluate(axe)
    assert page.evaluate(RUN_AXE) == []
