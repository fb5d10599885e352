"""Routes that tell what the centre knows."""

from __future__ import annotations

import re

from aiohttp import web

from central.capacity import capacities
from central.reports import Wanted, admissions, conflict_rows, override_rows, refusals
from central.summary import summary
from central.web.centre import Centre
from central.web.errors import ApiError, json_response

_KEY = re.compile(r"[0-9A-Fa-f]{32}")
_DEFAULT_LIMIT = 100
_MAX_LIMIT = 10_000


class ReportRoutes:
    """The summary, single admissions, refusals and conflicts, and how full the sites are."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/v1/summary", self._summary),
            web.get("/v1/admissions", self._admissions),
            web.get("/v1/refusals", self._refusals),
            web.get("/v1/conflicts", self._conflicts),
            web.get("/v1/overrides", self._overrides),
            web.get("/v1/capacity", self._capacity),
        ]

    async def _summary(self, request: web.Request) -> web.Response:
        centre, now_ms = self._centre, self._centre.clock()
        is_today = request.query.get("since") == "today"
        since_ms = centre.policy.day_start_ms(now_ms) if is_today else _since(request)
        found = await centre.store.read(
            lambda connection: summary(connection, centre.policy, now_ms, since_ms)
        )
        return json_response(found)

    async def _admissions(self, request: web.Request) -> web.Response:
        wanted = _wanted(request)
        rows = await self._centre.store.read(lambda connection: admissions(connection, wanted))
        return json_response({"admissions": rows})

    async def _refusals(self, request: web.Request) -> web.Response:
        wanted = _wanted(request)
        rows = await self._centre.store.read(lambda connection: refusals(connection, wanted))
        return json_response({"refusals": rows})

    async def _conflicts(self, request: web.Request) -> web.Response:
        limit = query_number(request, "limit", _DEFAULT_LIMIT, _MAX_LIMIT)
        rows = await self._centre.store.read(lambda connection: conflict_rows(connection, limit))
        return json_response({"conflicts": rows})

    async def _overrides(self, request: web.Request) -> web.Response:
        limit = query_number(request, "limit", _DEFAULT_LIMIT, _MAX_LIMIT)
        staff_id = request.query.get("staff")
        rows = await self._centre.store.read(lambda connection: override_rows(connection, staff_id, limit))
        return json_response({"overrides": rows})

    async def _capacity(self, request: web.Request) -> web.Response:
        centre = self._centre
        sites = await centre.store.read(lambda found: capacities(found, centre.policy, centre.clock()))
        return json_response({"sites": sites})


def _wanted(request: web.Request) -> Wanted:
    """Return what `key` (hex), `since` (UTC milliseconds) and `limit` ask for."""
    text = request.query.get("key")
    if text is not None and not _KEY.fullmatch(text):
        raise ApiError(422, "invalid_request", "a key has 32 hex digits", "key")
    key = None if text is None else bytes.fromhex(text)
    return Wanted(key, _since(request), query_number(request, "limit", _DEFAULT_LIMIT, _MAX_LIMIT))


def _since(request: web.Request) -> int:
    return query_number(request, "since", 0, 1 << 60)


def query_number(request: web.Request, name: str, default: int, most: int) -> int:
    """Return a number of the query, or its default; ApiError when it is none or more than `most`."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise ApiError(422, "invalid_request", f"a whole number up to {most}", name)
    return int(text)
