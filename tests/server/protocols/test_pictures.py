"""Pictures in responses of the native API, over real sockets."""

from __future__ import annotations

import base64
import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

ADDRESS = "/predict/styles"


@pytest.fixture(scope="module")
def painter(styles: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that paints."""
    from tests.conftest import start_server, stop_server

    running = start_server(f"styles={styles}", store=tmp_path_factory.mktemp("store"))
    yield running.url
    stop_server(running)


@pytest.fixture(scope="module")
def http(painter: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=painter, timeout=30, headers={"accept": "*/*"}) as client:
        yield client


def write(
    form: str = "JPEG", size: tuple[int, int] = (50, 31), mode: str = "RGB", **more: Any
) -> bytes:
    """A picture's file with structure."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize(size).convert(mode)
    file = io.BytesIO()
    picture.save(file, form, **more)
    return file.getvalue()


def read(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def test_curl_sends_a_photograph_and_gets_a_picture(painter: str, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(write())
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
    got = http.post(ADDRESS + query, files={"image": write()}, headers={"accept": accept})
    assert read(got).format == expected
    assert got.headers["content-type"] == f"image/{expected.lower()}"
    assert got.headers["vary"] == "accept"
    assert got.headers["x-modelpad-model"] == "styles"


def test_json_gets_json_unless_it_asks_for_a_file(http: httpx.Client) -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(write()).decode()
    answer = http.post(ADDRESS, json={"image": url, "style": {"wave": 1, "scream": 2}}).json()
    picture = answer["outputs"]["picture"]
    assert picture.startswith("data:image/png;base64,")
    found = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    values = {"image": url, "style": "wave:1,scream:2"}
    file = read(http.post(ADDRESS + "?format=png", json=values))
    assert np.array_equal(np.asarray(found), np.asarray(file))
    forced = http.post(ADDRESS + "?format=json", files={"image": write()})
    assert forced.json()["outputs"]["picture"].startswith("data:")


def test_a_list_gets_a_picture_for_each_item(http: httpx.Client) -> None:
    url = "data:image/png;base64," + base64.b64encode(write("PNG")).decode()
    found = http.post(ADDRESS, json=[{"image": url}, {"image": "text"}]).json()["predictions"]
    assert found[0]["outputs"]["picture"].startswith("data:image/png")
    assert found[1]["error"]["field"] == "image"


def test_quality_changes_the_size(http: httpx.Client) -> None:
    def size(quality: int) -> int:
        file = {"image": write(size=(200, 160))}
        return len(http.post(f"{ADDRESS}?format=jpeg&quality={quality}", files=file).content)

    assert size(10) < 0.7 * size(95)


def test_a_raw_body_is_enough(http: httpx.Client) -> None:
    got = http.post(ADDRESS, content=write("PNG"), headers={"content-type": "image/png"})
    assert read(got).format == "PNG"


def test_orientation_is_honoured_and_metadata_is_dropped(http: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    sent = write(size=(50, 31), exif=exif)
    got = http.post(ADDRESS, files={"image": sent})
    assert read(got).size == (31, 50)
    assert not read(got).getexif()
    assert b"secret" in sent
    assert b"secret" not in got.content


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (33, 70)])
def test_any_size_is_kept(http: httpx.Client, size: tuple[int, int]) -> None:
    got = http.post(ADDRESS, files={"image": write("PNG", size)})
    assert read(got).size == size


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "1")]
)
def test_every_mode_is_painted(http: httpx.Client, form: str, mode: str) -> None:
    assert read(http.post(ADDRESS, files={"image": write(form, mode=mode)})).mode == "RGB"


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
    sent = write("PNG")
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
        ({}, "?format=gif", None, "png, jpeg, webp"),
        ({}, "?format=jpeg&quality=0", None, "1 to 100"),
        ({"colour": "1"}, "", "colour", "style"),
    ],
)
def test_bad_values_are_explained(
    http: httpx.Client, values: dict[str, str], query: str, field: str | None, words: str
) -> None:
    got = http.post(ADDRESS + query, data=values, files={"image": write()})
    assert got.status_code == 422
    error = got.json()["error"]
    assert error.get("field") == field
    assert words in f"{error['message']} {error['hint']} {error['expected']}"


def test_bad_pictures_are_explained(http: httpx.Client) -> None:
    text = http.post(ADDRESS, files={"image": ("cat.jpg", b"no picture", "image/jpeg")})
    assert (text.status_code, text.json()["error"]["field"]) == (422, "image")
    half = http.post(ADDRESS, files={"image": write(size=(300, 300))[:2000]})
    assert (half.status_code, half.json()["error"]["field"]) == (422, "image")
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    huge = http.post(ADDRESS, files={"image": file.getvalue()})
    assert huge.status_code == 413
    assert "too many pixels" in huge.json()["error"]["message"]
    none = http.post(ADDRESS, data={"style": "wave"})
    assert (none.status_code, none.json()["error"]["field"]) == (422, "image")


def test_the_document_says_which_files_come(http: httpx.Client) -> None:
    path: Callable[[str], Any] = http.get("/openapi.json").json()["paths"].get
    post = path(ADDRESS)["post"]
    kinds = {"image/png", "image/jpeg", "image/webp", "application/json"}
    assert kinds <= {*post["responses"]["200"]["content"]}
    assert {each["name"] for each in post["parameters"]} >= {"format", "quality"}
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image"]
