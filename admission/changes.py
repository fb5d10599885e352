"""What has changed in the rights that a list carries, row by row.

Every change of a row has a revision of its own, so a range of revisions names its rows exactly. A row says all that
its right is now, never a difference: rows may come in any order, twice, or beside each other, and the highest
revision of a row holds. No row carries a counter: only full lists count uses.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from admission.clearance import Colour
from admission.tickets import TicketStatus


class ProductRow(msgspec.Struct, frozen=True, array_like=True):
    """A product as it is since `revision`."""

    revision: int
    code: str
    name_zh: str
    name_en: str
    site_ids: tuple[str, ...]
    terms: str = ""
    """As JSON (see `admission.terms`); empty for a plain ticket."""


class TicketRow(msgspec.Struct, frozen=True, array_like=True):
    """A ticket as it is since `revision`; its `refunded` and `status` are how a refund or a block travels.

    `status` may be a word of a later release: `admission.tickets.read_status` says what it means here.
    """

    revision: int
    key: bytes
    product: str
    quantity: int
    refunded: int
    valid_from_s: int
    valid_until_s: int
    status: str


class MembershipRow(msgspec.Struct, frozen=True, array_like=True):
    """A subject's place in a group as it is since `revision`; one that covers no time was removed."""

    revision: int
    key: bytes
    group_id: str
    from_s: int
    until_s: int


class CreditLineRow(msgspec.Struct, frozen=True, array_like=True):
    """A credit line as it is since `revision`."""

    revision: int
    key: bytes
    limit_fen: int
    per_visit_fen: int
    until_s: int


class DocumentRow(msgspec.Struct, frozen=True, array_like=True):
    """Whose the document `key` is, or a ticket bought on it, as it is since `revision`.

    `holder` is the key of the subject, or of the ticket when `is_ticket`; one that is not `is_linked` was removed.
    """

    revision: int
    key: bytes
    holder: bytes
    is_ticket: bool
    is_linked: bool = True


class ClearanceRow(msgspec.Struct, frozen=True, array_like=True):
    """What a provider finds about the holder of `key` as it is since `revision`; past its end it says nothing."""

    revision: int
    key: bytes
    provider: str
    colour: str
    until_s: int


class CreditOrderRow(msgspec.Struct, frozen=True, array_like=True):
    """A credit order as it is since `revision`; one with a quantity of 0 was cancelled."""

    revision: int
    key: bytes
    order_id: str
    site_id: str
    fare_fen: int
    quantity: int
    from_s: int
    until_s: int


class WithdrawnKeyRow(msgspec.Struct, frozen=True, array_like=True):
    """An issuer key that was withdrawn, for good."""

    revision: int
    key_id: bytes


Row = (
    ProductRow
    | TicketRow
    | MembershipRow
    | CreditLineRow
    | WithdrawnKeyRow
    | DocumentRow
    | ClearanceRow
    | CreditOrderRow
)


class ListChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a site's list that changed after `from_revision`, up to and with `to_revision`.

    `as_of_s` is the moment up to which all rights are known once these are; 0 when more is to follow. Rows may stand
    here that belong to no part of the range: they are sent ahead because they must not wait.
    """

    site_id: str
    from_revision: int
    to_revision: int
    as_of_s: int = 0
    products: tuple[ProductRow, ...] = ()
    tickets: tuple[TicketRow, ...] = ()
    memberships: tuple[MembershipRow, ...] = ()
    credit_lines: tuple[CreditLineRow, ...] = ()
    withdrawn_keys: tuple[WithdrawnKeyRow, ...] = ()
    documents: tuple[DocumentRow, ...] = ()
    clearances: tuple[ClearanceRow, ...] = ()
    credit_orders: tuple[CreditOrderRow, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, whatever they are of."""
        return (
            *self.products,
            *self.tickets,
            *self.memberships,
            *self.credit_lines,
            *self.withdrawn_keys,
            *self.documents,
            *self.clearances,
            *self.credit_orders,
        )


def with_rows(head: ListChanges, rows: tuple[Row, ...]) -> ListChanges:
    """Return `head` with these rows instead of its own."""
    return msgspec.structs.replace(
        head,
        products=tuple(row for row in rows if isinstance(row, ProductRow)),
        tickets=tuple(row for row in rows if isinstance(row, TicketRow)),
        memberships=tuple(row for row in rows if isinstance(row, MembershipRow)),
        credit_lines=tuple(row for row in rows if isinstance(row, CreditLineRow)),
        withdrawn_keys=tuple(row for row in rows if isinstance(row, WithdrawnKeyRow)),
        documents=tuple(row for row in rows if isinstance(row, DocumentRow)),
        clearances=tuple(row for row in rows if isinstance(row, ClearanceRow)),
        credit_orders=tuple(row for row in rows if isinstance(row, CreditOrderRow)),
    )


def is_urgent(row: Row) -> bool:
    """Return whether a row takes something away, so that every second without it may cost money."""
    match row:
        case TicketRow():
            return row.refunded > 0 or row.status != TicketStatus.VALID
        case MembershipRow():
            return row.until_s <= row.from_s
        case CreditLineRow():
            return row.per_visit_fen == 0
        case ClearanceRow():
            return row.colour != Colour.GREEN
        case CreditOrderRow():
            return row.quantity == 0
        case DocumentRow():
            return not row.is_linked
        case WithdrawnKeyRow():
            return True
        case _:
            return False


def pieces(rows: tuple[Row, ...], size: int) -> Iterator[tuple[Row, ...]]:
    """Yield `rows` in pieces of at most `size`."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
