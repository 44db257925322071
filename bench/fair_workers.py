"""How evenly workers share the connections of a few clients, and with them the processor time.

Starts `modelpad serve digits`, keeps 2, 4, 8 and 64 connections busy in each of 20 runs, with new
ones in each, and prints in how many runs every worker was within 10 % of their mean processor time,
the largest difference from it, and responses per second. Then kills a worker and repeats all that
with the one that replaced it. `--grpc` does the same with gRPC channels, and needs `grpcio`.

usage: python bench/fair_workers.py [--workers N] [--runs 20] [--seconds 1] [--grpc]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from modelpad.client.load import run_load, write_request
from modelpad.server.protocols.protobuf import load_message, make_inference
from processes import Server, exit_on_sigterm
from serving import make_bodies

PORT, GRPC_PORT = 8476, 8477
CONNECTIONS = (2, 4, 8, 64)
FAIR = 0.1
# Of so many connections and seconds; returns responses a second.
Work = Callable[[int, float], float]


def send_http(request: bytes, connections: int, seconds: float) -> float:
    """Keeps HTTP connections busy."""
    work = run_load("127.0.0.1", PORT, request, connections=connections, seconds=seconds)
    return asyncio.run(work).answers_per_s


def send_grpc(request: bytes, channels: int, seconds: float) -> float:
    """Keeps gRPC channels busy, each with a connection of its own and one call at a time."""
    return asyncio.run(_send_grpc(request, channels, seconds))


async def _send_grpc(request: bytes, channels: int, seconds: float) -> float:
    import grpc

    begin, answers = time.perf_counter(), 0

    async def repeat() -> None:
        nonlocal answers
        own = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{GRPC_PORT}", own) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while time.perf_counter() < begin + seconds:
                await call(request)
                answers += 1

    await asyncio.gather(*(repeat() for _ in range(channels)))
    return answers / (time.perf_counter() - begin)


def make_call() -> bytes:
    """A call of the Open Inference Protocol for the digits."""
    kind: Any = load_message("inference.ModelInferRequest")
    tensor = kind.InferInputTensor(name="image", datatype="FP32", shape=[1, 28, 28])
    zeros = np.zeros((1, 28, 28), np.float32).tobytes()
    message = make_inference(
        "ModelInferRequest", model_name="digits", inputs=[tensor], raw_input_contents=[zeros]
    )
    return bytes(message.SerializeToString())


def measure(server: Server, work: Work, connections: int, seconds: float) -> tuple[float, float]:
    """The largest difference of a worker's processor time from the mean, and responses a second."""
    workers = psutil.Process(server.process.pid).children()
    before = [sum(each.cpu_times()[:2]) for each in workers]
    answers_per_s = work(connections, seconds)
    used = [sum(each.cpu_times()[:2]) - old for each, old in zip(workers, before, strict=True)]
    mean = statistics.mean(used)
    return max(abs(each / mean - 1) for each in used), answers_per_s


def print_rows(server: Server, work: Work, runs: int, seconds: float, title: str) -> None:
    """A row for each number of connections."""
    for connections in CONNECTIONS:
        measured = [measure(server, work, connections, seconds) for _ in range(runs)]
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
    parser.add_argument("--grpc", action="store_true", help="gRPC channels, not HTTP connections")
    options = parser.parse_args()
    exit_on_sigterm()
    body, kind = make_bodies()["raw float32"]
    head = {"inference-header-content-length": "0"}
    request = write_request(f"127.0.0.1:{PORT}", "/v2/models/digits/infer", body, kind, head)
    work: Work = partial(send_http, request)
    command = [sys.executable, "-m", "modelpad", "serve", "digits", "--port", str(PORT)]
    if options.grpc:
        work = partial(send_grpc, make_call())
        command += ["--grpc-port", str(GRPC_PORT)]
    with Server([*command, "--workers", str(options.workers)], Path.cwd(), {}) as server:
        server.wait_for_answer(PORT, request, 30)
        time.sleep(1)
        print("| workers | connections | fair runs | largest difference | responses/s |")
        print("| --- | --- | --- | --- | --- |")
        first = f"{options.workers}"
        print_rows(server, work, options.runs, options.seconds, first)
        replace_worker(server, options.workers)
        print_rows(server, work, options.runs, options.seconds, f"{first}, one of them replaced")


if __name__ == "__main__":
    main()
