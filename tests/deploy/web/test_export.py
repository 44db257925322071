"""`modelpad export --to web`, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.cli.main import main
from modelpad.deploy.web.one_file import write_page
from modelpad.deploy.web.runtime import VERSION, WASM, Runtime, load_runtime
from modelpad.deploy.web.site import IMPORT, POLICY, write_model, write_site
from modelpad.errors import ChecksumMismatch, NotFound
from modelpad.locations import locate_cache
from modelpad.store import ResolvedBundle
from modelpad.zoo import zoo_bundles


@pytest.fixture
def kept(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose cache has the runtime, and that has no network."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("MODELPAD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("modelpad.deploy.web.runtime.URL", "http://127.0.0.1:9/none.tgz")
    shutil.copytree(locate_cache(os.environ) / "onnxruntime-web", cache / "onnxruntime-web")
    monkeypatch.setenv("MODELPAD_CACHE", str(cache))


def test_a_folder_and_a_file_are_written(
    kept: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, page = tmp_path / "site", tmp_path / "digits.html"
    assert main(["export", "digits", "--to", "web", str(folder), "--no-check", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["checked"] == []
    assert written["bytes"] == sum(Path(name).stat().st_size for name in written["files"])
    assert {"index.html", "modelpad.js", "service-worker.js"} <= {p.name for p in folder.iterdir()}
    assert main(["export", "digits", "--to", "web", str(page), "--one-file", "--no-check"]) == 0
    assert "open " in capsys.readouterr().out
    for taken in ([str(folder)], [str(page), "--one-file"], [str(tmp_path / "x"), "--one-file"]):
        assert main(["export", "digits", "--to", "web", *taken]) == 2


def test_a_pattern_that_only_python_has_is_refused(
    kept: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "writer"
    source = open_bundle(zoo_bundles()["writer"])
    record = json.loads(source.path("tokenizer.json").read_bytes())
    record["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": r"\p{L}++|\s"}, "behavior": "Isolated"},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ],
    }
    files = {"model.onnx": source.path("model.onnx").read_bytes()}
    files["tokenizer.json"] = json.dumps(record).encode()
    write_bundle(folder, replace(source.manifest, files={}), files)
    assert main(["export", str(folder), "--to", "web", str(tmp_path / "site")]) == 1
    error = capsys.readouterr().err
    assert "JavaScript does not have" in error
    assert "byte-level tokenizer" in error
    assert not (tmp_path / "site").exists()


def test_webgpu_is_offered_for_graphs_that_run_at_once(
    kept: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "writer", "--to", "web", str(tmp_path / "writer"), "--webgpu"]) == 1
    assert "token by token" in capsys.readouterr().err
    assert main(["export", "digits", "--to", "onnx", str(tmp_path / "x"), "--webgpu"]) == 2
    assert "--webgpu" in capsys.readouterr().err


@pytest.mark.slow
def test_webgpu_gives_the_same_predictions(tmp_path: Path) -> None:
    try:
        load_runtime(None, locate_cache(os.environ), webgpu=True)
    except NotFound as error:
        pytest.skip(error.words)
    # In a process of its own, as the check drives a browser in a way that no event loop allows.
    command = [sys.executable, "-m", "modelpad", "export", "digits", "--to", "web", "--webgpu"]
    done = subprocess.run(
        [*command, str(tmp_path / "page"), "--json"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    plain, gpu = json.loads(done.stdout)["checked"]
    assert (plain["device"], gpu["device"]) == ("wasm", "webgpu")
    assert max(plain["largest"], gpu["largest"]) < 1e-4
    assert gpu["compared"] > 2


def test_options_of_pages_need_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "digits", "--to", "onnx", "x", "--one-file"]) == 2
    assert "--to web" in capsys.readouterr().err


def test_the_page_loads_nothing_from_elsewhere(runtime: Runtime, digits: Bundle) -> None:
    files = write_site(ResolvedBundle("digits", 1, digits), runtime)
    assert not re.search(rb'(src|href)="(https?:)?//', files["index.html"])
    assert POLICY["connect-src"] == "'self'"
    modules = [name for name in files if name.endswith((".js", ".mjs")) and "runtime" not in name]
    for name in modules:
        text = re.sub(r"^//.*$", "", files[name].decode("utf-8"), flags=re.MULTILINE)
        # Every import is found by the pattern that one_file rewrites.
        assert len(re.findall(r'(?:from |^import |import\()"\.', text, re.MULTILINE)) == len(
            IMPORT.findall(text)
        ), name
    assert "page/painting.js" in modules  # loaded by models that paint
    worker = files["service-worker.js"].decode("utf-8")
    assert '"runtime/ort.wasm.gz"' in worker
    assert '"model/model.onnx.gz"' in worker


def test_a_card_with_nan_is_written_as_valid_json(digits: Bundle, tmp_path: Path) -> None:
    kept: dict[str, bytes | Path] = {name: digits.path(name) for name in digits.manifest.files}
    kept["card.json"] = b'{"metrics": {"loss": NaN}}'
    bundle = write_bundle(tmp_path / "bundle", digits.manifest, kept)
    body = write_model(ResolvedBundle("digits", 1, bundle))["model/model.json"]
    assert json.loads(body, parse_constant=pytest.fail)["card"] == {"metrics": {"loss": None}}


class Attributes(HTMLParser):
    """All attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += attrs


def test_a_bundle_adds_no_code_to_its_page(
    runtime: Runtime, digits: Bundle, tmp_path: Path
) -> None:
    picture = digits.path("samples/7.png")
    hostile = 'samples/"></script><script src="data&colon;,alert(1)"></script><i x=".png'
    files = {name: digits.path(name) for name in digits.manifest.files}
    files |= dict.fromkeys((hostile, "report/a.html", "samples/a.svg", "report/a.png"), picture)
    title = "<script>alert(1)</script>"
    write_bundle(tmp_path / "m", replace(digits.manifest, title=title), files)
    found = ResolvedBundle("digits", 1, open_bundle(tmp_path / "m"))

    site = write_site(found, runtime)
    assert {name for name in site if "/report/" in name or "/samples/" in name} == {
        f"model/{name}" for name in files if name.endswith(".png")
    }
    assert b"<script" not in site["README.md"]

    page = Attributes()
    page.feed(write_page(found, runtime).decode("utf-8"))
    assert ("data-file", f"model/{hostile}") in page.found
    assert not [value for name, value in page.found if name == "src" and "alert" in (value or "")]


def test_a_runtime_is_verified_and_its_absence_explained(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpad.deploy.web.runtime.URL", "http://127.0.0.1:9/none.tgz")
    with pytest.raises(NotFound, match="cannot be downloaded") as offline:
        load_runtime(None, tmp_path / "cache")
    assert "--runtime" in offline.value.hint
    kept = tmp_path / "cache" / "onnxruntime-web" / VERSION
    kept.mkdir(parents=True)
    for name in WASM.packed:
        (kept / name).write_bytes(b"damaged")
    with pytest.raises(NotFound, match="cannot be downloaded"):  # it is not used
        load_runtime(None, tmp_path / "cache")
    for name in WASM.files:
        (tmp_path / name).write_bytes(b"something else")
    module = WASM.module[0]
    with pytest.raises(ChecksumMismatch, match=re.escape(module)):
        load_runtime(tmp_path, tmp_path)
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as package:
        package.add(tmp_path / module, "package/README.md")
    for absent in (tmp_path / "other.tgz", tmp_path / "none.tgz", tmp_path / module):
        with pytest.raises(NotFound, match="does not contain ONNX Runtime Web"):
            load_runtime(absent, tmp_path)
