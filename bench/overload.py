"""A server that is asked far more than it can answer, and one whose versions change all the time.

`overload`: capacity is measured with 64 connections; then 600 ask for a minute without a pause,
each again at once when it is refused. Goodput is what is answered then, as a share of capacity; the
load generator takes its part of the same cores. `swaps`: a thousand promotions and traffic
changes while 16 connections ask; every answer must be whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from modelpad.bundle import open_bundle
from modelpad.cli.bench import start_server
from modelpad.client.load import Load, run_load, write_request
from modelpad.store import LocalStore
from modelpad.zoo import zoo_bundles

DIGITS = zoo_bundles()["digits"]
PICTURE = (DIGITS / "samples" / "7.png").read_bytes()
REQUEST = write_request("127.0.0.1", "/predict/digits", PICTURE, "image/png")
SWAPS = 1000


def load(port: int, connections: int, seconds: float) -> Load:
    work = run_load("127.0.0.1", port, REQUEST, connections=connections, seconds=seconds)
    return asyncio.run(work)


def overload(seconds: float) -> dict[str, Any]:
    process, port = start_server("digits", "--poll", "0", quiet=True)
    tree = psutil.Process(process.pid)
    load(port, 64, 1)
    capacity = load(port, 64, 5).answers_per_s
    before = tree.memory_full_info().pss
    done = load(port, 600, seconds)
    grown = tree.memory_full_info().pss - before
    process.terminate()
    process.wait()
    return {
        "capacity_per_s": round(capacity),
        "goodput_per_s": round(done.answers_per_s),
        "share": round(done.answers_per_s / capacity, 3),
        "refused_per_s": round(done.statuses[429] / done.seconds),
        "p99_ms": round(done.percentile_ms(0.99), 1),
        "other": {str(k): n for k, n in done.statuses.items() if k not in (200, 429)},
        "broken": done.broken,
        "memory_grown_mb": round(grown / 1e6, 1),
    }


def swaps(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "store")
        for _ in range(3):
            store.push(open_bundle(DIGITS))
        options = ("--poll", "0.01", "--keep", "3", "--store", str(store.root))
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
            done = load(port, 16, 5)
            statuses += done.statuses
            broken += done.broken
        thread.join()
        process.terminate()
        process.wait()
    told = {str(status): number for status, number in statuses.items()}
    return {"changes": dict(changes), "answers": told, "broken": broken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of overload (%(default)s)")
    args = parser.parse_args()
    print(json.dumps({"overload": overload(args.seconds)}), flush=True)
    print(json.dumps({"swaps": swaps(SWAPS)}))


if __name__ == "__main__":
    main()
