"""The API's reference in real Chromium: it begins with the page's input, and its code works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.test_page import DIGITS, draw

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(browser: Browser, server: Any) -> Iterator[Page]:
    """The reference, after a seven has been drawn on the page; nothing foreign is loaded."""
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
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
    draw(page, DIGITS["7"])
    expect(page.locator(".took")).to_contain_text("responded in")
    page.get_by_role("link", name="API").click()
    expect(page.locator("#predict_digits textarea")).to_have_value(re.compile('"image": "'))
    yield page
    context.close()
    # A wrong request is the reader's, and shown to them.
    assert [each for each in problems if "422" not in each] == []


def test_the_present_input_is_tried(page: Page) -> None:
    operation = page.locator("#predict_digits")
    expect(operation).to_contain_text("This is the input that is on the page.")
    expect(operation.locator("[id='predict_digits-code']")).to_contain_text("data:image/png;base64")
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_role("status")).to_contain_text(re.compile(r"200 OK · \d+ ms"))
    assert json.loads(operation.get_by_label("Response", exact=True).inner_text())["label"] == "7"
    operation.locator("textarea").fill('{"image": "no picture"}')
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_role("status")).to_contain_text("422")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_code_sends_the_same(page: Page, server: Any) -> None:
    operation = page.locator("[id='post_v2_models_model_infer']")
    page.goto(f"{server.url}/docs#post_v2_models_model_infer")
    code = page.locator("[id='post_v2_models_model_infer-code']")
    expect(operation.locator("summary").first).to_be_focused()
    expect(code).to_contain_text(f"{server.url}/v2/models/digits/infer")
    command = code.inner_text()
    assert command.startswith("curl -H 'content-type: application/json' -d '{")
    done = subprocess.run(["bash", "-c", f"{command} --silent"], capture_output=True, text=True)
    assert json.loads(done.stdout)["model_name"] == "digits"
    code_tabs = operation.get_by_role("tab")
    code_tabs.first.focus()
    page.keyboard.press("ArrowRight")
    python = code.inner_text().replace("import requests", "import httpx as requests")
    done = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True)
    assert "'model_name': 'digits'" in done.stdout
    page.keyboard.press("End")
    script = code.inner_text().replace("console.log(", "return (")
    answer = page.evaluate(f"(async () => {{ {script} }})()")
    assert answer["model_name"] == "digits"


def test_operations_are_found_by_words_and_keyboard(page: Page, server: Any) -> None:
    page.goto(f"{server.url}/docs")
    groups = page.locator(".group > summary h2")
    expect(groups.first).to_have_text("Predictions")
    assert "Open Inference Protocol" in groups.all_inner_texts()
    expect(page.locator(".operation:visible")).not_to_have_count(0)
    expect(page.locator("[id='get_healthz']")).to_be_hidden()  # its group is folded
    page.get_by_label("Find an operation").fill("get healthz")
    expect(page.locator(".operation:visible")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    operation = page.locator("[id='get_healthz']")
    expect(operation).to_have_attribute("open", "")
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_role("status")).to_contain_text("200 OK")
    page.get_by_label("Find an operation").fill("no such words")
    expect(page.get_by_text("No operation has these words.")).to_be_visible()
