"""`modelpad train --on`: what is sent, and what is refused before a cluster is needed. See
tests/cluster.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from modelpad.cli.main import build_parser, main
from modelpad.cli.settings import Settings
from modelpad.cli.train_on_cluster import make_order


def parse(*words: str) -> argparse.Namespace:
    return build_parser(["train", *words], {}).parse_args(["train", *words])


def order(tmp_path: Path, *words: str, environment: dict[str, str] | None = None) -> Any:
    args = parse(*words, "--store", str(tmp_path / "store"))
    data = args.place or args.data or "mnist"
    return make_order(args, data, Settings.from_environment(args, environment or {}))


def test_an_order_has_what_differs_from_the_defaults(tmp_path: Path) -> None:
    found = order(
        tmp_path, "digits", "--on", "local", "--arch", "mlp", "--seed", "3", "--metric", "a:b"
    )
    assert found.name == "digits"
    assert found.arguments == (
        *("digits", "--on=", "--runs=run", "--store=store", "--name=digits", "--data=mnist"),
        *("--arch=mlp", "--metric=a:b", "--seed=3"),
    )


def test_a_folder_of_this_machine_is_sent(tmp_path: Path) -> None:
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    (tmp_path / "pets" / "cat" / "1.png").write_bytes(b"1")
    words = ("images", str(tmp_path / "pets"), "--on", "ray://head:10001")
    found = order(tmp_path, *words, environment={"MODELPAD_DATA": str(tmp_path)})
    assert "--data=files/0/pets" in found.arguments
    assert "--name=pets" in found.arguments
    assert b"files/0/pets/cat/1.png" in found.inputs
    assert b"data-sets" not in found.inputs
    shared = order(
        tmp_path, "images", str(tmp_path / "pets"), "--on", "ray://h:1", "--shared-files"
    )
    assert f"--data={tmp_path / 'pets'}" in shared.arguments


def test_a_bucket_is_written_by_the_cluster(tmp_path: Path) -> None:
    args = parse("images", "./pets", "--on", "ray://head:10001", "--store", "s3://bucket/models")
    found = make_order(args, "./pets", Settings.from_environment(args, {}))
    assert "--store=s3://bucket/models" in found.arguments
    assert not any(word.startswith("--name") for word in found.arguments)


def test_checkpoints_are_not_on_the_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--on", "local", "--resume"]) == 2
    assert "--resume does not work with --on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("digits", "--train-workers", "0", "--on", "local"), "--train-workers is 0."),
        (("digits", "--train-workers", "2"), "--train-workers 2 needs a Ray cluster."),
        (("style", "--train-workers", "2", "--on", "local"), "style trains in one process"),
        (
            ("digits", "--train-workers", "2", "--on", "local", "--train-gpus", "0.5"),
            "needs GPUs of its own, not --train-gpus 0.5",
        ),
    ],
)
def test_several_workers_are_refused_where_one_trains(
    words: tuple[str, ...], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words]) == 2
    assert error in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_is_an_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--on", "local", "--store", str(tmp_path)]) == 1
    assert "ray is not installed" in capsys.readouterr().err
