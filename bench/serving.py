"""modelpad against other servers: the same graph, load generator, bodies and machine, in one run.

Each peer runs in its own environment, FOLDER/NAME (`--environments`). To create them all:

    python bench/serving.py --setup | sh

`peer.py` lists what each installs and how it is tuned. A peer without an environment, or that does
not start, is skipped with a message. Before it is measured, each server must classify the ten
digits that ship with modelpad correctly, in every kind of body that it accepts.

For each server and body this measures responses per second, p50 and p99 at 1, 16 and 64
connections, CPU seconds of the process tree per 1,000 responses, memory (PSS), and the time from
start to first response. `--table` prints the tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelpad.bundle import open_bundle
from modelpad.client.load import run_load, write_request
from modelpad.engine import Session, find_best_batch
from modelpad.zoo import zoo_bundles
from peer import PEERS, V2, Peer, environment_of, read_version, write_setup
from processes import Server, exit_on_sigterm

GRAPH = zoo_bundles()["digits"] / "model.onnx"
PORT = 8475
WARM_S = 1.0
CONNECTIONS = (1, 16, 64)
ENVIRONMENTS = ".venv-peers"


def make_bodies(digit: int = 7) -> dict[str, tuple[bytes, str]]:
    """Request bodies with a picture of `digit`, by name, each with its content type."""
    picture = Image.open(zoo_bundles()["digits"] / "samples" / f"{digit}.png").convert("L")
    pixels = np.asarray(picture.resize((28, 28)), np.float32)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    nested = json.dumps({"image": pixels.astype(int).tolist()}).encode()
    rows = json.dumps({"instances": [pixels.tolist()]}).encode()
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "FP32"}
    flat = json.dumps({"inputs": [tensor | {"data": pixels.reshape(-1).tolist()}]}).encode()
    return {
        "raw float32": (pixels.tobytes(), "application/octet-stream"),
        "TensorFlow rows": (rows, "application/json"),
        "nested JSON": (nested, "application/json"),
        "flat v2 JSON": (flat, "application/json"),
        "PNG": (file.getvalue(), "image/png"),
    }


def make_headers(body: str, path: str) -> dict[str, str]:
    """For protocol v2, the header that says that the body is raw bytes without JSON."""
    return {"inference-header-content-length": "0"} if (body, path) == ("raw float32", V2) else {}


def check_predictions(peer: Peer) -> None:
    """Sends all ten digits in every kind of body. Raises `RuntimeError` for a wrong label."""
    for digit in range(10):
        bodies = make_bodies(digit)
        for body, path in peer.paths.items():
            content, kind = bodies[body]
            label = predict_label(path, content, {"content-type": kind} | make_headers(body, path))
            if label != str(digit):
                raise RuntimeError(f"{body}: a {digit} was classified as {label}")


def predict_label(path: str, content: bytes, headers: dict[str, str]) -> str:
    """The predicted label, from modelpad's or a peer's JSON, v2 JSON or v2 binary tensors."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.request("POST", path, content, headers)
        answer = connection.getresponse()
        result = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} returned {answer.status}: {result[:200]!r}")
    if size := answer.headers["inference-header-content-length"]:
        return str(np.frombuffer(result[int(size) :], np.float32).argmax())
    values = json.loads(result)
    if "predictions" in values:
        return str(np.argmax(values["predictions"][0]))
    if "outputs" in values:
        return str(np.argmax(values["outputs"][0]["data"]))
    return str(values["label"])


def measure(name: str, peer: Peer, environments: Path, seconds: float) -> dict[str, Any]:
    """All results for one server. Raises `RuntimeError` if it cannot be measured."""
    programs = environment_of(name, peer, environments)
    words = peer.command.format(port=PORT, model="digits").split()
    if not (programs / words[0]).exists():
        raise RuntimeError("not installed; see --setup")
    version = read_version(programs, peer.distribution)
    environment = {
        "MODEL": str(GRAPH),
        "MODELPAD_STORE": "/nonexistent",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    if peer.packages:
        environment["PYTHONPATH"] = ""
    bodies = make_bodies()
    requests = {
        body: write_request("127.0.0.1", path, *bodies[body], make_headers(body, path))
        for body, path in peer.paths.items()
    }
    begin = time.perf_counter()
    with Server(
        [str(programs / words[0]), *words[1:]], peer.folder, environment | peer.environment
    ) as server:
        server.wait_for_answer(PORT, next(iter(requests.values())), peer.patience_s)
        cold_start_s = time.perf_counter() - begin
        check_predictions(peer)
        return {
            "version": version,
            "settings": asdict(peer.settings),
            "cold_start_s": round(cold_start_s, 2),
            "bodies": {
                body: measure_body(server, each, seconds) for body, each in requests.items()
            },
            "memory_mb": round(server.memory_bytes() / 1e6),
        }


def measure_body(server: Server, request: bytes, seconds: float) -> dict[str, Any]:
    """The results for one kind of body, by the number of connections."""

    def load(connections: int, duration: float) -> Any:
        return asyncio.run(
            run_load("127.0.0.1", PORT, request, connections=connections, seconds=duration)
        )

    load(16, WARM_S)
    result: dict[str, Any] = {}
    for connections in CONNECTIONS:
        before = server.cpu_seconds()
        done = load(connections, seconds)
        used = server.cpu_seconds() - before
        answers = done.statuses[200]
        result[str(connections)] = {
            "answers_per_s": round(done.answers_per_s),
            "p50_ms": round(done.percentile_ms(0.5), 2),
            "p99_ms": round(done.percentile_ms(0.99), 2),
            "cpu_s_per_1000": round(1000 * used / max(1, answers), 3),
            "failed": sum(done.statuses.values()) - answers + done.broken,
        }
    return result


def measure_session() -> dict[str, float]:
    """CPU seconds of the bare session per 1,000 items: one by one, and at the best batch size."""
    session = Session(open_bundle(zoo_bundles()["digits"]))
    sample = {"image": np.zeros((1, 28, 28), np.float32)}
    best, costs = find_best_batch(session, sample, budget_s=2)
    result = {"alone": costs[1], f"batch {best.max_batch_size}": costs[best.max_batch_size]}
    return {name: round(1000 * cost, 3) for name, cost in result.items()}


def write_table(rows: dict[str, Any]) -> str:
    """A Markdown table: results at 64 connections, and latency at one."""
    lines = [
        "| server | body | responses/s | CPU s per 1,000 | p50 / p99 ms at 1 | memory, MB |"
        " cold start, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        for body, result in row["bodies"].items():
            many, one = result["64"], result["1"]
            failed = f" ({many['failed']} failed)" if many["failed"] else ""
            lines.append(
                f"| {name} | {body} | {many['answers_per_s']:,}{failed} |"
                f" {many['cpu_s_per_1000']:.2f} | {one['p50_ms']:.2f} / {one['p99_ms']:.2f} |"
                f" {row['memory_mb']} | {row['cold_start_s']:.2f} |"
            )
    return "\n".join(lines)


def write_settings(rows: dict[str, Any]) -> str:
    """A Markdown table of how each server was tuned."""
    lines = [
        "| server | version | workers | batch | loop | JSON | notes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        lines.append(f"| {' | '.join([name, row['version'], *row['settings'].values()])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peers", nargs="*", help=f"servers to measure (all): {', '.join(PEERS)}")
    parser.add_argument(
        "--environments", default=ENVIRONMENTS, help="folder of the environments (%(default)s)"
    )
    parser.add_argument(
        "--setup", action="store_true", help="print the commands that create the environments"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="duration of each load (%(default)s)"
    )
    parser.add_argument(
        "--table", action="store_true", help="print Markdown tables instead of JSON"
    )
    args = parser.parse_args()
    environments = Path(args.environments)
    if args.setup:
        print(write_setup(environments))
        return
    if unknown := set(args.peers) - set(PEERS):
        parser.error(f"unknown peer: {', '.join(sorted(unknown))}; choose from {', '.join(PEERS)}")
    exit_on_sigterm()
    rows: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name in args.peers or PEERS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows[name] = measure(name, PEERS[name], environments, args.seconds)
        except (RuntimeError, OSError, HTTPException, subprocess.CalledProcessError) as error:
            left_out[name] = str(error)
            print(f"  skipped: {error}", file=sys.stderr)
    if args.table:
        print(write_table(rows), write_settings(rows), sep="\n\n")
        print(f"\nBare session: {measure_session()} CPU s per 1,000.")
    else:
        result = {"servers": rows, "left_out": left_out, "session": measure_session()}
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
