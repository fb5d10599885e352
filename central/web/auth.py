"""Who may do what: one token for everything, one with which boxes fetch lists and nothing else."""

from __future__ import annotations

import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from central.settings import HttpTable
from central.web.errors import ApiError

_LISTS = "/v1/lists/"


def auth_middleware(http: HttpTable) -> Middleware:
    """Return the middleware that asks for a bearer token under /v1, if one is set."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/") and http.token:
            given = _bearer(request)
            is_fetch = request.method == "GET" and request.path.startswith(_LISTS)
            if not _is(given, http.token) and not (is_fetch and _is(given, http.list_token)):
                raise ApiError(401, "unauthorized", "a bearer token is needed")
        return await handler(request)

    return check


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _is(given: str, token: str) -> bool:
    # The header's very bytes: what is not UTF-8 comes in surrogates.
    return bool(token) and hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())
