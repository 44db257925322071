"""Several models in real Chromium: the gallery, links, what is kept, and accessibility."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from modelpad.store import LocalStore
from tests.conftest import RUN_AXE, Server, start_server, stop_server
from tests.page.test_first_screen import PORTRAIT, phone
from tests.page.test_page import DIGITS, draw
from tests.promotion.bright import encode_shade, write_bright
from tests.table_bundles import write_tables

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Digits, reviews, a writer, a table, and pictures with two versions."""
    folder = tmp_path_factory.mktemp("several")
    loan = str(write_tables(folder / "tables")[0])
    store = LocalStore(folder / "store")
    for threshold in (101, 127):
        store.push(write_bright(folder / "pictures", threshold))
    models = ("digits", "reviews", "writer", loan, "shades")
    options = ("--workers", "1", "--keep-versions", "2")
    server = start_server(*models, *options, store=store.root)
    yield server
    stop_server(server)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    assert problems == []


@pytest.mark.parametrize("path", ["/", "/m/digits", "/docs"])
def test_hardly_anything_moves_while_a_page_loads(
    browser: Browser, several: Server, path: str
) -> None:
    """What moves is the row of models, sideways, when the brand's name makes room for it."""
    with phone(browser, PORTRAIT) as page:

        def delay(route: Route) -> None:
            page.wait_for_timeout(200)  # so that what is there before is painted
            route.continue_()

        page.route("**/models", delay)
        page.goto(f"{several.url}{path}")
        page.get_by_role("heading", level=1).wait_for()
        page.locator(".tile, canvas.pad, .operation[open]").first.wait_for()
        assert sum(value for value, _ in page.evaluate("shifts")) < 0.02


def test_the_gallery_leads_to_each_model_and_back_keeps_inputs(page: Page, several: Server) -> None:
    page.goto(several.url)
    expect(page.locator(".tile")).to_have_count(5)
    page.locator(".tile", has_text="Handwritten digits").click()
    expect(page).to_have_url(f"{several.url}/m/digits")
    draw(page, DIGITS["7"])
    expect(page.locator("#label")).to_have_text("7")
    page.get_by_role("link", name="loan").click()
    page.get_by_label("income (k)").fill("10")
    expect(page.locator("#label")).to_have_text("reject")
    page.go_back()
    expect(page.locator("#label")).to_have_text("7")  # the view itself was kept
    page.reload()
    expect(page.locator("#label")).to_have_text("7")  # and this entry of the history
    page.go_forward()
    expect(page.get_by_label("income (k)")).to_have_value("10")
    page.get_by_role("link", name="all models").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()


def test_a_wrong_name_says_so_and_offers_the_nearest(page: Page, several: Server) -> None:
    page.goto(f"{several.url}/m/digit")
    expect(page.get_by_role("heading", name="There is no model “digit” here.")).to_be_visible()
    page.get_by_role("link", name="digits", exact=True).first.click()
    expect(page.locator("canvas.pad")).to_be_visible()
    page.goto(f"{several.url}/#reviews")  # links as they were
    expect(page).to_have_url(f"{several.url}/m/reviews")


def test_a_link_shares_the_input(page: Page, context: BrowserContext, several: Server) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{several.url}/m/digits")
    draw(page, DIGITS["4"])
    expect(page.locator("#label")).to_have_text("4")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{several.url}/m/digits#in=")
    assert len(link) < 3000
    other = context.new_page()
    other.goto(link)
    expect(other.locator("#label")).to_have_text("4")
    for broken in (link[:-40], f"{several.url}/m/digits#in=!"):
        other.goto("about:blank")
        other.goto(broken)
        expect(other.get_by_role("alert")).to_contain_text("cannot be read")


def test_another_version_is_beside_the_first(page: Page, several: Server) -> None:
    def show(shade: int) -> None:
        file: Any = {"name": "a.png", "mimeType": "image/png", "buffer": encode_shade(shade)}
        page.locator("input[type=file]").first.set_input_files(file)

    page.goto(f"{several.url}/m/shades")
    show(110)
    expect(page.locator("#label")).to_have_text("dark")
    page.get_by_label("Compare with").select_option("version 1")
    beside = page.locator(".beside")
    expect(beside.locator("strong")).to_have_text("bright")
    expect(beside).to_contain_text("Version 1 predicts otherwise.")
    show(200)
    expect(beside).to_contain_text("Version 1 agrees.")
    expect(page.locator("#label")).to_have_text("bright")


def test_earlier_inputs_are_shown_again(page: Page, several: Server) -> None:
    page.goto(f"{several.url}/m/digits")
    draw(page, DIGITS["7"])
    expect(page.locator("#label")).to_have_text("7")
    page.get_by_role("button", name="Clear").click()
    draw(page, DIGITS["4"])
    expect(page.locator("#answer")).to_have_attribute("data-state", "done")
    earlier = page.get_by_role("region", name="Earlier in this session").get_by_role("button")
    expect(earlier).to_have_count(2)  # one for each drawing, not for each stroke
    page.get_by_role("button", name="Show again: 7").click()
    expect(page.locator("#label")).to_have_text("7")


def test_tabs_are_changed_by_arrow_keys(page: Page, several: Server) -> None:
    page.goto(f"{several.url}/m/digits")
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.locator("#snippet")).to_contain_text("requests.post")
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="JavaScript")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="curl")).to_be_focused()


def test_charts_have_points_and_words(page: Page, several: Server) -> None:
    page.goto(f"{several.url}/m/digits")
    card = page.locator("#card")
    card.locator("circle.point").nth(4).wait_for(state="attached")
    expect(card).not_to_contain_text("[object")
    expect(card.locator("figcaption", has_text="Most frequent mistakes")).to_be_visible()
    expect(card.locator(".lead")).to_contain_text("% of test drawings")
    facts = card.get_by_text("seconds", exact=True)
    expect(facts).to_be_hidden()  # how it was trained is folded


def fill_in(page: Page, name: str) -> None:
    if name == "digits":
        draw(page, DIGITS["7"])
    elif name == "reviews":
        page.locator("textarea").fill("I loved the first part.")
    elif name != "loan":
        return
    expect(page.locator("#answer")).to_have_attribute("data-state", "done")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, several: Server, axe: str, scheme: Any) -> None:
    context = browser.new_context(
        viewport={"width": 1200, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    found = {}
    for name in ("digits", "reviews", "writer", "loan", "shades", ""):
        page.goto(f"{several.url}/m/{name}" if name else several.url)
        page.wait_for_selector(".try" if name else ".tiles")
        fill_in(page, name)
        page.evaluate(axe)
        found[name] = page.evaluate(RUN_AXE)
    page.goto(f"{several.url}/docs")
    expect(page.locator("#predict_loan textarea")).to_have_value(re.compile("income"))
    page.locator("#predict_loan summary", has_text="Statuses").click()
    page.evaluate(axe)
    found["docs"] = page.evaluate(RUN_AXE)
    context.close()
    assert found == {name: [] for name in found}
