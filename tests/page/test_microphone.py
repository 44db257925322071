"""A model of sound from the command line to the page, in real Chromium with its fake microphone."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import modelpad
from modelpad.cli.main import main
from tests.conftest import CHROMIUM_FLAGS, RUN_AXE, Server, start_server, stop_server
from tests.sound_model import LOUD, QUIET, write_sound_model

pytestmark = pytest.mark.browser
DURATION = """() => new Promise((resolve) => {
  const audio = document.querySelector("audio");
  if (audio.readyState) resolve(audio.duration);
  audio.addEventListener("loadedmetadata", () => resolve(audio.duration));
})"""
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model, and sounds."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("sound")
    sounds = folder / "sounds"
    sounds.mkdir()
    (sounds / "loud.wav").write_bytes(LOUD)
    (sounds / "quiet.wav").write_bytes(QUIET)
    model = write_sound_model(folder / "loudness.onnx")
    words = [
        *("import", model, "--input", "audio:16000", "--output", "labels:quiet,loud,from=logits"),
        *("--samples", sounds, "--store", folder / "store", "--name", "loudness"),
    ]
    subprocess.run([sys.executable, "-m", "modelpad", *map(str, words)], check=True)
    return folder


@pytest.fixture(scope="module")
def loudness(folder: Path) -> Iterator[Server]:
    server = start_server("loudness", "--workers", "1", store=folder / "store")
    yield server
    stop_server(server)


@pytest.fixture(scope="module")
def hearing() -> Iterator[Browser]:
    """Chromium with a microphone that beeps."""
    path = os.environ.get("MODELPAD_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed; MODELPAD_CHROMIUM may name it")
    with sync_playwright() as playwright:
        flags = [*CHROMIUM_FLAGS, *FAKE]
        chromium = playwright.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(hearing: Browser, loudness: Server) -> Iterator[Page]:
    context = hearing.new_context(viewport={"width": 360, "height": 640})
    context.set_default_timeout(8000)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda each: problems.append(each.text) if each.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(loudness.url)
    yield page
    context.close()
    assert not problems


def test_files_are_predicted_without_a_server(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = folder / "sounds"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(QUIET)))
    words = ("predict", "loudness", sounds / "loud.wav", "-", "--store", folder / "store", "--json")
    assert main([*map(str, words)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["label"] for line in told] == ["loud", "quiet"]
    model = modelpad.load("loudness", store=str(folder / "store"))
    assert model(str(sounds / "loud.wav")).label == "loud"
    assert model(sounds / "quiet.wav").label == "quiet"


def test_bodies_forms_and_clients(loudness: Server, folder: Path) -> None:
    url = f"{loudness.url}/predict/loudness"
    answers = [
        httpx.post(url, content=LOUD, headers={"content-type": "audio/wav"}),
        httpx.post(url, content=LOUD),
        httpx.post(url, files={"audio": ("loud.wav", LOUD)}),
    ]
    assert [answer.json()["label"] for answer in answers] == ["loud"] * 3
    assert modelpad.Client(loudness.url).predict(folder / "sounds" / "quiet.wav").label == "quiet"
    wrong = httpx.post(url, content=b"ID3", headers={"content-type": "audio/mpeg"})
    assert wrong.status_code == 422
    assert "ffmpeg" in wrong.json()["error"]["hint"]


def test_a_recording_is_shown_and_predicted(page: Page, loudness: Server) -> None:
    expect(page.get_by_text("at most 1.0 s")).to_be_visible()
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_text("Recording …")).to_be_visible()
    expect(page.locator("#answer")).to_have_attribute("data-state", "done")  # after a second
    assert page.locator("#label").inner_text() in ("quiet", "loud")
    expect(page.get_by_role("img", name="A sound of")).to_be_visible()
    assert 0.2 < page.evaluate(DURATION) <= 1.01  # a busy machine may begin late, and is cut off
    page.evaluate("document.querySelector('audio').play()")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Record, drop or choose")).to_be_visible()
    expect(page.locator("#answer")).to_have_attribute("data-state", "waiting")


def test_files_and_examples_are_predicted(page: Page, tmp_path: Path) -> None:
    chooser = page.locator("input[type=file]")
    chooser.set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": LOUD})
    expect(page.locator("#label")).to_have_text("loud")
    page.get_by_role("group", name="Examples").get_by_role("button", name="quiet").click()
    expect(page.locator("#label")).to_have_text("quiet")
    page.get_by_role("button", name="Show again: loud").click()
    expect(page.locator("#label")).to_have_text("loud")
    chooser.set_input_files({"name": "a.mp3", "mimeType": "audio/mpeg", "buffer": b"ID3"})
    expect(page.get_by_text("not a sound that this browser can read")).to_be_visible()


def test_leaving_ends_a_recording(page: Page) -> None:
    page.evaluate(
        "void (navigator.mediaDevices.getUserMedia = ((ask) => async (wanted) => "
        "window.heard = await ask.call(navigator.mediaDevices, wanted))"
        "(navigator.mediaDevices.getUserMedia))"
    )
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_text("Recording …")).to_be_visible()
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    assert page.evaluate("heard.getTracks().map((track) => track.readyState)") == ["ended"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, axe: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.locator("input[type=file]").set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": LOUD}
    )
    expect(page.locator("#label")).to_have_text("loud")
    page.evaluate(axe)
    assert page.evaluate(RUN_AXE) == []
