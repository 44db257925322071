"""`modelpad serve digits` for minutes at 80 % of what it can answer, and its memory meanwhile.

Capacity is measured first: 16 connections that ask without a pause, in three kinds of body at once.
Then each kind is asked at 80 % of its rate, at times set beforehand: an answer that is late delays
no other request, and its latency counts from when it was due. Every few seconds the memory of the
whole process tree is taken, with p50 and p99 since the last look. The slope is that of a straight
line (least squares) through the memory after a warm-up, for PSS and for USS: PSS also changes when
programs start or end that share libraries with the server, USS (what is private) does not.
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
from open_loop import Pace
from peer import OWN_PATHS
from processes import Server, heed_termination
from serving import make_bodies, make_headers

CONNECTIONS = {"raw float32": 6, "nested JSON": 5, "PNG": 5}
SHARE = 0.8
BUNDLED = {"MODELPAD_STORE": "/nonexistent"}
CAPACITY_S = 5.0
WARM_S = 1.0


async def measure_capacity(
    port: int, requests: dict[str, bytes], seconds: float
) -> dict[str, float]:
    """Good answers a second of each body, all asked at once."""
    loads = await asyncio.gather(
        *(
            run_load("127.0.0.1", port, each, connections=CONNECTIONS[body], seconds=seconds)
            for body, each in requests.items()
        )
    )
    return {body: load.answers_per_s for body, load in zip(requests, loads, strict=True)}


async def soak(
    server: Server, paces: dict[str, Pace], seconds: float, every_s: float
) -> tuple[list[dict[str, float]], Load, int]:
    """A look every few seconds; all answers; how many requests were never answered."""
    asking = asyncio.gather(*(pace.run(CONNECTIONS[body], seconds) for body, pace in paces.items()))
    looks: list[dict[str, float]] = []
    total = Load()
    begin = last = time.perf_counter()
    while not asking.done():
        await asyncio.wait([asking], timeout=every_s)
        memory = await asyncio.to_thread(server.memory_bytes)
        private = await asyncio.to_thread(server.memory_bytes, "uss")
        load, now = next(iter(paces.values())).load, time.perf_counter()
        load.seconds, last = now - last, now
        fresh = Load()
        for pace in paces.values():
            pace.load = fresh
        looks.append(
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
    return looks, total, sum(await asking)


def tell_memory(looks: list[dict[str, float]], kind: str, warm_up_s: float) -> dict[str, Any]:
    """MB at first, after the warm-up and at last; MB an hour after it, where looks are enough."""
    later = [(each["second"], each[kind]) for each in looks if each["second"] > warm_up_s]
    told = {"first": looks[0][kind], "warm": None, "last": looks[-1][kind], "per_hour": None}
    if len(later) >= 3:
        seconds, memory = zip(*later, strict=True)
        told["warm"] = memory[0]
        told["per_hour"] = round(3600 * float(np.polyfit(seconds, memory, 1)[0]), 2)
    return told


def measure(minutes: float, port: int, every_s: float, warm_up_s: float) -> dict[str, Any]:
    """Starts the server, soaks it, ends it."""
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
        paces = {
            body: Pace(port, requests[body], SHARE * rate, load) for body, rate in capacity.items()
        }
        looks, total, unanswered = asyncio.run(soak(server, paces, 60 * minutes, every_s))
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
        "pss_mb": tell_memory(looks, "pss_mb", warm_up_s),
        "uss_mb": tell_memory(looks, "uss_mb", warm_up_s),
        "looks": looks,
    }


def write_table(told: dict[str, Any]) -> str:
    """One row of Markdown under its head."""
    pss = told["pss_mb"]
    cells = [
        f"{told['minutes']:g}",
        f"{told['offered_per_s']:,}",
        ", ".join(f"{number:,} of {status}" for status, number in told["answers"].items()),
        f"{told['broken']}, {told['unanswered']}",
        f"{told['p50_ms']:.2f} / {told['p99_ms']:.2f}",
        f"{pss['first']}, {pss['warm']}, {pss['last']}",
        f"{pss['per_hour']} / {told['uss_mb']['per_hour']}",
    ]
    head = (
        "| minutes | offered a second | answers | broken, unanswered | p50 / p99 ms |"
        " PSS at first, warm, at last, MB | MB an hour, PSS / USS |"
    )
    return f"{head}\n{'| --- ' * len(cells)}|\n| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak (%(default)s)")
    parser.add_argument("--port", type=int, default=8477, help="the server's (%(default)s)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds a look (%(default)s)")
    parser.add_argument(
        "--warm-up", type=float, default=60.0, help="seconds left out of the slope (%(default)s)"
    )
    parser.add_argument("--table", action="store_true", help="print a row, not JSON")
    args = parser.parse_args()
    heed_termination()
    told = measure(args.minutes, args.port, args.every, args.warm_up)
    print(write_table(told) if args.table else json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
