"""`modelpad deploy`: what it writes and prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelpad.deploy.targets import TARGETS


def test_it_writes_a_folder_and_says_what_to_type(run_modelpad: Any, tmp_path: Path) -> None:
    done = run_modelpad("deploy", "digits", "--to", "docker", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1:4] == ["Next:", "  cd out", "  docker build -t digits:1 ."]
    assert lines[4].startswith("  docker run --rm --read-only")
    assert (tmp_path / "out" / "models" / "digits" / "1" / "manifest.json").is_file()
    again = run_modelpad("deploy", "digits", "--to", "docker", "out")
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert run_modelpad("deploy", "digits", "--to", "docker", "out", "--force").returncode == 0


def test_a_dry_run_shows_every_file_and_writes_none(run_modelpad: Any, tmp_path: Path) -> None:
    done = run_modelpad("deploy", "digits", "--to", "docker", "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "models/digits/1/model.onnx" in done.stdout
    assert "--- Dockerfile" in done.stdout
    assert 'ENTRYPOINT ["/opt/modelpad/bin/modelpad"]' in done.stdout
    assert "docker build -t digits:1 ." in done.stdout
    assert not (tmp_path / "out").exists()


def test_two_models_a_name_and_an_image(run_modelpad: Any, tmp_path: Path) -> None:
    options = ("--name", "demo", "--image", "registry.example/demo:7", "--slim", "--extra", "otel")
    done = run_modelpad(
        *("deploy", "digits", "second=digits", "--to", "kubernetes", "k8s", "--json", *options)
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["models"] == {"digits": 1, "second": 1}
    assert printed["commands"][1] == "kubectl apply -k ."
    folder = tmp_path / "k8s"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        *printed["files"]
    }
    assert "image: registry.example/demo:7" in (folder / "deployment.yaml").read_text()
    assert "FROM scratch AS runtime" in (folder / "Dockerfile").read_text()
    assert "opentelemetry-sdk==" in (folder / "requirements.txt").read_text()


@pytest.mark.parametrize("words", ["digits --to mars out", "digits --to docker", "--to docker out"])
def test_wrong_usage(run_modelpad: Any, words: str) -> None:
    done = run_modelpad("deploy", *words.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_lists_the_targets(run_modelpad: Any) -> None:
    done = run_modelpad("deploy", "--help")
    assert all(f"  {target} " in done.stdout for target in TARGETS)
