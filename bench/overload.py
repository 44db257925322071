"""A server under heavy overload, and one whose versions change constantly.

Capacity is the throughput at 64 connections; goodput is the rate of successful responses under
overload, also given as a share of capacity. `share_of_cpu` compares successful responses for each
second of the server's CPU time, which other processes on the machine hardly change. With `--pin`,
the load generator has the machine's last CPU for itself, and the server has the others.

`dear` and `middling`: models that take about 20 and 5 ms get ten times their capacity, as an open
loop over 400 connections; what is due while all of them wait is dropped. `digits`: 600 connections
use a model that takes a sixth of a millisecond, and retry at once when rejected. `swaps`: a
thousand promotions and traffic changes while 16 connections send requests; none may fail.

usage: python bench/overload.py [dear] [middling] [digits] [swaps] [--seconds 60] [--pin]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from digit_load import DIGITS, REQUEST, send
from modelpad.bundle import Manifest, open_bundle, write_bundle
from modelpad.cli.bench import start_server
from modelpad.client.load import Load, write_request
from modelpad.fields import Score, Signature, Tensor
from modelpad.store import LocalStore
from open_loop import OpenLoop
from processes import list_tree, measure_memory

SIDE = 16
TILES = {"dear": 6, "middling": 3}
ZEROS = bytes(4 * SIDE * SIDE)
HEAVY_REQUEST = write_request(
    "127.0.0.1", "/v2/models/heavy/infer", ZEROS, "", {"inference-header-content-length": "0"}
)
SWAPS = 1000
CONNECTIONS = 400


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
    """Sends requests at a fixed rate, as far as there are connections free."""
    source = OpenLoop(port, request, rate_per_s, Load(), drops=True)
    begin = time.perf_counter()
    asyncio.run(source.run(CONNECTIONS, seconds))
    source.load.seconds = time.perf_counter() - begin  # until the queue is empty
    return source.load


def start_pinned(model: str, *, pin: bool) -> tuple[subprocess.Popen[str], int]:
    """A server and its port; with `pin`, this process then leaves the server's CPUs to it."""
    cpus = os.sched_getaffinity(0)
    if pin:
        os.sched_setaffinity(0, cpus - {max(cpus)})
    try:
        return start_server(model, "--poll-interval", "0", quiet=True)
    finally:
        os.sched_setaffinity(0, {max(cpus)} if pin else cpus)


def overload(
    model: str, request: bytes, seconds: float, *, open_loop: bool, pin: bool
) -> dict[str, Any]:
    """`open_loop`: ten times the capacity at a fixed rate; else 600 connections that retry."""
    cpus = os.sched_getaffinity(0)
    process, port = start_pinned(model, pin=pin)
    tree = list_tree(process.pid)

    def measure(work: Callable[[], Load]) -> tuple[Load, float]:
        """The result of a load, and the seconds of CPU time that the server used for it."""
        used = sum(sum(each.cpu_times()[:2]) for each in tree)
        done = work()
        return done, sum(sum(each.cpu_times()[:2]) for each in tree) - used

    try:
        send(port, 64, 3, request)
        capacity, normal_s = measure(lambda: send(port, 64, 8, request))
        before = measure_memory(tree)
        if open_loop:
            rate = 10 * capacity.answers_per_s
            done, used_s = measure(lambda: offer(port, request, rate, seconds))
        else:
            done, used_s = measure(lambda: send(port, 600, seconds, request))
        grown = (measure_memory(tree) - before) / 1e6
    finally:
        process.terminate()
        process.wait()
        os.sched_setaffinity(0, cpus)
    answered = sum(done.statuses.values()) / done.seconds
    share = done.answers_per_s / capacity.answers_per_s
    share_of_cpu = done.statuses[200] / used_s / (capacity.statuses[200] / normal_s)
    return {
        "capacity_per_s": round(capacity.answers_per_s),
        "answered_per_s": round(answered),
        "goodput_per_s": round(done.answers_per_s),
        "share": round(share, 3),
        "share_of_cpu": round(share_of_cpu, 3),
        "cpus_used": [round(normal_s / capacity.seconds, 2), round(used_s / done.seconds, 2)],
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
            done = send(port, 16, 5)
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
    parser.add_argument(
        "--pin", action="store_true", help="the load generator has a CPU, the server the others"
    )
    args = parser.parse_args()
    for what in args.what:
        if what in TILES:
            with tempfile.TemporaryDirectory() as folder:
                model = str(write_heavy(Path(folder), TILES[what]))
                result = overload(model, HEAVY_REQUEST, args.seconds, open_loop=True, pin=args.pin)
        elif what == "digits":
            result = overload("digits", REQUEST, args.seconds, open_loop=False, pin=args.pin)
        else:
            result = swaps(SWAPS)
        print(json.dumps({what: result}), flush=True)


if __name__ == "__main__":
    main()
