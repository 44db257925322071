"""Models of texts on the page, in real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

import modelpad
from tests.conftest import Server, start_server, stop_server
from tests.text_graphs import write_writer

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


@contextmanager
def visit(browser: Browser, server: Server) -> Iterator[Page]:
    """The server's page, which must log no problem."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("textarea")
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def page(browser: Browser, reviews: Server) -> Iterator[Page]:
    with visit(browser, reviews) as page:
        yield page


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


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a small language model that was never trained."""
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("writer")
    write_writer(folder / "writer")
    store = tmp_path_factory.mktemp("store")
    server = start_server(str(folder / "writer"), "--workers", "1", store=store)
    yield server
    stop_server(server)


@pytest.fixture
def desk(browser: Browser, writers: Server) -> Iterator[Page]:
    with visit(browser, writers) as page:
        yield page


# In the page itself: a model as small as this one is done before a click from outside arrives.
STOP_AFTER_TWO = """() => new Promise((done) => {
  const buttons = [...document.querySelectorAll("button")];
  const press = (name) => buttons.find(({ textContent }) => textContent === name).click();
  const stop = () => {
    if (document.querySelectorAll(".written span").length < 7) return;
    observer.disconnect(); press("Stop"); done();
  };
  const observer = new MutationObserver(stop);
  press("Write 5 side by side");
  observer.observe(document.querySelector(".sheets"), { childList: true, subtree: true });
})"""


def set_slider(page: Page, name: str, value: float) -> None:
    page.get_by_label(name).fill(str(value))


def test_a_text_is_continued(desk: Page) -> None:
    desk.get_by_label("Prompt").fill("The film was")
    set_slider(desk, "Length", 30)
    desk.get_by_role("button", name="Write", exact=True).click()
    expect(desk.get_by_role("status")).to_contain_text(re.compile(r"^\d+ tokens? in "))
    written = desk.locator(".written")
    assert written.count() == 1
    text = written.inner_text()
    assert text.startswith("The film was")
    assert len(text) > len("The film was")
    expect(written).to_have_class(re.compile("finished"))


def test_the_same_text_at_temperature_0(desk: Page) -> None:
    desk.get_by_label("Prompt").fill("The film was")
    set_slider(desk, "Temperature", 0)
    set_slider(desk, "Length", 20)
    desk.get_by_role("button", name="Write", exact=True).click()
    expect(desk.locator(".written.finished")).to_be_visible()
    first = desk.locator(".written").inner_text()
    desk.get_by_role("button", name="Write again").click()
    expect(desk.locator(".written.finished")).to_be_visible()
    assert desk.locator(".written").inner_text() == first


def test_five_texts_side_by_side_are_coloured(desk: Page) -> None:
    desk.get_by_label("Prompt").fill("My favorite part was when")
    set_slider(desk, "Length", 40)
    set_slider(desk, "Temperature", 1.5)
    desk.get_by_role("button", name="Write 5 side by side").click()
    expect(desk.locator(".written.finished")).to_have_count(5)
    texts = desk.locator(".written").all_inner_texts()
    assert len({*texts}) == 5
    desk.get_by_label("Colour by surprise").check()
    shade = "getComputedStyle(document.querySelector('.written .bits-4')).backgroundColor"
    assert desk.evaluate(shade) != "rgba(0, 0, 0, 0)"
    probabilities = [
        span.get_attribute("title") for span in desk.locator(".written span[title]").all()[:3]
    ]
    assert all(each and re.search(r"probability of [\d.e+-]+ %", each) for each in probabilities)


def test_writing_is_stopped(desk: Page) -> None:
    desk.get_by_label("Prompt").fill("The film was")
    set_slider(desk, "Length", 400)
    desk.evaluate(STOP_AFTER_TWO)
    expect(desk.get_by_role("status")).to_contain_text("Stopped after")
    expect(desk.get_by_role("button", name="Stop")).to_be_disabled()


def test_the_keyboard_writes(desk: Page) -> None:
    desk.get_by_label("Prompt").fill("The film")
    desk.get_by_label("Prompt").press("Control+Enter")
    expect(desk.locator(".written")).to_have_count(1)
    expect(desk.locator("#snippet")).to_contain_text("/v1/completions")


def test_an_empty_prompt_is_not_sent(desk: Page) -> None:
    write = desk.get_by_role("button", name="Write", exact=True)
    expect(write).to_be_disabled()
    desk.get_by_label("Prompt").press("Control+Enter")
    desk.get_by_label("Prompt").fill("  ")
    expect(write).to_be_disabled()
    desk.get_by_label("Prompt").fill("The")
    expect(write).to_be_enabled()
    assert desk.locator(".written").count() == 0
