"""How evenly workers share the connections of a few clients, and with them the processor time.

Starts `modelpad serve digits`, keeps 2, 4, 8 and 64 connections busy in each of 20 runs, with new
ones in each, and prints in how many runs every worker was within 10 % of their mean processor time,
the largest difference from it, and responses per second. Then kills a worker and repeats all that
with the one that replaced it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

import psutil

from modelpad.client.load import run_load, write_request
from processes import Server, exit_on_sigterm
from serving import make_bodies

PORT = 8476
CONNECTIONS = (2, 4, 8, 64)
FAIR = 0.1


def measure(
    server: Server, request: bytes, connections: int, seconds: float
) -> tuple[float, float]:
    """The largest difference of a worker's processor time from the mean, and responses a second."""
    workers = psutil.Process(server.process.pid).children()
    before = [sum(each.cpu_times()[:2]) for each in workers]
    load = asyncio.run(
        run_load("127.0.0.1", PORT, request, connections=connections, seconds=seconds)
    )
    used = [sum(each.cpu_times()[:2]) - old for each, old in zip(workers, before, strict=True)]
    mean = statistics.mean(used)
    return max(abs(each / mean - 1) for each in used), load.answers_per_s


def print_rows(server: Server, request: bytes, runs: int, seconds: float, title: str) -> None:
    """A row for each number of connections."""
    for connections in CONNECTIONS:
        measured = [measure(server, request, connections, seconds) for _ in range(runs)]
        fair = sum(difference <= FAIR for difference, _ in measured)
        worst = max(difference for difference, _ in measured)
        rates = sorted(rate for _, rate in measured)
        print(
            f"| {title} | {connections} | {fair} of {runs} | {worst:.0%} |"
            f" {rates[len(rates) // 2]:,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f}) |",
            flush=True,
        )


def replace_worker(server: Server, count: int) -> None:
    """Kills a worker, and waits for the next."""
    psutil.Process(server.process.pid).children()[0].kill()
    time.sleep(1)
    while len(psutil.Process(server.process.pid).children()) < count:
        time.sleep(0.1)
    time.sleep(2)


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run")
    options = parser.parse_args()
    exit_on_sigterm()
    body, kind = make_bodies()["raw float32"]
    head = {"inference-header-content-length": "0"}
    request = write_request(f"127.0.0.1:{PORT}", "/v2/models/digits/infer", body, kind, head)
    command = [sys.executable, "-m", "modelpad", "serve", "digits", "--port", str(PORT)]
    with Server([*command, "--workers", str(options.workers)], Path.cwd(), {}) as server:
        server.wait_for_answer(PORT, request, 30)
        time.sleep(1)
        print("| workers | connections | fair runs | largest difference | responses/s |")
        print("| --- | --- | --- | --- | --- |")
        first = f"{options.workers}"
        print_rows(server, request, options.runs, options.seconds, first)
        replace_worker(server, options.workers)
        print_rows(server, request, options.runs, options.seconds, f"{first}, one of them replaced")


if __name__ == "__main__":
    main()
