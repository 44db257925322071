"""The first screen in real Chromium: pad and prediction together, and nothing that moves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server
from tests.page.test_page import DIGITS, draw

pytestmark = pytest.mark.browser
PORTRAIT, LANDSCAPE = (360, 640), (640, 360)
MAX_SHIFT = 0.005  # what Chromium still counts belongs to no element; 0.1 is called good
MAX_FIRST_LOAD = 60_000  # bytes, compressed, without pictures
WATCH = """
window.shifts = [];
// Earlier inputs make room for a newer one: those may move.
const isEarlier = ({ node }) =>
  Boolean((node?.closest ? node : node?.parentElement)?.closest(".strip"));
const nameOf = ({ node }) => node?.className ?? node?.nodeName;
new PerformanceObserver((list) => shifts.push(...list.getEntries()
  .filter(({ sources }) => !sources.length || !sources.every(isEarlier))
  .map(({ value, sources }) => [value, sources.map(nameOf)])))
  .observe({ type: "layout-shift", buffered: true });
new MutationObserver(() => {
  if (document.querySelector("canvas.pad")) window.padAt ??= performance.now();
}).observe(document, { childList: true, subtree: true });
"""


@contextmanager
def phone(browser: Browser, size: tuple[int, int]) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.add_init_script(WATCH)
    yield page
    context.close()


def is_on_screen(page: Page, selector: str) -> bool:
    """Whether all of an element is within the window, without scrolling."""
    box = page.locator(selector).bounding_box()
    size = page.viewport_size
    assert box is not None
    assert size is not None
    return (
        box["x"] >= 0
        and box["y"] >= 0
        and box["x"] + box["width"] <= size["width"]
        and box["y"] + box["height"] <= size["height"]
    )


@pytest.mark.parametrize("size", [PORTRAIT, LANDSCAPE], ids=["portrait", "landscape"])
def test_a_phone_shows_pad_and_prediction_at_once(
    browser: Browser, server: Server, size: tuple[int, int]
) -> None:
    with phone(browser, size) as page:
        page.goto(server.url)
        expect(page.locator(".waiting .bars li")).to_have_count(10)  # greyed, in their places
        places = [bar.bounding_box() for bar in page.locator(".bars li").all()]
        answers: list[str] = []
        page.on("response", lambda response: answers.append(response.url))
        box = page.locator("canvas.pad").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.2 * box["height"], steps=4)
        page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
        expect(page.locator("#label")).to_have_text("7")  # before the pen is lifted
        assert any(url.endswith("/predict/digits") for url in answers)
        page.mouse.up()
        expect(page.locator("#answer")).to_have_attribute("data-state", "done")
        for selector in ("canvas.pad", "#label", ".bars li:last-child", ".took", ".tools"):
            assert is_on_screen(page, selector), selector
        assert [bar.bounding_box() for bar in page.locator(".bars li").all()] == places
        assert len({(box["width"]) for box in map(_box, page.locator(".bars svg").all())}) == 1
        shifts = page.evaluate("shifts")
        assert [moved for _, moved in shifts if moved] == []  # no element of the page
        assert sum(value for value, _ in shifts) < MAX_SHIFT
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def _box(locator: Any) -> Any:
    return locator.bounding_box()


def test_a_slow_prediction_is_said_to_be_under_way(browser: Browser, server: Server) -> None:
    with phone(browser, PORTRAIT) as page:
        page.goto(server.url)
        held: list[Any] = []
        page.route("**/predict/**", lambda route: held.append(route))
        draw(page, DIGITS["1"])
        expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
        delay = "getComputedStyle(document.querySelector('.answer'), '::before').animationDelay"
        assert page.evaluate(delay) == "0.15s"
        held[-1].continue_()
        expect(page.locator("#label")).to_have_text("1")
        expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")


@pytest.mark.slow
def test_the_pad_is_there_after_two_round_trips(browser: Browser, server: Server) -> None:
    with phone(browser, PORTRAIT) as page:
        cdp = page.context.new_cdp_session(page)
        cdp.send("Network.enable")
        limits = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        cdp.send("Network.emulateNetworkConditions", {**limits, "latency": 5000})
        page.goto(server.url, wait_until="commit")
        page.wait_for_selector("canvas.pad", timeout=60_000)
        assert page.evaluate("padAt") < 14_900  # a third would end later


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_first_load_is_small(server: Server, path: str) -> None:
    with httpx.Client(base_url=server.url, headers={"accept": "text/html"}) as client:
        page = client.get(path)
        paths = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        sizes = {}
        for file in [path, *dict.fromkeys(paths)]:
            with client.stream("GET", file) as response:
                assert response.headers["content-encoding"] == "gzip"
                sizes[file] = sum(len(part) for part in response.iter_raw())
        assert sum(sizes.values()) < MAX_FIRST_LOAD, sizes
        plain = client.get("/static/page.js", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.text == client.get("/static/page.js").text
        tag = plain.headers["etag"]
        assert client.get("/static/page.js", headers={"if-none-match": tag}).status_code == 304


def test_pictures_below_the_screen_wait_until_they_are_near(
    browser: Browser, server: Server
) -> None:
    with phone(browser, PORTRAIT) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        has_source = re.compile("^(blob|data):")
        expect(page.locator(".samples img").first).to_have_attribute("src", has_source)
        last = page.locator("#card img").last
        expect(last).to_be_attached()
        assert not last.get_attribute("src")
        first = sum("/files/" in url for url in asked)
        last.scroll_into_view_if_needed()
        expect(last).to_have_attribute("src", has_source)
        assert sum("/files/" in url for url in asked) > first
