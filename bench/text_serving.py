"""How fast texts are written: a token alone, 32 streams, the first token of 16, and a cold start.

Usage: python bench/text_serving.py [BUNDLE] [--http]

Without a bundle, the bundled writer is measured: a vocabulary of 8,192, three blocks of 512, in
int8. With `--http`, the streams come over HTTP from another process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

from modelpad.bundle import open_bundle
from modelpad.engine import SessionSettings, allotted_cpus
from modelpad.engine.text import GenerationRequest, SamplingOptions, TextBatcher, TextSession
from modelpad.zoo import zoo_bundles

STREAMS, TOKENS, TURNS = 32, 200, 3  # the best of three turns
VISITORS, PROMPT_TOKENS, VISITS = 16, 200, 8
STARTS = 5


def ask(tokens: int, prompt: int, first: int = 1, **sampling: Any) -> GenerationRequest:
    """A request whose prompt no other has, so that nothing is remembered."""
    body = tuple(1 + (first * 31 + place * 7) % 250 for place in range(prompt))
    options = SamplingOptions(seed=first, **sampling)
    return GenerationRequest(body, options, max_tokens=tokens, ignore_end=True, stream=True)


async def write(engine: TextBatcher, request: GenerationRequest) -> list[float]:
    """The times at which pieces came, the first being that of the request."""
    times = [time.perf_counter()]
    async with aclosing(engine.generate(request)) as pieces:
        async for _ in pieces:
            times.append(time.perf_counter())
    return times


async def measure(session: TextSession) -> dict[str, float]:
    """Milliseconds and tokens a second in one process."""
    session.warm_up()  # as a server does
    engine = TextBatcher(session)
    await write(engine, ask(50, 10))
    times = await write(engine, ask(600, 10))
    steps = sorted(1e3 * (b - a) for a, b in pairwise(times[1:]))
    found = {"alone_p50_ms": median(steps), "alone_p99_ms": quantiles(steps, n=100)[98]}
    for name, sampling in (("", {}), ("_top_p", {"top_p": 0.9, "temperature": 0.8})):
        best = 0.0
        for turn in range(TURNS):
            begun = time.perf_counter()
            seeds = range(turn * STREAMS, (turn + 1) * STREAMS)
            await asyncio.gather(
                *(write(engine, ask(TOKENS, 10, each, **sampling)) for each in seeds)
            )
            best = max(best, STREAMS * TOKENS / (time.perf_counter() - begun))
        found[f"streams_tokens_per_s{name}"] = best
    first: list[float] = []

    async def visit(number: int) -> None:
        for turn in range(VISITS):
            request = ask(60, PROMPT_TOKENS, 1000 + number * VISITS + turn)
            times = await write(engine, request)
            first.append(1e3 * (times[1] - times[0]))

    await asyncio.gather(*(visit(number) for number in range(VISITORS)))
    found["first_token_p50_ms"] = median(first)
    found["first_token_p99_ms"] = quantiles(first, n=100)[98]
    engine.close()
    return found


def measure_cold_start(bundle: Path) -> dict[str, float]:
    """From the start of `serve` to the first token, and the memory it takes then.

    The first start compiles the modules, as an installation does, and is not counted.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(1 + STARTS):
            found.append(start_once(bundle, f"{folder}/store", environment))
    seconds, memory = (median(each) for each in zip(*found[1:], strict=True))
    return {"cold_start_ms": 1e3 * seconds, "memory_mb": memory / 1e6}


def start_once(bundle: Path, store: str, environment: dict[str, str]) -> tuple[float, int]:
    """Seconds to the first token, and bytes of memory (PSS) then."""
    import json
    import urllib.request

    begun = time.perf_counter()
    command = [sys.executable, "-m", "modelpad", "serve", str(bundle), "--port", "0", "--no-open"]
    process = subprocess.Popen(
        [*command, "--store", store], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    url = next(line.split()[-1] for line in process.stdout if "page" in line)
    body = json.dumps({"prompt": "When", "max_tokens": 1}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/completions", body)) as response:
        response.read()
    seconds = time.perf_counter() - begun
    server = psutil.Process(process.pid)
    memory = sum(each.memory_full_info().pss for each in (server, *server.children(recursive=True)))
    process.terminate()
    process.wait()
    return seconds, memory


async def measure_http(bundle: Path) -> dict[str, float]:
    """Tokens a second of 32 streams over HTTP, read by this process."""
    import httpx

    command = [sys.executable, "-m", "modelpad", "serve", str(bundle), "--port", "0", "--no-open"]
    with tempfile.TemporaryDirectory() as store:
        process = subprocess.Popen([*command, "--store", store], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = next(line.split()[-1] for line in process.stdout if "page" in line)
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:

            async def stream(seed: int) -> None:
                record = {"prompt": f"part{seed}", "max_tokens": TOKENS, "seed": seed}
                record |= {"stream": True, "ignore_eos": True}
                async with client.stream("POST", "/v1/completions", json=record) as response:
                    async for _ in response.aiter_raw():
                        pass

            await stream(0)
            rate = 0.0
            for turn in range(TURNS):
                begun = time.perf_counter()
                seeds = range(1 + turn * STREAMS, 1 + (turn + 1) * STREAMS)
                await asyncio.gather(*(stream(seed) for seed in seeds))
                rate = max(rate, STREAMS * TOKENS / (time.perf_counter() - begun))
        process.terminate()
        process.wait()
    return {"http_tokens_per_s": rate}


def main() -> None:
    """Prints one figure a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, default=zoo_bundles()["writer"])
    parser.add_argument("--http", action="store_true")
    args = parser.parse_args()
    session = TextSession(open_bundle(args.bundle), SessionSettings(threads=allotted_cpus()))
    found = asyncio.run(measure(session)) | measure_cold_start(args.bundle)
    if args.http:
        found |= asyncio.run(measure_http(args.bundle))
    for name, value in found.items():
        print(f"{name:28} {value:10.2f}")


if __name__ == "__main__":
    main()
