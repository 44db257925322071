"""The drawing pad in real Chromium: pointers, pressure, undo, and files dropped beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server
from tests.page.test_page import DIGITS, draw

pytestmark = pytest.mark.browser

DROP = """([target, type, body]) => {
  const bytes = Uint8Array.from(atob(body), (each) => each.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "dropped", { type }));
  const event = new DragEvent("drop", { dataTransfer: data, cancelable: true, bubbles: true });
  document.querySelector(target).dispatchEvent(event);
  return event.defaultPrevented;
}"""
INK = """() => {
  const pad = document.querySelector("canvas.pad"), { width, height } = pad;
  const pixels = pad.getContext("2d").getImageData(0, 0, width, height).data;
  return (x, y) => pixels[4 * (Math.round(y * height) * width + Math.round(x * width))] < 128;
}"""


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 800, "height": 900}, has_touch=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("canvas.pad")
    yield page
    context.close()
    assert problems == []


def has_ink(page: Page, x: float, y: float) -> bool:
    return bool(page.evaluate(f"({INK})()({x}, {y})"))


def at(page: Page, x: float, y: float) -> dict[str, float]:
    box = page.locator("canvas.pad").bounding_box()
    assert box is not None
    return {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}


def test_two_fingers_draw_two_strokes(page: Page) -> None:
    cdp = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches: list[Any] = [{**at(page, *point), "id": n} for n, point in enumerate(points)]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (0.2, 0.2), (0.8, 0.2))
    for step in range(1, 7):
        touch("touchMove", (0.2, 0.2 + 0.1 * step), (0.8, 0.2 + 0.1 * step))
    touch("touchEnd")
    expect(page.locator("#label")).to_be_visible()
    assert has_ink(page, 0.2, 0.5)
    assert has_ink(page, 0.8, 0.5)
    assert not any(has_ink(page, 0.5, 0.2 + 0.05 * step) for step in range(13))


def test_the_last_prediction_stays_when_one_ends_with_the_stroke(page: Page) -> None:
    page.evaluate(
        """() => {
          const send = window.fetch;
          window.answers = 0;
          window.fetch = async (...request) => {
            const answer = await send(...request);
            await new Promise((done) => setTimeout(done, 400));
            window.answers += 1;
            return answer;
          };
        }"""
    )
    start = at(page, 0.3, 0.2)
    page.mouse.move(start["x"], start["y"])
    page.mouse.down()
    step = 0
    while not page.evaluate("window.answers"):
        step += 1
        page.mouse.move(start["x"] + step % 200, start["y"] + step % 300)
    page.mouse.up()
    answer = page.locator("#answer")
    expect(answer).to_have_attribute("data-state", "done")
    page.wait_for_timeout(800)  # in which nothing else may be asked
    expect(answer).to_have_attribute("data-state", "done", timeout=100)


def test_a_pen_draws_wider_when_it_presses(page: Page) -> None:
    cdp = page.context.new_cdp_session(page)
    for x, force in ((0.3, 0.05), (0.7, 1.0)):
        for kind, y in (("mousePressed", 0.2), ("mouseMoved", 0.5), ("mouseReleased", 0.8)):
            pen = {"pointerType": "pen", "force": force, "button": "left", "buttons": 1}
            cdp.send("Input.dispatchMouseEvent", {"type": kind, **at(page, x, y), **pen})
    near = 0.026  # to the side of the line: inside a wide one only
    assert has_ink(page, 0.7 + near, 0.35)
    assert has_ink(page, 0.3, 0.35)
    assert not has_ink(page, 0.3 + near, 0.35)


def test_ctrl_z_undoes_after_the_mouse_and_restores_what_was_replaced(page: Page) -> None:
    draw(page, DIGITS["7"])
    expect(page.locator("#label")).to_have_text("7")
    page.get_by_role("button", name="Try an example: 3").click()
    expect(page.locator("#label")).to_have_text("3")
    draw(page, DIGITS["1"])  # replaces the example
    expect(page.locator("#label")).to_have_text("1")
    page.keyboard.press("Control+z")
    expect(page.locator("#label")).to_have_text("3")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#label")).to_have_text("7")


def test_a_file_dropped_anywhere_stays_on_the_page(page: Page) -> None:
    picture = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(picture).line([(60, 50), (140, 50), (90, 160)], fill=0, width=14)
    file = io.BytesIO()
    picture.save(file, "PNG")
    body = base64.b64encode(file.getvalue()).decode()
    assert page.evaluate(DROP, ["footer", "text/plain", "aGVsbG8="])  # nothing takes it
    expect(page.locator("#answer")).to_contain_text("waiting")
    assert page.evaluate(DROP, ["footer", "image/png", body])  # the pad does
    expect(page.locator("#label")).to_have_text("7")
    page.get_by_role("button", name="Clear").click()
    assert page.evaluate(DROP, ["canvas.pad", "image/png", body])
    expect(page.locator("#label")).to_have_text("7")
