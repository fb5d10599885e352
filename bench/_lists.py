"""Lists as the centre builds them, for benchmarks that need one."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from demo.world import SITE_ID
from sync.protocol import LIST_FORMAT

LIST_REVISION = 1
FAR_S = 1 << 40
"""A moment that no benchmark reaches."""


def write_list(
    path: Path, ids: Sequence[bytes], version: int, until_s: Callable[[bytes], int] = lambda _: FAR_S
) -> None:
    """Write a list of many-entry tickets, each valid until some moment, sorted as the centre sorts them."""
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript(f"""
            PRAGMA journal_mode = OFF; PRAGMA user_version = {LIST_FORMAT};
            CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
            CREATE TABLE watermarks (box_id TEXT PRIMARY KEY, seq_no INTEGER) WITHOUT ROWID;
            CREATE TABLE products (code TEXT PRIMARY KEY, name_zh, name_en, site_ids, terms) WITHOUT ROWID;
            CREATE TABLE ticket_counters (key BLOB, counter, used, PRIMARY KEY (key, counter)) WITHOUT ROWID;
            CREATE TABLE tickets (key BLOB PRIMARY KEY, product, quantity, refunded, used, valid_from_s,
                valid_until_s, status, revision) WITHOUT ROWID;
        """)
        meta = {"site_id": SITE_ID, "version": version, "as_of_s": 1, "revision": LIST_REVISION}
        sql.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        sql.execute("INSERT INTO products VALUES ('DAY1', 'DAY1', 'DAY1', ?, '')", (json.dumps([SITE_ID]),))
        rows = ((name, "DAY1", 1000, 0, 0, 0, until_s(name), "valid", 1) for name in sorted(ids))
        sql.executemany("INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        sql.commit()


def sha256(path: Path) -> bytes:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
