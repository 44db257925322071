"""A kind of job that takes next to no time, and the programs that know it.

`python -m tests.jobs.tiny worker SETTINGS` is as `python -m modelpad.jobs.worker SETTINGS`, and
with `serve` as `modelpad serve`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from modelpad.errors import InvalidInput, JobFailed
from modelpad.jobs import Kind, WorkSettings, kinds
from modelpad.jobs import runner as runners
from modelpad.jobs import worker as workers
from modelpad.jobs.work import Work

RUNNER = (sys.executable, "-m", "tests.jobs.tiny", "runner")


def check(params: Mapping[str, Any], settings: WorkSettings) -> Mapping[str, Any]:
    if not isinstance(params.get("seconds", 0), int | float):
        raise InvalidInput("seconds is not a number.", expected="a number", got="?")
    return params


def run(work: Work) -> Mapping[str, Any]:
    """Counts its attempts in its folder; sleeps, fails, or uses memory as it is told."""
    params: Any = work.job.params
    with (work.folder / "attempts").open("a") as file:
        file.write("+")
    work.log(f"attempt {work.job.attempt}")
    steps = 20
    # With `first_s`, there is time to kill the first attempt, and none to wait for the second.
    seconds = params.get(
        "first_s" if work.job.attempt == 1 else "seconds", params.get("seconds", 0)
    )
    for step in range(steps):
        time.sleep(seconds / steps)
        work.progress(step / steps, f"step {step}")
    if params.get("preview"):
        work.preview(b"\x89PNG picture")
    if params.get("fail"):
        raise JobFailed("It was told to fail.", hint="Tell it not to.")
    if params.get("explode"):
        raise ValueError("broken\nin two lines")
    if params.get("bytes"):
        bytearray(params["bytes"])
    return {"echo": params.get("echo"), "attempts": (work.folder / "attempts").read_text()}


KIND = Kind("tiny", "next to nothing", check, "tests.jobs.tiny:run", time_limit_s=600)


def register() -> None:
    kinds.KINDS["tiny"] = "tests.jobs.tiny"
    kinds.KINDS["once"] = "tests.jobs.once"


def main(role: str, *arguments: str) -> None:
    register()
    if role == "serve":
        from modelpad.cli.main import main as run_command
        from modelpad.server import studio

        studio.WORKER = (sys.executable, "-m", "tests.jobs.tiny", "worker")
        sys.exit(run_command(["serve", *arguments]))
    if role == "runner":
        runners.main(arguments)
    else:
        workers.run_worker(WorkSettings.from_json(arguments[0]), RUNNER)


if __name__ == "__main__":
    main(*sys.argv[1:])
