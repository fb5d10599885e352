"""What the box knows of a right: the full list's row, or the one that changed since.

Counters are the full list's alone. A right that only a change has told of has none, so all uses that this box knows
count for it, whichever of them the list's watermarks include.
"""

from __future__ import annotations

import sqlite3

from admission.clearance import Clearance, Colour
from admission.entitlements import CreditLine, CreditOrder, Membership, SubjectRights
from admission.tickets import Basis, History, Product, Ticket, read_status
from offline_cache.lists import ListFile, product_of


def find_ticket(
    sql: sqlite3.Connection, current: ListFile | None, key: bytes, history: History
) -> tuple[Ticket | None, History]:
    """Return the ticket under `key` as it is now, or None, and the history that adds to its counters."""
    listed = current.ticket(key) if current else None
    row = sql.execute(
        "SELECT status, product, quantity, refunded, valid_from_s, valid_until_s"
        " FROM changed_tickets WHERE key = ? AND revision > ?",
        (key, _revision(current)),
    ).fetchone()
    if listed is None:
        history = history.uncounted()
    if row is None:
        return listed, history
    status, product, quantity, refunded, from_s, until_s = row
    used, counters = (listed.used, listed.counters) if listed else (0, {})
    return Ticket(read_status(status), product, quantity, refunded, used, from_s, until_s, counters), history


def find_product(sql: sqlite3.Connection, current: ListFile | None, code: str) -> Product | None:
    """Return the product as it is now, or None."""
    row = sql.execute(
        "SELECT code, name_zh, name_en, site_ids, terms FROM changed_products WHERE code = ? AND revision > ?",
        (code, _revision(current)),
    ).fetchone()
    if row is None:
        return current.product(code) if current and code else None
    return product_of(row)


def find_holders(
    sql: sqlite3.Connection, current: ListFile | None, document: bytes
) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the key of the subject whose the document is, empty for none, and those of the tickets bought on it."""
    rows = sql.execute(
        "SELECT holder, is_ticket, is_linked FROM changed_documents WHERE key = ? AND revision > ?",
        (document, _revision(current)),
    ).fetchall()
    holders = current.holders(document) if current else {}
    holders |= {holder: bool(is_ticket) for holder, is_ticket, is_linked in rows if is_linked}
    gone = {holder for holder, _, is_linked in rows if not is_linked}
    found = sorted((holder, is_ticket) for holder, is_ticket in holders.items() if holder not in gone)
    subject = next((holder for holder, is_ticket in found if not is_ticket), b"")
    return subject, tuple(holder for holder, is_ticket in found if is_ticket)


def find_clearances(
    sql: sqlite3.Connection, current: ListFile | None, keys: tuple[bytes, ...]
) -> tuple[Clearance, ...]:
    """Return what was found about the holders of `keys`; a colour of a later release is one that is not known."""
    found: list[Clearance] = []
    for key in keys:
        known = current.clearances(key) if current else {}
        changed = sql.execute(
            "SELECT provider, colour, until_s FROM changed_clearances WHERE key = ? AND revision > ?",
            (key, _revision(current)),
        )
        known |= {provider: (colour, until_s) for provider, colour, until_s in changed}
        found += [
            Clearance(provider, Colour(colour) if colour in set(Colour) else Colour.UNKNOWN, until_s)
            for provider, (colour, until_s) in known.items()
        ]
    return tuple(found)


def find_subject(sql: sqlite3.Connection, current: ListFile, key: bytes, history: History) -> SubjectRights:
    """Return everything that is known of the subject now; empty when nothing is."""
    listed = current.subject(key)
    return SubjectRights(
        memberships=_memberships(sql, current, key, listed),
        free_visits_used=listed.free_visits_used,
        credit_line=_credit_line(sql, current, key, listed, history),
        credit_orders=_credit_orders(sql, current, key, listed, history),
    )


def _memberships(
    sql: sqlite3.Connection, current: ListFile, key: bytes, listed: SubjectRights
) -> tuple[Membership, ...]:
    """Return the places in groups; a removed one is a row that covers no time."""
    rows = sql.execute(
        "SELECT group_id, from_s, until_s FROM changed_memberships WHERE key = ? AND revision > ?",
        (key, current.revision),
    ).fetchall()
    changed = {row[0]: Membership(*row) for row in rows}
    kept = (member for member in listed.memberships if member.group not in changed)
    return (*kept, *(member for member in changed.values() if member.from_s < member.until_s))


def _credit_orders(
    sql: sqlite3.Connection, current: ListFile, key: bytes, listed: SubjectRights, history: History
) -> tuple[CreditOrder, ...]:
    """Return the orders as they are now; one that the list does not have any more was prolonged."""
    rows = sql.execute(
        "SELECT order_id, site_id, fare_fen, quantity, from_s, until_s"
        " FROM changed_credit_orders WHERE key = ? AND revision > ?",
        (key, current.revision),
    )
    known = {order.order_id: order for order in listed.credit_orders}
    for order_id, site_id, fare_fen, quantity, from_s, until_s in rows:
        counted = history.counted(Basis.CREDIT_ORDER, order_id)
        used = known[order_id].used if order_id in known else counted
        known[order_id] = CreditOrder(order_id, site_id, fare_fen, quantity, used, from_s, until_s)
    return tuple(known.values())


def _credit_line(
    sql: sqlite3.Connection, current: ListFile, key: bytes, listed: SubjectRights, history: History
) -> CreditLine | None:
    row = sql.execute(
        "SELECT limit_fen, per_visit_fen, until_s FROM changed_credit_lines WHERE key = ? AND revision > ?",
        (key, current.revision),
    ).fetchone()
    line = listed.credit_line
    if row is None:
        return line
    outstanding_fen = line.outstanding_fen if line else history.counted_fare_fen(Basis.CREDIT_LINE)
    return CreditLine(row[0], row[1], outstanding_fen, row[2])


def _revision(current: ListFile | None) -> int:
    return current.revision if current else 0
