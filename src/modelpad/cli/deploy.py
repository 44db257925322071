"""`modelpad deploy MODEL ... --to TARGET DIR`: writes a folder for a platform's own tool."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import UsageError, suggest_name

if TYPE_CHECKING:
    from modelpad.deploy.deployment import Deployment, Plan

EXAMPLE = """examples:
  modelpad deploy digits --to docker ./digits-image
  modelpad deploy digits reviews --to cloud-run ./cloud --name demo
  modelpad deploy digits --to kubernetes ./k8s --image registry.example/digits:1
  modelpad deploy digits --to docker ./digits-image --dry-run

targets:
"""
SHOWN_BYTES = 6000  # of a text file in a dry run


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from modelpad.deploy.locked import EXTRAS
    from modelpad.deploy.targets import TARGETS

    parser.usage = "modelpad deploy MODEL ... --to TARGET DIR [options]"
    parser.epilog = EXAMPLE + "".join(f"  {name:<12}{words}\n" for name, words in TARGETS.items())
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="NAME, NAME@VERSION, a bundle folder or a trained model's file; NAME=PATH names it",
    )
    parser.add_argument(
        "--to",
        required=True,
        nargs=2,
        metavar=("TARGET", "DIR"),
        help="the platform, and the folder to write to, which must be new or empty",
    )
    parser.add_argument("--name", default="", help="the service's name (default: the models')")
    parser.add_argument(
        "--image",
        default="",
        metavar="REFERENCE",
        help="full name of the image, with registry and tag (default: the name and the models'"
        " versions)",
    )
    parser.add_argument(
        "--slim",
        action="store_true",
        help="an image without an operating system: no shell, and smaller",
    )
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        choices=EXTRAS,
        metavar="EXTRA",
        help=f"also install this extra of modelpad in the image; repeatable: {', '.join(EXTRAS)}"
        " (default: what models and target need)",
    )
    parser.add_argument(
        "--force", action="store_true", help="write over the files of an earlier deploy"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be written, and write nothing"
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the folder, or shows it, and prints what to type next."""
    from modelpad.deploy.folder import check_folder, write_folder
    from modelpad.deploy.targets import TARGETS, make_plan

    target, folder = args.to[0], Path(args.to[1])
    if target not in TARGETS:
        raise UsageError(
            f"There is no target {target!r}.", hint=suggest_name(target, TARGETS, kind="target")
        )
    if not args.dry_run:
        check_folder(folder, replace=args.force)
    deployment = read_deployment(args)
    plan = make_plan(target, deployment)
    if not args.dry_run:
        write_folder(plan, folder, replace=args.force)
    if args.json:
        print(json.dumps(describe_plan(plan, deployment, target, folder)))
        return DONE
    lines = show_files(plan, folder) if args.dry_run else describe_folder(plan, folder)
    for line in (*lines, *describe_next(plan, folder)):
        print(line)
    return DONE


def read_deployment(args: argparse.Namespace) -> Deployment:
    """What the arguments deploy. Raises `UsageError`, and as `find_model`."""
    from modelpad.deploy.deployment import Deployment, check_models, choose_name
    from modelpad.deploy.sizing import measure_sizing

    settings = Settings.from_environment(args)
    models = tuple(find_model(given, settings) for given in args.models)
    check_models(models)
    return Deployment(
        name=choose_name(models, args.name),
        models=models,
        sizing=measure_sizing(models),
        image=args.image,
        slim=args.slim,
        extras=frozenset(args.extra),
    )


def describe_folder(plan: Plan, folder: Path) -> Iterator[str]:
    """One line about what was written."""
    from modelpad.deploy.folder import measure_content

    size = sum(measure_content(content) for content in plan.files.values())
    yield f"Wrote {len(plan.files)} files, {size / 1e6:.1f} MB, to {folder}."


def show_files(plan: Plan, folder: Path) -> Iterator[str]:
    """Each file with its size, and the text of those that are written for this deployment."""
    from modelpad.deploy.folder import measure_content

    yield f"Would write to {folder}:"
    for name, content in plan.files.items():
        yield f"  {measure_content(content):>10,}  {name}"
    for name, content in plan.files.items():
        if isinstance(content, bytes) and len(content) <= SHOWN_BYTES:
            yield f"\n--- {name}"
            yield content.decode("utf-8").rstrip("\n")
    yield ""


def describe_next(plan: Plan, folder: Path) -> Iterator[str]:
    """The commands to type."""
    yield "Next:"
    yield f"  cd {folder}"
    yield from (f"  {command}" for command in plan.commands)
    yield from plan.notes


def describe_plan(
    plan: Plan, deployment: Deployment, target: str, folder: Path
) -> dict[str, object]:
    """The same as JSON."""
    from modelpad.deploy.folder import measure_content

    return {
        "target": target,
        "folder": str(folder),
        "name": deployment.name,
        "models": {model.name: model.version for model in deployment.models},
        "files": {name: measure_content(content) for name, content in plan.files.items()},
        "commands": list(plan.commands),
        "notes": list(plan.notes),
    }
