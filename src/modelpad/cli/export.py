"""`modelpad export MODEL --to FORMAT DIR`: writes a version as files for other tools."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model

EXAMPLE = """example:
  modelpad export digits --to onnx ./digits-onnx
  modelpad export digits@2 --to keras ./digits-keras
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="NAME, NAME@VERSION, a bundle folder or a trained model's file",
    )
    parser.add_argument(
        "folder", metavar="DIR", help="the folder to write to; must be new or empty"
    )
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "keras"),
        help="onnx: the graph and its signature; keras: the Keras files, if the model has them",
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files and prints their names."""
    from modelpad.convert.export import export_bundle

    found = find_model(args.model, Settings.from_environment(args))
    written = export_bundle(found.bundle, args.to, Path(args.folder))
    if args.json:
        print(json.dumps({"name": found.name, "version": found.version, "files": _names(written)}))
        return DONE
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    return DONE


def _names(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]
