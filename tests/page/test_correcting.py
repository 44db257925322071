"""One story in real Chromium: a correction on the page ends in a version that is promoted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from modelpad.feedback import Correction, Item
from modelpad.feedback.corrections import HELD_OUT, TRAINING, choose_part
from tests.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.long]

SIDE = 64
RED, BLUE, ORANGE = (200, 30, 30), (30, 30, 200), (220, 90, 30)
GATE = "accuracy >= production - 0.002 and correction_accuracy > production"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def paint(path: Path, colour: tuple[int, int, int], seed: int) -> Path:
    """A picture of nearly one colour."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-25, 25, (SIDE, SIDE, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "paints"
    for part, count, first in (("train", 8, 0), ("test", 4, 100)):
        for seed in range(first, first + count):
            paint(folder / part / "warm" / f"{seed}.png", RED, seed)
            paint(folder / part / "cold" / f"{seed}.png", BLUE, seed + 1000)
    return folder


def paint_oranges(folder: Path) -> list[Path]:
    """Four pictures: three whose corrections are trained on, and one that is held out."""
    wanted = {TRAINING: 3, HELD_OUT: 1}
    found = []
    for seed in range(100):
        path = paint(folder / f"{seed}.png", ORANGE, seed)
        item = Item("image/png", path.read_bytes())
        part = choose_part(Correction("paints", 1, item, "warm", "cold").id)
        if wanted[part]:
            wanted[part] -= 1
            found.append(path)
    assert len(found) == 4
    return found


def choose(page: Page, picture: Path) -> None:
    page.locator('input[type="file"]').first.set_input_files(picture)


def correct(page: Page, picture: Path) -> None:
    """Says on the page that a picture that is labelled warm is cold."""
    choose(page, picture)
    expect(page.locator("#label")).to_have_text("warm")
    page.get_by_label("Wrong, it is").select_option("cold")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".thanks")).to_have_text("Thank you. Saved as cold.")


def test_a_correction_ends_in_a_promoted_version(
    browser: Browser,
    data: Path,
    tmp_path: Path,
    run_modelpad: Run,
    serve: Callable[..., Server],
) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = run_modelpad(*words, OMP_NUM_THREADS="2")
        assert done.returncode == code, done.stderr
        return done.stdout

    feedback = ("--feedback", str(tmp_path / "feedback"))
    train = ("train", "images", str(data), "--size", str(SIDE))
    run(*train)
    run("models", "alias", "paints", "production", "1")
    options = (*feedback, "--workers", "1", "--poll-interval", "0.2")
    server = serve("paints", *options, store=tmp_path / "store")
    context = browser.new_context()
    context.set_default_timeout(8000)
    page = context.new_page()
    page.goto(server.url)
    oranges = paint_oranges(tmp_path / "oranges")
    for picture in oranges:
        correct(page, picture)

    run("feedback", "export", str(tmp_path / "out"), *feedback)
    exported = {path.read_bytes() for path in (tmp_path / "out" / "cold").iterdir()}
    assert exported == {path.read_bytes() for path in oranges}

    run(*train, *feedback)
    card = json.loads((tmp_path / "store" / "paints" / "2" / "card.json").read_text())
    assert "3 of 3 corrections were added to the training pictures." in card["notes"]

    refused = run("promote", "paints", "2", "--if", "accuracy > production", *feedback, code=1)
    assert "accuracy > production: 1.0000 against 1.0000, does not hold" in refused
    assert "Version 2 is not promoted: paints@production stays 1." in refused
    promoted = run("promote", "paints", "2", "--if", GATE, *feedback)
    assert "correction_accuracy > production: 1.0000 against 0.0000, holds" in promoted
    assert "paints@production is now version 2, was version 1." in promoted

    page.reload()
    choose(page, paint(tmp_path / "new.png", ORANGE, 5000))
    expect(page.locator("#label")).to_have_text("cold")
    expect(page.locator(".took")).to_contain_text("version 2")
    context.close()
