"""The documentation site builds strictly, loads nothing from other hosts, and can be searched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
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
    page = (site / "python-reference.html").read_text("utf-8")
    for name in modelpad.__all__:
        if name != "__version__":
            assert re.search(rf'id="modelpad(\.[\w.]+)?\.{name}"', page), name
    assert "Loads a model to predict in this process." in page
