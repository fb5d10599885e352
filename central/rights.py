"""Writes rights so that the same change twice changes nothing, and numbers every change of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, select, update

from central.schema import store_facts
from central.sql import insert_new, rows_by_key

Record = Mapping[str, Any]
"""Column names and values of one row, without its revision."""

_REVISION = "revision"
_FLOOR = "revision_floor"


def current_revision(connection: Connection) -> int:
    """Return the number of the newest change to any right; 0 when there was none."""
    return _fact(connection, _REVISION)


def kept_text(connection: Connection, name: str) -> str:
    """Return what the store says of itself under `name`; empty when it says nothing."""
    return connection.scalar(select(store_facts.c.value).where(store_facts.c.name == name)) or ""


def keep_text(connection: Connection, name: str, text: str) -> None:
    """Let the store say `text` under `name`."""
    insert_new(connection, store_facts, [{"name": name, "value": ""}])
    connection.execute(update(store_facts).where(store_facts.c.name == name), {"value": text})


def _fact(connection: Connection, name: str) -> int:
    return int(kept_text(connection, name) or 0)


def _set_fact(connection: Connection, name: str, value: int) -> None:
    keep_text(connection, name, str(value))


def next_revisions(connection: Connection, count: int) -> range:
    """Return the numbers of the next `count` changes, one for each row that this transaction changes."""
    first = max(current_revision(connection) + 1, _fact(connection, _FLOOR))
    _set_fact(connection, _REVISION, first + count - 1)
    return range(first, first + count)


def raise_floor(connection: Connection, floor: int) -> None:
    """Have the next revision be at least `floor`.

    With the time in microseconds at every start, a store restored from a backup gives no number again that boxes have
    seen with another change.
    """
    _set_fact(connection, _FLOOR, floor)


Known = Mapping[tuple[Any, ...], Record]
"""The rows that are there already, by primary key."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did: the rows it made, those it changed, and how many it found as they should be."""

    created: list[Record]
    updated: list[Record]
    unchanged: int


def known_rows(connection: Connection, table: Table, records: Sequence[Record]) -> Known:
    """Return the rows of `table` that have the primary keys of `records`, and perhaps some more."""
    keys = list(table.primary_key)
    wanted = sorted({record[keys[0].name] for record in records})
    rows = rows_by_key(connection, keys[0], wanted, *table.c)
    return {tuple(getattr(row, key.name) for key in keys): row._asdict() for row in rows}


def merge(
    connection: Connection,
    table: Table,
    records: Sequence[Record],
    known: Known,
    combine: Callable[[Record, Record], Record] | None = None,
) -> Merged:
    """Make the rows of `table` say what `records` say, which all name the same columns.

    Where there is a row already, `combine(record, row)` may return what it shall say instead.
    """
    keys = [column.name for column in table.primary_key]
    new, changed = [], []
    for record in records:
        row = known.get(tuple(record[name] for name in keys))
        wanted = combine(record, row) if combine and row else record
        if row is None:
            new.append(wanted)
        elif any(row[name] != value for name, value in wanted.items()):
            changed.append(wanted)
    if new or changed:
        _write(connection, table, new, changed)
    return Merged(new, changed, len(records) - len(new) - len(changed))


def _write(connection: Connection, table: Table, new: list[Record], changed: list[Record]) -> None:
    numbers = iter(next_revisions(connection, len(new) + len(changed)))
    if new:
        connection.execute(insert(table), [{**record, _REVISION: next(numbers)} for record in new])
    if changed:
        keys = {column.name: f"where_{column.name}" for column in table.primary_key}
        same = (column == bindparam(keys[column.name]) for column in table.primary_key)
        rows = [{keys.get(name, name): value for name, value in record.items()} for record in changed]
        connection.execute(update(table).where(*same), [{**row, _REVISION: next(numbers)} for row in rows])
