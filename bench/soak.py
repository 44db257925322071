"""Soak test: `modelpad serve digits` for minutes at 80 % of its capacity, watching its memory.

Capacity is measured first, with 16 connections that send three kinds of body without a pause. Then
each kind is sent at 80 % of its rate, as an open loop (see `open_loop.py`). Every few seconds the
memory of the process tree is sampled, with p50 and p99 since the last sample. The slope is a least
squares fit through the memory after a warm-up, for PSS and for USS: PSS also changes when programs
that share libraries with the server start or exit; USS (private memory) does not.

usage: python bench/soak.py [--minutes 10] [--port 8477] [--every 5] [--warm-up 60] [--table]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.client.load import Load, run_load, write_request
from open_loop import OpenLoop
from peer import OWN_PATHS
from processes import Server, exit_on_sigterm
from serving import make_bodies, make_headers

CONNECTIONS = {"raw float32": 6, "nested JSON": 5, "PNG": 5}
SHARE = 0.8
BUNDLED = {"MODELPAD_STORE": "/nonexistent"}
CAPACITY_S = 5.0
WARM_S = 1.0


async def measure_capacity(
    port: int, requests: dict[str, bytes], seconds: float
) -> dict[str, float]:
    """Successful responses per second for each kind of body, all at the same time."""
    loads = await asyncio.gather(
        *(
            run_load("127.0.0.1", port, each, connections=CONNECTIONS[body], seconds=seconds)
            for body, each in requests.items()
        )
    )
    return {body: load.answers_per_s for body, load in zip(requests, loads, strict=True)}


async def soak(
    server: Server, sources: dict[str, OpenLoop], seconds: float, every_s: float
) -> tuple[list[dict[str, float]], Load, int]:
    """A sample every few seconds, the whole load, and how many requests got no response."""
    running = asyncio.gather(
        *(source.run(CONNECTIONS[body], seconds) for body, source in sources.items())
    )
    samples: list[dict[str, float]] = []
    total = Load()
    begin = last = time.perf_counter()
    while not running.done():
        await asyncio.wait([running], timeout=every_s)
        memory = await asyncio.to_thread(server.memory_bytes)
        private = await asyncio.to_thread(server.memory_bytes, "uss")
        load, now = next(iter(sources.values())).load, time.perf_counter()
        load.seconds, last = now - last, now
        fresh = Load()
        for source in sources.values():
            source.load = fresh
        samples.append(
            {
                "second": round(now - begin, 1),
                "pss_mb": round(memory / 1e6, 2),
                "uss_mb": round(private / 1e6, 2),
                "answers_per_s": round(load.answers_per_s),
                "p50_ms": round(load.percentile_ms(0.5), 2),
                "p99_ms": round(load.percentile_ms(0.99), 2),
            }
        )
        total.latencies_s += load.latencies_s
        total.statuses += load.statuses
        total.broken += load.broken
        total.seconds += load.seconds
    return samples, total, sum(await running)


def summarise_memory(
    samples: list[dict[str, float]], kind: str, warm_up_s: float
) -> dict[str, Any]:
    """MB at the start, after the warm-up and at the end; MB per hour after the warm-up."""
    later = [(each["second"], each[kind]) for each in samples if each["second"] > warm_up_s]
    result = {"first": samples[0][kind], "warm": None, "last": samples[-1][kind], "per_hour": None}
    if len(later) >= 3:
        seconds, memory = zip(*later, strict=True)
        result["warm"] = memory[0]
        result["per_hour"] = round(3600 * float(np.polyfit(seconds, memory, 1)[0]), 2)
    return result


def measure(minutes: float, port: int, every_s: float, warm_up_s: float) -> dict[str, Any]:
    """Runs the soak test against a server of its own."""
    bodies = make_bodies()
    requests = {
        body: write_request(
            "127.0.0.1", OWN_PATHS[body], *bodies[body], make_headers(body, OWN_PATHS[body])
        )
        for body in CONNECTIONS
    }
    command = [sys.executable, "-m", "modelpad", "serve", "digits", "--no-open"]
    with Server([*command, "--port", str(port)], Path.cwd(), BUNDLED) as server:
        server.wait_for_answer(port, requests["PNG"], patience_s=60)
        asyncio.run(measure_capacity(port, requests, WARM_S))
        capacity = asyncio.run(measure_capacity(port, requests, CAPACITY_S))
        load = Load()
        sources = {
            body: OpenLoop(port, requests[body], SHARE * rate, load)
            for body, rate in capacity.items()
        }
        samples, total, unanswered = asyncio.run(soak(server, sources, 60 * minutes, every_s))
    return {
        "minutes": minutes,
        "capacity_per_s": {body: round(rate) for body, rate in capacity.items()},
        "offered_per_s": round(SHARE * sum(capacity.values())),
        "answers_per_s": round(total.answers_per_s),
        "answers": {str(status): number for status, number in sorted(total.statuses.items())},
        "errors": sum((total.statuses - Counter({200: total.statuses[200]})).values()),
        "broken": total.broken,
        "unanswered": unanswered,
        "p50_ms": round(total.percentile_ms(0.5), 2),
        "p99_ms": round(total.percentile_ms(0.99), 2),
        "pss_mb": summarise_memory(samples, "pss_mb", warm_up_s),
        "uss_mb": summarise_memory(samples, "uss_mb", warm_up_s),
        "samples": samples,
    }


def write_table(result: dict[str, Any]) -> str:
    """A Markdown table with one row."""
    pss = result["pss_mb"]
    cells = [
        f"{result['minutes']:g}",
        f"{result['offered_per_s']:,}",
        ", ".join(f"{number:,} of {status}" for status, number in result["answers"].items()),
        f"{result['broken']}, {result['unanswered']}",
        f"{result['p50_ms']:.2f} / {result['p99_ms']:.2f}",
        f"{pss['first']}, {pss['warm']}, {pss['last']}",
        f"{pss['per_hour']} / {result['uss_mb']['per_hour']}",
    ]
    head = (
        "| minutes | offered/s | responses | broken, unanswered | p50 / p99 ms |"
        " PSS at start, warm, at end, MB | MB per hour, PSS / USS |"
    )
    return f"{head}\n{'| --- ' * len(cells)}|\n| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="duration (%(default)s)")
    parser.add_argument("--port", type=int, default=8477, help="the server's port (%(default)s)")
    parser.add_argument(
        "--every", type=float, default=5.0, help="seconds between samples (%(default)s)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=60.0, help="seconds excluded from the slope (%(default)s)"
    )
    parser.add_argument(
        "--table", action="store_true", help="print a Markdown table instead of JSON"
    )
    args = parser.parse_args()
    exit_on_sigterm()
    result = measure(args.minutes, args.port, args.every, args.warm_up)
    print(write_table(result) if args.table else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
