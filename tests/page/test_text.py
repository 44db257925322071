"""Models of texts on the page, in real Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import modelpad
from tests.conftest import Server, start_server, stop_server

pytestmark = pytest.mark.browser

GOOD = ["a wonderful film", "wonderful music and a fine cast", "fine and moving", "a moving story"]
BAD = ["a terrible film", "terrible music and a dull cast", "dull and long", "a long dull story"]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a classifier of texts."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(text.TfidfVectorizer(), LogisticRegression(C=10))
    pipeline.fit(GOOD + BAD, ["good"] * len(GOOD) + ["bad"] * len(BAD))
    store = tmp_path_factory.mktemp("store")
    modelpad.save(pipeline, "reviews", store=store, samples=GOOD + BAD)
    server = start_server("reviews", "--workers", "1", store=store)
    yield server
    stop_server(server)


@pytest.fixture
def page(browser: Browser, reviews: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(reviews.url)
    page.wait_for_selector("textarea")
    yield page
    context.close()
    assert problems == []


def test_words_are_marked_by_what_they_do(page: Page) -> None:
    page.locator("textarea").fill("What a wonderful, moving film. The music is terrible!")
    expect(page.locator("#label")).to_have_text("good")
    page.get_by_role("button", name="Which words matter?").click()
    marked = page.locator(".marked")
    expect(marked.locator("mark.for").first).to_contain_text("wonderful, ")
    expect(marked.locator("mark.against")).to_contain_text("terrible!")
    expect(marked).to_contain_text("The music is")
    assert marked.locator("mark", has_text="What").count() == 0


def test_bars_share_a_baseline(page: Page) -> None:
    page.locator("textarea").fill("a wonderful film")
    expect(page.locator("#label")).to_have_text("good")
    boxes = [bar.bounding_box() for bar in page.locator(".bars svg").all()]
    starts = {(box["x"], box["width"]) for box in boxes if box}
    assert len(boxes) == 2
    assert len(starts) == 1


def test_long_texts_are_marked_in_groups(page: Page) -> None:
    page.locator("textarea").fill("nothing of note " * 300 + "but moving " + "and more " * 50)
    expect(page.locator("#label")).to_be_visible()
    page.get_by_role("button", name="Which words matter?").click()
    expect(page.locator(".marked mark").first).to_be_visible()
    assert "moving" in " ".join(page.locator(".marked mark").all_inner_texts())


def test_one_word_has_no_marks(page: Page) -> None:
    page.locator("textarea").fill("wonderful")
    expect(page.locator("#label")).to_have_text("good")
    assert page.get_by_role("button", name="Which words matter?").count() == 0
