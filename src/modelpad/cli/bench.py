"""`modelpad bench MODEL`: how many answers a second this machine gives, and how fast each."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import ModelpadError, UsageError

if TYPE_CHECKING:
    from modelpad.bundle import Bundle

EXAMPLE = """example:
  modelpad bench digits
  modelpad bench my_model.keras --seconds 10 --json
"""
CONNECTIONS = (1, 16, 64)
WARM_S = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "model", metavar="MODEL", help="NAME, NAME@VERSION, a bundle's folder or a model's file"
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="how long each load lasts (%(default)s)"
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serves the model in a process of its own, asks it its first sample, and prints a table."""
    if args.seconds <= 0:
        raise UsageError("--seconds must be above 0.", hint="For example: --seconds 3")
    settings = Settings.from_environment(args)
    found = find_model(args.model, settings)
    request = write_sample(found.bundle, found.name)
    process, port = start_server(args.model, "--poll-interval", "0", "--store", str(settings.store))
    try:
        rows = measure_loads(port, request, args.seconds)
    finally:
        process.terminate()
        process.wait(15)
    if args.json:
        print(json.dumps({"model": found.name, "version": found.version, "loads": rows}))
        return DONE
    print(f"{found.name} version {found.version}, its first sample, this machine also asks:")
    print(f"  {'at once':>8} {'answers/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7}")
    for row in rows:
        print(
            f"  {row['connections']:>8} {row['answers_per_s']:>10,} {row['p50_ms']:>8.2f}"
            f" {row['p99_ms']:>8.2f} {row['failed']:>7}"
        )
    return DONE


def measure_loads(port: int, request: bytes, seconds: float) -> list[dict[str, Any]]:
    """A row for each number of connections, each asking for `seconds`, once the server is warm."""
    import asyncio

    from modelpad.client.load import Load, run_load

    def ask(connections: int, lasting_s: float) -> Load:
        load = run_load("127.0.0.1", port, request, connections=connections, seconds=lasting_s)
        return asyncio.run(load)

    ask(8, WARM_S)
    rows = []
    for connections in CONNECTIONS:
        load = ask(connections, seconds)
        rows.append(
            {
                "connections": connections,
                "answers_per_s": round(load.answers_per_s),
                "p50_ms": round(load.percentile_ms(0.5), 2),
                "p99_ms": round(load.percentile_ms(0.99), 2),
                "failed": load.failed,
            }
        )
    return rows


def write_sample(bundle: Bundle, name: str) -> bytes:
    """A request with the bundle's first sample; a picture that is its only input goes as it is.

    Raises `ModelpadError` when it has none.
    """
    from modelpad.client.load import write_request
    from modelpad.client.values import encode_value

    if not bundle.manifest.samples:
        raise ModelpadError(f"{name} has no samples to ask.", hint="Import it again: --samples")
    inputs = bundle.manifest.samples[0].inputs
    kinds = {field.name: field.kind for field in bundle.manifest.signature.inputs}
    values: dict[str, Any] = {}
    for field, value in inputs.items():
        path = bundle.path(str(value["file"])) if "file" in value else None
        if path is not None and len(inputs) == 1:
            return write_request("127.0.0.1", f"/predict/{name}", path.read_bytes(), "image/png")
        values[field] = encode_value(path or value["value"], kinds[field])
    body = json.dumps(values).encode("utf-8")
    return write_request("127.0.0.1", f"/predict/{name}", body, "application/json")


def start_server(
    model: str, *options: str, quiet: bool = False
) -> tuple[subprocess.Popen[str], int]:
    """`modelpad serve` on any free port, and that port; what it logs is dropped when `quiet`.

    Raises `ModelpadError` when it stops.
    """
    command = [sys.executable, "-m", "modelpad", "serve", model, "--port", "0", "--no-open"]
    log = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"page\s+https?://[^:]+:(\d+)", line)
        if found:
            return process, int(found[1])
    raise ModelpadError(f"The server for {model} did not start.", hint="Try: modelpad serve")
