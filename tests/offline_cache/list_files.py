"""List files as the centre builds them, made by hand."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

import msgspec

from admission.entitlements import SubjectRights
from admission.terms import check_terms
from admission.tickets import Product, Ticket
from offline_cache.lists import FORMAT
from tests.admission.makers import DAY_TICKET, LIST, SITE

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE watermarks (box_id TEXT PRIMARY KEY, seq_no INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE products (code TEXT PRIMARY KEY, name_zh TEXT, name_en TEXT, site_ids TEXT, terms TEXT) WITHOUT ROWID;
CREATE TABLE ticket_counters (key BLOB, counter TEXT, used INTEGER, PRIMARY KEY (key, counter)) WITHOUT ROWID;
CREATE TABLE tickets (
    key BLOB PRIMARY KEY, product TEXT, quantity INTEGER, refunded INTEGER, used INTEGER,
    valid_from_s INTEGER, valid_until_s INTEGER, status TEXT, revision INTEGER
) WITHOUT ROWID;
CREATE TABLE memberships (
    key BLOB, group_id TEXT, from_s INTEGER, until_s INTEGER, PRIMARY KEY (key, group_id)
) WITHOUT ROWID;
CREATE TABLE free_visits (key BLOB, scope TEXT, used INTEGER, PRIMARY KEY (key, scope)) WITHOUT ROWID;
CREATE TABLE credit_lines (
    key BLOB PRIMARY KEY, limit_fen INTEGER, per_visit_fen INTEGER, outstanding_fen INTEGER,
    until_s INTEGER, revision INTEGER
) WITHOUT ROWID;
CREATE TABLE clearances (
    key BLOB, provider TEXT, colour TEXT, until_s INTEGER, PRIMARY KEY (key, provider)
) WITHOUT ROWID;
CREATE TABLE credit_orders (
    key BLOB, order_id TEXT, site_id TEXT, fare_fen INTEGER, quantity INTEGER, used INTEGER, from_s INTEGER,
    until_s INTEGER, PRIMARY KEY (key, order_id)
) WITHOUT ROWID;
CREATE TABLE documents (key BLOB, holder BLOB, is_ticket INTEGER, PRIMARY KEY (key, holder)) WITHOUT ROWID;
"""


def build_list(
    path: Path,
    *,
    version: int = LIST.version,
    site_id: str = SITE,
    as_of_s: int = LIST.as_of_s,
    revision: int = 0,
    format_: int = FORMAT,
    watermarks: Mapping[str, int] | None = None,
    products: tuple[Product, ...] = (DAY_TICKET,),
    tickets: Mapping[bytes, Ticket] | None = None,
    subjects: Mapping[bytes, SubjectRights] | None = None,
    documents: tuple[tuple[bytes, bytes, bool], ...] = (),
    clearances: tuple[tuple[bytes, str, str, int], ...] = (),
) -> bytes:
    """Write a list to `path` and return its SHA-256."""
    path.unlink(missing_ok=True)
    sql = sqlite3.connect(path)
    sql.executescript(f"{_SCHEMA} PRAGMA user_version = {format_};")
    meta = {"site_id": site_id, "version": version, "as_of_s": as_of_s, "revision": revision}
    sql.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    sql.executemany("INSERT INTO watermarks VALUES (?, ?)", (watermarks or {}).items())
    for product in products:
        terms = check_terms(msgspec.json.encode(product.terms))
        row = (product.code, product.name_zh, product.name_en, json.dumps(sorted(product.site_ids)), terms)
        sql.execute("INSERT INTO products VALUES (?, ?, ?, ?, ?)", row)
    for key, ticket in (tickets or {}).items():
        _insert_ticket(sql, key, ticket)
    for key, subject in (subjects or {}).items():
        _insert_subject(sql, key, subject)
    sql.executemany("INSERT INTO documents VALUES (?, ?, ?)", documents)
    sql.executemany("INSERT INTO clearances VALUES (?, ?, ?, ?)", clearances)
    sql.commit()
    sql.close()
    return hashlib.sha256(path.read_bytes()).digest()


def _insert_ticket(sql: sqlite3.Connection, key: bytes, ticket: Ticket) -> None:
    sql.execute(
        "INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
        (
            key,
            ticket.product,
            ticket.quantity,
            ticket.refunded,
            ticket.used,
            ticket.valid_from_s,
            ticket.valid_until_s,
            ticket.status,
        ),
    )
    rows = [(key, counter, used) for counter, used in ticket.counters.items()]
    sql.executemany("INSERT INTO ticket_counters VALUES (?, ?, ?)", rows)


def _insert_subject(sql: sqlite3.Connection, key: bytes, subject: SubjectRights) -> None:
    for member in subject.memberships:
        row = (key, member.group, member.from_s, member.until_s)
        sql.execute("INSERT INTO memberships VALUES (?, ?, ?, ?)", row)
    for scope, used in subject.free_visits_used.items():
        sql.execute("INSERT INTO free_visits VALUES (?, ?, ?)", (key, scope, used))
    for order in subject.credit_orders:
        sql.execute("INSERT INTO credit_orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (key, *astuple(order)))
    if subject.credit_line is not None:
        line = subject.credit_line
        sql.execute(
            "INSERT INTO credit_lines VALUES (?, ?, ?, ?, ?, 1)",
            (key, line.limit_fen, line.per_visit_fen, line.outstanding_fen, line.until_s),
        )
