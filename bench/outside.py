"""modelpad against servers written by hand, under load from wrk instead of our own generator.

The servers are those of `serving.py`, which says how to install them (`--setup`); wrk comes from
the system (`apt-get install wrk`). All run the same graph, a convolutional network of 4.8 MB, and
get the same bodies. Each round measures every server, so that a change in the machine's speed meets
all of them; for each figure, the round with most responses counts. wrk is one thread of C, on
whichever CPU is free, and its CPU time is listed beside the server's. With `--pin`, the servers
have the first two CPUs and wrk the third.

usage: python bench/outside.py [SERVER...] [--environments FOLDER] [--rounds 2] [--seconds 4]
           [--pin] [--table]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from graphs import write_cnn
from modelpad.client.load import write_request
from peer import PEERS, V2, environment_of, read_version
from processes import Server, exit_on_sigterm
from serving import ENVIRONMENTS, PORT, predict_label
from wrk import run_wrk

SERVERS = ("modelpad", "granian", "mosec")
CONNECTIONS = (64, 1)
WARM_S = 1.0
JSON = "application/json"

Results = dict[str, dict[str, Any]]  # by body and number of connections


def make_bodies(pixels: np.ndarray) -> dict[str, tuple[bytes, str]]:
    """The request bodies for one item of the graph, by name, each with its content type."""
    tensor = {"name": "image", "shape": [1, *pixels.shape], "datatype": "FP32"}
    flat = {"inputs": [tensor | {"data": pixels.reshape(-1).tolist()}]}
    return {
        "raw float32": (pixels.tobytes(), "application/octet-stream"),
        "TensorFlow rows": (write_json({"instances": [pixels.tolist()]}), JSON),
        "flat v2 JSON": (write_json(flat), JSON),
    }


def write_json(value: object) -> bytes:
    """JSON without spaces, as most clients send it."""
    return json.dumps(value, separators=(",", ":")).encode()


class Contest:
    """The graph and the item that every server gets, and how each is measured."""

    def __init__(
        self, folder: Path, environments: Path, seconds: float, *, pin: bool = False
    ) -> None:
        cpus = sorted(os.sched_getaffinity(0))
        if pin and len(cpus) < 3:
            raise SystemExit(f"--pin needs three CPUs; this machine gives {len(cpus)}.")
        self.server_cpus, self.wrk_cpu = (cpus[:2], cpus[2]) if pin else (cpus, None)
        self.graph = folder / "digits.onnx"
        write_cnn(self.graph)
        pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1)).astype(np.float32)
        session = onnxruntime.InferenceSession(self.graph)
        (scores,) = session.run(["label"], {"image": pixels[None]})
        self.label = str(scores.argmax())
        self.bodies = make_bodies(pixels)
        self.environments = environments
        self.seconds = seconds

    def measure(self, name: str) -> Results:
        """One server's results. Raises `RuntimeError` if it is not installed, or wrong."""
        peer = PEERS[name]
        programs = environment_of(name, peer, self.environments)
        words = peer.command.format(port=PORT, model=f"digits={self.graph}").split()
        if not (programs / words[0]).exists():
            raise RuntimeError("not installed; see serving.py --setup")
        environment = peer.environment | {
            "MODEL": str(self.graph),
            "MODELPAD_STORE": str(self.graph.parent / "store"),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }
        if peer.packages:
            environment["PYTHONPATH"] = ""
        pin = ["taskset", "-c", ",".join(map(str, self.server_cpus))]
        command = [*pin, str(programs / words[0]), *words[1:]]
        with Server(command, peer.folder, environment) as server:
            return {
                body: self.measure_body(server, peer.paths[body], body, peer.patience_s)
                for body in self.bodies
            }

    def measure_body(
        self, server: Server, path: str, body: str, patience_s: float
    ) -> dict[str, Any]:
        """The results for one kind of body, by the number of connections."""
        content, kind = self.bodies[body]
        fields = {"content-type": kind}
        if (body, path) == ("raw float32", V2):
            fields["inference-header-content-length"] = "0"
        request = write_request("127.0.0.1", path, content, "", fields)
        server.wait_for_answer(PORT, request, patience_s)
        label = predict_label(path, content, fields)
        if label != self.label:
            raise RuntimeError(f"{body}: classified as {label}, not {self.label}")
        url = f"http://127.0.0.1:{PORT}{path}"
        cpu = self.wrk_cpu
        run_wrk(url, content, fields, connections=16, seconds=WARM_S, cpu=cpu)
        results = {}
        for connections in CONNECTIONS:
            before = server.cpu_seconds()
            load = run_wrk(
                url, content, fields, connections=connections, seconds=self.seconds, cpu=cpu
            )
            used = server.cpu_seconds() - before
            results[str(connections)] = {
                "answers_per_s": round(load.answers / load.seconds),
                "cpu_s_per_1000": round(1000 * used / load.answers, 3),
                "generator_cpu_s_per_1000": round(1000 * load.cpu_s / load.answers, 3),
                "p50_ms": round(load.p50_ms, 2),
                "p99_ms": round(load.p99_ms, 2),
                "failed": load.failed,
            }
        return results


def keep_best(best: Results, results: Results) -> None:
    """Keeps, for each body and number of connections, the result with most responses."""
    for body, loads in results.items():
        kept = best.setdefault(body, {})
        for connections, load in loads.items():
            if load["answers_per_s"] > kept.get(connections, {}).get("answers_per_s", 0):
                kept[connections] = load


def write_table(rows: dict[str, Results]) -> str:
    """A Markdown table."""
    lines = [
        "| server | body | responses/s at 64 | CPU s per 1,000 | p50 / p99 ms | responses/s at 1 |"
        " CPU s per 1,000 | p50 / p99 ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, bodies in rows.items():
        for body, loads in bodies.items():
            cells = [
                f"{load['answers_per_s']:,} | {load['cpu_s_per_1000']:.3f} |"
                f" {load['p50_ms']:.2f} / {load['p99_ms']:.2f}"
                + (f" ({load['failed']} failed)" if load["failed"] else "")
                for load in loads.values()
            ]
            lines.append(f"| {name} | {body} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure_all(contest: Contest, names: Sequence[str], rounds: int) -> dict[str, Results]:
    """The best results of each server."""
    rows: dict[str, Results] = {}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1}: {name} ...", file=sys.stderr, flush=True)
            try:
                results = contest.measure(name)
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                print(f"  skipped: {error}", file=sys.stderr)
            else:
                keep_best(rows.setdefault(name, {}), results)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("servers", nargs="*", default=SERVERS, help="%(default)s, or any peer")
    parser.add_argument("--environments", default=ENVIRONMENTS, help="folder (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="of each load (%(default)s)")
    parser.add_argument("--pin", action="store_true", help="servers and wrk on CPUs of their own")
    parser.add_argument("--table", action="store_true", help="print a Markdown table, not JSON")
    args = parser.parse_args()
    exit_on_sigterm()
    environments = Path(args.environments)
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(Path(folder), environments, args.seconds, pin=args.pin)
        rows = measure_all(contest, args.servers, args.rounds)
    versions = {}
    for name in rows:
        programs = environment_of(name, PEERS[name], environments)
        versions[name] = read_version(programs, PEERS[name].distribution)
    print(write_table(rows) if args.table else json.dumps(rows | {"versions": versions}, indent=1))


if __name__ == "__main__":
    main()
