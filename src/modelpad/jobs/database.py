"""The SQLite file of jobs: its format, and its rows as values."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields

from modelpad.databases import DatabaseFormat
from modelpad.jobs.job import Job

FILE = "jobs.sqlite"
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL,
    params TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL, expires REAL,
    fraction REAL NOT NULL DEFAULT 0, step TEXT NOT NULL DEFAULT '',
    previews INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
    committing INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT,
    request_key TEXT, digest TEXT NOT NULL, UNIQUE (owner, request_key)
);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE logs (
    job TEXT NOT NULL, number INTEGER NOT NULL, time REAL NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID
"""
JOBS = DatabaseFormat(
    noun="job queue",
    application=0x6D706A62,  # "mpjb"
    version=1,
    schema=SCHEMA,
    hint="A server has jobs with: modelpad serve --studio",
)
COLUMNS = tuple(each.name for each in fields(Job))
JSON_COLUMNS = frozenset(("params", "error", "result"))


def find_jobs(
    connection: sqlite3.Connection, where: str, given: tuple[object, ...] = ()
) -> list[Job]:
    """The jobs that a condition selects; `where` is SQL of our own."""
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM jobs {where}", given)
    return [_make_job(row) for row in rows]


def _make_job(row: tuple[object, ...]) -> Job:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in JSON_COLUMNS:
        if values[name] is not None:
            values[name] = json.loads(str(values[name]))
    return Job(**(values | {"committing": bool(values["committing"])}))  # type: ignore[arg-type]
