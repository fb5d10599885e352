"""The demonstration of a phone that holds codes: its page, and the route that binds a code to it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from sqlalchemy import Connection, select

from admission.codes import (
    CodeBook,
    CreditCode,
    IssuerKey,
    KeyUse,
    Rejected,
    TicketCode,
    bind_code,
    parse,
)
from admission.holders import holder_key
from central.holding import BoundElsewhereError, bind, release
from central.schema import products
from central.web.centre import Centre
from central.web.errors import ApiError, json_response, read_json
from central.web.files import PAGE_HEADERS
from central.web.tickets import path_key

_PAGE = Path(__file__).parent.parent / "phone"


class BindRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code of this centre, and the phone's public key: P-256, a point of SEC 1 in base64."""

    code: str
    holder_key: str


class PhoneRoutes:
    """Who has the code may bind it, once; only whoever runs the centre may release it."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        issuer = centre.keys.issuer
        trusted = IssuerKey(issuer.key_id, issuer.public.key, frozenset(KeyUse))
        self._book = CodeBook({issuer.key_id: trusted}, (), centre.keys.hash_key)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/phone", _to_page),
            web.get("/phone/", _page),
            web.get(r"/phone/{name:(?:vendor/)?[a-z0-9_-]+\.(?:js|mjs|css|svg|webmanifest)}", _page),
            web.post("/phone/codes", self._bind),
            web.delete("/v1/holders/{key}", self._release),
        ]

    async def _bind(self, request: web.Request) -> web.Response:
        wanted = await read_json(request, BindRequest)
        holder = _holder_key(wanted.holder_key)
        payload = wanted.code.strip().encode()
        credential = parse(payload, self._book)
        if isinstance(credential, Rejected):
            raise ApiError(422, "not_a_code", f"not a code of this centre: {credential.detail}", "code")
        if not isinstance(credential, TicketCode | CreditCode):
            raise ApiError(422, "not_a_code", "only codes that this centre signed can be bound", "code")
        now_s = self._centre.clock() // 1000
        if now_s >= credential.validity.until_s:
            raise ApiError(410, "expired", "the code is not valid any more", "code")

        def work(connection: Connection) -> dict[str, Any]:
            bind(connection, credential.key, holder, now_s)
            return _named(connection, credential)

        try:
            named = await self._centre.store.run(work)
        except BoundElsewhereError as error:
            raise ApiError(409, "bound_elsewhere", str(error), "code") from error
        code = bind_code(payload, holder, self._centre.keys.issuer)
        return json_response(
            {
                "code": code,
                "key": credential.key.hex(),
                "valid_from_s": credential.validity.from_s,
                "valid_until_s": credential.validity.until_s,
                **named,
            }
        )

    async def _release(self, request: web.Request) -> web.Response:
        key = path_key(request)
        if not await self._centre.store.run(lambda connection: release(connection, key)):
            raise ApiError(404, "not_found", "it is on no phone")
        return json_response({"key": key.hex()})


def _named(connection: Connection, credential: TicketCode | CreditCode) -> dict[str, Any]:
    """Return what a code is, for people."""
    if isinstance(credential, CreditCode):
        return {"kind": "credit", "name_zh": "信用码", "name_en": "Credit code"}
    row = connection.execute(select(products).where(products.c.code == credential.product)).first()
    zh, en = (row.name_zh, row.name_en) if row else (credential.product, credential.product)
    return {"kind": "ticket", "name_zh": zh, "name_en": en}


def _holder_key(text: str) -> bytes:
    try:
        return holder_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise ApiError(422, "invalid_request", "not a point on P-256 in base64", "holder_key") from None


async def _to_page(_: web.Request) -> web.Response:
    return web.Response(status=308, headers={"Location": "/phone/"})


async def _page(request: web.Request) -> web.StreamResponse:
    path = _PAGE / request.match_info.get("name", "index.html")
    if not path.is_file():
        raise ApiError(404, "not_found", "Not Found")
    return web.FileResponse(path, headers=PAGE_HEADERS)
