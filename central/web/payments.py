"""Routes that show payments, and what people decide about them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from central.payments import book
from central.payments.book import NotNowError, State
from central.reconcile import settle_used
from central.rights import current_revision
from central.web.centre import Centre
from central.web.errors import ApiError, json_response, read_json
from central.web.reports import query_number

_ADMISSION_ID = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[0-9A-Fa-f]{32}")


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why somebody decides so: it stands in the book."""

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class PaymentRoutes:
    """The book of payments."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/v1/payments", self._show),
            web.post("/v1/payments/{admission_id}/ask-again", self._ask_again),
            web.post("/v1/payments/{admission_id}/refund", self._refund),
            web.post("/v1/payments/{admission_id}/write-off", self._write_off),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        state, key = request.query.get("state"), request.query.get("key")
        if state is not None and state not in [known.value for known in State]:
            raise ApiError(422, "invalid_request", f"one of {', '.join(State)}", "state")
        if key is not None and not _KEY.fullmatch(key):
            raise ApiError(422, "invalid_request", "32 hex digits", "key")
        limit = query_number(request, "limit", 100, 10_000)
        wanted = bytes.fromhex(key) if key else None
        rows = await self._centre.store.read(
            lambda connection: book.described(connection, state, wanted, limit)
        )
        return json_response({"payments": rows})

    async def _ask_again(self, request: web.Request) -> web.Response:
        return await self._decide(request, book.ask_again)

    async def _refund(self, request: web.Request) -> web.Response:
        return await self._decide(request, book.give_back)

    async def _write_off(self, request: web.Request) -> web.Response:
        return await self._decide(request, book.write_off)

    async def _decide(
        self, request: web.Request, act: Callable[[Connection, bytes, str, int], object]
    ) -> web.Response:
        """Do what somebody decided, and answer with the payment as it is then."""
        why = (await read_json(request, Decision)).why
        written = request.match_info["admission_id"]
        if not _ADMISSION_ID.fullmatch(written):
            raise ApiError(404, "not_found", "an admission's id is 32 hex digits")
        payment, now_s = bytes.fromhex(written), self._centre.clock() // 1000

        def work(connection: Connection) -> tuple[bool, dict[str, Any]]:
            before = current_revision(connection)
            act(connection, payment, why, now_s)
            row = book.one(connection, payment)
            settle_used(connection, [bytes.fromhex(row["key"])], self._centre.policy)
            return current_revision(connection) != before, row

        try:
            changed, row = await self._centre.store.run(work)
        except NotNowError as error:
            raise ApiError(409, "not_now", str(error)) from error
        if changed:
            self._centre.rights_changed()
        self._centre.payments_changed()
        return json_response(row)
