"""A server under attack: its memory, the latency of other clients, and its recovery time.

Each attack gets a fresh server with two workers and API keys, and a well-behaved client that sends
small predictions at a fixed rate, with latency counted from when each was due. The client first
runs alone, then during the attack (in a separate process), then alone again until p99 and memory
are close to their original values. If a worker exceeds 6 GB, the workers are killed and the
attack ends.

The guarantee under test: whatever a client without a valid key sends, memory grows by at most a
constant per connection, and the p99 of other clients by at most a factor. The table shows both for
each attack; `ok` means at most 400 MB per worker and recovery within 2 s. Needs `openssl`.

usage: python bench/hostile.py [--only NAME] [--quick] [--json | --markdown]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hostile_attacks import ATTACKS, Attack, list_names
from hostile_client import PATIENCE_S, RATE_PER_S
from hostile_models import write_models
from processes import Server, exit_on_sigterm, find_port

MB = 1e6
KEY = "a-key-that-is-valid"
WORKERS = 2
SAMPLE_S = 0.01
MAX_BYTES = 6e9
# Recovered: the first window whose p99 and memory are close to their original values.
WINDOW_S = 0.5
NEAR_P99 = 3.0
NEAR_MS = 10.0
NEAR_BYTES = 64e6
TARGET_MB, TARGET_S = 400.0, 2.0


@dataclass(frozen=True, slots=True)
class Times:
    """How long each phase lasts, in seconds."""

    before_s: float = 5.0
    attack_s: float = 15.0
    after_s: float = 20.0


@dataclass(slots=True)
class Samples:
    """The memory of the largest worker over time."""

    at: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    def between(self, begin: float, end: float) -> list[float]:
        """The samples from `begin` to `end`."""
        return [size for at, size in zip(self.at, self.bytes, strict=True) if begin <= at < end]


class Watch:
    """Samples the memory of a server's workers, and kills them if they exceed `MAX_BYTES`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.samples = Samples()
        self.burst = False
        self._pids: dict[int, psutil.Process] = {}
        self._listed = 0.0

    def list_workers(self) -> list[psutil.Process]:
        """The supervisor's children, refreshed a few times a second."""
        if time.monotonic() - self._listed > 0.2:
            self._listed = time.monotonic()
            found = []
            with contextlib.suppress(psutil.Error):
                found = psutil.Process(self.server.process.pid).children(recursive=True)
            self._pids = {each.pid: self._pids.get(each.pid, each) for each in found}
        return list(self._pids.values())

    def sample(self) -> None:
        """Takes one sample."""
        sizes = []
        for worker in self.list_workers():
            with contextlib.suppress(psutil.Error):
                sizes.append(worker.memory_info().rss)
                self.samples.pids.add(worker.pid)
        self.samples.at.append(time.monotonic())
        self.samples.bytes.append(max(sizes, default=0))
        if max(sizes, default=0) > MAX_BYTES:
            self.burst = True
            for worker in self.list_workers():
                with contextlib.suppress(psutil.Error):
                    worker.kill()

    def wait(self, end: float, attack: subprocess.Popen[str] | None = None) -> None:
        """Takes samples until `end`, or until the attack is over or a worker grew too large."""
        while time.monotonic() < end and (attack is None or attack.poll() is None):
            self.sample()
            if self.burst:
                return
            time.sleep(SAMPLE_S)


def percentile_ms(latencies_s: list[float], share: float = 0.99) -> float:
    """The latency percentile `share`, in milliseconds; NaN without latencies."""
    ordered = sorted(latencies_s)
    if not ordered:
        return math.nan
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(attack: Attack, times: Times, folder: Path) -> dict[str, Any]:
    """Runs one attack against a server of its own."""
    port, grpc_port = find_port(), find_port()
    command = write_command(attack, port, grpc_port, folder)
    environment = {"MODELPAD_STORE": str(folder / "store")}
    with Server(command, Path.cwd(), environment) as server:
        wait_until_open(server, port)
        watch = Watch(server)
        client = start("hostile_client.py", str(port), str(int(attack.tls)), KEY)
        begin = time.monotonic() + 0.5
        attacked = begin + times.before_s
        begin_at(client, attacked + times.attack_s + times.after_s)
        attacker = start("hostile_attacks.py", attack.name, str(port), str(grpc_port), KEY)
        watch.wait(attacked)
        end = attacked + times.attack_s
        begin_at(attacker, end)
        watch.wait(end + 1.0, attacker)
        attacker.kill()
        attacker.wait()
        over = time.monotonic()
        end = attacked + times.attack_s + times.after_s
        watch.wait(end)
        answers = read_answers(client)
        alive = server.process.poll() is None
    return summarise(attack, watch, answers, (begin, attacked, over, end), alive)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts a script of this benchmark in its own process and waits until it is ready."""
    command = [sys.executable, str(Path(__file__).parent / script), *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"{script} did not start")
    return process


def begin_at(process: subprocess.Popen[str], end: float) -> None:
    """Signals a started script to begin, with its end time."""
    assert process.stdin is not None
    process.stdin.write(f"{end}\n")
    process.stdin.flush()


def read_answers(client: subprocess.Popen[str]) -> list[tuple[float, float | None]]:
    """When each prediction was due, and its latency in seconds; None without a response."""
    try:
        result, _ = client.communicate(timeout=PATIENCE_S + 5)
    except subprocess.TimeoutExpired:
        client.kill()
        raise RuntimeError("the client did not exit") from None
    return [(due, took) for due, took in json.loads(result)]


def summarise(
    attack: Attack,
    watch: Watch,
    answers: list[tuple[float, float | None]],
    parts: tuple[float, float, float, float],
    alive: bool,
) -> dict[str, Any]:
    """The results of one attack."""
    begin, attacked, over, end = parts

    def good(start: float, stop: float) -> list[float]:
        return [took for due, took in answers if start <= due < stop and took is not None]

    def share(start: float, stop: float) -> float:
        asked = sum(start <= due < stop for due, _ in answers)
        return len(good(start, stop)) / (RATE_PER_S * (stop - start)) if asked else 0.0

    base = max(watch.samples.between(begin, attacked), default=0.0)
    peak = max(watch.samples.between(attacked, end), default=0.0)
    before_ms = percentile_ms(good(begin, attacked))
    during_ms = percentile_ms(good(attacked, over))
    fast_again = recover(
        over, end, lambda start, stop: _is_fast(good(start, stop), before_ms, stop - start)
    )
    small_again = recover(
        over,
        end,
        lambda start, stop: (
            max(watch.samples.between(start, stop), default=math.inf) <= base + NEAR_BYTES
        ),
    )
    recovered = (
        None if None in (fast_again, small_again) else max(fast_again or 0, small_again or 0)
    )
    restarts = max(0, len(watch.samples.pids) - WORKERS)
    return {
        "attack": attack.name,
        "key": attack.keyed,
        "seconds": round(over - attacked, 1),
        "base_mb": round(base / MB),
        "peak_mb": round(peak / MB),
        "p99_ms": [round(before_ms, 1), round(during_ms, 1)],
        "p99_factor": round(during_ms / before_ms, 1),
        "goodput": [round(share(begin, attacked), 3), round(share(attacked, over), 3)],
        "recovery_s": recovered,
        "fast_again_s": fast_again,
        "small_again_s": small_again,
        "restarts": restarts,
        "burst": watch.burst,
        "alive": alive,
        "ok": alive
        and not restarts
        and peak / MB <= TARGET_MB
        and recovered is not None
        and recovered <= TARGET_S,
    }


def _is_fast(latencies_s: list[float], before_ms: float, seconds: float) -> bool:
    enough = len(latencies_s) >= 0.8 * RATE_PER_S * seconds
    return enough and percentile_ms(latencies_s) <= NEAR_P99 * before_ms + NEAR_MS


def recover(over: float, end: float, is_recovered: Any) -> float | None:
    """Seconds until the first recovered window; None if there is none."""
    start = over
    while start + WINDOW_S <= end:
        if is_recovered(start, start + WINDOW_S):
            return round(start - over, 1)
        start += WINDOW_S / 5
    return None


def write_command(attack: Attack, port: int, grpc_port: int, folder: Path) -> list[str]:
    """The `modelpad serve` command; run by a shell if the attack limits open files."""
    command = [sys.executable, "-m", "modelpad", "serve", "digits", *write_models_once(folder)]
    command += [
        "--port",
        str(port),
        "--grpc-port",
        str(grpc_port),
        "--no-open",
        "--poll-interval",
        "0",
    ]
    command += ["--workers", str(WORKERS), "--timeout", str(attack.timeout_s)]
    command += ["--api-keys", str(folder / "keys")]
    if attack.tls:
        command += ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]
    if attack.files:
        return ["sh", "-c", f'ulimit -n {attack.files}; exec "$@"', "sh", *command]
    return command


def write_models_once(folder: Path) -> list[str]:
    """The folders of the hostile models, written on first use."""
    names = [str(folder / name) for name in ("loop", "wide")]
    return names if Path(names[0]).is_dir() else write_models(folder)


def prepare(folder: Path) -> None:
    """Writes API keys and a self-signed certificate."""
    (folder / "keys").write_text(f"ann={KEY}")
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=here"]
    subprocess.run([*openssl, *files], check=True, capture_output=True)


def wait_until_open(server: Server, port: int) -> None:
    """Waits until the port accepts connections. Raises `RuntimeError` if the server exits."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            time.sleep(1.0)  # for the other worker
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {server.read_log()}")


HEAD = (
    "attack", "key", "peak MB per worker (before)", "p99 ms, before", "during", "goodput",
    "recovery", "restarts", "",
)  # fmt: skip


def write_row(result: dict[str, Any]) -> list[str]:
    """The table cells of one attack."""
    if "error" in result:
        return [result["attack"], "", result["error"], *[""] * 5, "fails"]
    recovery = result["recovery_s"]
    return [
        result["attack"],
        "valid" if result["key"] else "none",
        f"{'over ' if result['burst'] else ''}{result['peak_mb']:,} ({result['base_mb']:,})",
        f"{result['p99_ms'][0]:.1f}",
        f"{result['p99_ms'][1]:.1f}",
        f"{100 * result['goodput'][1]:.0f} %",
        "never" if recovery is None else f"{recovery:.1f} s",
        str(result["restarts"]),
        "ok" if result["ok"] else "fails",
    ]


def write_markdown(rows: list[list[str]]) -> str:
    """The Markdown table of docs/benchmarks.md."""
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_plain(row: list[str] | tuple[str, ...]) -> str:
    """A line for the terminal."""
    widths = (24, 6, 28, 15, 10, 8, 9, 9, 5)
    return " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        action="append",
        choices=list(list_names()),
        metavar="NAME",
        help="run only this attack; repeatable",
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds for each attack")
    parser.add_argument("--json", action="store_true", help="print JSON at the end")
    parser.add_argument("--markdown", action="store_true", help="print a table for the docs")
    args = parser.parse_args()
    exit_on_sigterm()
    times = Times(3.0, 6.0, 8.0) if args.quick else Times()
    results = []
    plain = not (args.json or args.markdown)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        if plain:
            print(write_plain(HEAD), flush=True)
        for attack in ATTACKS:
            if args.only and attack.name not in args.only:
                continue
            try:
                result = measure(attack, times, folder)
            except Exception as error:  # the next attack gets its own server
                result = {
                    "attack": attack.name,
                    "key": attack.keyed,
                    "error": str(error),
                    "ok": False,
                }
            results.append(result)
            if plain:
                print(write_plain(write_row(result)), flush=True)
            else:
                print(write_plain(write_row(result)), file=sys.stderr, flush=True)
    if args.markdown:
        print(write_markdown([write_row(each) for each in results]))
    if args.json:
        print(json.dumps(results, indent=1))
    os._exit(0 if all(each["ok"] for each in results) else 1)


if __name__ == "__main__":
    main()
