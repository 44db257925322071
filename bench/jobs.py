"""How much a training in the background slows predictions.

The digits are predicted over `--connections` for `--seconds`, without a job and beside one that
trains on generated pictures, in turns, `--rounds` times. The medians are compared.

usage: python bench/jobs.py [--seconds 5] [--connections 8] [--rounds 5]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from typing import Any

import httpx
import numpy as np
from PIL import Image

from digit_load import send
from modelpad.cli.bench import start_server
from modelpad.client.load import Load
from modelpad.engine import allotted_cpus

PICTURES, SIDE, EPOCHS = 300, 64, 100
BUSY = ("Looking", "Epoch")  # steps that compute
WARM_S = 1.0


def collect(client: httpx.Client, rng: np.random.Generator) -> str:
    """A collection of noise in two classes."""
    id: str = client.post("/collections").json()["id"]
    for number in range(PICTURES):
        body = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)).save(body, "PNG")
        name = "even" if number % 2 else "odd"
        url = f"/collections/{id}/pictures"
        headers = {"content-type": "image/png"}
        client.post(url, params={"class": name}, content=body.getvalue(), headers=headers)
    return id


def start_job(client: httpx.Client, collection: str) -> str:
    """Starts a training from scratch, and waits until it computes."""
    options = {"arch": "small", "size": SIDE, "epochs": EPOCHS}
    params = {"collection": collection, "name": "noise", "options": options}
    location: str = client.post("/jobs/train", json=params).headers["location"]
    while True:
        job = client.get(location).json()
        assert job["state"] in ("queued", "running"), job
        if job["step"].startswith(BUSY):
            return location
        time.sleep(0.1)


def describe(loads: list[Load]) -> dict[str, float]:
    return {
        "answers_per_s": round(statistics.median(load.answers_per_s for load in loads), 1),
        "p50_ms": round(statistics.median(load.percentile_ms(0.5) for load in loads), 2),
        "p99_ms": round(statistics.median(load.percentile_ms(0.99) for load in loads), 2),
        "failed": sum(load.failed for load in loads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    alone: list[Load] = []
    beside: list[Load] = []
    with tempfile.TemporaryDirectory() as temporary:
        places = ("--jobs", f"{temporary}/jobs", "--store", f"{temporary}/store")
        process, port = start_server("digits", "--studio", *places, quiet=True)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                collection = collect(client, np.random.default_rng(0))
                send(port, args.connections, WARM_S)
                for _ in range(args.rounds):
                    alone.append(send(port, args.connections, args.seconds))
                    location = start_job(client, collection)
                    beside.append(send(port, args.connections, args.seconds))
                    assert client.delete(location).json()["state"] == "cancelled"
                    time.sleep(WARM_S)
        finally:
            process.terminate()
            process.wait(30)
    result: dict[str, Any] = {"cpus": allotted_cpus(), "connections": args.connections}
    result |= {"alone": describe(alone), "beside_a_job": describe(beside)}
    slower = 1 - result["beside_a_job"]["answers_per_s"] / result["alone"]["answers_per_s"]
    print(json.dumps(result | {"slower_by": round(slower, 3)}, indent=1))


if __name__ == "__main__":
    main()
