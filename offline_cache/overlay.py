"""What has changed since the full list: laid over it row by row, and gone once a list has it all.

A row holds while its revision is above the list's; so it does not matter when the dead ones are swept. Nothing here
counts uses: those come from full lists and from what this box and its neighbours saw.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from msgspec.structs import astuple

from admission.changes import (
    ClearanceRow,
    CreditLineRow,
    CreditOrderRow,
    DocumentRow,
    ListChanges,
    MembershipRow,
    ProductRow,
    Row,
    TicketRow,
)
from offline_cache.database import Database
from offline_cache.journal import get_state, set_state

_STATE = "changes"
_SWEPT_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Table:
    """Where rows of one kind are kept, under the columns `keys`; its columns are named as the row's fields."""

    kind: type[Row]
    name: str
    keys: str


_TABLES = (
    _Table(ProductRow, "changed_products", "code"),
    _Table(TicketRow, "changed_tickets", "key"),
    _Table(MembershipRow, "changed_memberships", "key, group_id"),
    _Table(CreditLineRow, "changed_credit_lines", "key"),
    _Table(CreditOrderRow, "changed_credit_orders", "key, order_id"),
    _Table(DocumentRow, "changed_documents", "key, holder"),
    _Table(ClearanceRow, "changed_clearances", "key, provider"),
)


@dataclass(frozen=True, slots=True)
class Known:
    """Up to which revision everything is known that changed at a site, and up to which moment that is all there was."""

    site_id: str
    revision: int
    as_of_s: int


class Overlay:
    """Takes changes in; `list_revision()`, on the database's thread, is what the list in use has."""

    def __init__(self, site_id: str, database: Database, list_revision: Callable[[], int]) -> None:
        self._site_id = site_id
        self._database = database
        self._list_revision = list_revision
        self._as_of_s = 0
        self._swept = -1

    @property
    def as_of_s(self) -> int:
        """The moment up to which the changes that are known are all there were; 0 before the first."""
        return self._as_of_s

    async def load(self) -> None:
        """Take up what an earlier process knew; forget the rows of a site where this box no longer is."""
        self._as_of_s = await self._database.write(self._take_up)

    def lower_as_of(self, as_of_s: int) -> None:
        """Go by what `lower_as_of` has written."""
        self._as_of_s = min(self._as_of_s, as_of_s)

    async def apply(self, changes: ListChanges) -> None:
        """Make the rows hold, whatever their order and however often they come; returns after COMMIT.

        The disk may not have them yet when the power goes: then `position` does not count them either.
        """
        await self._database.write(lambda sql: self._apply(sql, changes), durable=False)

    async def advance(self, changes: ListChanges) -> bool:
        """Note that all changes up to `to_revision` are known; False when some before `from_revision` are not."""
        known = await self._database.write(lambda sql: self._advance(sql, changes), durable=False)
        if known is not None:
            self._as_of_s = known.as_of_s
        return known is not None

    async def position(self) -> int:
        """Return up to which revision everything is known, by the list or by changes."""
        return await self._database.read(lambda sql: self._known(sql).revision)

    async def sweep(self) -> int:
        """Delete some of the rows that the list has reached; return how many, 0 when none is left."""
        rows, reached = await self._database.write(self._sweep, durable=False)
        if not rows:
            self._swept = reached
        return rows

    def _apply(self, sql: sqlite3.Connection, changes: ListChanges) -> None:
        reached = self._list_revision()
        withdraw(sql, [(row.key_id, row.revision) for row in changes.withdrawn_keys])
        for table in _TABLES:
            rows = [row for row in changes.rows if isinstance(row, table.kind) and row.revision > reached]
            _put(sql, table, rows)

    def _advance(self, sql: sqlite3.Connection, changes: ListChanges) -> Known | None:
        known = self._known(sql)
        if changes.from_revision > known.revision:
            return None
        if changes.to_revision < known.revision:
            return known
        moved = Known(self._site_id, changes.to_revision, max(known.as_of_s, changes.as_of_s))
        if moved != known:
            set_state(sql, _STATE, json.dumps(asdict(moved)))
        return moved

    def _known(self, sql: sqlite3.Connection) -> Known:
        kept = _read_known(sql) or Known(self._site_id, 0, 0)
        return replace(kept, revision=max(kept.revision, self._list_revision()))

    def _sweep(self, sql: sqlite3.Connection) -> tuple[int, int]:
        """Delete some of what the list has reached; return how many rows, and what it has reached.

        Once all that is gone, nothing is looked for until the list reaches more.
        """
        reached = self._list_revision()
        if reached == self._swept:
            return 0, reached
        rows = sum(
            sql.execute(
                f"DELETE FROM {table.name} WHERE ({table.keys}) IN"  # noqa: S608 - names from this module
                f" (SELECT {table.keys} FROM {table.name} WHERE revision <= ? LIMIT ?)",
                (reached, _SWEPT_AT_ONCE),
            ).rowcount
            for table in _TABLES
        )
        return rows, reached

    def _take_up(self, sql: sqlite3.Connection) -> int:
        kept = _read_known(sql)
        if kept is not None and kept.site_id == self._site_id:
            return kept.as_of_s
        for table in _TABLES:
            sql.execute(f"DELETE FROM {table.name}")  # noqa: S608 - names from this module
        set_state(sql, _STATE, json.dumps(asdict(Known(self._site_id, 0, 0))))
        return 0


def changes_as_of_s(sql: sqlite3.Connection) -> int:
    """Return the moment up to which the changes are all there were, within the caller's transaction."""
    kept = _read_known(sql)
    return kept.as_of_s if kept else 0


def _read_known(sql: sqlite3.Connection) -> Known | None:
    row = get_state(sql, _STATE)
    return Known(**json.loads(str(row))) if row is not None else None


def lower_as_of(sql: sqlite3.Connection, as_of_s: int) -> None:
    """Take it that the changes were all there were up to `as_of_s` at most, within the caller's transaction."""
    kept = _read_known(sql)
    if kept is not None and kept.as_of_s > as_of_s:
        set_state(sql, _STATE, json.dumps(asdict(replace(kept, as_of_s=as_of_s))))


def ask_again(sql: sqlite3.Connection) -> None:
    """Keep the rows and take it that others are missing: all since the list is asked for once more."""
    kept = _read_known(sql)
    if kept is not None:
        set_state(sql, _STATE, json.dumps(asdict(replace(kept, revision=0, as_of_s=0))))


def is_withdrawn(sql: sqlite3.Connection, key_id: bytes) -> bool:
    """Return whether the issuer key was withdrawn."""
    return sql.execute("SELECT 1 FROM withdrawn_keys WHERE key_id = ?", (key_id,)).fetchone() is not None


def withdraw(sql: sqlite3.Connection, rows: list[tuple[bytes, int]]) -> None:
    """Remember the withdrawn keys, given as (key id, revision), within the caller's transaction."""
    sql.executemany("INSERT OR IGNORE INTO withdrawn_keys VALUES (?, ?)", rows)


def _put(sql: sqlite3.Connection, table: _Table, rows: list[Row]) -> None:
    """Store the rows, except where a later one is there."""
    names = table.kind.__struct_fields__
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    sql.executemany(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - ours
        f" ON CONFLICT ({table.keys}) DO UPDATE SET {changes} WHERE excluded.revision > {table.name}.revision",
        [[_value(value) for value in astuple(row)] for row in rows],
    )


def _value(value: Any) -> Any:
    return json.dumps(sorted(value)) if isinstance(value, tuple) else value
