"""Builds a site's full list: one immutable SQLite file, the same bytes for the same rights.

The counters and the watermarks are read in one transaction: a box adds only the uses beyond them.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from admission.policy import Policy
from admission.terms import read_terms
from admission.ticket_terms import counter_names
from admission.tickets import Basis
from central.counting import HELD, held_by
from central.payments.book import SETTLED, entered
from central.rights import current_revision
from central.schema import (
    clearances,
    credit_lines,
    credit_orders,
    documents,
    fold_positions,
    memberships,
    payments,
    products,
    tickets,
    uses,
    withdrawn_keys,
)
from sync.protocol import LIST_FORMAT, PACKED

PACK_LEVEL = 1
"""Keys are chance and hardly shrink, and the rest shrinks at once: higher levels take longer for nothing."""
PACK_CHUNK_BYTES = 1 << 20
KEEP_EXPIRED_S = 2 * 24 * 3600
"""A ticket stays listed that long after its end, so that the gate can say why it refuses."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE watermarks (box_id TEXT PRIMARY KEY, seq_no INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE products (
    code TEXT PRIMARY KEY, name_zh TEXT NOT NULL, name_en TEXT NOT NULL, site_ids TEXT NOT NULL, terms TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE tickets (
    key BLOB PRIMARY KEY, product TEXT NOT NULL, quantity INTEGER NOT NULL, refunded INTEGER NOT NULL,
    used INTEGER NOT NULL, valid_from_s INTEGER NOT NULL, valid_until_s INTEGER NOT NULL,
    status TEXT NOT NULL, revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE ticket_counters (
    key BLOB NOT NULL, counter TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (key, counter)
) WITHOUT ROWID;
CREATE TABLE memberships (
    key BLOB NOT NULL, group_id TEXT NOT NULL, from_s INTEGER NOT NULL, until_s INTEGER NOT NULL,
    PRIMARY KEY (key, group_id)
) WITHOUT ROWID;
CREATE TABLE free_visits (
    key BLOB NOT NULL, scope TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (key, scope)
) WITHOUT ROWID;
CREATE TABLE credit_lines (
    key BLOB PRIMARY KEY, limit_fen INTEGER NOT NULL, per_visit_fen INTEGER NOT NULL,
    outstanding_fen INTEGER NOT NULL, until_s INTEGER NOT NULL, revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE documents (
    key BLOB NOT NULL, holder BLOB NOT NULL, is_ticket INTEGER NOT NULL, PRIMARY KEY (key, holder)
) WITHOUT ROWID;
CREATE TABLE credit_orders (
    key BLOB NOT NULL, order_id TEXT NOT NULL, site_id TEXT NOT NULL, fare_fen INTEGER NOT NULL,
    quantity INTEGER NOT NULL, used INTEGER NOT NULL, from_s INTEGER NOT NULL, until_s INTEGER NOT NULL,
    PRIMARY KEY (key, order_id)
) WITHOUT ROWID;
CREATE TABLE clearances (
    key BLOB NOT NULL, provider TEXT NOT NULL, colour TEXT NOT NULL, until_s INTEGER NOT NULL,
    PRIMARY KEY (key, provider)
) WITHOUT ROWID;
CREATE TABLE policy (document TEXT NOT NULL);
CREATE TABLE withdrawn_keys (key_id BLOB PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class BuiltList:
    """What a list's file is and holds.

    The rights up to `revision`, and what `folded` entries count, of the boxes' ledgers and of the book of payments.
    """

    sha256: bytes
    size_bytes: int
    packed_bytes: int
    revision: int
    folded: int


def build_list(
    connection: Connection, path: Path, policy: Policy, *, site_id: str, version: int, as_of_s: int
) -> BuiltList:
    """Write the list of `site_id` to `path`, flushed to the disk, from one snapshot of the store."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    target = sqlite3.connect(part, isolation_level=None)
    try:
        _prepare(target)
        revision = current_revision(connection)
        meta = {"site_id": site_id, "version": version, "as_of_s": as_of_s, "revision": revision}
        folded = _fill(connection, target, policy, meta)
    finally:
        target.close()
    digest, size_bytes = _flush(part)
    packed_bytes = _pack(part, path.with_name(f"{path.name}{PACKED}"))
    part.rename(path)
    return BuiltList(digest, size_bytes, packed_bytes, revision, folded)


def _pack(path: Path, target: Path) -> int:
    """Write the file packed with zlib, flushed to the disk, and return its size: lists travel over mobile networks."""
    packing = zlib.compressobj(PACK_LEVEL)
    with path.open("rb") as source, target.open("wb") as file:
        while chunk := source.read(PACK_CHUNK_BYTES):
            file.write(packing.compress(chunk))
        file.write(packing.flush())
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _prepare(target: sqlite3.Connection) -> None:
    """Set up an empty file; a crash while it is written leaves a part that nobody reads."""
    for pragma in ("page_size = 4096", "journal_mode = OFF", "synchronous = OFF"):
        target.execute(f"PRAGMA {pragma}")
    target.executescript(_SCHEMA)
    target.execute(f"PRAGMA user_version = {LIST_FORMAT}")


def _fill(connection: Connection, target: sqlite3.Connection, policy: Policy, meta: dict[str, Any]) -> int:
    """Copy everything, sorted by key so that the pages are full; return the number of folded ledger entries."""
    positions = _rows(connection, select(fold_positions.c.box_id, fold_positions.c.seq_no))
    watermarks = sorted(positions)
    target.execute("BEGIN")
    _insert(target, "meta", 2, iter(sorted(meta.items())))
    _insert(target, "watermarks", 2, iter(watermarks))
    _insert(target, "policy", 1, iter([(policy.document,)]))
    _insert(target, "products", 5, _products(connection))
    _insert(target, "tickets", 9, _tickets(connection, meta["as_of_s"] - KEEP_EXPIRED_S))
    _insert(
        target, "ticket_counters", 3, _ticket_counters(connection, policy, meta["as_of_s"] - KEEP_EXPIRED_S)
    )
    _insert(target, "memberships", 4, _memberships(connection, meta["as_of_s"]))
    _insert(target, "free_visits", 3, _free_visits(connection))
    _insert(target, "credit_lines", 6, _credit_lines(connection))
    _insert(target, "withdrawn_keys", 2, _withdrawn_keys(connection))
    _insert(target, "documents", 3, _documents(connection))
    _insert(target, "credit_orders", 8, _credit_orders(connection, meta["as_of_s"] - KEEP_EXPIRED_S))
    if policy.clearances:
        _insert(target, "clearances", 4, _clearances(connection, meta["as_of_s"]))
    target.execute("COMMIT")
    return int(sum(seq_no for _, seq_no in watermarks)) + entered(connection)


def _insert(target: sqlite3.Connection, table: str, width: int, rows: Iterator[tuple[Any, ...]]) -> None:
    places = ", ".join("?" * width)
    target.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608 - names from this module


def _rows(connection: Connection, query: Any) -> Iterator[tuple[Any, ...]]:
    return (tuple(row) for row in connection.execute(query.execution_options(yield_per=5000)))


def _products(connection: Connection) -> Iterator[tuple[Any, ...]]:
    columns = (products.c.code, products.c.name_zh, products.c.name_en, products.c.site_ids, products.c.terms)
    return _rows(connection, select(*columns).order_by(products.c.code))


def _ticket_counters(
    connection: Connection, policy: Policy, expired_since_s: int
) -> Iterator[tuple[Any, ...]]:
    """Count the entries of tickets whose products count them beside the total, or by service."""
    counting = {
        code: terms
        for code, text in connection.execute(select(products.c.code, products.c.terms))
        if (terms := read_terms(text)).counters
    }
    query = (
        select(uses, tickets.c.product)
        .join_from(uses, tickets, uses.c.key == tickets.c.key)
        .where(
            tickets.c.product.in_(list(counting)),
            tickets.c.valid_until_s > expired_since_s,
            uses.c.basis == Basis.TICKET,
            HELD,
        )
    )
    found: Counter[tuple[bytes, str]] = Counter()
    for row in connection.execute(query) if counting else ():
        day = policy.local_date(row.at_ms)
        for name in counter_names(counting[row.product], row.scope, row.site_id, day):
            found[row.key, name] += row.quantity
    return ((key, counter, used) for (key, counter), used in sorted(found.items()))


def _tickets(connection: Connection, expired_since_s: int) -> Iterator[tuple[Any, ...]]:
    # Ticket by ticket: those that are over are many more than those that are listed.
    used = (
        select(func.coalesce(func.sum(uses.c.quantity), 0))
        .where(uses.c.key == tickets.c.key, uses.c.basis == Basis.TICKET, uses.c.scope == "", HELD)
        .scalar_subquery()
    )
    query = (
        select(
            tickets.c.key,
            tickets.c.product,
            tickets.c.quantity,
            tickets.c.refunded,
            used,
            tickets.c.valid_from_s,
            tickets.c.valid_until_s,
            tickets.c.status,
            tickets.c.revision,
        )
        .where(tickets.c.valid_until_s > expired_since_s)
        .order_by(tickets.c.key)
    )
    return _rows(connection, query)


def _memberships(connection: Connection, as_of_s: int) -> Iterator[tuple[Any, ...]]:
    columns = (memberships.c.key, memberships.c.group_id, memberships.c.from_s, memberships.c.until_s)
    query = select(*columns).where(memberships.c.until_s > as_of_s)
    return _rows(connection, query.order_by(memberships.c.key, memberships.c.group_id))


def _free_visits(connection: Connection) -> Iterator[tuple[Any, ...]]:
    held = held_by(Basis.FREE_VISIT, uses.c.key, uses.c.scope).subquery()
    return _rows(connection, select(held.c.key, held.c.scope, held.c.used).order_by(held.c.key, held.c.scope))


def _credit_lines(connection: Connection) -> Iterator[tuple[Any, ...]]:
    """Yield the lines; outstanding is what was used on each and is not settled."""
    held = held_by(Basis.CREDIT_LINE, uses.c.key).subquery()
    settled = (
        select(payments.c.key, func.sum(payments.c.fare_fen).label("fare_fen"))
        .where(payments.c.order_id == "", payments.c.state.in_(SETTLED))
        .group_by(payments.c.key)
        .subquery()
    )
    query = (
        select(
            credit_lines.c.key,
            credit_lines.c.limit_fen,
            credit_lines.c.per_visit_fen,
            func.coalesce(held.c.fare_fen, 0) - func.coalesce(settled.c.fare_fen, 0),
            credit_lines.c.until_s,
            credit_lines.c.revision,
        )
        .join_from(credit_lines, held, credit_lines.c.key == held.c.key, isouter=True)
        .outerjoin(settled, credit_lines.c.key == settled.c.key)
        .order_by(credit_lines.c.key)
    )
    return _rows(connection, query)


def _withdrawn_keys(connection: Connection) -> Iterator[tuple[Any, ...]]:
    columns = (withdrawn_keys.c.key_id, withdrawn_keys.c.revision)
    return _rows(connection, select(*columns).order_by(withdrawn_keys.c.key_id))


def _documents(connection: Connection) -> Iterator[tuple[Any, ...]]:
    columns = (documents.c.key, documents.c.holder, documents.c.is_ticket)
    query = select(*columns).where(documents.c.is_linked)
    return _rows(connection, query.order_by(documents.c.key, documents.c.holder))


def _credit_orders(connection: Connection, expired_since_s: int) -> Iterator[tuple[Any, ...]]:
    held = held_by(Basis.CREDIT_ORDER, uses.c.key, uses.c.scope).subquery()
    is_of_it = (credit_orders.c.key == held.c.key) & (credit_orders.c.order_id == held.c.scope)
    query = (
        select(
            credit_orders.c.key,
            credit_orders.c.order_id,
            credit_orders.c.site_id,
            credit_orders.c.fare_fen,
            credit_orders.c.quantity,
            func.coalesce(held.c.used, 0),
            credit_orders.c.from_s,
            credit_orders.c.until_s,
        )
        .join_from(credit_orders, held, is_of_it, isouter=True)
        .where(credit_orders.c.until_s > expired_since_s)
        .order_by(credit_orders.c.key, credit_orders.c.order_id)
    )
    return _rows(connection, query)


def _clearances(connection: Connection, as_of_s: int) -> Iterator[tuple[Any, ...]]:
    columns = (clearances.c.key, clearances.c.provider, clearances.c.colour, clearances.c.until_s)
    query = select(*columns).where(clearances.c.until_s > as_of_s)
    return _rows(connection, query.order_by(clearances.c.key, clearances.c.provider))


def _flush(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        os.fsync(file.fileno())
        return digest, file.tell()
