"""Trains classifiers of pictures as a user would, and prints accuracy, time, size and latency.

`--many N` instead generates N pictures of 64 x 64 pixels, trains some steps on them, and prints
milliseconds of a step, what keeps the processors busy, and the memory at its largest. Needs the
data sets (in MODELPAD_DATA, or a download) and the extra `train`.

usage: python bench/train_images.py [DATA...] [--many N] [--size 96] [--steps N]
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

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


def write_some(folder: Path, first: int, end: int) -> None:
    """Generated pictures in two classes: noise on dark or on light ground."""
    rng = np.random.default_rng(first)
    for index in range(first, end):
        name, ground = ("dark", 70) if index % 2 else ("light", 180)
        pixels = rng.integers(ground - 60, ground + 60, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{index:06}.jpg", quality=80)


def write_pictures(folder: Path, count: int) -> None:
    """So many generated pictures, by all processors."""
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
    starts = range(0, count, 1000)
    with ProcessPoolExecutor() as pool:
        for done in [pool.submit(write_some, folder, n, min(n + 1000, count)) for n in starts]:
            done.result()


def train_many(count: int, side: int, steps: int) -> None:
    """Prints what it costs to load many pictures, and to train some steps on them from files."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pictures(folder / "pictures", count)
        own = [sys.executable, __file__, "--steps", str(steps), "--size", str(side)]
        print(f"{count:,} pictures: ", end="", flush=True)
        subprocess.run([*own, str(folder / "pictures")], check=True)


def train_steps(folder: str, side: int, steps: int) -> None:
    """Loads a folder as the recipe does, and times steps that read their pictures from files."""
    import torch

    from modelpad.datasets import LoadOptions
    from modelpad.recipes.images.data import load_pictures, split_pictures
    from modelpad.recipes.images.model import ARCHITECTURES, Classifier
    from modelpad.recipes.images.objectives.losses import Loss
    from modelpad.recipes.images.objectives.one_class import OneClass
    from modelpad.recipes.images.tuning import Plan, Tuner
    from modelpad.training.augment import photograph
    from modelpad.training.run import Run, TrainRequest

    begin = time.perf_counter()
    run = Run(TrainRequest("many", folder, Path(folder)), {}, io.StringIO())
    pictures = load_pictures(run, side, 224, LoadOptions())
    loaded = time.perf_counter() - begin
    splits = split_pictures(pictures, run, divide=True)
    objective = OneClass(pictures.data.classes, Loss("cross-entropy", np.ones(2, np.float32)))
    torch.manual_seed(0)
    net = Classifier(ARCHITECTURES["small"], 3, side, 2)
    tuner = Tuner(net, splits.train, Plan(1, 1e-3, 0, objective, photograph, seed=0))
    before = peak_mb()

    def time_steps(batches: Iterator[tuple[torch.Tensor, Any]]) -> tuple[float, float]:
        """Milliseconds of a step, and how many of them the training waits for its pictures."""
        waited, start = 0.0, time.perf_counter()
        for _ in range(steps):
            asked = time.perf_counter()
            pixels, targets = next(batches)
            waited += time.perf_counter() - asked
            tuner.optimizer.zero_grad()
            tuner.measure(pixels, objective.encode(targets)).backward()
            tuner.optimizer.step()
        return 1000 * (time.perf_counter() - start) / steps, 1000 * waited / steps

    net.train()
    one = next(tuner.read_batches(0))
    alone, _ = time_steps(itertools.repeat(one))
    used, idle = time.process_time(), read_idle()
    start = time.perf_counter()
    whole, waited = time_steps(tuner.read_batches(0))
    seconds = time.perf_counter() - start
    cores = len(os.sched_getaffinity(0))
    print(
        f"read and compared in {loaded:.0f} s, {before:.0f} MB; a step {whole:.0f} ms,"
        f" {alone:.0f} ms without reading, {waited:.0f} ms of waiting;"
        f" {(time.process_time() - used) / seconds:.2f} of {cores} cores used,"
        f" {(read_idle() - idle) / seconds:.2f} idle; at most {peak_mb():.0f} MB"
    )


def peak_mb() -> float:
    """The most memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_idle() -> float:
    """The seconds that the machine's processors were idle, in all."""
    idle = int(Path("/proc/stat").read_text("ascii").split()[4])
    return idle / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--many", type=int, metavar="N", help="train on N generated pictures")
    parser.add_argument("--size", type=int, default=96, metavar="PIXELS", help="with --many")
    parser.add_argument("--steps", type=int, metavar="N", help="train so many steps on a folder")
    parser.add_argument("sets", nargs="*", metavar="DATA", help="only these data sets")
    args = parser.parse_args()
    if args.many:
        train_many(args.many, args.size, args.steps or 200)
        return
    if args.steps:
        train_steps(args.sets[0], args.size, args.steps)
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
