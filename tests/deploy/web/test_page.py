"""Exported pages in real Chromium: predictions as modelpad's, without a server, offline."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from modelpad.bundle import Bundle, open_bundle
from modelpad.deploy.web.check import (
    compare,
    drop_derived,
    find_difference,
    serve_folder,
)
from modelpad.deploy.web.examples import generate_drawings, make_examples, write_png
from modelpad.deploy.web.export import PageExport, plan_page
from modelpad.deploy.web.runtime import Runtime
from modelpad.deploy.web.site import write_model
from modelpad.errors import ParityFailed
from modelpad.store import ResolvedBundle
from tests.deploy.web.conftest import FIELDS
from tests.page.tinting import write_tinting
from tests.table_bundles import write_tables

pytestmark = pytest.mark.browser
MIXED: list[dict[str, object]] = [
    {"first": [1, 2, 3, 4], "second": [10, -20, 2147483647, 0]},
    {"first": [1, 2, 3], "second": [1, 2, 3, 4]},  # rejected by both
]
ROWS: list[dict[str, object]] = [
    {"income (k)": 80.5, "age": None, "city": "Bern"},
    {"income (k)": "12.25", "age": "30", "city": "Zürich"},
    {"income (k)": -1, "age": 30, "city": "Bern"},
    {"income (k)": 1, "age": 30.5, "city": "Bern"},
    {"income (k)": 1, "age": 30, "city": "Genf"},
    {"income (k)": 1, "age": 30},
]

CONTROLLED = """async () => {
  await navigator.serviceWorker.ready;
  while (!navigator.serviceWorker.controller) await new Promise((done) => setTimeout(done, 20));
}"""


@pytest.fixture(scope="module")
def exported(
    runtime: Runtime,
    digits: Bundle,
    pictures: dict[str, Bundle],
    bundles: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, ResolvedBundle]]:
    """A folder with the digits' page and, in folders beside it, other models; and all models."""
    root = tmp_path_factory.mktemp("pages")
    tables = [open_bundle(path) for path in write_tables(tmp_path_factory.mktemp("tables"))]
    others = [open_bundle(bundles / name) for name in ("mix", "half_plus_two")]
    models = [digits, *pictures.values(), *tables, *others]
    found = {each.manifest.name: ResolvedBundle(each.manifest.name, 1, each) for each in models}
    plan_page(found["digits"], root / "digits", runtime, one_file=False).write()
    for name in found.keys() - {"digits"}:  # the digits' page runs them, with its runtime
        PageExport(write_model(found[name]), root / name).write()
    return root, found


@pytest.fixture(scope="module")
def page(browser: Browser, exported: tuple[Path, Any]) -> Iterator[Page]:
    """The digits' page, which has loaded nothing but its own files and said nothing."""
    context = browser.new_context()
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    with serve_folder(exported[0]) as url:
        own = (url, "data:", f"blob:{url}")
        page.on("request", lambda request: _note(request.url, own, problems))
        page.goto(f"{url}digits/")
        page.wait_for_selector("canvas.pad")
        yield page
        assert problems == []
    context.close()


def _note(url: str, own: tuple[str, ...], problems: list[str]) -> None:
    if not url.startswith(own):
        problems.append(url)


def test_a_hundred_drawings_are_predicted_as_by_modelpad(page: Page, exported: Any) -> None:
    agreement = compare(exported[1]["digits"], page, make_examples(exported[1]["digits"].bundle))
    assert agreement.compared == 110
    assert agreement.largest < 1e-5


@pytest.mark.parametrize("name", FIELDS)
def test_pictures_are_resized_as_by_modelpad(page: Page, exported: Any, name: str) -> None:
    model = exported[1][name]
    agreement = compare(model, page, make_examples(model.bundle)[:6], f"../{name}/")
    assert agreement.compared == 6


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        ("loan", ROWS),
        ("price", [{"income (k)": 10, "grade": grade} for grade in (2, "3", 7, "low")]),
        ("mix", MIXED),
        ("half_plus_two", [{"x": 1.5}, {"x": 1e300}, {"x": [1]}]),
    ],
)
def test_tables_and_tensors_are_predicted_as_by_modelpad(
    page: Page, exported: Any, name: str, examples: list[dict[str, object]]
) -> None:
    agreement = compare(exported[1][name], page, examples, f"../{name}/")
    assert agreement.compared == len(examples)


def test_a_page_of_another_model_is_noticed(page: Page, exported: Any) -> None:
    with pytest.raises(ParityFailed, match="example 0"):
        compare(exported[1]["cropped"], page, make_examples(exported[1]["cropped"].bundle)[:1])
    digits, examples = exported[1]["digits"], make_examples(exported[1]["digits"].bundle)[3:4]
    files = write_model(exported[1]["digits"])
    description = json.loads(files["model/model.json"])
    description["outputs"][0]["classes"].reverse()
    files["model/model.json"] = json.dumps(description).encode("utf-8")
    PageExport(files, exported[0] / "reversed").write()
    with pytest.raises(ParityFailed):
        compare(digits, page, examples, "../reversed/")


def test_it_works_offline_and_at_any_width(browser: Browser, exported: Any, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    with serve_folder(exported[0]) as url:
        page.goto(f"{url}digits/")
        page.evaluate(CONTROLLED)
    context.set_offline(True)
    page.reload()  # the server is gone
    page.get_by_role("button", name="Try an example: 7").click()
    expect(page.locator("#label")).to_have_text("7")
    assert page.title() == "Handwritten digits · modelpad"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.get_by_text("Use the API").count() == 0
    context.close()


def test_one_file_opens_from_the_disk(
    browser: Browser, runtime: Runtime, exported: Any, tmp_path: Path
) -> None:
    model = exported[1]["digits"]
    export = plan_page(model, tmp_path / "digits.html", runtime, one_file=True)
    assert export.size < 6e6
    [path] = export.write()
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.on("console", lambda message: asked.append(message.text))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.goto(path.as_uri())
    page.get_by_role("button", name="Try an example: 4").click()
    expect(page.locator("#label")).to_have_text("4")
    drawings = [{"image": write_png(each)} for each in generate_drawings(10, seed=1)]
    assert compare(model, page, drawings).largest < 1e-5
    assert set(asked) <= {"file", "data", "blob"}
    context.close()


def test_a_page_paints_pictures(browser: Browser, runtime: Runtime, tmp_path: Path) -> None:
    model = ResolvedBundle("tint", 1, open_bundle(write_tinting(tmp_path)))
    [path] = plan_page(model, tmp_path / "tint.html", runtime, one_file=True).write()
    page = browser.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    expect(page.locator(".took")).to_contain_text("40 × 24 pixels")
    page.get_by_role("button", name="Mix").click()
    page.get_by_label("Weight of wave").fill("0.5")
    expect(page.locator("#answer")).to_have_attribute("data-state", "done")
    page.get_by_label("Format of the file").select_option("JPEG")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    with Image.open(download.value.path()) as saved:
        assert (saved.format, saved.size) == ("JPEG", (40, 24))
    assert problems == []
    page.close()


def test_only_the_scores_of_an_eight_bit_graph_are_compared() -> None:
    label = {"label": "cat", "confidence": 0.9, "scores": {"cat": 0.9}, "heatmap": [[1.0]]}
    assert drop_derived({"kind": label, "most": 2}) == {"kind": {"scores": {"cat": 0.9}}, "most": 2}


def test_differences_are_found() -> None:
    assert find_difference({"a": [1, 2.0]}, {"a": [1, 2.5]}) == pytest.approx(0.25)
    for got in ({"a": "dog"}, {"b": "cat"}, {"a": ["cat"]}, {"a": True}, {"$error": "no"}):
        assert find_difference({"a": "cat"}, got) == float("inf")
    assert find_difference([0.0, math.inf], [0.0, math.inf]) == 0
    for wrong in (math.nan, -math.inf):
        assert find_difference([0.0, math.inf], [0.0, wrong]) == float("inf")
    assert find_difference([0.0, 1.0], [0.0, math.nan]) == float("inf")
    assert find_difference({"$error": "one"}, {"$error": "other"}) == 0
    assert find_difference({"$error": "one"}, {"a": 1}) == float("inf")
