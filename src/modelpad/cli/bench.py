"""`modelpad bench MODEL`: throughput and latency of a served model on this machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.numbers import positive
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import ModelpadError

if TYPE_CHECKING:
    from modelpad.bundle import Bundle

EXAMPLE = """examples:
  modelpad bench digits
  modelpad bench my_model.keras --seconds 10 --json
"""
CONNECTIONS = (1, 16, 64)
WARM_UP_S = 0.5
WARM_UP_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What clients on so many connections measured, each sending one request after another."""

    connections: int
    answers_per_s: int
    p50_ms: float
    p99_ms: float
    failed: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "model", metavar="MODEL", help="NAME, NAME@VERSION, a bundle's folder or a model's file"
    )
    parser.add_argument(
        "--seconds",
        type=positive("--seconds", float),
        default=3.0,
        help="duration of each measurement (default: %(default)g)",
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Starts a server, sends it the model's first sample repeatedly, and prints a table."""
    settings = Settings.from_environment(args)
    found = find_model(args.model, settings)
    request = write_sample(found.bundle, found.name)
    process, port = start_server(args.model, "--poll-interval", "0", "--store", str(settings.store))
    try:
        results = list(measure_loads(port, request, args.seconds))
    finally:
        process.terminate()
        process.wait(15)
    if args.json:
        loads = [asdict(result) for result in results]
        print(json.dumps({"model": found.name, "version": found.version, "loads": loads}))
        return DONE
    print(f"{found.name} version {found.version}, first sample; the clients share this machine:")
    for line in format_table(results):
        print(line)
    return DONE


def format_table(results: list[LoadResult]) -> Iterator[str]:
    """A line for each load, under a header."""
    yield f"  {'clients':>8} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7}"
    for each in results:
        yield (
            f"  {each.connections:>8} {each.answers_per_s:>10,} {each.p50_ms:>8.2f}"
            f" {each.p99_ms:>8.2f} {each.failed:>7}"
        )


def measure_loads(port: int, request: bytes, seconds: float) -> Iterator[LoadResult]:
    """The result of each number of connections, measured for `seconds` after a warm-up."""
    from modelpad.client.load import Load, run_load

    def measure(connections: int, lasting_s: float) -> Load:
        load = run_load("127.0.0.1", port, request, connections=connections, seconds=lasting_s)
        return asyncio.run(load)

    measure(WARM_UP_CONNECTIONS, WARM_UP_S)
    for connections in CONNECTIONS:
        load = measure(connections, seconds)
        yield LoadResult(
            connections=connections,
            answers_per_s=round(load.answers_per_s),
            p50_ms=round(load.percentile_ms(0.5), 2),
            p99_ms=round(load.percentile_ms(0.99), 2),
            failed=load.failed,
        )


def write_sample(bundle: Bundle, name: str) -> bytes:
    """An HTTP request with the bundle's first sample; a single image is sent as the body.

    Raises `ModelpadError` when the bundle has no samples.
    """
    from modelpad.client.load import write_request
    from modelpad.client.values import encode_value

    if not bundle.manifest.samples:
        raise ModelpadError(
            f"{name} has no samples to send.", hint="Import it again with: --samples"
        )
    inputs = bundle.manifest.samples[0].inputs
    kinds = {field.name: field.kind for field in bundle.manifest.signature.inputs}
    values: dict[str, object] = {}
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
    """A `modelpad serve` process and its port; its log is discarded if `quiet`.

    Raises `ModelpadError` when it exits before it is ready.
    """
    command = [sys.executable, "-P", "-m", "modelpad", "serve", model, "--port", "0", "--no-open"]
    log = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"page\s+https?://[^:]+:(\d+)", line)
        if found:
            return process, int(found[1])
    raise ModelpadError(
        f"The server for {model} did not start.",
        hint=f"See why with: modelpad serve {model}",
    )
