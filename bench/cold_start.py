"""Cold start and memory of `modelpad serve digits`, install size, and `--help` latency.

Starts the server ten times and measures the time until its first prediction; then sends 1,000
requests and reads the memory (PSS) of the process tree. Needs an index of packages for the size.

usage: python bench/cold_start.py
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from digit_load import PICTURE
from processes import list_tree, measure_memory

COMMAND = [str(Path(sys.executable).with_name("modelpad"))]
PORT = 8473
RUNS = 10


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("POST", "/predict/digits", PICTURE, {"content-type": "image/png"})
    return str(json.loads(connection.getresponse().read())["label"])


def start(store: str, *options: str) -> subprocess.Popen[bytes]:
    arguments = ["serve", "digits", "--port", str(PORT), "--no-open", "--store", store]
    return subprocess.Popen([*COMMAND, *arguments, *options], stdout=subprocess.DEVNULL)


def wait_for_answer() -> None:
    while True:
        try:
            assert ask(http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)) == "7"
            return
        except OSError:
            time.sleep(0.002)


def measure_cold_start(store: str) -> float:
    begin = time.perf_counter()
    process = start(store)
    wait_for_answer()
    seconds = time.perf_counter() - begin
    process.terminate()
    process.wait()
    return seconds


def measure_served(store: str, *options: str) -> float:
    """PSS of the process tree in MB."""
    process = start(store, *options)
    wait_for_answer()
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    for _ in range(1000):
        ask(connection)
    total = measure_memory(list_tree(process.pid))
    process.terminate()
    process.wait()
    return total / 1e6


def measure_help() -> float:
    begin = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def measure_install() -> float:
    """Size in MB of a fresh `pip install .`, dependencies included."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--target", folder, str(root)],
            check=True,
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            stdout=sys.stderr,
        )
        sizes = [p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()]
    return sum(sizes) / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as store:
        measure_cold_start(store)
        starts = [measure_cold_start(store) for _ in range(RUNS)]
        memory = measure_served(store)
        one = measure_served(store, "--workers", "1")
    result = {
        "cold_start_ms": round(1000 * statistics.median(starts)),
        "cold_starts_ms": [round(1000 * each) for each in starts],
        "memory_mb": round(memory, 1),
        "memory_of_one_worker_mb": round(one, 1),
        "help_ms": round(1000 * statistics.median(measure_help() for _ in range(RUNS))),
        "install_mb": round(measure_install(), 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
