"""Load from outside: wrk, one thread of C, in place of our own generator.

It needs `wrk` (Debian: `apt-get install wrk`). A script in Lua sends one request over and over and
prints the result; the latencies are wrk's own, from sending a request to its complete response.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

REPORT = """
function done(summary, latency, requests)
  local wrong = summary.errors
  io.stderr:write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %f, "p99": %f, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    wrong.status + wrong.connect + wrong.read + wrong.write + wrong.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class OutsideLoad:
    """What wrk measured. `cpu_s` is the CPU time that it used itself."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_s: float


def find_wrk() -> str:
    """The path of wrk. Raises `RuntimeError` if it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise RuntimeError("wrk is not installed; on Debian: apt-get install wrk")
    return found


def run_wrk(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: float,
    cpu: int | None = None,
) -> OutsideLoad:
    """Posts `body` on so many connections, each as soon as the previous response has arrived.

    With `cpu`, wrk runs on that CPU alone.
    """
    pin = () if cpu is None else ("taskset", "-c", str(cpu))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(write_script(body, headers))
        script.flush()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [
                *pin,
                find_wrk(),
                "--threads=1",
                f"--connections={connections}",
                f"--duration={round(seconds)}s",
                "--timeout=10s",
                f"--script={script.name}",
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stderr)
    return OutsideLoad(
        result["requests"] - result["failed"],
        result["microseconds"] / 1e6,
        result["p50"] / 1e3,
        result["p99"] / 1e3,
        result["failed"],
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def write_script(body: bytes, headers: Mapping[str, str]) -> str:
    """The Lua script that sends the request."""
    lines = ['wrk.method = "POST"', f'wrk.body = "{quote_lua(body)}"']
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(v)}" for name, v in headers.items()]
    return "\n".join(lines) + REPORT


def quote_lua(text: bytes) -> str:
    """Bytes as the inside of a Lua string."""
    return "".join(f"\\{byte:03d}" for byte in text)
