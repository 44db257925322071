"""Models that make a picture of a picture, in real Chromium: styles, comparing, live, download."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.conftest import RUN_AXE, Server, start_server, stop_server
from tests.page.test_first_screen import LANDSCAPE, PORTRAIT, is_on_screen, phone
from tests.page.tinting import SIZE, write_tinting

pytestmark = pytest.mark.browser
WATCH_REQUESTS = """
window.sent = [];
const send = window.fetch;
window.fetch = (url, options) => {
  const body = options?.body;
  if (body instanceof FormData) sent.push(Object.fromEntries(
    [...body].map(([name, value]) => [name, value instanceof Blob ? value.size : value])));
  return send(url, options);
};
"""
RATES = """async (times) => {
  const { startRate, adaptRate, SIDES } = await import("/static/frame-rate.js");
  let rate = startRate();
  return times.map((ms) => { rate = adaptRate(rate, ms); return SIDES[rate.level]; });
}"""


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model with two styles."""
    folder = tmp_path_factory.mktemp("painter")
    server = start_server(str(write_tinting(folder)), "--workers", "1", store=folder / "store")
    yield server
    stop_server(server)


@pytest.fixture
def page(browser: Browser, painter: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(8000)
    page = context.new_page()
    page.add_init_script(WATCH_REQUESTS)
    problems: list[str] = []
    page.on(
        "console",
        lambda message: None if " 422 " in message.text else problems.append(message.text),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(painter.url)
    wait_for_result(page)
    yield page
    context.close()
    assert problems == []


def wait_for_result(page: Page) -> None:
    expect(page.locator("#answer")).to_have_attribute("data-state", "done")


def write(size: tuple[int, int], form: str = "JPEG") -> bytes:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size).save(file, form)
    return file.getvalue()


def give(page: Page, body: bytes, name: str = "cat.jpg", kind: str = "image/jpeg") -> None:
    file: Any = {"name": name, "mimeType": kind, "buffer": body}
    page.locator("input[type=file]").set_input_files(file)


def measure(page: Page, selector: str) -> Any:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box


def test_original_and_result_are_compared(page: Page) -> None:
    box = measure(page, ".comparison")
    assert box["width"] / box["height"] == pytest.approx(SIZE[0] / SIZE[1], rel=0.01)
    compare = page.get_by_label("How much of the original is shown")
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, y)
    page.mouse.up()
    expect(compare).to_have_value("25")
    page.mouse.move(box["x"] + box["width"] / 2, y)  # no longer held
    compare.press("ArrowRight")
    expect(compare).to_have_value("26")
    expect(compare).to_have_attribute("aria-valuetext", "26 % original")
    divider = measure(page, ".divider")
    assert divider["x"] - box["x"] == pytest.approx(0.26 * box["width"], abs=2)
    give(page, write((60, 120)))
    expect(page.locator(".took")).to_contain_text("60 × 120")
    tall, stage = measure(page, ".comparison"), measure(page, ".stage")
    assert tall["width"] / tall["height"] == pytest.approx(0.5, rel=0.01)
    assert tall["height"] <= stage["height"]


def test_settings_paint_again(page: Page) -> None:
    sent = "sent.at(-1)"
    assert page.evaluate(sent)["style"] == "scream"  # the example's
    thumbnails = page.locator(".style-tile img")
    expect(thumbnails).to_have_count(2)
    expect(thumbnails.first).to_have_js_property("naturalWidth", 96)
    page.locator(".style-tile", has_text="wave").click()
    wait_for_result(page)
    assert page.evaluate(sent)["style"] == "wave"
    before = page.locator(".after img").get_attribute("src")
    held: list[Any] = []
    page.route("**/predict/**", lambda route: held.append(route))
    page.get_by_label("strength").fill("0.5")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
    expect(page.locator(".after img")).to_have_attribute(
        "src", before or ""
    )  # until there is another
    held[-1].continue_()
    page.unroute("**/predict/**")
    wait_for_result(page)
    assert page.evaluate(sent)["strength"] == "0.5"
    page.get_by_role("button", name="Mix").click()
    page.get_by_label("Weight of scream").fill("0.25")
    wait_for_result(page)
    assert page.evaluate(sent)["style"] == '{"wave":1,"scream":0.25}'
    expect(page.locator(".picked")).to_have_text("wave + scream")
    page.get_by_role("button", name="Show again: wave", exact=True).click()
    expect(page.get_by_role("radio", name="wave")).to_be_checked()


def test_a_large_picture_keeps_its_size(page: Page, tmp_path: Path) -> None:
    body = write((1500, 900))
    give(page, body)
    expect(page.locator(".took")).to_contain_text("1500 × 900 pixels")
    sizes = [each["image"] for each in page.evaluate("sent")]
    assert sizes[-1] == len(body)
    assert sizes[-2] != len(body)  # a draft, shown until then
    for kind, suffix in (("JPEG", "jpg"), ("PNG", "png")):
        page.get_by_label("Format of the file").select_option(kind)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == f"cat-scream.{suffix}"
        with Image.open(download.value.path()) as saved:
            assert (saved.format, saved.size) == (kind, (1500, 900))


def test_what_is_no_picture_is_explained(page: Page) -> None:
    give(page, b"no picture")
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    give(page, write((64, 48), "PNG"), "cat.png", "image/png")
    wait_for_result(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#answer")).to_contain_text("choose a picture")
    expect(page.get_by_role("button", name="Download")).to_be_disabled()


def test_the_camera_is_painted_live(page: Page, wait_for: Callable[..., None]) -> None:
    page.get_by_role("button", name="Live").click()
    expect(page.locator(".rate")).to_contain_text("frames/s at")
    page.locator(".style-tile", has_text="wave").click()
    wait_for(lambda: page.evaluate("sent.at(-1).style") == "wave")
    page.evaluate(
        """Object.defineProperty(document, "hidden", { get: () => true });
        document.dispatchEvent(new Event("visibilitychange"));"""
    )  # another tab
    wait_for_result(page)  # the last picture, at the camera's size
    expect(page.locator(".took")).to_contain_text("1280 × 720 pixels")
    expect(page.locator(".rate")).to_be_empty()
    frames = page.evaluate("sent.length")
    page.wait_for_timeout(300)
    assert page.evaluate("sent.length") == frames


def test_live_painting_falls_back_in_size(page: Page) -> None:
    slow, fast, even = [300.0], [20.0], [100.0]
    assert page.evaluate(RATES, even * 50)[-1] == 640
    assert page.evaluate(RATES, slow * 20)[-1] == 240
    assert page.evaluate(RATES, [*slow * 3])[-1] == 320  # at once to what would be fluent
    assert page.evaluate(RATES, slow * 20 + fast * 80)[-1] == 640
    tries = page.evaluate(RATES, [200.0] * 3 + [20.0, *fast * 11, *slow * 3] * 1 + fast * 11)
    assert tries[-1] < 640  # what was too slow is tried later


def swipe(page: Page, start: tuple[float, float], by: tuple[float, float]) -> None:
    """Moves a finger in ten steps."""
    cdp = page.context.new_cdp_session(page)
    for step in range(11):
        point = {"x": start[0] + by[0] * step / 10, "y": start[1] + by[1] * step / 10}
        kind = "touchMove" if step else "touchStart"
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("size", [PORTRAIT, LANDSCAPE], ids=["portrait", "landscape"])
def test_a_phone_shows_picture_and_controls_at_once(
    browser: Browser, painter: Server, size: tuple[int, int]
) -> None:
    with phone(browser, size) as page:
        page.goto(painter.url)
        wait_for_result(page)
        controls = (".compare", ".tools", ".styles", ".setting >> nth=1", ".save-row")
        for selector in (".stage", *controls):
            assert is_on_screen(page, selector), selector
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        box = measure(page, ".comparison")
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        swipe(page, middle, (-0.3 * box["width"], 0))
        expect(page.locator(".compare")).to_have_value("20")
        swipe(page, middle, (0, -60))  # scrolls, and compares nothing
        expect(page.locator(".compare")).to_have_value("20")
        give(page, write((30, 60)))
        expect(page.locator(".took")).to_contain_text("30 × 60")
        page.locator(".style-tile").first.click()
        wait_for_result(page)
        shifts = page.evaluate("shifts")
        assert [moved for _, moved in shifts if moved] == []
        assert sum(value for value, _ in shifts) < 0.005


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, painter: Server, axe: str, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(painter.url)
    wait_for_result(page)
    page.get_by_role("button", name="Mix").click()
    wait_for_result(page)
    page.evaluate(axe)
    found = page.evaluate(RUN_AXE)
    context.close()
    assert found == []
