"""modelpad against other servers: the same graph, load generator, bodies and machine, in one run.

Peers live in an environment of their own (`--python`), made by: pip install onnxruntime numpy
pillow fastapi uvicorn httptools uvloop flask gunicorn granian litserve mosec orjson

For each server and body: answers a second, p50 and p99 at 1, 16 and 64 connections, processor
seconds of the whole process tree per 1,000 answers, memory (PSS), and the time from start to first
answer. `--table` prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from modelpad.bundle import open_bundle
from modelpad.client.load import run_load, write_request
from modelpad.engine import Session, find_best_batch
from modelpad.zoo import zoo_bundles

FOLDER = Path(__file__).parent / "peers"
GRAPH = zoo_bundles()["digits"] / "model.onnx"
PORT = 8475
WARM_S = 1.0
CONNECTIONS = (1, 16, 64)
LOOPS = "--loop uvloop --http httptools --no-access-log --log-level error"
# Settings: two workers for each peer, on two cores.
PEERS = {
    "modelpad": "modelpad serve digits --no-open --poll 0 --port {port}",
    "granian, by hand, 2 workers": "granian --interface rsgi --workers 2 --no-ws --no-log"
    " --port {port} granian_app:app",
    "FastAPI, uvicorn, 2 workers": "uvicorn fastapi_app:app --workers 2 --port {port} " + LOOPS,
    "Flask, gunicorn, 2 workers": "gunicorn -w 2 --threads 2 -b 127.0.0.1:{port} flask_app:app",
    "mosec, batches of 16, 2 workers": "python mosec_app.py --port {port}",
    "LitServe, batches of 16, 2 workers": "python litserve_app.py {port}",
}


def make_bodies() -> dict[str, tuple[str, bytes, str]]:
    """Path at modelpad, body and content type, by name; at peers the path is `/predict`."""
    picture = Image.open(zoo_bundles()["digits"] / "samples" / "7.png").convert("L")
    pixels = np.asarray(picture.resize((28, 28)), np.float32)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    nested = json.dumps({"image": pixels.astype(int).tolist()}).encode()
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "FP32"}
    flat = json.dumps({"inputs": [tensor | {"data": pixels.reshape(-1).tolist()}]}).encode()
    octets = "application/octet-stream"
    return {
        "raw float32": ("/v2/models/digits/infer", pixels.tobytes(), octets),
        "nested JSON": ("/predict/digits", nested, "application/json"),
        "flat v2 JSON": ("/v2/models/digits/infer", flat, "application/json"),
        "PNG": ("/predict/digits", file.getvalue(), "image/png"),
    }


def wait_for_port(process: subprocess.Popen[bytes], request: bytes) -> None:
    """Until the server answers one request with 200."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError("the server stopped")
        try:
            with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
                connection.sendall(request)
                if connection.recv(4096)[9:12] == b"200":
                    return
        except OSError:
            pass
        time.sleep(0.005)
    raise RuntimeError("no answer within a minute")


def list_tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in list_tree(process))


def measure(
    name: str, words: str, python: Path, seconds: float, *, own: bool = False
) -> dict[str, Any]:
    """All figures of one server; `own` speaks modelpad's API."""
    own = own or name == "modelpad"
    command = words.format(port=PORT).split()
    folder = Path(sys.executable).parent if own else python.parent
    command[0] = str(folder / command[0])
    environment = os.environ | {"MODEL": str(GRAPH), "MODELPAD_STORE": "/nonexistent"}
    requests = {}
    for body, (path, content, kind) in make_bodies().items():
        if body == "flat v2 JSON" and not own:
            continue  # these peers speak no v2: their JSON is the nested one
        raw = own and body == "raw float32"
        headers = {"inference-header-content-length": "0"} if raw else {}
        target = path if own else ("/inference" if "mosec" in name else "/predict")
        requests[body] = write_request("127.0.0.1", target, content, kind, headers)
    begin = time.perf_counter()
    log = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=FOLDER, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        wait_for_port(process, next(iter(requests.values())))
        row: dict[str, Any] = {"cold_start_s": round(time.perf_counter() - begin, 2)}
        for body, request in requests.items():
            row[body] = measure_body(process, request, seconds)
        memory = sum(each.memory_full_info().pss for each in list_tree(process))
        row["memory_mb"] = round(memory / 1e6)
        return row
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)


def measure_body(
    process: subprocess.Popen[bytes], request: bytes, seconds: float
) -> dict[str, Any]:
    def load(connections: int, duration: float) -> Any:
        return asyncio.run(
            run_load("127.0.0.1", PORT, request, connections=connections, seconds=duration)
        )

    load(16, WARM_S)
    told: dict[str, Any] = {}
    for connections in CONNECTIONS:
        before = cpu_seconds(process)
        done = load(connections, seconds)
        used = cpu_seconds(process) - before
        answers = done.statuses[200]
        told[str(connections)] = {
            "answers_per_s": round(done.answers_per_s),
            "p50_ms": round(done.percentile_ms(0.5), 2),
            "p99_ms": round(done.percentile_ms(0.99), 2),
            "cpu_s_per_1000": round(1000 * used / max(1, answers), 3),
            "failed": sum(done.statuses.values()) - answers + done.broken,
        }
    return told


def measure_floor() -> dict[str, float]:
    """Processor seconds of the bare session for 1,000 items: alone, and at its best batch."""
    session = Session(open_bundle(zoo_bundles()["digits"]))
    sample = {"image": np.zeros((1, 28, 28), np.float32)}
    best, costs = find_best_batch(session, sample, budget_s=2)
    told = {"alone": costs[1], f"batch {best.most}": costs[best.most]}
    return {name: round(1000 * cost, 3) for name, cost in told.items()}


def write_table(rows: dict[str, Any]) -> str:
    """The rows in Markdown: at 64 connections, and the latency at one."""
    lines = [
        "| server | body | answers/s | processor s per 1,000 | p50 / p99 ms at 1 | memory, MB |"
        " cold start, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        for body, told in row.items():
            if not isinstance(told, dict):
                continue
            many, one = told["64"], told["1"]
            failed = f" ({many['failed']} failed)" if many["failed"] else ""
            lines.append(
                f"| {name} | {body} | {many['answers_per_s']:,}{failed} |"
                f" {many['cpu_s_per_1000']:.2f} | {one['p50_ms']:.2f} / {one['p99_ms']:.2f} |"
                f" {row['memory_mb']} | {row['cold_start_s']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", default=list(PEERS), help="only these")
    parser.add_argument("--python", default=shutil.which("python"), help="the peers' Python")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--table", action="store_true", help="print the table, not JSON")
    args = parser.parse_args()
    rows: dict[str, Any] = {}
    for name in args.peers:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows[name] = measure(name, PEERS[name], Path(args.python), args.seconds)
        except RuntimeError as error:
            print(f"  left out: {error}", file=sys.stderr)
    if args.table:
        print(write_table(rows))
        print(f"\nThe bare session: {measure_floor()} processor s per 1,000.")
    else:
        print(json.dumps({"servers": rows, "session": measure_floor()}, indent=1))


if __name__ == "__main__":
    main()
