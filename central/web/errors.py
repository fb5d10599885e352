"""Errors of the API: one JSON form for all of them."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

_T = TypeVar("_T")
_PLACE = re.compile(r"`\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")


class ApiError(Exception):
    """A request that cannot be served; it becomes `{"error": {"code", "message", "field"?}}`."""

    def __init__(self, status: int, code: str, message: str, field: str = "", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"code": code, "message": message} | ({"field": field} if field else {}),
            **more,
        }


def json_response(body: Any, status: int = 200) -> web.Response:
    """Return `body` as JSON; bytes must have been made text before."""
    headers = {"Cache-Control": "no-store"}
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers
    )


async def read_json(request: web.Request, kind: type[_T]) -> _T:
    """Return the request's JSON body as a `kind`; ApiError names the field that is wrong."""
    # A page of another origin cannot send this type without asking first.
    if request.content_type != "application/json":
        raise ApiError(415, "not_json", "the body must be application/json")
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = _UNKNOWN.search(str(error)) or _PLACE.search(str(error))
        raise ApiError(422, "invalid_request", str(error), found[1] if found else "") from error


@web.middleware
async def errors_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors of the API, and aiohttp's own, in the API's form."""
    if request.can_read_body and request.headers.get("Content-Encoding", "identity") != "identity":
        # aiohttp never wakes the reader of a compressed body that ends early
        return _last_response(415, "encoded_body", "send the body without Content-Encoding")
    try:
        return await handler(request)
    except ApiError as error:
        return json_response(error.body, error.status)
    except web.RequestPayloadError:
        return _last_response(400, "bad_request", "the body is not what Transfer-Encoding says")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = error.reason.lower().replace(" ", "_")
        return json_response({"error": {"code": code, "message": error.reason}}, error.status)


def _last_response(status: int, code: str, message: str) -> web.Response:
    """Return an error that ends the connection: where the next request would begin is not known."""
    response = json_response({"error": {"code": code, "message": message}}, status)
    response.force_close()
    return response
