"""The page in real Chromium: drawn on with real mouse events, and read back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect

from modelpad.datasets import load_pen_strokes

pytestmark = pytest.mark.browser
DIGITS = {
    "7": [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]],
    "1": [[(0.5, 0.2), (0.5, 0.8)]],
    "4": [[(0.4, 0.2), (0.3, 0.55), (0.7, 0.55)], [(0.6, 0.25), (0.6, 0.85)]],
}


@pytest.fixture
def page(browser: Browser, server: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on(
        "console",
        lambda message: None if "429" in message.text else problems.append(message.text),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((server.url, "data:", "blob:"))
            else problems.append(request.url)
        ),
    )
    page.goto(server.url)
    page.wait_for_selector("canvas.pad")
    yield page
    context.close()
    assert problems == []


def draw(page: Page, strokes: list[list[tuple[float, float]]], steps: int = 8) -> None:
    """Draws in parts of the pad's side, with the mouse."""
    pad = page.locator("canvas.pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=steps)
        page.mouse.up()


@pytest.mark.parametrize("digit", DIGITS)
def test_a_drawn_digit_is_recognised(page: Page, digit: str) -> None:
    draw(page, DIGITS[digit])
    expect(page.locator("#label")).to_have_text(digit)
    expect(page.get_by_role("status")).to_contain_text(f"Recognised as {digit}")
    assert page.locator(".bars li").count() == 10


def test_undo_and_clear(page: Page) -> None:
    draw(page, [*DIGITS["1"], [(0.2, 0.2), (0.8, 0.8)]])
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#label")).to_have_text("1")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#answer")).to_contain_text("waiting")
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()
    page.get_by_role("button", name="Undo").click()  # what Clear took away
    expect(page.locator("#label")).to_have_text("1")


def test_drawing_by_keyboard(page: Page) -> None:
    page.locator("canvas.pad").focus()
    page.keyboard.press("Space")
    for _ in range(22):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator("#label")).to_have_text("1")
    page.keyboard.press("Control+z")
    expect(page.locator("#answer")).to_contain_text("waiting")


@pytest.mark.parametrize("digit", ["0", "3", "8"])
def test_an_example_is_answered(page: Page, digit: str) -> None:
    page.get_by_role("button", name=f"Try an example: {digit}").click()
    expect(page.locator("#label")).to_have_text(digit)


def test_snippets_and_card(page: Page, server: Any) -> None:
    expect(page.locator("#snippet")).to_contain_text(f"{server.url}/predict/digits")
    page.get_by_role("tab", name="Python").click()
    expect(page.locator("#snippet")).to_contain_text("requests.post")
    card = page.locator("#card")
    expect(card).to_contain_text("test accuracy")
    expect(card.get_by_role("img", name="Confusion matrix")).to_have_count(1)
    expect(card.get_by_role("img", name="loss by epoch")).to_have_count(1)


WARNINGS = ["A demonstration and no medical device.", "No better <b>than</b> chance."]
FINDINGS: dict[str, Any] = {
    "warnings": WARNINGS,
    "metrics": {"cross_validated_accuracy": 0.9, "cross_validated_auc": 0.95123456},
    "intervals": {"cross_validated_accuracy": [0.8, 0.96]},
    "classes": [
        {
            **{"name": name, "support": 20, "precision": 0.9, "recall": 0.8, "f1": 0.85},
            **{"auc": auc, "auc_interval": interval},
        }
        for name, auc, interval in (("NORMAL", 0.95, [0.9, 0.99]), ("x" * 40, None, None))
    ],
    "pictures": [
        {
            **{"title": "Worst mistakes", "file": "samples/7.png"},
            **{"caption": f"{number}, predicted 7", "alt": f"{number}.jpg"},
        }
        for number in range(3)
    ],
}


@pytest.mark.parametrize("width", [360, 1440])
def test_warnings_come_first_and_scores_have_intervals(page: Page, server: Any, width: int) -> None:
    models = httpx.get(f"{server.url}/models").json()
    models["models"][0]["card"] |= FINDINGS
    page.route("**/models", lambda route: route.fulfill(json=models))
    page.set_viewport_size({"width": width, "height": 900})
    page.reload()
    warnings = page.get_by_role("note", name="Warning")
    expect(warnings.locator("p")).to_have_text(WARNINGS)
    pad, note = page.locator("canvas.pad").bounding_box(), warnings.bounding_box()
    assert pad is not None
    assert note is not None
    assert note["y"] + note["height"] < pad["y"]
    card = page.locator("#card")
    expect(card).to_contain_text("95 %: 80.0 % to 96.0 %")
    expect(card).to_contain_text("0.9512")
    row = card.get_by_role("table").get_by_role("row", name="NORMAL").get_by_role("cell")
    expect(row).to_have_text(["0.900", "0.800", "0.850", "0.950", "0.900 to 0.990", "20"])
    expect(card.locator(".gallery figcaption")).to_have_text(
        [f"{number}, predicted 7" for number in range(3)]
    )
    expect(card.get_by_role("img", name="2.jpg")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_overload_is_said_with_what_to_do(page: Page) -> None:
    page.route(
        "**/predict/**",
        lambda route: route.fulfill(
            status=429,
            json={
                "error": {"message": "128 requests wait already.", "hint": "Try again in a second."}
            },
        ),
    )
    draw(page, DIGITS["1"])
    expect(page.get_by_role("alert")).to_contain_text("Try again in a second")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_whole(browser: Browser, server: Any, scheme: Any) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, color_scheme=scheme
    )
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("canvas.pad")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    context.close()


def test_everything_has_a_name(page: Page) -> None:
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, a, input, textarea, canvas')].filter((e) => "
        "!(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length"
    )
    assert nameless == 0


@pytest.mark.slow
@pytest.mark.long
def test_pen_strokes_of_people_are_recognised(page: Page, data_root: Path) -> None:
    held = [digit for digit in load_pen_strokes([data_root]) if digit.writer in (2, 13, 24)]
    chosen = [held[index] for index in np.random.default_rng(5).permutation(len(held))[:30]]
    right = 0
    for number, digit in enumerate(chosen):
        size = 0.45 + 0.4 * (number % 5) / 5
        page.locator("input[type=range]").fill(str(10 + 5 * (number % 5)))
        strokes = [[(0.08 + size * x, 0.08 + size * y) for x, y in s] for s in digit.strokes]
        for index, stroke in enumerate(strokes):
            last = index == len(strokes) - 1
            draw(page, [[(float(x), float(y)) for x, y in stroke]], steps=1)
            if last:
                expect(page.locator("#answer")).to_have_attribute("data-state", "done")
        right += page.locator("#label").inner_text() == str(digit.label)
        page.get_by_role("button", name="Clear").click()
    assert right >= 28, f"{right} of {len(chosen)}"


def test_a_dot_is_unknown(page: Page) -> None:
    draw(page, [[(0.5, 0.5), (0.502, 0.5)]])
    expect(page.locator(".unsure")).to_have_text(
        "Not sure: this does not look like any of the classes."
    )
    expect(page.get_by_role("status")).to_contain_text("Not sure")
    page.get_by_role("button", name="Clear").click()
    draw(page, DIGITS["7"])
    expect(page.locator("#label")).to_have_text("7")
    expect(page.locator(".unsure")).to_have_count(0)


def test_a_small_drawing_is_sent_with_thin_strokes(page: Page) -> None:
    draw(page, [[(0.4 + 0.18 * x, 0.3 + 0.18 * y) for x, y in stroke] for stroke in DIGITS["4"]])
    expect(page.locator("#label")).to_have_text("4")


def test_a_photo_of_a_digit_is_recognised(page: Page) -> None:
    """Uneven light over ruled paper; another file is no image."""
    picture = Image.new("L", (500, 400), 235)
    ImageDraw.Draw(picture).line([(180, 90), (320, 90), (240, 310)], fill=40, width=12)
    levels = np.asarray(picture, dtype=np.float32)
    levels[30::36] *= 0.7
    levels *= np.linspace(0.45, 1, 500, dtype=np.float32)
    file = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(file, "JPEG")
    chooser = page.locator("input[type=file][accept='image/*']").first
    chooser.set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    expect(page.locator("#label")).to_have_text("7")
    chooser.set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no image"})
    expect(page.get_by_role("alert")).to_contain_text("not an image")
    page.get_by_role("button", name="Clear").click()
    draw(page, DIGITS["1"])
    expect(page.locator("#label")).to_have_text("1")
