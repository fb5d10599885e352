"""Folds the raw ledger into uses, closings, conflicts and charges: idempotent, and the same in any order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, assert_never

import msgspec
from sqlalchemy import Connection, Row, Table, delete, func, insert, select

from admission.events import (
    Admitted,
    ClockNoted,
    Closed,
    Entry,
    EpochOpened,
    EventError,
    Incident,
    Overridden,
    Resumed,
    ShareTaken,
)
from admission.policy import Policy
from admission.terms import read_terms
from admission.tickets import Basis, Outcome
from central.entries import entry_at
from central.event_times import BoxClock, event_time
from central.judging import SPENDING, FoldedUse, Right, conflicts_of, is_charged
from central.payments.book import settled_fen
from central.schema import (
    boxes,
    charges,
    closings,
    conflicts,
    credit_lines,
    credit_orders,
    fold_positions,
    incidents,
    ledger,
    overrides,
    products,
    resumptions,
    taken_shares,
    tickets,
    uses,
)
from central.sql import chunks, insert_new, rows_by_key

FORK, WRONG_CLOCK = "fork", "wrong_clock"
_FOLDED = (uses, closings, resumptions, overrides, taken_shares, conflicts, charges, fold_positions)
_ROWS_PER_FOLD = 2000


def fold(connection: Connection, policy: Policy) -> int:
    """Fold the next raw rows of every box and return how many there were; 0 when all are folded."""
    rows: list[Row[Any]] = []
    clocks: dict[str, BoxClock] = {}
    for box_id, position, clocks[box_id] in _behind(connection):
        query = select(ledger).where(ledger.c.box_id == box_id, ledger.c.seq_no > position)
        rows += connection.execute(query.order_by(ledger.c.seq_no).limit(_ROWS_PER_FOLD))
    if rows:
        keys = _store_events(connection, rows, clocks)
        settle(connection, keys, policy)
        _move_positions(connection, {row.box_id: row.seq_no for row in rows}, clocks)
    return len(rows)


def forget(connection: Connection) -> None:
    """Delete everything that was folded, so that it can be folded again from the raw rows."""
    for table in _FOLDED:
        connection.execute(delete(table))
    connection.execute(delete(incidents).where(incidents.c.kind != FORK))


def settle(connection: Connection, keys: Collection[bytes], policy: Policy) -> None:
    """Judge all uses of `keys` afresh: write their conflicts and charges."""
    for chunk in chunks(sorted(set(keys))):
        known = _uses_of(connection, chunk)
        rights = _rights_of(connection, chunk)
        found = [
            conflict
            for key, key_uses in known.items()
            for conflict in conflicts_of(key_uses, rights.get(key, Right()), policy)
        ]
        connection.execute(delete(conflicts).where(conflicts.c.key.in_(chunk)))
        if found:
            connection.execute(insert(conflicts), [asdict(conflict) for conflict in found])
        insert_new(connection, charges, [_charge(use) for use in chain(*known.values()) if is_charged(use)])


def settle_used(connection: Connection, keys: Sequence[bytes], policy: Policy) -> None:
    """Judge the uses of those of `keys` that have any: after a change of rights, most have none."""
    used = {row.key for row in rows_by_key(connection, uses.c.key, sorted(keys), uses.c.key)}
    settle(connection, used, policy)


def _charge(use: FoldedUse) -> dict[str, Any]:
    return {"admission_id": use.admission_id, "key": use.key, "fare_fen": use.fare_fen}


def _behind(connection: Connection) -> list[tuple[str, int, BoxClock]]:
    """Return the boxes with rows to fold, each with its position, and what is known of its clock there."""
    head = select(func.max(ledger.c.seq_no)).where(ledger.c.box_id == boxes.c.box_id).scalar_subquery()
    position = func.coalesce(fold_positions.c.seq_no, 0)
    query = (
        select(boxes.c.box_id, position, fold_positions.c.latest_ms, fold_positions.c.is_clock_wrong)
        .join_from(boxes, fold_positions, boxes.c.box_id == fold_positions.c.box_id, isouter=True)
        .where(head > position)
        .order_by(boxes.c.box_id)
    )
    return [
        (box_id, seq_no, BoxClock(latest_ms or 0, bool(is_wrong)))
        for box_id, seq_no, latest_ms, is_wrong in connection.execute(query)
    ]


def _move_positions(
    connection: Connection, positions: dict[str, int], clocks: Mapping[str, BoxClock]
) -> None:
    connection.execute(delete(fold_positions).where(fold_positions.c.box_id.in_(list(positions))))
    rows = [
        {
            "box_id": box_id,
            "seq_no": seq_no,
            "latest_ms": clocks[box_id].latest_ms,
            "is_clock_wrong": clocks[box_id].is_wrong,
        }
        for box_id, seq_no in positions.items()
    ]
    connection.execute(insert(fold_positions), rows)


def _store_events(
    connection: Connection, rows: Sequence[Row[Any]], clocks: dict[str, BoxClock]
) -> set[bytes]:
    """Store what the raw rows say and return the keys of the rights that they spend; `clocks` go on with them.

    Whoever leaves with nothing in hand does so under one key: all who ever did are not looked at for each of them.
    """
    new: dict[Table, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        try:
            entry = entry_at(row.entry, row.seq_no)
        except EventError:
            continue  # ingest has set it aside, where people see it
        when, clocks[row.box_id] = event_time(clocks[row.box_id], entry, row.received_ms)
        for table, record in _records(row, entry, when.at_ms):
            new[table].append(record)
        if when.goes_wrong:
            where = {"box_id": row.box_id, "seq_no": row.seq_no, "at_ms": when.at_ms}
            new[incidents].append({**where, "kind": WRONG_CLOCK, "lane_id": ""})
    for table, records in new.items():
        insert_new(connection, table, records)
    admissions = sorted({record["admission_id"] for record in (*new[uses], *new[closings])})
    touched = rows_by_key(connection, uses.c.admission_id, admissions, uses.c.key, uses.c.basis)
    return {row.key for row in touched if row.basis in SPENDING}


def _records(row: Row[Any], entry: Entry, at_ms: int) -> Iterator[tuple[Table, dict[str, Any]]]:
    """Yield the row that the entry, which happened at `at_ms`, adds to a folded table, if it adds one."""
    where = {"box_id": row.box_id, "seq_no": row.seq_no, "at_ms": at_ms}
    match entry.event:
        case Admitted() as admitted:
            said = msgspec.structs.asdict(admitted)
            del said["keep_until_s"]
            yield uses, {**said, **where, "site_id": row.site_id}
        case Closed(admission_id, outcome):
            yield closings, {**where, "admission_id": admission_id, "outcome": outcome}
        case Resumed(admission_id, lane_id):
            yield resumptions, {**where, "admission_id": admission_id, "lane_id": lane_id}
        case Incident(lane_id, what):
            yield incidents, {**where, "kind": what.name.lower(), "lane_id": lane_id}
        case Overridden() as act:
            said = {**msgspec.structs.asdict(act), "code": act.code.value}
            yield overrides, {**said, **where}
        case ShareTaken() as share:
            said = msgspec.structs.asdict(share)
            yield taken_shares, {**said, "box_id": row.box_id, "seq_no": row.seq_no}
        case EpochOpened() | ClockNoted():
            return
        case _:
            assert_never(entry.event)


def _uses_of(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, list[FoldedUse]]:
    """Return the uses of each of `keys`, with their closings."""
    query = select(uses, closings.c.outcome, closings.c.at_ms.label("closed_ms")).join_from(
        uses, closings, uses.c.admission_id == closings.c.admission_id, isouter=True
    )
    rows: dict[bytes, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query.where(uses.c.key.in_(keys))):
        rows[row.admission_id].append(row)
    found: dict[bytes, list[FoldedUse]] = defaultdict(list)
    for same in rows.values():
        found[same[0].key].append(_folded_use(same))
    return found


def _folded_use(rows: Sequence[Row[Any]]) -> FoldedUse:
    """Return the use that `rows` hold, one for each of its closings."""
    use = rows[0]
    return FoldedUse(
        admission_id=use.admission_id,
        key=use.key,
        basis=Basis(use.basis),
        scope=use.scope,
        site_id=use.site_id,
        quantity=use.quantity,
        fare_fen=use.fare_fen,
        at_ms=use.at_ms,
        closed=tuple((Outcome(row.outcome), row.closed_ms) for row in rows if row.outcome is not None),
    )


def _rights_of(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, Right]:
    sold = (
        select(tickets.c.key, tickets.c.quantity, tickets.c.refunded, products.c.terms)
        .join_from(tickets, products, tickets.c.product == products.c.code)
        .where(tickets.c.key.in_(keys))
    )
    lines = select(credit_lines.c.key, credit_lines.c.limit_fen).where(credit_lines.c.key.in_(keys))
    found = {
        row.key: Right(quantity=row.quantity, refunded=row.refunded, terms=read_terms(row.terms))
        for row in connection.execute(sold)
    }
    limits = {row.key: row.limit_fen for row in connection.execute(lines)}
    orders: dict[bytes, dict[str, int]] = defaultdict(dict)
    ordered = select(credit_orders).where(credit_orders.c.key.in_(keys))
    for row in connection.execute(ordered):
        orders[row.key][row.order_id] = row.quantity
    settled = settled_fen(connection, list(limits))
    return found | {
        key: Right(
            limit_fen=limits[key] + settled.get(key, 0) if key in limits else None, orders=orders.get(key, {})
        )
        for key in {*limits, *orders}
    }
