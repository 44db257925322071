"""What a hostile bundle can do to the people who open the page: nothing but lie in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

MARKUP = '<img src="/x" onerror="window.pwned=1"><script>window.pwned=1</script>'


@pytest.fixture
def infected(serve: Any, hostile: Path, tmp_path: Path) -> Any:
    """A server of the hostile bundle."""
    return serve(str(hostile), "--workers", "1", store=tmp_path / "store")


def read_policy(answer: httpx.Response) -> dict[str, list[str]]:
    """The sources of each directive."""
    parts = [part.split() for part in answer.headers["content-security-policy"].split(";")]
    return {part[0]: part[1:] for part in parts if part}


@pytest.mark.parametrize("file", ["x.html", "x.svg", "x.xml", "x.png"])
def test_files_of_a_bundle_are_inert(infected: Any, file: str) -> None:
    answer = httpx.get(f"{infected.url}/models/hostile/files/report/{file}")
    assert answer.status_code == 200
    assert read_policy(answer) == {"sandbox": [], "default-src": ["'none'"]}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "no-referrer"
    shown = "inline" if file == "x.png" else "attachment"
    assert answer.headers.get("content-disposition", "inline") == shown


@pytest.mark.parametrize("path", ["/", "/docs", "/static/app.js", "/static/icon.svg"])
def test_the_page_has_a_strict_policy(infected: Any, path: str) -> None:
    answer = httpx.get(f"{infected.url}{path}", headers={"accept": "text/html"})
    policy = read_policy(answer)
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["img-src"] == ["'self'", "data:", "blob:"]
    for name in ("frame-ancestors", "base-uri", "form-action", "object-src"):
        assert policy[name] == ["'none'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_the_pages_source_has_no_markup_from_text() -> None:
    from modelpad.server.page import FOLDER

    for file in FOLDER.glob("*.js"):
        text = file.read_text("utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{file.name}: {word}"
    for file in FOLDER.glob("*.html"):
        text = file.read_text("utf-8")
        assert "style=" not in text
        assert "<style" not in text
        assert "<script>" not in text


@pytest.mark.browser
@pytest.mark.parametrize("file", ["x.html", "x.svg"])
def test_a_report_that_runs_scripts_does_not(infected: Any, open_tab: Any, file: str) -> None:
    tab = open_tab()
    tab.page.goto(infected.url)
    tab.page.wait_for_selector("#card")
    target = f"{infected.url}/models/hostile/files/report/{file}"
    with tab.page.expect_download() as download:
        tab.page.evaluate("url => { location.href = url }", target)
    assert download.value.suggested_filename == file
    assert tab.page.evaluate("localStorage.getItem('pwned')") is None


@pytest.mark.browser
def test_even_a_report_that_is_framed_runs_nothing(
    infected: Any, open_tab: Any, foreign_site: Any
) -> None:
    target = f"{infected.url}/models/hostile/files/report/x.html"
    foreign_site.pages["/"] = f"<iframe src='{target}'></iframe><iframe src='{infected.url}'>"
    tab = open_tab()
    tab.page.goto(foreign_site.url)
    tab.page.wait_for_timeout(500)
    words = [frame.evaluate("document.body?.innerText ?? ''") for frame in tab.page.frames[1:]]
    assert not any("Loading" in text or "Served by" in text for text in words)
    tab.page.goto(infected.url)
    assert tab.page.evaluate("localStorage.getItem('pwned')") is None


@pytest.mark.browser
def test_words_of_a_bundle_are_shown_as_words(infected: Any, open_tab: Any) -> None:
    tab = open_tab()
    tab.page.goto(infected.url)
    tab.page.wait_for_selector("#card .charts svg")
    assert tab.page.get_by_role("heading", level=1).inner_text() == MARKUP
    assert tab.page.title().startswith("<img")
    tab.page.locator(".samples button").click()
    tab.page.wait_for_selector("#label")
    assert tab.page.locator("#label").inner_text() == f"b{MARKUP}"
    for name in ("Python", "JavaScript"):
        tab.page.get_by_role("tab", name=name).click()
    tab.page.wait_for_timeout(300)
    assert tab.page.evaluate("window.pwned") is None
    assert tab.page.locator("img[src='/x'], body script, iframe, object").count() == 0
    assert [each for each in tab.requests if "elsewhere" in each or each.endswith("/x")] == []
    assert tab.problems == []
    # A picture elsewhere is none of the bundle's; a drawing is shown, and is no page of ours.
    tab.page.locator("#card img").first.scroll_into_view_if_needed()
    tab.page.wait_for_selector("#card img[src^='blob:']")
    shown = tab.page.eval_on_selector_all("#card img", "all => all.map(i => i.src.slice(0, 9))")
    assert sorted(each[:5] for each in shown if each) == ["blob:", "data:"]


@pytest.mark.browser
@pytest.mark.slow
def test_words_of_an_answer_are_shown_as_words(infected: Any, open_tab: Any) -> None:
    tab = open_tab()
    tab.page.goto(infected.url)
    tab.page.wait_for_selector("#card")
    answers = [
        {"error": {"message": MARKUP, "hint": MARKUP}},
        {"error": {"message": [MARKUP], "hint": {"a": MARKUP}}},
        {"error": MARKUP},
    ]
    outputs = [
        {"model": MARKUP, "version": MARKUP, "outputs": {MARKUP: MARKUP}},
        {"model": MARKUP, "version": MARKUP, "outputs": {MARKUP: [[MARKUP]]}},
        {"model": "m", "version": 1, "outputs": {"x": f"data:image/svg+xml,{MARKUP}"}},
        {"model": "m", "version": 1, "label": MARKUP, "confidence": 1, "scores": {MARKUP: 1}},
    ]

    def fulfil(status: int, body: Any) -> Any:
        return lambda route: route.fulfill(status=status, json=body)

    for status, body in [(500, each) for each in answers] + [(200, each) for each in outputs]:
        tab.page.route("**/predict/**", fulfil(status, body))
        with tab.page.expect_response("**/predict/**"):
            tab.page.locator(".samples button").click()
        tab.page.wait_for_timeout(100)
        tab.page.unroute("**/predict/**")
        assert tab.page.locator("img[src='/x'], body script").count() == 0
    assert tab.page.evaluate("window.pwned") is None
    assert [each for each in tab.problems if "500" not in each] == []


@pytest.mark.browser
def test_a_key_is_sent_to_no_address_that_a_list_of_models_names(
    infected: Any, open_tab: Any, foreign_site: Any
) -> None:
    sample = {"inputs": {"row": {"url": f"{foreign_site.url}/steal"}}, "expected": None}
    model = {
        "name": "m", "version": 1, "title": "m", "summary": "",
        "inputs": [{"name": "row", "kind": "image", "widget": "image"}],
        "outputs": [{"name": "y", "kind": "score"}],
        "samples": [sample],
        "card": {"pictures": [{"title": "x", "file": "../../../../steal"}]},
    }  # fmt: skip
    tab = open_tab()
    tab.page.route("**/models", lambda route: route.fulfill(json={"models": [model]}))
    tab.page.goto(infected.url)
    tab.page.wait_for_selector(".samples button")
    tab.page.locator(".samples button").click()
    tab.page.wait_for_timeout(300)
    assert foreign_site.received == []
    assert [each for each in tab.requests if "steal" in each] == []


@pytest.mark.browser
def test_every_widget_works_under_the_policy(
    serve: Any, widgets: list[Path], bundles: Path, tmp_path: Path, open_tab: Any
) -> None:
    names = [*map(str, widgets), str(bundles / "mix"), str(bundles / "half_plus_two"), "digits"]
    url = serve(*names, "--workers", "1", store=tmp_path / "store").url
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    page = tab.page
    page.goto(url)
    page.wait_for_selector("#models a")

    def choose(name: str) -> None:
        page.locator("#models a", has_text=name).click()
        page.get_by_role("heading", level=1, name=name).wait_for()

    choose("photo")
    for number in (0, 1):
        page.locator(".samples img").nth(number).click()
        page.wait_for_selector("#answer[data-state=done] .comparison")
        page.get_by_role("button", name="Clear").click()
        page.wait_for_selector("#answer[data-state=waiting]")
    page.set_input_files("input[type=file]", str(widgets[0] / "samples" / "a.png"))
    page.wait_for_selector("#answer[data-state=done] .comparison")

    choose("grid")
    page.locator(".samples button").click()
    page.wait_for_selector("#answer .values li")
    choose("words")
    page.locator("textarea").fill("some words")
    page.get_by_text("some words", exact=True).last.wait_for()
    page.locator(".samples button").click()
    page.wait_for_selector("#answer pre")
    choose("mix")
    page.get_by_label("first 0").fill("4")
    page.wait_for_selector("#answer .values li")
    choose("half_plus_two")

    page.locator("#models a", has_text="digits").click()
    page.wait_for_selector("canvas.pad")
    page.locator(".samples img").nth(3).click()
    page.wait_for_selector("#label")
    page.locator("#card img.picture").first.scroll_into_view_if_needed()
    page.wait_for_selector("#card img.picture[src^='blob:']")
    page.get_by_role("tab", name="Python").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_role("button", name="Copied").wait_for()
    page.get_by_role("button", name="Switch between").click()
    page.get_by_role("link", name="API").click()
    page.get_by_role("heading", name="Open Inference").click()
    page.get_by_text("/v2/models/{model}/infer").first.wait_for()
    assert tab.problems == []
    assert [each for each in tab.requests if not each.startswith((url, "data:", "blob:"))] == []
