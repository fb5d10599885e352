"""The route that withdraws an issuer's key."""

from __future__ import annotations

import msgspec
from aiohttp import web

from admission.keys import MAX_KEY_ID_BYTES
from central.web.centre import Centre
from central.web.errors import ApiError, json_response, read_json
from central.withdrawing import withdraw_key


class WithdrawRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing but the wish: the path names the key."""


class KeyRoutes:
    """Keys that were lost or stolen."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.post("/v1/keys/{key_id}/withdraw", self._withdraw)]

    async def _withdraw(self, request: web.Request) -> web.Response:
        key_id = _key_id(request)
        await read_json(request, WithdrawRequest)
        now_s = self._centre.clock() // 1000
        since_s = await self._centre.store.run(lambda connection: withdraw_key(connection, key_id, now_s))
        self._centre.rights_changed()
        return json_response({"key_id": key_id.hex(), "withdrawn_s": since_s})


def _key_id(request: web.Request) -> bytes:
    try:
        key_id = bytes.fromhex(request.match_info["key_id"])
    except ValueError:
        key_id = b""
    if not 1 <= len(key_id) <= MAX_KEY_ID_BYTES:
        raise ApiError(404, "not_found", f"a key id is 1 to {MAX_KEY_ID_BYTES} bytes in hex")
    return key_id
