"""The few statements that are not the same word for word everywhere, and lists too long for one statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

_T = TypeVar("_T")
_CHUNK = 500
_INSERT: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield `items` in pieces that fit the parameters of one statement."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def rows_by_key(
    connection: Connection, column: Column[Any], wanted: Sequence[Any], *columns: Column[Any]
) -> Iterator[Any]:
    """Yield the rows (of `columns`) whose `column` is one of `wanted`."""
    for chunk in chunks(wanted):
        yield from connection.execute(select(*columns).where(column.in_(chunk)))


def insert_new(connection: Connection, table: Table, records: Sequence[Mapping[str, Any]]) -> None:
    """Insert the records that are not in `table` yet; those whose key is there change nothing."""
    if records:
        statement = _INSERT[connection.dialect.name](table).on_conflict_do_nothing()
        connection.execute(statement, records)


def insert_many(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert `rows`, whose values stand in the order of `columns` and as the driver takes them.

    For rows by the hundred thousand: SQLAlchemy's own insert takes as long to prepare one as SQLite to store it.
    """
    if rows:
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        marks = ", ".join(mark for _ in columns)
        text = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names of ours
        connection.exec_driver_sql(text, list(rows))
