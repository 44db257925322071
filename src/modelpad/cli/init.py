"""`modelpad init DIR`: writes a small project to start from."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

from modelpad.cli.main import DONE, add_common_options

EXAMPLE = """examples:
  modelpad init ./shapes
  modelpad init ./pets --recipe images
  modelpad init . --name mine
"""
DEFAULT_NAME = "model"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "folder", metavar="DIR", help="where to write it; files that exist are kept as they are"
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        default="",
        help="train by this recipe, see modelpad recipes (default: by your own script, train.py)",
    )
    parser.add_argument("--name", help="the model's name (default: the folder's)")
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files, and prints commands to try."""
    from modelpad.bundle.manifest import check_name
    from modelpad.deploy.starter import Project, write_project

    folder = Path(args.folder)
    name = args.name or choose_name(folder)
    check_name(name)
    written, kept = write_project(Project(name, args.recipe), folder)
    if args.json:
        print(json.dumps({"name": name, "written": written, "kept": kept}))
        return DONE
    drawn = [path for path in written if path.endswith(".png")]
    for path in written:
        if path not in drawn:
            print(f"  {path}")
    if drawn:
        print(f"  data/  ({len(drawn)} drawings to start with)")
    print(f"Wrote {len(written)} files to {folder}.")
    if kept:
        shown = ", ".join(kept[:4]) + (", ..." if len(kept) > 4 else "")
        print(f"Kept what was there already: {shown}")
    move = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    print(f"Next: {move}make train && make serve")
    print("On a machine in the cloud: make vm, make lab, make train, make stop")
    return DONE


def choose_name(folder: Path) -> str:
    """The folder's name, as far as a model may have it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")
    return name[:128] or DEFAULT_NAME
