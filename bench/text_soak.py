"""64 streams whose clients vanish at random: is anything left, and is everyone served?

Usage: python bench/text_soak.py [--minutes 10] [--streams 64] [MODEL]

MODEL is a name or a bundle's folder; by default the bundled writer. Clients leave while a prompt is
read and while a text is written. Fails if a text is left in the engine, if memory grows, if a
connection breaks, or if one in a hundred short requests waits longer for its first token than half
of the long ones.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import subprocess
import sys
import tempfile
import time
from statistics import median, quantiles

import httpx
import psutil

MAX_GROWTH_BYTES = 64 * 1024 * 1024  # the cache of prompts, and a little
SAMPLES = 10  # of memory; growth counts from the second on


async def visit(
    client: httpx.AsyncClient, chance: random.Random, waits: dict[str, list[float]]
) -> str:
    """One request; returns how it ended."""
    is_long = chance.random() < 0.25
    prompt = " ".join(
        chance.choices(("part", "film", "when", "I", "loved"), k=900 if is_long else 12)
    )
    record = {"prompt": prompt, "max_tokens": chance.randint(1, 120), "ignore_eos": True}
    leaves_after = chance.choice((None, None, 0, 1, 5, 20))
    patience_s = chance.choice((None, None, None, chance.uniform(0, 5)))
    begun, pieces = time.perf_counter(), 0
    try:
        record |= {"stream": chance.random() < 0.8}
        async with (
            asyncio.timeout(patience_s),
            client.stream("POST", "/v1/completions", json=record) as response,
        ):
            if response.status_code == 429:
                await asyncio.sleep(0.2)
                return "refused"
            if response.status_code == 504:
                return "timed out"
            assert response.status_code == 200, await response.aread()
            async for _ in response.aiter_raw():
                if not pieces and record["stream"]:
                    waits["long" if is_long else "short"].append(time.perf_counter() - begun)
                pieces += 1
                if leaves_after is not None and pieces > leaves_after:
                    return "left while it was written"
    except TimeoutError:
        return "left after a while"
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return "broken"
    return "finished"


async def ask_alone(client: httpx.AsyncClient) -> float:
    """The seconds of one request that nothing else competes with."""
    begun = time.perf_counter()
    record = {"prompt": "The end", "max_tokens": 50, "ignore_eos": True}
    (await client.post("/v1/completions", json=record)).raise_for_status()
    return time.perf_counter() - begun


async def soak(url: str, streams: int, end: float, memory: psutil.Process) -> bool:
    """Keeps so many clients busy until `end`."""
    counts: dict[str, int] = {}
    waits: dict[str, list[float]] = {"short": [], "long": []}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        await ask_alone(client)
        alone = [await ask_alone(client)]

        async def keep_visiting(seed: int) -> None:
            chance = random.Random(seed)
            while time.monotonic() < end:
                how = await visit(client, chance, waits)
                counts[how] = counts.get(how, 0) + 1

        tasks = [asyncio.create_task(keep_visiting(seed)) for seed in range(streams)]
        step = max(0.0, (end - time.monotonic()) / SAMPLES)
        sizes = []
        for _ in range(SAMPLES):
            await asyncio.sleep(step)
            sizes.append(measure(memory))
        early = sizes[1]
        await asyncio.gather(*tasks)
        late = measure(memory)
        await asyncio.sleep(1)
        text = (await client.get("/metrics")).text
        alone.append(await ask_alone(client))
    left = sum(float(n) for n in re.findall(r"^modelpad_queue_length\S* (\S+)", text, re.M))
    print(", ".join(f"{count:,} {how}" for how, count in sorted(counts.items())))
    slowest = {}
    for kind, values in waits.items():
        slowest[kind] = quantiles(values, n=100)[98] if len(values) > 1 else 0.0
        middle = 1e3 * median(values)
        print(f"{kind:6} first token: p50 {middle:.0f} ms, p99 {1e3 * slowest[kind]:.0f} ms")
    print("memory, MB:", *(f"{size / 1e6:.0f}" for size in sizes))
    print(f"memory {early / 1e6:.0f} MB, at the end {late / 1e6:.0f} MB; texts left: {left:g}")
    print("50 tokens alone, ms: before {:.0f}, after {:.0f}".format(*(1e3 * s for s in alone)))
    fair = slowest["short"] <= median(waits["long"])
    return not left and late <= early + MAX_GROWTH_BYTES and fair and not counts.get("broken")


def measure(process: psutil.Process) -> int:
    """The memory of a server and its workers."""
    each = (process, *process.children(recursive=True))
    return sum(one.memory_info().rss for one in each)


def main() -> int:
    """Starts a server and soaks it; returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="writer")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "modelpad", "serve", args.model, "--port", "0"]
        process = subprocess.Popen(
            [*command, "--no-open", "--store", folder], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        url = next(line.split()[-1] for line in process.stdout if "page" in line)
        end = time.monotonic() + 60 * args.minutes
        try:
            good = asyncio.run(soak(url, args.streams, end, psutil.Process(process.pid)))
        finally:
            process.terminate()
            process.wait()
    print("ok" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
