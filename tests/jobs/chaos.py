"""Submits jobs while the server, the worker and the attempts are killed at random.

`python -m tests.jobs.chaos 1000` does so with a thousand, and prints what became of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from modelpad.jobs import JobQueue
from tests.ports import find_port

ROOT = Path(__file__).parents[2]
MIN_KILLS = 4
MAX_ENDS = 5  # jobs that may end between two kills
MAX_DELAY_S = 0.3
POLL_S = 0.05
ENDED = """
CREATE TABLE ended (job TEXT, state TEXT);
CREATE TRIGGER note_end AFTER UPDATE OF state ON jobs
WHEN new.state NOT IN ('queued', 'running')
BEGIN INSERT INTO ended VALUES (new.id, new.state); END;
"""


@dataclass
class Outcome:
    """How many jobs there were, how they ended and how often, and what was killed."""

    submitted: int
    stored: int = 0
    states: dict[str, int] = field(default_factory=dict)
    ended_twice: int = 0
    wrong: int = 0
    resumed: int = 0
    killed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Victims:
    """A server with jobs, whose processes are killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.port = folder, find_port()
        self.killed: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._server = self._start()
        JobQueue(folder / "jobs").create()
        with contextlib.closing(sqlite3.connect(folder / "jobs" / "jobs.sqlite")) as connection:
            connection.executescript(ENDED)

    def kill_one(self) -> None:
        """Kills the server, the worker or an attempt; a killed server is started again."""
        role = self._random.choice(("serve", "worker", "runner", "runner"))
        if role == "serve":
            self._server.kill()
            self._server.wait()
            self._server = self._start()
            self.killed["server"] += 1
            return
        for pid in self._find(role):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed[role] += 1

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait(30)

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        options = ["--studio", "--jobs", str(self.folder / "jobs"), "--workers", "1", "--no-open"]
        places = ["--store", str(self.folder / "store"), "--port", str(self.port)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.jobs.tiny", "serve", "digits", *options, *places],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _find(self, role: str) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes()
                ours = str(self.folder).encode() in words
                if ours and b"tests.jobs.tiny\0" + role.encode() + b"\0" in words:
                    found.append(int(path.parent.name))
        return found


def submit_all(port: int, count: int) -> None:
    """Submits each job until the server says that it has it."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        for number in range(count):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    params = {"echo": number, "seconds": 0.05}
                    headers = {"idempotency-key": f"job {number}"}
                    response = client.post("/jobs/tiny", json=params, headers=headers)
                    if response.status_code in (200, 202):
                        break
                    assert response.status_code == 429, response.text
                time.sleep(0.05)


def run_chaos(folder: Path, count: int, seed: int = 0, limit_s: float = 3600) -> Outcome:
    """Submits so many jobs, and waits until all have ended; kills until then, `MIN_KILLS` at
    least."""
    victims = Victims(folder, seed)
    queue = JobQueue(folder / "jobs")
    start = time.monotonic()
    client = threading.Thread(target=submit_all, args=(victims.port, count), daemon=True)
    client.start()
    choose = random.Random(seed)
    ended, next_kill = 0, 1
    while time.monotonic() - start < limit_s:
        time.sleep(POLL_S)
        jobs = queue.jobs()
        ended = sum(job.is_finished for job in jobs)
        has_ended = ended == count and not client.is_alive()
        if has_ended and victims.killed.total() >= MIN_KILLS:
            break
        if has_ended or ended >= next_kill:
            next_kill = ended + choose.randint(1, MAX_ENDS)
            time.sleep(choose.uniform(0, MAX_DELAY_S))
            victims.kill_one()
    victims.stop()
    outcome = judge(queue, count)
    outcome.killed, outcome.seconds = dict(victims.killed), time.monotonic() - start
    return outcome


def judge(queue: JobQueue, count: int) -> Outcome:
    """Whether every job is there, has ended once, and has its own result."""
    jobs = queue.jobs()
    with contextlib.closing(sqlite3.connect(queue.path)) as connection:
        rows = connection.execute("SELECT job, count(*) FROM ended GROUP BY job").fetchall()
    done = [job for job in jobs if job.state == "done"]
    return Outcome(
        submitted=count,
        stored=len({job.params["echo"] for job in jobs}) if len(jobs) == count else -len(jobs),
        states=dict(Counter(job.state for job in jobs)),
        ended_twice=sum(times != 1 for _, times in rows) + abs(len(rows) - len(jobs)),
        wrong=sum(job.result is None or job.result["echo"] != job.params["echo"] for job in done),
        resumed=sum(job.attempt > 1 for job in jobs),
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(asdict(run_chaos(Path(temporary), int(sys.argv[1])))))
