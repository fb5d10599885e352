"""What has changed in the rights after a revision: rows in the order of their changes, cut into messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, false, or_, select, true

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
    WithdrawnKeyRow,
    is_urgent,
    pieces,
    with_rows,
)
from admission.clearance import Colour
from admission.tickets import TicketStatus
from central.clock import Clock
from central.rights import current_revision
from central.schema import (
    clearances,
    credit_lines,
    credit_orders,
    documents,
    memberships,
    products,
    tickets,
    withdrawn_keys,
)
from sync.protocol import CHANGES_PER_MESSAGE

MOST_ROWS = 20_000
"""More changes than that are left to the next full list, which brings them with less work for everyone."""


class TooFarBehindError(ValueError):
    """So much has changed since that only a full list can tell it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment and the revision at it: every change with an earlier time has a revision up to this one."""

    revision: int
    as_of_s: int


def mark(connection: Connection, clock: Clock) -> Mark:
    """Return where the rights stand now; to be called in a writer's transaction, as changes take their times there."""
    return Mark(current_revision(connection), clock() // 1000)


def changes_since(connection: Connection, site_id: str, since: int, marked: Mark) -> ListChanges:
    """Return the first changes after `since`, up to one message of them, of a snapshot later than `marked`.

    TooFarBehindError when there are more than are told one by one.
    """
    rows = changed_rows(connection, since, MOST_ROWS + 1)
    if len(rows) > MOST_ROWS:
        raise TooFarBehindError(f"more than {MOST_ROWS} changes since {since}")
    if len(rows) > CHANGES_PER_MESSAGE:
        page = rows[:CHANGES_PER_MESSAGE]
        head = ListChanges(site_id=site_id, from_revision=since, to_revision=page[-1].revision)
        return with_rows(head, page)
    newest = max(since, current_revision(connection))
    head = ListChanges(site_id=site_id, from_revision=since, to_revision=newest, as_of_s=marked.as_of_s)
    return with_rows(head, rows)


def messages_since(connection: Connection, since: int) -> tuple[ListChanges, ...]:
    """Return everything to be told after `since`, for any site: what is urgent goes ahead of what is much.

    Of too many changes only the urgent ones are told, outside the row of ranges: the gap sends boxes to the next list.
    """
    ahead = ListChanges(site_id="", from_revision=since, to_revision=since)
    rows = changed_rows(connection, since, MOST_ROWS + 1)
    if len(rows) > MOST_ROWS:
        urgent = changed_rows(connection, since, MOST_ROWS, urgent_only=True)
        return tuple(with_rows(ahead, piece) for piece in pieces(urgent, CHANGES_PER_MESSAGE))
    ranges = tuple(_ranges(rows, since, current_revision(connection)))
    if len(ranges) < 2:
        return ranges
    urgent = tuple(row for row in rows if is_urgent(row))
    return (*(with_rows(ahead, piece) for piece in pieces(urgent, CHANGES_PER_MESSAGE)), *ranges)


def changed_rows(
    connection: Connection, since: int, limit: int, *, urgent_only: bool = False
) -> tuple[Row, ...]:
    """Return up to `limit` rows that changed after revision `since`, in the order of their changes."""
    found = (row for kind in _KINDS for row in _rows(connection, kind, since, limit, urgent_only=urgent_only))
    return tuple(sorted(found, key=lambda row: row.revision)[:limit])


def for_site(message: ListChanges, site_id: str) -> ListChanges:
    """Return the message as it is told to the boxes of a site."""
    return msgspec.structs.replace(message, site_id=site_id)


def _ranges(rows: tuple[Row, ...], since: int, newest: int) -> Iterator[ListChanges]:
    """Yield messages whose ranges follow each other from `since` to `newest`; none when nothing has changed."""
    *full, last = pieces(rows, CHANGES_PER_MESSAGE) if rows else [()]
    for piece in full:
        reached = piece[-1].revision
        yield with_rows(ListChanges(site_id="", from_revision=since, to_revision=reached), piece)
        since = reached
    if since < newest:
        yield with_rows(ListChanges(site_id="", from_revision=since, to_revision=newest), last)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A table of rights, the message's row for one of its rows, and which of them are urgent."""

    table: Table
    row: Callable[[Any], Row]
    urgent: ColumnElement[bool]


def _rows(connection: Connection, kind: _Kind, since: int, limit: int, *, urgent_only: bool) -> Iterator[Row]:
    revision = kind.table.c.revision
    query = select(kind.table).where(revision > since, kind.urgent if urgent_only else true())
    return map(kind.row, connection.execute(query.order_by(revision).limit(limit)))


def _product_row(row: Any) -> ProductRow:
    sites = tuple(json.loads(row.site_ids))
    return ProductRow(row.revision, row.code, row.name_zh, row.name_en, sites, row.terms)


def _ticket_row(row: Any) -> TicketRow:
    return TicketRow(
        row.revision,
        row.key,
        row.product,
        row.quantity,
        row.refunded,
        row.valid_from_s,
        row.valid_until_s,
        TicketStatus(row.status),
    )


def _membership_row(row: Any) -> MembershipRow:
    return MembershipRow(row.revision, row.key, row.group_id, row.from_s, row.until_s)


def _credit_line_row(row: Any) -> CreditLineRow:
    return CreditLineRow(row.revision, row.key, row.limit_fen, row.per_visit_fen, row.until_s)


def _document_row(row: Any) -> DocumentRow:
    return DocumentRow(row.revision, row.key, row.holder, row.is_ticket, row.is_linked)


def _clearance_row(row: Any) -> ClearanceRow:
    return ClearanceRow(row.revision, row.key, row.provider, row.colour, row.until_s)


def _credit_order_row(row: Any) -> CreditOrderRow:
    return CreditOrderRow(
        row.revision,
        row.key,
        row.order_id,
        row.site_id,
        row.fare_fen,
        row.quantity,
        row.from_s,
        row.until_s,
    )


def _withdrawn_key_row(row: Any) -> WithdrawnKeyRow:
    return WithdrawnKeyRow(row.revision, row.key_id)


_KINDS = (
    _Kind(withdrawn_keys, _withdrawn_key_row, true()),
    _Kind(tickets, _ticket_row, or_(tickets.c.refunded > 0, tickets.c.status != TicketStatus.VALID)),
    _Kind(memberships, _membership_row, memberships.c.until_s <= memberships.c.from_s),
    _Kind(products, _product_row, false()),
    _Kind(credit_lines, _credit_line_row, credit_lines.c.per_visit_fen == 0),
    _Kind(credit_orders, _credit_order_row, credit_orders.c.quantity == 0),
    _Kind(documents, _document_row, documents.c.is_linked == false()),
    _Kind(clearances, _clearance_row, clearances.c.colour != Colour.GREEN),
)
