"""Pictures in responses of the native API, over real sockets."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from modelpad.fields.animation import read_animation
from tests.picture_files import (
    SECRET,
    File,
    list_files,
    make_profile,
    save,
    write_animation,
    write_located,
    write_picture,
)

ADDRESS = "/predict/styles"
WEBP_INFO = {"loop", "background", "timestamp", "duration"}


@pytest.fixture(scope="module")
def painter(styles: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that paints, one picture at a time."""
    from tests.conftest import start_server, stop_server

    running = start_server(
        f"styles={styles}", "--workers", "1", store=tmp_path_factory.mktemp("store")
    )
    yield running.url
    stop_server(running)


@pytest.fixture(scope="module")
def http(painter: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=painter, timeout=30, headers={"accept": "*/*"}) as client:
        yield client


def read(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sends_a_photograph_and_gets_a_picture(painter: str, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(write_picture())
    form = ["-F", "image=@cat.jpg", "-F", "style=scream", f"{painter}{ADDRESS}"]
    subprocess.run(["curl", "-sS", "-f", *form, "-o", "painted.jpg"], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "painted.jpg") as painted:
        assert (painted.format, painted.size, painted.mode) == ("JPEG", (50, 31), "RGB")
        assert np.asarray(painted).std() > 1


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "*/*", "JPEG"),
        ("?format=png", "*/*", "PNG"),
        ("?format=webp", "image/png", "WEBP"),
        ("?format=jpg", "application/json", "JPEG"),
        ("", "image/webp", "WEBP"),
        ("", "image/*", "PNG"),
        ("", "image/webp;q=0.5, image/png;q=0.9", "PNG"),
        ("", "image/avif,image/webp,*/*;q=0.8", "WEBP"),
    ],
)
def test_the_format_is_the_one_asked_for(
    http: httpx.Client, query: str, accept: str, expected: str
) -> None:
    got = http.post(ADDRESS + query, files={"image": write_picture()}, headers={"accept": accept})
    assert read(got).format == expected
    assert got.headers["content-type"] == f"image/{expected.lower()}"
    assert got.headers["vary"] == "accept"
    assert got.headers["x-modelpad-model"] == "styles"


def test_json_gets_json_unless_it_asks_for_a_file(http: httpx.Client) -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(write_picture()).decode()
    answer = http.post(ADDRESS, json={"image": url, "style": {"wave": 1, "scream": 2}}).json()
    picture = answer["outputs"]["picture"]
    assert picture.startswith("data:image/png;base64,")
    found = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    values = {"image": url, "style": "wave:1,scream:2"}
    file = read(http.post(ADDRESS + "?format=png", json=values))
    assert np.array_equal(np.asarray(found), np.asarray(file))
    forced = http.post(ADDRESS + "?format=json", files={"image": write_picture()})
    assert forced.json()["outputs"]["picture"].startswith("data:")


def test_a_list_gets_a_picture_for_each_item(http: httpx.Client) -> None:
    url = "data:image/png;base64," + base64.b64encode(write_picture("PNG")).decode()
    found = http.post(ADDRESS, json=[{"image": url}, {"image": "text"}]).json()["predictions"]
    assert found[0]["outputs"]["picture"].startswith("data:image/png")
    assert found[1]["error"]["field"] == "image"


def test_quality_changes_the_size(http: httpx.Client) -> None:
    def size(quality: int) -> int:
        file = {"image": write_picture(size=(200, 160))}
        return len(http.post(f"{ADDRESS}?format=jpeg&quality={quality}", files=file).content)

    assert size(10) < 0.7 * size(95)


def test_a_raw_body_is_enough(http: httpx.Client) -> None:
    got = http.post(ADDRESS, content=write_picture("PNG"), headers={"content-type": "image/png"})
    assert read(got).format == "PNG"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_honoured_and_metadata_is_dropped(http: httpx.Client, form: str) -> None:
    got = http.post(ADDRESS, files={"image": write_located(form, icc_profile=make_profile())})
    picture = read(got)
    assert (picture.size, picture.format) == ((31, 50), form)
    assert not picture.getexif()
    assert {*picture.info} <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", *WEBP_INFO}
    assert SECRET not in got.content


def test_colours_of_a_profile_are_painted_in_srgb(http: httpx.Client) -> None:
    sent = save(Image.new("RGB", (16, 16), (250, 20, 20)), "PNG", icc_profile=make_profile())
    got = http.post(ADDRESS, data={"strength": "0"}, files={"image": sent})
    red, green, _ = np.asarray(read(got))[0, 0]
    assert green > 200 > red


@pytest.mark.parametrize("file", list_files(), ids=lambda file: file.name)
def test_any_file_is_painted_or_explained(http: httpx.Client, file: File) -> None:
    got = http.post(ADDRESS, files={"image": (file.name, file.body)})
    if file.size is not None:
        assert read(got).size == file.size
        return
    assert got.status_code == file.status
    error = got.json()["error"]
    assert error["field"] == "image"
    assert file.words in error["message"]
    assert error["hint"]


def test_transparency_is_kept(http: httpx.Client) -> None:
    pixels = np.full((20, 30, 4), 200, np.uint8)
    pixels[:10, :, 3], pixels[10:15, :, 3] = 0, 128
    sent = save(Image.fromarray(pixels), "PNG")
    for name in ("png", "webp"):
        got = read(http.post(f"{ADDRESS}?format={name}", files={"image": sent}))
        assert np.array_equal(np.asarray(got)[..., 3], pixels[..., 3])
    url = "data:image/png;base64," + base64.b64encode(sent).decode()
    answer = http.post(ADDRESS, json={"image": url}).json()["outputs"]["picture"]
    found = Image.open(io.BytesIO(base64.b64decode(answer.partition(",")[2])))
    assert np.array_equal(np.asarray(found)[..., 3], pixels[..., 3])
    flat = read(http.post(f"{ADDRESS}?format=jpeg", files={"image": sent}))
    assert np.asarray(flat)[:6].min() >= 250
    same = http.post(f"{ADDRESS}?format=png", data={"strength": "0"}, files={"image": sent})
    assert np.abs(np.asarray(read(same))[12].astype(int) - pixels[12]).max() <= 1


def test_sixteen_bits_are_scaled(http: httpx.Client) -> None:
    """The brightness of a picture of 16 bits is that of the same in 8 bits."""
    grey = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))
    answers = []
    for pixels in (grey, grey.astype(np.uint16) * 257):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        values = {"strength": "0"}
        got = http.post(ADDRESS, data=values, files={"image": file.getvalue()})
        answers.append(np.asarray(read(got)).astype(int))
    assert np.abs(answers[0] - answers[1]).max() <= 1


def test_strength_zero_is_the_photograph(http: httpx.Client) -> None:
    sent = write_picture("PNG")
    got = http.post(ADDRESS, data={"strength": "0"}, files={"image": sent})
    assert np.array_equal(np.asarray(read(got)), np.asarray(Image.open(io.BytesIO(sent))))


@pytest.mark.parametrize(
    ("values", "query", "field", "words"),
    [
        ({"style": "monet"}, "", "style", "wave, scream"),
        ({"style": "wave:-1"}, "", "style", "wave, scream"),
        ({"style": "wave:0"}, "", "style", "wave, scream"),
        ({"strength": "7"}, "", "strength", "1"),
        ({"strength": "nan"}, "", "strength", ""),
        ({"preserve_colour": "much"}, "", "preserve_colour", ""),
        ({}, "?format=avif", None, "png, jpeg, webp, gif"),
        ({}, "?format=jpeg&quality=0", None, "1 to 100"),
        ({"colour": "1"}, "", "colour", "style"),
    ],
)
def test_bad_values_are_explained(
    http: httpx.Client, values: dict[str, str], query: str, field: str | None, words: str
) -> None:
    got = http.post(ADDRESS + query, data=values, files={"image": write_picture()})
    assert got.status_code == 422
    error = got.json()["error"]
    assert error.get("field") == field
    assert words in f"{error['message']} {error['hint']} {error['expected']}"


def test_a_picture_must_be_there(http: httpx.Client) -> None:
    none = http.post(ADDRESS, data={"style": "wave"})
    assert (none.status_code, none.json()["error"]["field"]) == (422, "image")


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_every_frame_is_painted(http: httpx.Client, form: str) -> None:
    sent = write_animation(form, clear=True)
    for name in ("", "gif", "webp"):
        query = f"?format={name}" if name else ""
        got = http.post(ADDRESS + query, files={"image": sent}, data={"style": "scream"})
        expected = (name or form).upper()
        assert got.headers["content-type"] == f"image/{expected.lower()}"
        painted, given = (read_animation(body, field="") for body in (got.content, sent))
        assert painted is not None
        assert given is not None
        assert (painted.timing, painted.size) == (given.timing, given.size)
        for frame, original in zip(painted.frames(), given.frames(), strict=True):
            alpha, kept = (np.asarray(each.getchannel("A")) for each in (original, frame))
            assert np.array_equal(alpha > 127, kept > 127)
            shown = np.asarray(original)[alpha > 127][:, :3].astype(int)
            assert np.abs(np.asarray(frame)[alpha > 127][:, :3] - shown).mean() > 5
    first = read(http.post(f"{ADDRESS}?format=png", files={"image": sent}))
    assert (first.size, first.format) == ((24, 24), "PNG")


def test_a_setting_of_an_animation_is_checked(http: httpx.Client) -> None:
    got = http.post(ADDRESS, files={"image": write_animation("GIF")}, data={"strength": "7"})
    assert (got.status_code, got.json()["error"]["field"]) == (422, "strength")


def test_an_animation_leaves_turns_to_others(http: httpx.Client) -> None:
    """While one is painted, small pictures are answered, one after another."""

    def paint(body: bytes) -> None:
        assert http.post(ADDRESS, files={"image": body}).status_code == 200

    long = threading.Thread(target=paint, args=(write_animation("WEBP", 60, 160),))
    long.start()
    answered = 0
    while long.is_alive():
        paint(write_picture("PNG"))
        answered += long.is_alive()
    assert answered > 2  # the first may have come before the animation was read


def test_the_document_says_which_files_come(http: httpx.Client) -> None:
    path: Callable[[str], Any] = http.get("/openapi.json").json()["paths"].get
    post = path(ADDRESS)["post"]
    kinds = {"image/png", "image/jpeg", "image/webp", "image/gif", "application/json"}
    assert kinds <= {*post["responses"]["200"]["content"]}
    assert {each["name"] for each in post["parameters"]} >= {"format", "quality"}
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image"]
