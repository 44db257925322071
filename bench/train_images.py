"""Trains classifiers of pictures as a user would, and prints accuracy, time, size and latency.

`--many N` instead trains one epoch on N generated pictures of 64 x 64 pixels, and prints seconds of
a step, the share of both processors in use, and the memory at its largest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from modelpad.bundle import open_bundle
from modelpad.convert.prove import open_session

SETS = (("images", "ants-bees"), ("images", "flowers"), ("xray", "xray"))


def train(recipe: str, data: str, folder: Path, *options: str) -> tuple[dict[str, object], float]:
    """The printed metrics, and seconds."""
    command = [sys.executable, "-m", "modelpad", "train", recipe, "--data", data, "--json"]
    command += ["--store", str(folder / "store"), "--runs", str(folder / "runs"), *options]
    begin = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, object] = json.loads(done.stdout)
    return record, time.perf_counter() - begin


def measure_latency(graph: Path) -> float:
    """The median milliseconds of one picture on one thread."""
    session = open_session(graph)
    sides = [side if isinstance(side, int) else 1 for side in session.get_inputs()[0].shape]
    picture = np.random.default_rng(0).uniform(0, 255, sides).astype(np.float32)
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        session.run(None, {"image": picture})
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times))


def write_pictures(folder: Path, count: int) -> None:
    """Generated pictures in two classes: noise on dark or on light ground."""
    rng = np.random.default_rng(0)
    for name, ground in (("dark", 70), ("light", 180)):
        (folder / name).mkdir(parents=True)
        for index in range(count // 2):
            pixels = rng.integers(ground - 60, ground + 60, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:06}.jpg", quality=80)


def train_many(count: int) -> None:
    """Prints what one epoch on many pictures costs."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pictures(folder / "pictures", count)
        options = ("--arch", "small", "--size", "64", "--epochs", "1", "--quantize", "no")
        record, seconds = train("images", str(folder / "pictures"), folder, *options)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        share = (used.ru_utime + used.ru_stime) / seconds / len(os.sched_getaffinity(0))
        print(
            f"{count:,} pictures: {seconds:.0f} s, {100 * share:.0f} % of the processors,"
            f" at most {used.ru_maxrss / 1024:.0f} MB; accuracy {record['test_accuracy']:.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--many", type=int, metavar="N", help="train on N generated pictures")
    parser.add_argument("sets", nargs="*", metavar="DATA", help="only these data sets")
    args = parser.parse_args()
    if args.many:
        train_many(args.many)
        return
    print("| data | pictures | cross-validated | test | minutes | graph, MB | prediction, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for recipe, data in SETS:
        if args.sets and data not in args.sets:
            continue
        with tempfile.TemporaryDirectory() as folder:
            record, seconds = train(recipe, data, Path(folder))
            place = Path(folder) / "store" / str(record["name"]) / str(record["version"])
            manifest = open_bundle(place).manifest
            card = json.loads((place / "card.json").read_text("utf-8"))
            count = sum(each["examples"] for each in card["data"])
            cells = [describe(manifest.metrics, name) for name in ("cross_validated", "test")]
            graph = place / "model.onnx"
            size, latency = graph.stat().st_size / 1e6, measure_latency(graph)
        print(
            f"| {data} | {count:,} | {cells[0]} | {cells[1]} | {seconds / 60:.1f} |"
            f" {size:.1f} | {latency:.1f} |",
            flush=True,
        )


def describe(metrics: object, prefix: str) -> str:
    """Accuracy and AUC, where they were measured."""
    found = dict(metrics)  # type: ignore[call-overload]
    if f"{prefix}_accuracy" not in found:
        return ""
    return f"{100 * found[f'{prefix}_accuracy']:.1f} %, AUC {found[f'{prefix}_auc']:.3f}"


if __name__ == "__main__":
    main()
