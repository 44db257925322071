"""New models on the page in real Chromium: pictures, a job, and a model that is served."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from modelpad.jobs import JobQueue
from modelpad.store import LocalStore
from tests.conftest import Server, start_server, stop_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIDE = 64
COLOURS = {"warm": (200, 30, 30), "cold": (30, 30, 200)}
TRAIN_MS = 240_000
SHOW_FRAMES = """(video) => new Promise((done) => {
  let left = 5;
  const wait = () => left-- ? video.requestVideoFrameCallback(wait) : done();
  wait();
})"""


def paint(colour: str, seed: int) -> dict[str, Any]:
    """A picture of nearly one colour, as a file to choose."""
    noise = np.random.default_rng(seed).integers(-25, 25, (SIDE, SIDE, 3))
    pixels = np.clip(noise + COLOURS[colour], 0, 255).astype(np.uint8)
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "PNG")
    return {"name": f"{colour}-{seed}.png", "mimeType": "image/png", "buffer": body.getvalue()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Server]:
    options = ("--studio", "--jobs", str(folder / "jobs"), "--workers", "1")
    server = start_server("digits", *options, "--poll-interval", "0.2", store=folder / "store")
    yield server
    stop_server(server)


@pytest.fixture
def page(browser: Browser, studio: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{studio.url}/#/new")
    yield page
    context.close()
    expect.set_options(timeout=5_000)
    assert problems == []


@pytest.fixture
def queue(folder: Path, studio: Server) -> JobQueue:
    return JobQueue(folder / "jobs")


def card(page: Page, number: int) -> Locator:
    return page.locator(".class").nth(number)


def fill_class(page: Page, number: int, name: str, pictures: list[dict[str, Any]]) -> None:
    one = card(page, number)
    one.get_by_label("Name of the class").fill(name)
    one.get_by_label("Name of the class").press("Enter")
    one.locator('input[type="file"]').set_input_files(pictures)  # type: ignore[arg-type]
    expect(one.locator(".shelf li")).to_have_count(len(pictures))


def fill_both(page: Page, name: str, first: int) -> None:
    for number, colour in enumerate(COLOURS):
        fill_class(page, number, colour, [paint(colour, first + each) for each in range(6)])
    page.get_by_label("Name of the model").fill(name)


def train(page: Page) -> Locator:
    page.get_by_role("button", name="Train").click()
    job = page.locator(".job")
    expect(job).to_be_visible()
    return job


@pytest.mark.long
def test_pictures_become_a_model_that_is_served(page: Page, folder: Path) -> None:
    fill_both(page, "My Paints", 0)
    expect(page.get_by_text("It will be called my-paints.")).to_be_visible()
    job = train(page)
    expect(job.locator("progress")).to_be_visible()
    expect(job).to_have_attribute("data-state", "done", timeout=TRAIN_MS)
    expect(job).to_contain_text("my-paints, version 1, is ready.")
    expect(job).to_contain_text("100.0 % were right")
    page.get_by_role("link", name="Try my-paints").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("My paints")
    page.locator('input[type="file"]').first.set_input_files(paint("cold", 900))  # type: ignore[arg-type]
    expect(page.locator("#label")).to_have_text("cold")
    expect(page.locator(".took")).to_contain_text("my-paints, version 1")
    assert LocalStore(folder / "store").versions("my-paints") == [1]

    page.get_by_role("link", name="New model").click()  # more pictures, and the next version
    card(page, 0).locator('input[type="file"]').set_input_files(paint("warm", 77))  # type: ignore[arg-type]
    expect(card(page, 0).locator(".shelf li")).to_have_count(7)
    expect(page.locator(".job")).to_have_count(1)
    job = train(page)
    expect(job).to_contain_text("my-paints, version 2, is ready.", timeout=TRAIN_MS)
    expect(job).to_contain_text("Version 1: 100.0 % right")


def test_a_reload_finds_the_job_and_it_is_cancelled(page: Page, queue: JobQueue) -> None:
    fill_both(page, "cancelled", 100)
    job = train(page)
    expect(job.locator(".step")).to_have_text(re.compile("Starting|Loading|Looking"))
    id = job.get_attribute("data-job")
    assert id is not None
    page.reload()
    expect(page.locator(f'.job[data-job="{id}"]')).to_be_visible()
    expect(card(page, 1).locator(".shelf li")).to_have_count(6)
    expect(card(page, 1).get_by_label("Name of the class")).to_have_value("cold")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".step")).to_have_text("Cancelled. Nothing was changed.")
    assert queue.find(id).state == "cancelled"
    expect(page.get_by_role("button", name="Train")).to_be_enabled()


def test_what_is_missing_is_said(page: Page) -> None:
    need = page.locator(".need")
    expect(need).to_have_text("Add pictures: at least 5 of each class. Give the model a name.")
    page.get_by_label("Name of the model").fill("few")
    fill_class(page, 0, "warm", [paint("warm", 200 + each) for each in range(3)])
    expect(need).to_have_text("“warm” needs 2 more. “Class 2” needs 5 more.")
    more = [paint("warm", 210 + each) for each in range(5)]
    card(page, 0).locator('input[type="file"]').set_input_files(more)  # type: ignore[arg-type]
    expect(need).to_have_text("Add at least 5 pictures of “Class 2”: a model needs 2 classes.")
    expect(page.get_by_role("button", name="Train")).to_be_disabled()
    card(page, 1).get_by_label("Name of the class").fill("warm")
    card(page, 1).get_by_label("Name of the class").press("Enter")
    expect(card(page, 1).locator(".problem").last).to_have_text("There is a class “warm” already.")
    same = paint("warm", 210)
    card(page, 1).locator('input[type="file"]').set_input_files(same)  # type: ignore[arg-type]
    expect(card(page, 1).locator(".problem").last).to_contain_text(
        "warm-210.png: The same picture is in the class 'warm' already."
    )
    text = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}
    card(page, 1).locator('input[type="file"]').set_input_files(text)  # type: ignore[arg-type]
    expect(card(page, 1).locator(".problem").last).to_contain_text("notes.png is not a picture")


def test_it_works_with_the_keyboard_alone(page: Page) -> None:
    page.get_by_role("button", name="Add a class").press("Enter")
    expect(card(page, 2).get_by_label("Name of the class")).to_be_focused()
    page.keyboard.type("other")
    page.keyboard.press("Enter")
    fill_class(page, 0, "warm", [paint("warm", 300), paint("warm", 301)])
    remove = card(page, 0).get_by_role("button", name="Remove this picture of warm")
    remove.first.focus()
    page.keyboard.press("Enter")
    expect(card(page, 0).locator(".shelf li")).to_have_count(1)
    expect(remove).to_be_focused()
    card(page, 2).get_by_role("button", name="Draw").press("Enter")
    page.locator("dialog canvas").focus()
    for key in (" ", "ArrowDown", "ArrowDown", " "):
        page.keyboard.press(key)
    page.get_by_role("button", name="Add drawing").press("Enter")
    expect(card(page, 2).locator(".shelf li")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    card(page, 1).get_by_role("button", name="Remove class").press("Enter")
    expect(page.locator(".class")).to_have_count(2)
    expect(page.get_by_role("button", name="Add a class")).to_be_focused()


def test_the_camera_takes_several_pictures(studio: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{studio.url}/#/new")
    card(page, 0).get_by_role("button", name="Camera", exact=True).click()
    take = card(page, 0).get_by_role("button", name="Take image")
    expect(card(page, 0).locator("video")).to_be_visible()
    for taken in (1, 2):
        card(page, 0).locator("video").evaluate(SHOW_FRAMES)  # another picture of the camera
        take.click()
        expect(card(page, 0).locator(".shelf li")).to_have_count(taken)
    card(page, 0).get_by_role("button", name="Camera off").click()
    expect(card(page, 0).locator("video")).to_have_count(0)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_whole(browser: Browser, studio: Server, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{studio.url}/#/new")
    fill_class(page, 0, "a class with a rather long name that", [paint("warm", 400)])
    page.get_by_label("Name of the model").fill("a name")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    context.close()


def test_other_servers_do_not_offer_it(
    browser: Browser, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    plain = serve("digits", "--workers", "1", store=tmp_path / "store")
    page = browser.new_page()
    page.goto(f"{plain.url}/#/new")
    expect(page.locator("canvas.pad")).to_be_visible()
    expect(page.get_by_role("link", name="New model")).to_have_count(0)
    page.close()
