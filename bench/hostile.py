"""A server under attack: its memory, what its other clients feel, and how soon it is well again.

Each attack gets a fresh server with two workers that wants keys, and a client that behaves: small
predictions at a fixed rate, their latency counted from when each was due. First the client is
alone, then the attack runs (in a process of its own), then the client is alone again until p99 and
memory are near what they were. Where a worker passes 6 GB the attack is ended and the server with
it.

What is to hold: for any bytes that a client without a valid key sends, memory grows by no more than
a constant for each connection, and the p99 of other clients by no more than a factor. The table
tells both for each attack; `ok` is at most 400 MB a worker and well again within 2 s.
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
from processes import Server, heed_termination

MB = 1e6
KEY = "a-key-that-is-valid"
WORKERS = 2
LOOK_S = 0.01
MAX_BYTES = 6e9
# Well again: a second whose p99 and memory are near what they were.
WINDOW_S = 0.5
NEAR_P99 = 3.0
NEAR_MS = 10.0
NEAR_BYTES = 64e6
TARGET_MB, TARGET_S = 400.0, 2.0


@dataclass(frozen=True, slots=True)
class Times:
    """How long each part lasts, in seconds."""

    before_s: float = 5.0
    attack_s: float = 15.0
    after_s: float = 20.0


@dataclass(slots=True)
class Looks:
    """The largest worker's memory at each time."""

    at: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    def between(self, begin: float, end: float) -> list[float]:
        """Those from `begin` to `end`."""
        return [size for at, size in zip(self.at, self.bytes, strict=True) if begin <= at < end]


class Watch:
    """Looks at the workers of a server, and ends what goes too far."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.looks = Looks()
        self.burst = False
        self._pids: dict[int, psutil.Process] = {}
        self._listed = 0.0

    def list_workers(self) -> list[psutil.Process]:
        """The supervisor's children; looked up anew a few times a second."""
        if time.monotonic() - self._listed > 0.2:
            self._listed = time.monotonic()
            found = []
            with contextlib.suppress(psutil.Error):
                found = psutil.Process(self.server.process.pid).children(recursive=True)
            self._pids = {each.pid: self._pids.get(each.pid, each) for each in found}
        return list(self._pids.values())

    def reconcile(self) -> None:
        """Once."""
        sizes = []
        for worker in self.list_workers():
            with contextlib.suppress(psutil.Error):
                sizes.append(worker.memory_info().rss)
                self.looks.pids.add(worker.pid)
        self.looks.at.append(time.monotonic())
        self.looks.bytes.append(max(sizes, default=0))
        if max(sizes, default=0) > MAX_BYTES:
            self.burst = True
            for worker in self.list_workers():
                with contextlib.suppress(psutil.Error):
                    worker.kill()

    def wait(self, end: float, attack: subprocess.Popen[str] | None = None) -> None:
        """Looks until then, or until the attack is over or has gone too far."""
        while time.monotonic() < end and (attack is None or attack.poll() is None):
            self.reconcile()
            if self.burst:
                return
            time.sleep(LOOK_S)


def percentile_ms(latencies_s: list[float], share: float = 0.99) -> float:
    """The latency, in milliseconds, that `share` stayed under; NaN of none."""
    ordered = sorted(latencies_s)
    if not ordered:
        return math.nan
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(attack: Attack, times: Times, folder: Path) -> dict[str, Any]:
    """One attack on a server of its own."""
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
    return tell(attack, watch, answers, (begin, attacked, over, end), alive)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Another part of this benchmark in a process of its own, when it is ready to begin."""
    command = [sys.executable, str(Path(__file__).parent / script), *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"{script} did not start")
    return process


def begin_at(process: subprocess.Popen[str], end: float) -> None:
    """Lets it begin, and says when it is to end."""
    assert process.stdin is not None
    process.stdin.write(f"{end}\n")
    process.stdin.flush()


def read_answers(client: subprocess.Popen[str]) -> list[tuple[float, float | None]]:
    """When each prediction was due, and the seconds until its answer; None where none came."""
    try:
        told, _ = client.communicate(timeout=PATIENCE_S + 5)
    except subprocess.TimeoutExpired:
        client.kill()
        raise RuntimeError("the client did not end") from None
    return [(due, took) for due, took in json.loads(told)]


def tell(
    attack: Attack,
    watch: Watch,
    answers: list[tuple[float, float | None]],
    parts: tuple[float, float, float, float],
    alive: bool,
) -> dict[str, Any]:
    """The figures of one attack."""
    begin, attacked, over, end = parts

    def good(start: float, stop: float) -> list[float]:
        return [took for due, took in answers if start <= due < stop and took is not None]

    def share(start: float, stop: float) -> float:
        asked = sum(start <= due < stop for due, _ in answers)
        return len(good(start, stop)) / (RATE_PER_S * (stop - start)) if asked else 0.0

    base = max(watch.looks.between(begin, attacked), default=0.0)
    peak = max(watch.looks.between(attacked, end), default=0.0)
    before_ms = percentile_ms(good(begin, attacked))
    during_ms = percentile_ms(good(attacked, over))
    fast_again = recover(
        over, end, lambda start, stop: _is_fast(good(start, stop), before_ms, stop - start)
    )
    small_again = recover(
        over,
        end,
        lambda start, stop: (
            max(watch.looks.between(start, stop), default=math.inf) <= base + NEAR_BYTES
        ),
    )
    recovered = (
        None if None in (fast_again, small_again) else max(fast_again or 0, small_again or 0)
    )
    restarts = max(0, len(watch.looks.pids) - WORKERS)
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


def recover(over: float, end: float, is_well: Any) -> float | None:
    """Seconds until the first window that is well; None when there is none."""
    start = over
    while start + WINDOW_S <= end:
        if is_well(start, start + WINDOW_S):
            return round(start - over, 1)
        start += WINDOW_S / 5
    return None


def write_command(attack: Attack, port: int, grpc_port: int, folder: Path) -> list[str]:
    """`modelpad serve` for an attack, through a shell where it may have few files open."""
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
    """The folders of the hostile models."""
    names = [str(folder / name) for name in ("loop", "wide")]
    return names if Path(names[0]).is_dir() else write_models(folder)


def prepare(folder: Path) -> None:
    """Keys, and a certificate that nobody signed."""
    (folder / "keys").write_text(f"ann={KEY}")
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=here"]
    subprocess.run([*openssl, *files], check=True, capture_output=True)


def find_port() -> int:
    """A port that is free just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until_open(server: Server, port: int) -> None:
    """Until the port accepts connections. Raises `RuntimeError` when the server stops."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            time.sleep(1.0)  # the other worker, too
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {server.read_log()}")


HEAD = (
    "attack", "key", "peak MB a worker (before)", "p99 ms, before", "during", "goodput",
    "well again", "restarts", "",
)  # fmt: skip


def write_row(told: dict[str, Any]) -> list[str]:
    """The cells of one attack."""
    if "error" in told:
        return [told["attack"], "", told["error"], *[""] * 5, "fails"]
    recovery = told["recovery_s"]
    return [
        told["attack"],
        "valid" if told["key"] else "none",
        f"{'over ' if told['burst'] else ''}{told['peak_mb']:,} ({told['base_mb']:,})",
        f"{told['p99_ms'][0]:.1f}",
        f"{told['p99_ms'][1]:.1f}",
        f"{100 * told['goodput'][1]:.0f} %",
        "never" if recovery is None else f"{recovery:.1f} s",
        str(told["restarts"]),
        "ok" if told["ok"] else "fails",
    ]


def write_markdown(rows: list[list[str]]) -> str:
    """A table for the docs."""
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_plain(row: list[str] | tuple[str, ...]) -> str:
    """A line for the terminal."""
    widths = (24, 6, 26, 15, 10, 8, 11, 9, 5)
    return " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(list_names()), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="a few seconds for each attack")
    parser.add_argument("--json", action="store_true", help="print JSON at the end")
    parser.add_argument("--markdown", action="store_true", help="print a table for the docs")
    args = parser.parse_args()
    heed_termination()
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
                told = measure(attack, times, folder)
            except Exception as error:  # the next attack has a server of its own
                told = {
                    "attack": attack.name,
                    "key": attack.keyed,
                    "error": str(error),
                    "ok": False,
                }
            results.append(told)
            if plain:
                print(write_plain(write_row(told)), flush=True)
            else:
                print(write_plain(write_row(told)), file=sys.stderr, flush=True)
    if args.markdown:
        print(write_markdown([write_row(each) for each in results]))
    if args.json:
        print(json.dumps(results, indent=1))
    os._exit(0 if all(each["ok"] for each in results) else 1)


if __name__ == "__main__":
    main()
