"""Painting a video on the page, in real Chromium: it is sent, followed, cancelled and shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from modelpad.cli.main import main
from tests.conftest import Server, start_server, stop_server
from tests.video_parts import read_sound, read_times, write_clip, write_painter

pytestmark = [pytest.mark.browser, pytest.mark.slow]

JOB_MS = 240_000  # jobs have the lowest priority


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    painter = write_painter(folder / "negative").folder
    assert main(["models", "push", str(painter), "--store", str(folder / "store")]) == 0
    options = ("--studio", "--jobs", str(folder / "jobs"), "--workers", "1")
    running = start_server("negative", *options, store=folder / "store")
    yield running
    stop_server(running)


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{server.url}/m/negative")
    yield page
    context.close()
    assert not problems


def test_a_video_is_painted_and_downloaded(page: Page, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "holiday.mp4", 40, (320, 180))
    panel = page.locator("#video")
    panel.get_by_label("Video file").set_input_files(clip)
    video = panel.get_by_label("The painted video")
    expect(video).to_be_attached(timeout=JOB_MS)
    with page.expect_download() as download:
        panel.get_by_role("link", name="Download the video").click()
    assert download.value.suggested_filename == "holiday-painted.mp4"
    painted = Path(download.value.path())
    assert read_times(painted) == read_times(clip)
    assert read_sound(painted) == read_sound(clip)
    page.reload()  # the job is found again
    expect(panel.get_by_role("link", name="Download the video")).to_be_visible()


def test_a_video_is_cancelled_and_another_file_is_refused(page: Page, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", 3000, (320, 180), sound=None)
    panel = page.locator("#video")
    panel.get_by_label("Video file").set_input_files(clip)
    shown = panel.get_by_role("img", name="How far it is")
    expect(shown).to_be_visible(timeout=JOB_MS)
    expect(panel.get_by_role("group", name="Painting a video")).to_contain_text("frames a second")
    panel.get_by_role("button", name="Cancel").click()
    expect(panel).to_contain_text("Cancelled")
    (tmp_path / "text.mp4").write_text("no video")
    panel.get_by_label("Video file").set_input_files(tmp_path / "text.mp4")
    expect(panel.get_by_role("alert")).to_contain_text("not a video in a known format")
