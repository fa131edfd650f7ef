"""The sandbox's own book of jobs: a SQLite file, standing in for what fal keeps, so that jobs outlive a restart.

All times are Unix seconds; all JSON is kept as text. One process uses the file at a time.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

IN_QUEUE, IN_PROGRESS, COMPLETED = "IN_QUEUE", "IN_PROGRESS", "COMPLETED"

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    endpoint_id TEXT NOT NULL,
    app TEXT NOT NULL,
    base_url TEXT NOT NULL,
    tags TEXT NOT NULL,
    prompt TEXT NOT NULL,
    prompt_key TEXT NOT NULL,
    webhook_url TEXT NOT NULL,
    lifecycle_seconds REAL,
    state TEXT NOT NULL,
    created_at REAL NOT NULL,
    eligible_at REAL NOT NULL,
    pretend_ahead INTEGER NOT NULL,
    run_seconds REAL NOT NULL,
    start_deadline_at REAL,
    started_at REAL,
    run_until REAL,
    prepared INTEGER NOT NULL DEFAULT 0,
    picture TEXT NOT NULL DEFAULT '',
    failure TEXT,
    cancel_asked_at REAL,
    completed_at REAL,
    status_code INTEGER,
    body TEXT,
    error TEXT,
    error_type TEXT,
    units REAL,
    erased INTEGER NOT NULL DEFAULT 0,
    post_count INTEGER NOT NULL DEFAULT 1,
    status_count INTEGER NOT NULL DEFAULT 0,
    stream_count INTEGER NOT NULL DEFAULT 0,
    result_count INTEGER NOT NULL DEFAULT 0,
    cancel_count INTEGER NOT NULL DEFAULT 0,
    download_count INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, seq);
CREATE INDEX IF NOT EXISTS jobs_endpoint ON jobs (endpoint_id, created_at);
CREATE TABLE IF NOT EXISTS inputs (request_id TEXT PRIMARY KEY, input TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS posts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    endpoint_id TEXT NOT NULL,
    tags TEXT NOT NULL,
    prompt TEXT NOT NULL,
    answer TEXT NOT NULL,
    request_id TEXT
);
CREATE TABLE IF NOT EXISTS strikes (key TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS bills (
    request_id TEXT PRIMARY KEY,
    endpoint_id TEXT NOT NULL,
    at REAL NOT NULL,
    units REAL NOT NULL,
    unit_price REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS webhooks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    url TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    sent_at REAL,
    answer TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'waiting'
);
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (state, due_at);
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY,
    content_type TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    path TEXT NOT NULL,
    is_ready INTEGER NOT NULL
);
"""
VERSION = 1  # raise it with every change of the tables
COUNTERS = ("post", "status", "stream", "result", "cancel", "download")

Row = dict[str, Any]


class Store:
    """Thin, synchronous access to the file: every statement is a fraction of a millisecond."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _set_aside_if_older(path)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=5000;"
        )
        self._db.executescript(f"{SCHEMA}; PRAGMA user_version = {VERSION};")

    def close(self) -> None:
        self._db.close()

    def rows(self, sql: str, *values: Any) -> list[Row]:
        return [dict(row) for row in self._db.execute(sql, values)]

    def row(self, sql: str, *values: Any) -> Row | None:
        found = self._db.execute(sql, values).fetchone()
        return dict(found) if found else None

    def value(self, sql: str, *values: Any) -> Any:
        found = self._db.execute(sql, values).fetchone()
        return found[0] if found else None

    def insert(self, table: str, **values: Any) -> int:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        done = self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return int(done.lastrowid or 0)

    def execute(self, sql: str, *values: Any) -> int:
        """Run a statement; returns how many rows it touched."""
        return self._db.execute(sql, values).rowcount

    def update_job(self, request_id: str, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"UPDATE jobs SET {names} WHERE request_id = ?", (*values.values(), request_id))

    def job(self, request_id: str) -> Row | None:
        return self.row("SELECT * FROM jobs WHERE request_id = ?", request_id)

    def input(self, request_id: str) -> dict[str, Any]:
        """What a job was asked for: kept apart because pictures in data URIs make it large."""
        text = self.value("SELECT input FROM inputs WHERE request_id = ?", request_id)
        return dict(loads(text) or {})

    def count(self, request_id: str, counter: str) -> int:
        """Add one to a job's counter and return it."""
        column = f"{counter}_count"
        sql = f"UPDATE jobs SET {column} = {column} + 1 WHERE request_id = ? RETURNING {column}"
        return int(self.value(sql, request_id) or 0)

    def strike(self, key: str, times: int | None) -> bool:
        """Say whether a directive that strikes `times` times strikes now, and count it."""
        if times is None:
            return True
        sql = (
            "INSERT INTO strikes (key, count) VALUES (?, 1) "
            "ON CONFLICT (key) DO UPDATE SET count = count + 1 RETURNING count"
        )
        return int(self.value(sql, key)) <= times

    def queued(self) -> int:
        return int(self.value("SELECT count(*) FROM jobs WHERE state = ?", IN_QUEUE))

    def running(self) -> int:
        return int(self.value("SELECT count(*) FROM jobs WHERE state = ?", IN_PROGRESS))

    def ahead_of(self, job: Row) -> int:
        sql = "SELECT count(*) FROM jobs WHERE state = ? AND seq < ?"
        return int(self.value(sql, IN_QUEUE, job["seq"]))

    def spent_usd(self) -> float:
        return float(self.value("SELECT coalesce(sum(units * unit_price), 0) FROM bills"))

    def next_due_at(self, *, may_start: bool, may_send: bool) -> float | None:
        """When there is something to do next; queued jobs and webhooks count only while there is room for them."""
        times = [
            self.value("SELECT min(run_until) FROM jobs WHERE state = ? AND prepared = 1", IN_PROGRESS),
            self.value("SELECT min(start_deadline_at) FROM jobs WHERE state = ?", IN_QUEUE),
        ]
        if may_send:
            times.append(self.value("SELECT min(due_at) FROM webhooks WHERE state = 'waiting'"))
        if may_start:
            times.append(self.value("SELECT min(eligible_at) FROM jobs WHERE state = ?", IN_QUEUE))
        return min((at for at in times if at is not None), default=None)

    def record_post(
        self, *, endpoint_id: str, tags: str, prompt: str, answer: str, request_id: str | None
    ) -> None:
        self.insert(
            "posts",
            at=time.time(),
            endpoint_id=endpoint_id,
            tags=tags,
            prompt=prompt,
            answer=answer,
            request_id=request_id,
        )

    def reset(self, *, counters_only: bool) -> None:
        """Forget posts and counters, and unless told otherwise every job, bill, file entry and webhook too."""
        self.execute("DELETE FROM posts")
        self.execute("DELETE FROM strikes")
        self.execute("UPDATE jobs SET " + ", ".join(f"{name}_count = 0" for name in COUNTERS))
        if not counters_only:
            for table in ("jobs", "inputs", "bills", "webhooks", "files"):
                self.execute(f"DELETE FROM {table}")


def _set_aside_if_older(path: Path) -> None:
    """Begin afresh where the file was written by another version: simulated jobs are not worth migrating."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        for each in path.parent.glob(f"{path.name}*"):
            each.rename(each.with_name(f"{each.name}.version{version}"))


def loads(text: str | None) -> Any:
    return json.loads(text) if text else None
