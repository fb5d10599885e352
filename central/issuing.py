"""Sells tickets and writes the codes that visitors carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, insert, select

from admission.codes import Validity, issue_credit_code, issue_ticket_code, ticket_key
from admission.keys import SigningKey
from admission.short_codes import short_ticket_id
from central.rights import next_revisions
from central.schema import products, sales, sold_tickets, tickets

CREDIT_CODE_LIFE_S = 24 * 3600
CREDIT_CODE_SLACK_S = 300
"""A credit code holds a little before its issue too: a box's clock may be behind."""


class UnknownProductError(ValueError):
    """The product is not one that the centre sells."""


class SaleConflictError(ValueError):
    """The idempotency key was used for another sale."""


@dataclass(frozen=True, slots=True)
class Order:
    """`count` tickets of one product, each good for `quantity` entries; times in UTC seconds.

    `merchant` is the pseudonym of the merchant whose vouchers they are; empty for tickets that are sold.
    """

    product: str
    count: int
    quantity: int
    valid_from_s: int
    valid_until_s: int
    merchant: str = ""


@dataclass(frozen=True, slots=True)
class SoldTicket:
    """A ticket of this centre and all that its code says."""

    ticket_id: bytes
    product: str
    validity: Validity
    short_code: str | None
    merchant: str

    @property
    def key(self) -> bytes:
        """The key under which lists and uses know it."""
        return ticket_key(self.ticket_id)

    def code(self, key: SigningKey) -> str:
        """Return the text of its code, the same every time."""
        return issue_ticket_code(self.ticket_id, self.product, self.validity, key, merchant=self.merchant)


def sale_id_of(idempotency_key: str) -> bytes:
    """Return under which id the sale with the client's key is stored."""
    name = idempotency_key.encode(errors="surrogateescape")  # a header's very bytes, UTF-8 or not
    return blake2b(name, digest_size=16, person=b"sg sale").digest()


@dataclass(frozen=True, slots=True)
class Naming:
    """How new tickets get their names: `new_short_code` never returns one again, nor one that could be guessed."""

    new_short_code: Callable[[], str]
    hash_key: bytes

    def next(self) -> tuple[str, bytes]:
        """Return a new ticket's short code and its id."""
        code = self.new_short_code()
        return code, short_ticket_id(code, self.hash_key)


def sell(
    connection: Connection, order: Order, sale_id: bytes, now_s: int, naming: Naming
) -> list[SoldTicket]:
    """Return the tickets of the sale `sale_id`, sold now unless they were before.

    UnknownProductError when there is no such product; SaleConflictError when that sale was another order.
    """
    request_hash = blake2b(repr(order).encode(), digest_size=32).digest()
    known = connection.scalar(select(sales.c.request_hash).where(sales.c.sale_id == sale_id))
    if known is None:
        _insert_sale(connection, order, sale_id, request_hash, now_s, naming)
    elif known != request_hash:
        raise SaleConflictError("the idempotency key was used for another sale")
    return [_sold(row) for row in connection.execute(_SOLD.where(sold_tickets.c.sale_id == sale_id))]


def find_sold(connection: Connection, key: bytes) -> SoldTicket | None:
    """Return the ticket of this centre known under `key`."""
    row = connection.execute(_SOLD.where(sold_tickets.c.key == key)).first()
    return None if row is None else _sold(row)


def credit_code(subject_id: str, now_s: int, key: SigningKey) -> tuple[str, Validity]:
    """Return a code for the subject that holds for a day, and its validity."""
    validity = Validity(now_s - CREDIT_CODE_SLACK_S, now_s + CREDIT_CODE_LIFE_S, now_s)
    return issue_credit_code(subject_id, validity, key), validity


_SOLD = (
    select(
        sold_tickets.c.ticket_id,
        sold_tickets.c.short_code,
        tickets.c.product,
        tickets.c.valid_from_s,
        tickets.c.valid_until_s,
        sales.c.sold_s,
        sales.c.merchant,
    )
    .join_from(sold_tickets, tickets)
    .join(sales, sales.c.sale_id == sold_tickets.c.sale_id)
    .order_by(sold_tickets.c.ticket_id)
)


def _sold(row: Any) -> SoldTicket:
    validity = Validity(row.valid_from_s, row.valid_until_s, row.sold_s)
    return SoldTicket(row.ticket_id, row.product, validity, row.short_code, row.merchant)


def _insert_sale(
    connection: Connection,
    order: Order,
    sale_id: bytes,
    request_hash: bytes,
    now_s: int,
    naming: Naming,
) -> None:
    if connection.scalar(select(products.c.code).where(products.c.code == order.product)) is None:
        raise UnknownProductError(f"no product {order.product}")
    row = {
        "issuer": "",
        "product": order.product,
        "quantity": order.quantity,
        "valid_from_s": order.valid_from_s,
        "valid_until_s": order.valid_until_s,
    }
    names = [naming.next() for _ in range(order.count)]
    numbered = zip(names, next_revisions(connection, order.count), strict=True)
    connection.execute(
        insert(tickets),
        [
            {"key": ticket_key(ticket_id), **row, "revision": revision}
            for (_, ticket_id), revision in numbered
        ],
    )
    connection.execute(
        insert(sales).values(
            sale_id=sale_id, request_hash=request_hash, sold_s=now_s, merchant=order.merchant
        )
    )
    connection.execute(
        insert(sold_tickets),
        [
            {"key": ticket_key(ticket_id), "ticket_id": ticket_id, "sale_id": sale_id, "short_code": code}
            for code, ticket_id in names
        ],
    )
