"""Routes that sell tickets and hand out codes."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aiohttp import web
from sqlalchemy import Connection, select

from admission.short_codes import grouped
from central.counting import HELD
from central.images import code_png, code_svg
from central.imports.fields import FieldError, Times
from central.imports.kinds import MAX_QUANTITY
from central.issuing import (
    Naming,
    Order,
    SaleConflictError,
    SoldTicket,
    UnknownProductError,
    credit_code,
    find_sold,
    sale_id_of,
    sell,
)
from central.schema import tickets, uses
from central.web.centre import Centre
from central.web.errors import ApiError, json_response, read_json

MAX_TICKETS_PER_SALE = 10_000
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class SaleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`count` tickets, each good for `quantity` entries from `valid_from` to `valid_until` (dates are inclusive).

    With a `merchant`, a subject's pseudonym, they are vouchers that the merchant gives away.
    """

    product: Text
    valid_from: str
    valid_until: str
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)] = 1
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_TICKETS_PER_SALE)] = 1
    merchant: Annotated[str, msgspec.Meta(max_length=64)] = ""


class CreditCodeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code for the subject known under a pseudonym."""

    subject: Text


class TicketRoutes:
    """Sales, tickets, and codes as text or picture."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._times = Times(centre.policy)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.post("/v1/tickets", self._sell),
            web.get("/v1/tickets/{key}", self._show),
            web.get("/v1/tickets/{key}/code", self._code),
            web.post("/v1/credit-codes", self._credit_code),
        ]

    async def _sell(self, request: web.Request) -> web.Response:
        order = self._order(await read_json(request, SaleRequest))
        idempotency_key = request.headers.get("Idempotency-Key", "")
        naming = Naming(self._centre.new_short_code, self._centre.keys.hash_key)
        sale_id = sale_id_of(idempotency_key or self._centre.new_short_code())

        def work(connection: Connection) -> list[SoldTicket]:
            return sell(connection, order, sale_id, self._centre.clock() // 1000, naming)

        try:
            sold = await self._centre.store.run(work)
        except UnknownProductError as error:
            raise ApiError(422, "unknown_product", str(error), "product") from error
        except SaleConflictError as error:
            raise ApiError(409, "idempotency_key_reused", str(error), "Idempotency-Key") from error
        self._centre.rights_changed()
        return json_response({"tickets": [self._described(ticket) for ticket in sold]}, 201)

    def _order(self, sale: SaleRequest) -> Order:
        times = {}
        for field, read in (("valid_from", self._times.start), ("valid_until", self._times.end)):
            try:
                times[field] = read(getattr(sale, field))
            except FieldError as error:
                raise ApiError(422, "invalid_request", str(error), field) from error
        if times["valid_from"] >= times["valid_until"]:
            raise ApiError(422, "invalid_request", "not after valid_from", "valid_until")
        return Order(
            sale.product, sale.count, sale.quantity, times["valid_from"], times["valid_until"], sale.merchant
        )

    def _described(self, ticket: SoldTicket) -> dict[str, Any]:
        return {
            "ticket_id": ticket.ticket_id.hex(),
            "key": ticket.key.hex(),
            "product": ticket.product,
            "valid_from_s": ticket.validity.from_s,
            "valid_until_s": ticket.validity.until_s,
            "issued_s": ticket.validity.issued_s,
            "code": ticket.code(self._centre.keys.issuer),
            "short_code": None if ticket.short_code is None else grouped(ticket.short_code),
        }

    async def _show(self, request: web.Request) -> web.Response:
        key = path_key(request)
        found = await self._centre.store.read(lambda connection: _ticket_state(connection, key))
        if found is None:
            raise ApiError(404, "not_found", "no such ticket")
        return json_response(found)

    async def _code(self, request: web.Request) -> web.Response:
        key = path_key(request)
        sold = await self._centre.store.read(lambda connection: find_sold(connection, key))
        if sold is None:
            raise ApiError(404, "not_found", "no such ticket of this centre")
        return _code_response(request, self._described(sold))

    async def _credit_code(self, request: web.Request) -> web.Response:
        subject = (await read_json(request, CreditCodeRequest)).subject
        code, validity = credit_code(subject, self._centre.clock() // 1000, self._centre.keys.issuer)
        return _code_response(request, {"code": code, "valid_until_s": validity.until_s})


def path_key(request: web.Request) -> bytes:
    """Return the key in the request's path; ApiError when it is none."""
    try:
        return bytes.fromhex(request.match_info["key"])
    except ValueError:
        raise ApiError(404, "not_found", "a key is written in hex") from None


def _code_response(request: web.Request, described: dict[str, Any]) -> web.Response:
    """Return a code as the client accepts it: JSON, PNG or SVG."""
    headers = {"Cache-Control": "no-store"}
    match request.headers.get("Accept", ""):
        case "image/png":
            return web.Response(body=code_png(described["code"]), content_type="image/png", headers=headers)
        case "image/svg+xml":
            return web.Response(
                body=code_svg(described["code"]), content_type="image/svg+xml", headers=headers
            )
        case _:
            return json_response(described)


def _ticket_state(connection: Connection, key: bytes) -> dict[str, Any] | None:
    ticket = connection.execute(select(tickets).where(tickets.c.key == key)).mappings().first()
    if ticket is None:
        return None
    used = connection.scalars(select(uses.c.quantity).where(uses.c.key == key, HELD))
    return {**ticket, "key": key.hex(), "used": sum(used)}
