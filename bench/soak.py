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
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.client.load import HEAD_END, LENGTH, Load, run_load, write_request
from peer import OWN_PATHS
from processes import Server
from serving import make_bodies, make_headers

CONNECTIONS = {"raw float32": 6, "nested JSON": 5, "PNG": 5}
SHARE = 0.8
BUNDLED = {"MODELPAD_STORE": "/nonexistent"}
CAPACITY_S = 5.0
WARM_S = 1.0
TICK_S = 0.001
LAST_ANSWERS_S = 5.0


class Connection(asyncio.Protocol):
    """One connection of a pace: takes what is due next whenever it is free."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.buffer = b""
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pace.give(self)

    def ask(self, due: float) -> None:
        self.due = due
        self.transport.write(self.pace.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(HEAD_END)
        length = LENGTH.search(self.buffer, 0, max(head, 0))
        if head < 0 or len(self.buffer) < head + 4 + (int(length[1]) if length else 0):
            return
        assert self.due is not None
        self.pace.load.latencies_s.append(time.perf_counter() - self.due)
        self.pace.load.statuses[int(self.buffer[9:12])] += 1
        self.buffer, self.due = b"", None
        self.pace.give(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pace.lose(self)


@dataclass(slots=True)
class Pace:
    """One request at a fixed rate over a few connections; `load` can be exchanged at any time."""

    port: int
    request: bytes
    rate_per_s: float
    load: Load
    idle: deque[Connection] = field(default_factory=deque)
    waiting: deque[float] = field(default_factory=deque)
    missing: int = 0
    over: bool = False

    def give(self, connection: Connection) -> None:
        if self.waiting:
            connection.ask(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def lose(self, connection: Connection) -> None:
        if self.over:
            return
        self.load.broken += 1
        self.missing += 1
        if connection in self.idle:
            self.idle.remove(connection)

    async def run(self, connections: int, seconds: float) -> int:
        """Asks for so long, and waits a little for the last answers; how many never came."""
        loop = asyncio.get_running_loop()
        self.missing = connections
        asked, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            while self.missing:
                self.missing -= 1
                try:
                    await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
                except OSError:
                    self.load.broken += 1
                    self.missing += 1
                    break
            while (due := begin + asked / self.rate_per_s) <= now:
                asked += 1
                if self.idle:
                    self.idle.popleft().ask(due)
                else:
                    self.waiting.append(due)
            await asyncio.sleep(TICK_S)
        end = time.perf_counter() + LAST_ANSWERS_S
        while len(self.idle) < connections and time.perf_counter() < end:
            await asyncio.sleep(TICK_S)
        self.over = True
        unanswered = connections - len(self.idle) + len(self.waiting)
        for connection in self.idle:
            connection.transport.close()
        return unanswered


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
    told = measure(args.minutes, args.port, args.every, args.warm_up)
    print(write_table(told) if args.table else json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
