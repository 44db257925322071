"""Models of 100 and 440 MB: memory across workers, throughput against the bare session, latency.

    python bench/big_models.py --table

The graphs are those of `big_graphs.py`: as large as ResNet-50 and BERT-base, with random weights.
For each it measures:

- **alone**: ONNX Runtime in this process, without a server: items per second for threads per batch,
  batches at once, and batch sizes. The best is what servers are compared with.
- **servers**: `modelpad serve` as it chooses by itself and with two workers, with and without
  shared weights, and Triton if its environment is there (`--environments`, as in serving.py). Each
  gets the same bytes, in the Open Inference Protocol with binary tensors. Throughput is that of a
  closed loop; p50 and p99 are those of an open loop at 80 % of it, and of one connection.
- **memory**: PSS of the process tree, which counts shared memory once, and the private memory of
  each process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from big_graphs import write_bert, write_resnet
from modelpad.bundle import Manifest, write_bundle
from modelpad.client.load import Load, run_load, write_request
from modelpad.fields import Signature, Tensor
from modelpad.runtime import load_onnxruntime
from open_loop import OpenLoop
from processes import Server, exit_on_sigterm, skip_ended

PORT = 8476
CPUS = len(os.sched_getaffinity(0))
CONNECTIONS = 8
CONNECTIONS_AT_RATE = 16  # of the open loop: with more, servers close those that are rarely used
SHARE = 0.8  # of the capacity, for latencies under load
MIN_RUNS = 2
PEERS_FOLDER = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Model:
    """A graph, and its signature."""

    write: Callable[[Path], None]
    signature: Signature


TOKENS = tuple(Tensor(name, "int64", (128,)) for name in ("input_ids", "attention_mask"))
MODELS = {
    "resnet": Model(
        write_resnet,
        Signature(
            (Tensor("image", "float32", (3, 224, 224)),), (Tensor("label", "float32", (1000,)),)
        ),
    ),
    "bert": Model(write_bert, Signature(TOKENS, (Tensor("pooled", "float32", (768,)),))),
}


def write_model(name: str, folder: Path) -> Path:
    """A bundle of the model in `folder`."""
    graph = folder / f"{name}.onnx"
    MODELS[name].write(graph)
    manifest = Manifest(name, "benchmark", MODELS[name].signature, name)
    write_bundle(folder / name, manifest, {"model.onnx": graph})
    graph.unlink()
    return folder / name


def make_items(name: str, count: int) -> dict[str, Any]:
    """Random inputs for so many items."""
    random = np.random.default_rng(1)
    if name == "resnet":
        return {"image": random.random((count, 3, 224, 224), np.float32)}
    ids = random.integers(0, 30_000, (count, 128))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def make_request(name: str) -> bytes:
    """A request of one item, with binary tensors and a binary response."""
    types = {"float32": "FP32", "int64": "INT64"}
    inputs, parts = [], []
    for tensor, array in make_items(name, 1).items():
        parts.append(array.tobytes())
        size = {"binary_data_size": len(parts[-1])}
        kind = types[str(array.dtype)]
        inputs.append({"name": tensor, "shape": array.shape, "datatype": kind, "parameters": size})
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    body = head + b"".join(parts)
    kind = "application/octet-stream"
    return write_request("127.0.0.1", f"/v2/models/{name}/infer", body, kind, headers)


# ONNX Runtime alone.


def measure_alone(name: str, graph: Path, seconds: float) -> list[dict[str, float]]:
    """Items per second by threads per batch, batches at once, and batch size."""
    rows = []
    for threads, at_once in sorted({(1, CPUS), (CPUS, 1), (CPUS, CPUS)}):
        session = open_alone(graph, threads)
        for size in (1, 2, 4):
            rate, p50_ms = run_alone(session, make_items(name, size), at_once, seconds)
            row = {"threads": threads, "at_once": at_once, "batch": size}
            rows.append(row | {"items_per_s": round(rate * size, 2), "p50_ms": round(p50_ms, 1)})
            print(f"  {rows[-1]}", file=sys.stderr, flush=True)
        del session
    return rows


def open_alone(graph: Path, threads: int) -> Any:
    """A session as ONNX Runtime makes it, but for the threads and for spinning."""
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_alone(session: Any, items: Any, at_once: int, seconds: float) -> tuple[float, float]:
    """Batches per second of so many threads that run one after the other; their median time."""
    session.run(None, items)
    end = time.perf_counter() + seconds

    def work(_: int) -> list[float]:
        times: list[float] = []
        while time.perf_counter() < end or len(times) < MIN_RUNS:
            begin = time.perf_counter()
            session.run(None, items)
            times.append(time.perf_counter() - begin)
        return times

    begin = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        times = [each for worker in pool.map(work, range(at_once)) for each in worker]
    return len(times) / (time.perf_counter() - begin), 1000 * float(np.median(times))


# Servers.


def list_servers(name: str, bundle: Path, environments: Path) -> dict[str, tuple[list[str], Any]]:
    """The command and the environment of each server."""
    serve = f"-m modelpad serve {bundle} --port {PORT} --no-open --poll-interval 0".split()
    own = [sys.executable, *serve]
    cache = {"MODELPAD_CACHE": str(bundle.parent / "cache"), "MODELPAD_STORE": "/nonexistent"}
    graph = {"MODEL": str(bundle / "model.onnx"), "PYTHONPATH": "", "PYTRITON_NO_TENSORSTORE": "1"}
    triton = [str(environments / "triton" / "bin" / "python"), "triton_graph.py", name, str(PORT)]
    return {
        "modelpad": (own, cache),
        "modelpad, 2 workers": ([*own, "--workers", "2"], cache),
        "modelpad, 2 workers, not shared": (
            [*own, "--workers", "2", "--min-shared-mb", "0"],
            cache,
        ),
        f"Triton, {CPUS} workers": ([*triton, str(CPUS), "1"], graph),
        f"Triton, {CPUS} threads": ([*triton, "1", str(CPUS)], graph),
    }


def measure_server(
    command: list[str], environment: dict[str, str], request: bytes, seconds: float
) -> dict[str, Any]:
    """All results of one server. Raises `RuntimeError` if it does not start."""
    begin = time.perf_counter()
    with Server(command, PEERS_FOLDER, environment) as server:
        server.wait_for_answer(PORT, request, 300)
        start_s = time.perf_counter() - begin
        load(request, CONNECTIONS, 2.0)
        time.sleep(4)  # modelpad measures batch sizes when it is idle
        full = load(request, CONNECTIONS, seconds)
        one = load(request, 1, seconds / 2)
        rate = SHARE * full.answers_per_s
        busy = Load()
        asyncio.run(OpenLoop(PORT, request, rate, busy).run(CONNECTIONS_AT_RATE, 2 * seconds))
        return {
            "start_s": round(start_s, 1),
            "items_per_s": round(full.answers_per_s, 2),
            "failed": full.failed + one.failed + busy.failed,
            "one_ms": [round(one.percentile_ms(share), 1) for share in (0.5, 0.99)],
            "busy_ms": [round(busy.percentile_ms(share), 1) for share in (0.5, 0.99)],
            **measure_memory(server),
        }


def load(request: bytes, connections: int, seconds: float) -> Load:
    """A closed loop of so many connections."""
    return asyncio.run(
        run_load("127.0.0.1", PORT, request, connections=connections, seconds=seconds)
    )


def measure_memory(server: Server) -> dict[str, Any]:
    """PSS of the tree, and each process's own memory, in MB; the largest process first."""
    own = sorted((each.memory_full_info().uss for each in skip_ended(server.tree())), reverse=True)
    return {
        "pss_mb": round(server.memory_bytes() / 1e6),
        "own_mb": [round(size / 1e6) for size in own],
    }


# Results.


def measure(name: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model."""
    bundle = write_model(name, folder)
    alone = [] if args.no_alone else measure_alone(name, bundle / "model.onnx", args.seconds / 2)
    rows: dict[str, Any] = {}
    for server, (command, environment) in list_servers(
        name, bundle, Path(args.environments).absolute()
    ).items():
        if args.servers and not server.startswith(tuple(args.servers)):
            continue
        if not Path(command[0]).exists():
            print(f"  {server}: not installed; see serving.py --setup", file=sys.stderr)
            continue
        try:
            request = make_request(name)
            rows[server] = measure_server(command, environment, request, args.seconds)
        except (RuntimeError, OSError, HTTPException, subprocess.SubprocessError) as error:
            print(f"  {server}: {error}", file=sys.stderr)
            continue
        print(f"  {server}: {rows[server]}", file=sys.stderr, flush=True)
    return {"alone": alone, "servers": rows}


def write_tables(results: dict[str, Any]) -> str:
    """Markdown tables."""
    lines = [
        "| model | server | items/s | of the best session's time per item | p50 / p99 ms, one"
        " connection | p50 / p99 ms at 80 % | PSS, MB | own memory of processes, MB | start, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in results.items():
        best = max((row["items_per_s"] for row in result["alone"]), default=float("nan"))
        for server, row in result["servers"].items():
            one, busy = ((f"{low:g} / {high:g}") for low, high in (row["one_ms"], row["busy_ms"]))
            own = ", ".join(map(str, row["own_mb"]))
            failed = f" ({row['failed']} failed)" if row["failed"] else ""
            ratio = best / row["items_per_s"]
            lines.append(
                f"| {name} | {server} | {row['items_per_s']:g}{failed} | {ratio:.2f} | {one} |"
                f" {busy} | {row['pss_mb']} | {own} | {row['start_s']:g} |"
            )
    lines += ["", "| model | threads | batches at once | batch | items/s | p50 ms of a batch |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for name, result in results.items():
        lines += [f"| {name} | {' | '.join(map(str, row.values()))} |" for row in result["alone"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help=f"models to measure (all): {', '.join(MODELS)}")
    parser.add_argument("--servers", nargs="*", help="measure those whose name begins so (all)")
    parser.add_argument("--no-alone", action="store_true", help="leave out ONNX Runtime alone")
    parser.add_argument(
        "--environments", default=".venv-peers", help="folder of the environments (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="duration of each load (%(default)s)"
    )
    parser.add_argument("--table", action="store_true", help="print Markdown instead of JSON")
    args = parser.parse_args()
    if unknown := set(args.models) - set(MODELS):
        parser.error(f"unknown model: {', '.join(sorted(unknown))}")
    exit_on_sigterm()
    results = {}
    for name in args.models or MODELS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(name, Path(folder), args)
    print(write_tables(results) if args.table else json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
