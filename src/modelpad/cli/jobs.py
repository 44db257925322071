"""`modelpad jobs`: long work that servers do in the background."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelpad.cli.actions import start_actions
from modelpad.cli.listing import make_printable, print_table
from modelpad.cli.main import DONE, FAILED, add_common_options, add_jobs_option
from modelpad.locations import locate_jobs

if TYPE_CHECKING:
    from modelpad.jobs import Job, JobQueue

EXAMPLE = """examples:
  modelpad jobs
  modelpad jobs logs 0b7d1c6aa2f94e11aa --follow
  modelpad jobs cancel 0b7d1c6aa2f94e11aa
"""
POLL_S = 0.3


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions, each with the same options."""
    parser.epilog = EXAMPLE
    add = start_actions(parser, add_options, list_jobs)
    listing = add("list", list_jobs, "list the jobs, the newest first")
    listing.epilog = "example:\n  modelpad jobs list --json"
    show = add("show", show_job, "show one job")
    show.epilog = "example:\n  modelpad jobs show 0b7d1c6aa2f94e11aa"
    logs = add("logs", print_logs, "print what a job has logged")
    logs.epilog = "example:\n  modelpad jobs logs 0b7d1c6aa2f94e11aa --follow"
    logs.add_argument(
        "--follow", action="store_true", default=False, help="go on until the job has ended"
    )
    cancel = add("cancel", cancel_job, "cancel a job that is waiting or running")
    cancel.epilog = "example:\n  modelpad jobs cancel 0b7d1c6aa2f94e11aa"
    for command in (show, logs, cancel):
        command.add_argument("id", metavar="ID", help="the job's id, as listed")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--jobs` and the common options."""
    add_jobs_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the action on the folder of `--jobs` or `MODELPAD_JOBS`."""
    from modelpad.jobs import JobQueue

    code: int = args.action(JobQueue(locate_jobs(args.jobs, os.environ)), args)
    return code


def list_jobs(queue: JobQueue, args: argparse.Namespace) -> int:
    """Prints one line per job."""
    jobs = queue.jobs()
    if args.json:
        print(json.dumps({"jobs": [asdict(job) for job in jobs]}))
        return DONE
    if not jobs:
        print("There are no jobs.")
        return DONE
    rows: list[tuple[str | None, ...]] = [
        ("ID", "KIND", "STATE", "DONE", "SUBMITTED (UTC)", "STEP", "OWNER")
    ]
    for job in jobs:
        step = job.error["message"] if job.error else job.step
        rows.append(
            (
                *(job.id, job.kind, job.state, f"{100 * job.fraction:.0f} %"),
                *(write_time(job.created), shorten(step), job.owner),
            )
        )
    print_table(rows)
    return DONE


def show_job(queue: JobQueue, args: argparse.Namespace) -> int:
    """Prints all that is known of a job."""
    job = queue.find(args.id)
    if args.json:
        print(json.dumps(asdict(job)))
        return DONE
    for name, value in describe(job).items():
        print(f"{name:<10}{make_printable(str(value))}")
    return DONE


def print_logs(queue: JobQueue, args: argparse.Namespace) -> int:
    """Prints the log; with `--follow` until the job has ended, and then how."""
    after = 0
    while True:
        job = queue.find(args.id)
        for line in queue.logs(args.id, after):
            after = line.number
            print(json.dumps(asdict(line)) if args.json else make_printable(line.text), flush=True)
        if not args.follow or job.is_finished:
            break
        time.sleep(POLL_S)
    return FAILED if args.follow and job.state != "done" else DONE


def cancel_job(queue: JobQueue, args: argparse.Namespace) -> int:
    """Cancels a job. Raises `NotFound`, and `JobConflict` if it has ended."""
    job = queue.cancel(args.id)
    print(json.dumps(asdict(job)) if args.json else f"Cancelled {job.id}.")
    return DONE


def describe(job: Job) -> dict[str, Any]:
    """The lines of `modelpad jobs show`; what has not happened is left out."""
    error = f"{job.error['message']} {job.error['hint']}".strip() if job.error else None
    facts = {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": f"{100 * job.fraction:.0f} %",
        "step": job.step,
        "owner": job.owner,
        "attempt": job.attempt,
        "submitted": write_time(job.created),
        "started": write_time(job.started),
        "finished": write_time(job.finished),
        "expires": write_time(job.expires),
        "params": json.dumps(job.params),
        "result": json.dumps(job.result) if job.result else None,
        "error": error,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def write_time(seconds: float | None) -> str | None:
    """A time in UTC, to the second."""
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def shorten(text: str) -> str:
    """A text that fits into a table."""
    return text if len(text) <= 50 else f"{text[:49]}…"
