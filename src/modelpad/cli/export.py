"""`modelpad export MODEL --to FORMAT DIR`: writes a version for other tools, or as a page."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.deploy.web.check import Agreement
    from modelpad.deploy.web.export import PageExport

EXAMPLE = """examples:
  modelpad export digits --to onnx ./digits-onnx
  modelpad export digits@2 --to keras ./digits-keras
  modelpad export digits --to web ./digits-page
  modelpad export digits --to web digits.html --one-file
  modelpad export writer --to web ./writer-page
  modelpad export styles --to web ./styles-page --webgpu
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
        "folder",
        metavar="DIR",
        help="the folder to write to, which must be new or empty; the file, with --one-file",
    )
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "keras", "web"),
        help="onnx: the graph and its signature; keras: the Keras files, if the model has them;"
        " web: a page that runs the model in the browser, without a server",
    )
    parser.add_argument(
        "--one-file", action="store_true", help="web: one HTML file, which opens by double click"
    )
    parser.add_argument(
        "--webgpu",
        action="store_true",
        help="web: run on the visitor's graphics card where the browser can; adds 3 MB",
    )
    parser.add_argument(
        "--runtime",
        metavar="PATH",
        help="web: the npm package onnxruntime-web, or its folder (default: downloaded once)",
    )
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="web: do not compare the page's predictions with modelpad's in Chromium",
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files and prints their names."""
    from modelpad.convert.export import export_bundle

    if args.to == "web":
        return run_web(args)
    if args.one_file or args.webgpu or args.runtime or args.no_check:
        raise UsageError(
            "--one-file, --webgpu, --runtime and --no-check are for pages.", hint="Add --to web."
        )
    found = find_model(args.model, Settings.from_environment(args))
    written = export_bundle(found.bundle, args.to, Path(args.folder))
    if args.json:
        print(json.dumps({"name": found.name, "version": found.version, "files": _names(written)}))
        return DONE
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    return DONE


def run_web(args: argparse.Namespace) -> int:
    """Writes the page once its predictions agree with modelpad's, and prints how to open it."""
    from modelpad.deploy.web.export import check_export, check_target, plan_page
    from modelpad.deploy.web.runtime import load_runtime
    from modelpad.deploy.web.support import check_exportable
    from modelpad.training.data_progress import ProgressPrinter

    settings, target = Settings.from_environment(args), Path(args.folder)
    check_target(target, one_file=args.one_file)
    found = find_model(args.model, settings)
    check_exportable(found, webgpu=args.webgpu)
    given = Path(args.runtime) if args.runtime else None
    with ProgressPrinter(sys.stderr, live=sys.stderr.isatty() and not args.json) as progress:
        runtime = load_runtime(given, settings.cache, progress, webgpu=args.webgpu)
    export = plan_page(found, target, runtime, one_file=args.one_file)
    if not args.no_check:
        slow = ", which takes minutes for WebGPU" if args.webgpu else ""
        print(f"Comparing the page's predictions with modelpad's{slow}.", file=sys.stderr)
    agreements = [] if args.no_check else check_export(found, export)
    written = export.write()
    if args.json:
        checked = [asdict(each) for each in agreements]
        record = {"name": found.name, "version": found.version, "files": _names(written)}
        print(json.dumps({**record, "bytes": export.size, "checked": checked}))
        return DONE
    for line in describe_page(export, target, agreements, skipped=args.no_check):
        print(line)
    return DONE


def describe_page(
    export: PageExport, target: Path, agreements: Sequence[Agreement], *, skipped: bool
) -> Iterator[str]:
    """What was written, how well it agrees, and what to type next."""
    count = len(export.files)
    yield f"Wrote {target}: {export.size / 1e6:.1f} MB{f' in {count} files' if count > 1 else ''}."
    for each in agreements:
        yield (
            f"Checked in Chromium{' with WebGPU' if each.device == 'webgpu' else ''}:"
            f" {each.compared} predictions as modelpad's, largest difference {each.largest:.2g}."
        )
    if not agreements and not skipped:
        yield "Not checked: that needs Chromium and Playwright (pip install playwright)."
    yield "Next:"
    if count == 1:
        yield f"  open {target} in a browser, or send it to someone"
    else:
        yield f"  python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(target))}"
        yield "  open http://127.0.0.1:8000, or copy the folder to any host of static files"


def _names(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]
