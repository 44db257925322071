"""One loaded version of a model: what is loaded when, and what the API says about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.engine import LARGE_GRAPH_BYTES, Batcher, MemoryBudget
from modelpad.engine.calibration import UNMEASURED
from modelpad.errors import BundleInvalid, ModelFailed, NotFound
from modelpad.server.model_table import ModelTable
from modelpad.server.models import LoadOptions, ServedModel, choose_settings, measure_batch

LAZY = LoadOptions(memory=MemoryBudget(1 << 40))


@pytest.fixture
def model(digits: Bundle) -> Iterator[ServedModel]:
    loaded = ServedModel.load("mine", 3, digits)
    yield loaded
    loaded.batcher.close()


@pytest.fixture
def lazy(digits: Bundle) -> Iterator[ServedModel]:
    loaded = ServedModel.load("mine", 3, digits, LAZY)
    yield loaded
    loaded.batcher.close()


def copy_digits(digits: Bundle, folder: Path, **changes: object) -> Bundle:
    files = {name: digits.path(name) for name in digits.manifest.files}
    return write_bundle(folder, replace(digits.manifest, **changes), files)  # type: ignore[arg-type]


def test_a_graph_is_loaded_at_once(model: ServedModel) -> None:
    assert model.batcher.session.is_open


def test_under_a_memory_limit_a_graph_is_loaded_on_first_use(lazy: ServedModel) -> None:
    assert not lazy.batcher.session.is_open
    assert lazy.batcher.batches == UNMEASURED
    assert len(lazy.inputs) == 1
    assert [each.name for each in lazy.outputs] == ["label", "familiarity"]
    assert lazy.batcher.session.is_open


def test_the_batch_size_of_the_options_is_kept(digits: Bundle) -> None:
    model = ServedModel.load("mine", 1, digits, LoadOptions(batch=5))
    assert model.batcher.batches.max_batch_size == 5
    model.batcher.close()


def test_measuring_replaces_the_default_batch_size(lazy: ServedModel) -> None:
    assert isinstance(lazy.batcher, Batcher)
    measure_batch(lazy.batcher)
    assert lazy.batcher.batches != UNMEASURED
    assert lazy.batcher.batches.chunk_size >= lazy.batcher.batches.max_batch_size
    assert not lazy.batcher.inline


def test_a_model_without_samples_is_measured_with_zeros(digits: Bundle, tmp_path: Path) -> None:
    bundle = copy_digits(digits, tmp_path / "bare", samples=())
    model = ServedModel.load("mine", 1, bundle, LAZY)
    assert isinstance(model.batcher, Batcher)
    measure_batch(model.batcher)
    assert model.batcher.batches != UNMEASURED
    model.batcher.close()


def describe(model: ServedModel) -> Any:
    """The description as the page gets it."""
    return json.loads(json.dumps(model.describe()))


@pytest.mark.parametrize("graph", [b"damaged", b""])
def test_a_damaged_graph_is_not_loaded(digits: Bundle, tmp_path: Path, graph: bytes) -> None:
    bundle = copy_digits(digits, tmp_path / "damaged")
    bundle.path("model.onnx").write_bytes(graph)
    with pytest.raises((BundleInvalid, ModelFailed)):
        ServedModel.load("mine", 1, bundle)


def test_a_description_is_for_the_page(model: ServedModel, digits: Bundle) -> None:
    described = describe(model)
    assert (described["name"], described["version"]) == ("mine", 3)
    assert described["title"] == digits.manifest.title
    assert [field["name"] for field in described["inputs"]] == ["image"]
    assert described["card"] == digits.read_json("card.json")
    assert described["samples"][0] == {
        "inputs": {"image": {"url": "/models/mine/files/samples/0.png"}},
        "expected": "0",
    }


def test_a_sample_cannot_inject_a_url(digits: Bundle, tmp_path: Path) -> None:
    sample = replace(
        digits.manifest.samples[0], inputs={"image": {"value": 1, "url": "https://evil.example"}}
    )
    bundle = copy_digits(digits, tmp_path / "copy", samples=(sample,))
    model = ServedModel.load("mine", 1, bundle, LAZY)
    assert describe(model)["samples"][0]["inputs"] == {"image": {"value": 1}}
    model.batcher.close()


def test_a_name_is_quoted_in_urls(digits: Bundle) -> None:
    model = ServedModel.load("a b?", 1, digits, LAZY)
    url = describe(model)["samples"][0]["inputs"]["image"]["url"]
    assert url == "/models/a%20b%3F/files/samples/0.png"
    model.batcher.close()


def test_samples_and_reports_can_be_read(lazy: ServedModel, digits: Bundle) -> None:
    for path in ("samples/7.png", "report/mistakes/01.png", "card.json"):
        assert lazy.read_file(path) == digits.path(path).read_bytes()


@pytest.mark.parametrize(
    "path", ["model.onnx", "manifest.json", "samples/none.png", "samples/../model.onnx", ""]
)
def test_no_other_file_can_be_read(lazy: ServedModel, path: str) -> None:
    with pytest.raises(NotFound, match="no public file"):
        lazy.read_file(path)


def test_a_card_outlives_its_folder(digits: Bundle, tmp_path: Path) -> None:
    bundle = copy_digits(digits, tmp_path / "copy")
    model = ServedModel.load("mine", 1, open_bundle(bundle.folder), LAZY)
    bundle.path("card.json").unlink()
    assert describe(model)["card"] == digits.read_json("card.json")
    with pytest.raises(NotFound, match="cannot be read"):
        model.read_file("card.json")
    model.batcher.close()


def test_a_card_with_nan_is_valid_json_for_every_reader(digits: Bundle, tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {name: digits.path(name) for name in digits.manifest.files}
    files["card.json"] = (
        b'{"title": "Foreign", "metrics": {"loss": NaN}, "history": [{"loss": NaN}]}'
    )
    model = ServedModel.load("mine", 1, write_bundle(tmp_path / "b", digits.manifest, files), LAZY)
    body = ModelTable([model]).describe()
    card = json.loads(body, parse_constant=pytest.fail)["models"][0]["card"]
    assert card == {"title": "Foreign", "metrics": {"loss": None}, "history": [{"loss": None}]}
    model.batcher.close()


def test_a_large_graph_runs_one_batch_on_all_threads(digits: Bundle) -> None:
    files = digits.manifest.files
    grown = {"model.onnx": replace(files["model.onnx"], bytes=LARGE_GRAPH_BYTES + 1)}
    large = replace(digits, manifest=replace(digits.manifest, files={**files, **grown}))
    options = LoadOptions(threads=4)
    at_once, settings = choose_settings(digits, options)
    assert (at_once, settings.threads, settings.arena) == (4, 1, False)
    at_once, settings = choose_settings(large, options)
    assert (at_once, settings.threads, settings.arena) == (1, 4, True)
