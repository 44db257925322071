"""The documentation site builds strictly, loads nothing from other hosts, and can be searched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import modelpad

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site's folder."""
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_nothing_of_another_host_is_named(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 30
    for page in pages:
        for tag in re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text("utf-8")
        ):
            assert not re.search(r'(?:src|href)="?(?:https?:)?//', tag), f"{page.name}: {tag}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", sheet.read_text("utf-8")), sheet.name


def test_nothing_keeps_a_page_from_being_shown(site: Path) -> None:
    for page in [site / "index.html", *site.glob("stories/*.html")]:
        text = page.read_text("utf-8")
        assert len(re.findall(r'<link rel="stylesheet"', text)) == 1, page.name
        assert all("defer" in tag for tag in re.findall(r"<script\b[^>]*\bsrc=[^>]*>", text))
        assert all("width=" in tag for tag in re.findall(r"<img[^>]*>", text)), page.name
    sheet = (site / "assets" / "stylesheets" / "site.css").read_text("utf-8")
    assert ".md-typeset__table" in sheet  # which scripts add
    assert ".task-list-indicator" not in sheet  # which no page has


@pytest.mark.long
@pytest.mark.browser
def test_search_is_loaded_when_someone_searches(site: Path, browser: Any) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html", wait_until="networkidle")
        assert not any("search_index" in url for url in requests)
        page.locator(".md-search__input").fill("canary")
        page.locator(".md-search-result__link").first.wait_for(timeout=30000)
        page.close()
        server.shutdown()


@pytest.mark.long
@pytest.mark.browser
def test_what_is_outside_of_the_window_waits(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 640})
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    page.goto((site / "python-errors.html").as_uri())
    page.locator(".md-code__button").first.wait_for()
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    [layouts] = [metric["value"] for metric in metrics if metric["name"] == "LayoutCount"]
    assert layouts < 25  # measuring the 42 signatures one by one took 49
    last = page.locator("pre").last
    assert last.locator(".md-code__button").count() == 0
    last.scroll_into_view_if_needed()
    last.locator(".md-code__button").wait_for()

    link = page.locator(".md-nav--primary").get_by_text("Python clients")
    assert not link.is_visible()
    page.locator(".md-header__button[for=__drawer]").click()
    link.click()
    page.wait_for_url("**/python-clients.html")
    page.close()


@pytest.mark.long
@pytest.mark.browser
def test_search_works_from_the_file_system(site: Path, browser: Any) -> None:
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "index.html").as_uri() + "?q=canary")
    found = page.locator(".md-search-result__link").first
    found.wait_for(timeout=30000)
    assert "canary" in found.inner_text().lower()
    page.close()
    assert requests
    assert all(url.startswith(("file:", "data:", "about:", "blob:")) for url in requests)


def test_the_python_reference_has_what_the_package_exports(site: Path) -> None:
    names = ("python-reference.html", "python-clients.html", "python-errors.html")
    page = "".join((site / name).read_text("utf-8") for name in names)
    for name in modelpad.__all__:
        if name != "__version__":
            assert re.search(rf'id="modelpad(\.[\w.]+)?\.{name}"', page), name
    assert "Loads a model to predict in this process." in page
