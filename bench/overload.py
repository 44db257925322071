"""A server under heavy overload, and one whose versions change constantly.

Capacity is the throughput at 64 connections; goodput is the rate of successful responses under
overload, also given as a share of capacity. The load generator runs on the same cores, so
`share_of_rest` is goodput as a share of what the remaining CPU time could serve.

`dear` and `middling`: models that take about 20 and 5 ms get ten times their capacity, as an open
loop. `digits`: 600 connections use a model that takes a sixth of a millisecond, and retry at once
when rejected. `swaps`: a thousand promotions and traffic changes while 16 connections send
requests; none may fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from modelpad.bundle import Manifest, open_bundle, write_bundle
from modelpad.cli.bench import start_server
from modelpad.client.load import Load, run_load, write_request
from modelpad.engine import allotted_cpus
from modelpad.fields import Score, Signature, Tensor
from modelpad.store import LocalStore
from modelpad.zoo import zoo_bundles
from open_loop import OpenLoop

DIGITS = zoo_bundles()["digits"]
PICTURE = (DIGITS / "samples" / "7.png").read_bytes()
DIGITS_REQUEST = write_request("127.0.0.1", "/predict/digits", PICTURE, "image/png")
SIDE = 16
TILES = {"dear": 6, "middling": 3}
ZEROS = bytes(4 * SIDE * SIDE)
HEAVY_REQUEST = write_request(
    "127.0.0.1", "/v2/models/heavy/infer", ZEROS, "", {"inference-header-content-length": "0"}
)
SWAPS = 1000
CONNECTIONS = 400


def load(port: int, request: bytes, connections: int, seconds: float) -> Load:
    work = run_load("127.0.0.1", port, request, connections=connections, seconds=seconds)
    return asyncio.run(work)


def write_heavy(folder: Path, tiles: int) -> Path:
    """A bundle with five random convolutions over `tiles` x `tiles` copies of a small picture."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    repeats = np.array([1, 1, tiles, tiles], np.int64)
    nodes = [helper.make_node("Tile", ["image", "repeats"], ["wall"])]
    weights, last = [numpy_helper.from_array(repeats, "repeats")], "wall"
    for number, (taken, given) in enumerate([(1, 64), (64, 64), (64, 64), (64, 64), (64, 1)]):
        kernel = rng.normal(0, 0.05, (given, taken, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        nodes.append(
            helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1])
        )
        last = f"c{number}"
    nodes.append(helper.make_node("ReduceMean", [last], ["score"], axes=[1, 2, 3], keepdims=0))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "heavy",
        [value("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [value("score", TensorProto.FLOAT, ["batch"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    fields = Signature((Tensor("image", "float32", (1, SIDE, SIDE)),), (Score("score"),))
    manifest = Manifest(name="heavy", task="bench", title="Heavy", signature=fields)
    write_bundle(folder / "heavy", manifest, {"model.onnx": model.SerializeToString()})
    return folder / "heavy"


def offer(port: int, request: bytes, rate_per_s: float, seconds: float) -> Load:
    """Sends requests at a fixed rate, however they are answered."""
    source = OpenLoop(port, request, rate_per_s, Load())
    asyncio.run(source.run(CONNECTIONS, seconds))
    source.load.seconds = seconds
    return source.load


def measure(work: Callable[[], Load]) -> tuple[Load, float]:
    """The result of a load, and how many CPUs it left for the server."""
    begin, used = time.perf_counter(), time.process_time()
    done = work()
    took = (time.process_time() - used) / (time.perf_counter() - begin)
    return done, allotted_cpus() - took


def overload(model: str, request: bytes, seconds: float, *, open_loop: bool) -> dict[str, Any]:
    """`open_loop`: ten times the capacity at a fixed rate; else 600 connections that retry."""
    process, port = start_server(model, "--poll-interval", "0", quiet=True)
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]

    def weigh() -> float:
        return sum(float(each.memory_full_info().pss) for each in tree) / 1e6

    try:
        load(port, request, 64, 3)
        capacity, free = measure(lambda: load(port, request, 64, 8))
        before = weigh()
        if open_loop:
            done, left = measure(lambda: offer(port, request, 10 * capacity.answers_per_s, seconds))
        else:
            done, left = measure(lambda: load(port, request, 600, seconds))
        grown = weigh() - before
    finally:
        process.terminate()
        process.wait()
    offered = sum(done.statuses.values()) / done.seconds
    share = done.answers_per_s / capacity.answers_per_s
    return {
        "capacity_per_s": round(capacity.answers_per_s),
        "offered_per_s": round(offered),
        "goodput_per_s": round(done.answers_per_s),
        "share": round(share, 3),
        "processors_left": [round(free, 2), round(left, 2)],
        "share_of_rest": round(share * free / left, 3),
        "p99_ms": round(done.percentile_ms(0.99), 1),
        "other": {str(k): n for k, n in done.statuses.items() if k not in (200, 429)},
        "broken": done.broken,
        "memory_grown_mb": round(grown, 1),
    }


def swaps(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "store")
        for _ in range(3):
            store.push(open_bundle(DIGITS))
        options = ("--poll-interval", "0.01", "--keep-versions", "3", "--store", str(store.root))
        process, port = start_server("digits", *options, quiet=True)
        changes: Counter[str] = Counter()
        over = threading.Event()

        def change() -> None:
            for number in range(count):
                kind = ("promote", "traffic")[number % 2]
                if kind == "promote":
                    store.promote("digits", 1 + number // 2 % 3)
                else:
                    store.set_traffic("digits", {1: 20, 2: 30, 3: 50})
                changes[kind] += 1
                time.sleep(0.03)
            over.set()

        thread = threading.Thread(target=change)
        thread.start()
        statuses: Counter[int] = Counter()
        broken = 0
        while not over.is_set():
            done = load(port, DIGITS_REQUEST, 16, 5)
            statuses += done.statuses
            broken += done.broken
        thread.join()
        process.terminate()
        process.wait()
    result = {str(status): number for status, number in statuses.items()}
    return {"changes": dict(changes), "answers": result, "broken": broken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", nargs="*", default=[*TILES, "digits", "swaps"], help="which parts to run (all)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="duration of each overload (%(default)s)"
    )
    args = parser.parse_args()
    for what in args.what:
        if what in TILES:
            with tempfile.TemporaryDirectory() as folder:
                model = str(write_heavy(Path(folder), TILES[what]))
                result = overload(model, HEAVY_REQUEST, args.seconds, open_loop=True)
        elif what == "digits":
            result = overload("digits", DIGITS_REQUEST, args.seconds, open_loop=False)
        else:
            result = swaps(SWAPS)
        print(json.dumps({what: result}), flush=True)


if __name__ == "__main__":
    main()
