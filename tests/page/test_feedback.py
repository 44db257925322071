"""Feedback on the page in real Chromium: given, undone, and exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from modelpad.feedback import FeedbackStore, locate_feedback
from tests.conftest import Server, start_server, stop_server
from tests.page.test_page import DIGITS, draw
from tests.table_bundles import write_tables

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def collecting(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    loan = str(write_tables(tmp_path_factory.mktemp("tables"))[0])
    options = ("--feedback", str(folder), "--workers", "1")
    server = start_server("digits", loan, *options, store=tmp_path_factory.mktemp("store"))
    yield server
    stop_server(server)


@pytest.fixture
def page(browser: Browser, collecting: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(8000)
    page = context.new_page()
    problems: list[str] = []
    page.on(  # one test undoes what is gone
        "console",
        lambda message: None if "404" in message.text else problems.append(message.text),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{collecting.url}/m/digits")
    page.wait_for_selector("canvas.pad")
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def store(folder: Path) -> FeedbackStore:
    return FeedbackStore(locate_feedback(str(folder)))


def test_a_correction_is_exported_and_can_be_undone(
    page: Page, folder: Path, tmp_path: Path, run_modelpad: Any, store: FeedbackStore
) -> None:
    draw(page, DIGITS["1"])
    expect(page.locator("#label")).to_have_text("1")
    panel = page.get_by_role("group", name="Is this right?")
    expect(panel).to_contain_text("Sends this drawing and your answer to the operator")
    expect(panel.get_by_role("button", name="Send")).to_be_disabled()
    page.get_by_label("Wrong, it is").select_option("7")
    panel.get_by_role("button", name="Send").click()
    expect(panel).to_contain_text("Thank you. Saved as 7.")
    expect(page.get_by_role("status")).to_have_text("Thank you. Saved as 7.")

    done = run_modelpad("feedback", "export", str(tmp_path / "out"), "--feedback", str(folder))
    assert done.returncode == 0, done.stderr
    (picture,) = (tmp_path / "out" / "7").iterdir()
    assert picture.read_bytes()[:4] == b"\x89PNG"
    (entry,) = store.entries()
    assert (entry.predicted, entry.label, entry.version) == ("1", "7", 1)
    assert entry.note.startswith("Sends this drawing")

    panel.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_have_text("Your answer was deleted.")
    expect(panel.get_by_role("button", name="Right")).to_be_focused()
    assert store.entries() == []


def test_it_works_with_the_keyboard_alone(page: Page, store: FeedbackStore) -> None:
    page.get_by_role("button", name="Try an example: 3").press("Enter")
    expect(page.locator("#label")).to_have_text("3")
    page.get_by_role("button", name="Right").press("Enter")
    expect(page.get_by_role("button", name="Undo").last).to_be_focused()
    (entry,) = store.entries()
    assert entry.is_right
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Right")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("8")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Thank you. Saved as 8.")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Your answer was deleted.")


def test_rows_can_be_corrected_too(page: Page, collecting: Server, store: FeedbackStore) -> None:
    page.goto(f"{collecting.url}/m/loan")
    expect(page.locator("#label")).to_have_text("accept")
    page.get_by_label("Wrong, it is").select_option("reject")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".thanks")).to_have_text("Thank you. Saved as reject.")
    (entry,) = store.entries("loan")
    assert entry.label == "reject"
    store.delete(entry.id)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".feedback").get_by_role("alert")).to_contain_text("no correction")
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_role("button", name="Right")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_whole(browser: Browser, collecting: Server, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{collecting.url}/m/digits")
    page.get_by_role("button", name="Try an example: 3").click()
    panel = page.get_by_role("group", name="Is this right?")
    panel.scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_without_the_option_the_page_does_not_ask(browser: Browser, server: Server) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.get_by_role("button", name="Try an example: 3").click()
    expect(page.locator("#label")).to_have_text("3")
    expect(page.locator(".feedback")).to_have_count(0)
    context.close()
