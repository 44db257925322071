"""The same ASGI app on several HTTP servers: cold start, answers a second, memory.

Needs: pip install granian hypercorn. Each is run with one process, its logs off. The load is
sixteen connections that ask one prediction after the other, from one process on the same cores.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from modelpad.zoo import zoo_bundles

PICTURE = (zoo_bundles()["digits"] / "samples" / "7.png").read_bytes()
PNG = {"content-type": "image/png"}
PORT = 8474
REQUESTS, CONNECTIONS, STARTS = 4000, 16, 5
FOLDER = Path(__file__).parent
APP = "asgi_app:app"
SERVERS = {
    "uvicorn httptools": f"uvicorn {APP} --port {PORT} --http httptools --loop asyncio --ws none"
    " --no-access-log --log-level error",
    "uvicorn h11": f"uvicorn {APP} --port {PORT} --http h11 --loop asyncio --ws none"
    " --no-access-log --log-level error",
    "granian": f"granian --interface asgi --port {PORT} --no-ws --no-log {APP}",
    "hypercorn": f"hypercorn {APP} --bind 127.0.0.1:{PORT}",
}


def wait_for_answer() -> None:
    while True:
        try:
            url = f"http://127.0.0.1:{PORT}/predict/digits"
            assert httpx.post(url, content=PICTURE, headers=PNG).json()["label"] == "7"
            return
        except httpx.TransportError:
            time.sleep(0.005)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


async def load() -> float:
    limits = httpx.Limits(max_connections=CONNECTIONS)
    url = f"http://127.0.0.1:{PORT}/predict/digits"
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def ask_many() -> None:
            for _ in range(REQUESTS // CONNECTIONS):
                answer = await client.post(url, content=PICTURE, headers=PNG)
                answer.raise_for_status()

        begin = time.perf_counter()
        await asyncio.gather(*(ask_many() for _ in range(CONNECTIONS)))
        return REQUESTS / (time.perf_counter() - begin)


def cpu_seconds(tree: list[psutil.Process]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in tree)


def measure(words: str) -> dict[str, float]:
    command = [sys.executable, "-m", *words.split()]
    starts = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.DEVNULL)
        wait_for_answer()
        starts.append(time.perf_counter() - begin)
        stop(process)
    process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.DEVNULL)
    wait_for_answer()
    parent = psutil.Process(process.pid)
    tree = [parent, *parent.children(recursive=True)]
    before = cpu_seconds(tree)
    rate = asyncio.run(load())
    used = cpu_seconds(tree) - before
    memory = sum(each.memory_full_info().pss for each in tree)
    stop(process)
    return {
        "cold_start_ms": round(1000 * statistics.median(starts)),
        "answers_per_s": round(rate),
        "cpu_s_per_1000": round(1000 * used / REQUESTS, 3),
        "memory_mb": round(memory / 1e6, 1),
    }


if __name__ == "__main__":
    print(json.dumps({name: measure(words) for name, words in SERVERS.items()}))
