"""The route by which the boxes are told that the centre's clock was wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from aiohttp import web

from central.time_repairs import repair_time
from central.web.centre import Centre
from central.web.errors import ApiError, json_response, read_json

WITHIN_S = 5 * 60
"""So near must the time that somebody says be to the centre's clock, before the boxes are told to believe that."""


class RepairRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What time it is, by another clock than the centre's."""

    now: Annotated[datetime, msgspec.Meta(tz=True)]


class TimeRoutes:
    """What was proved about the time, taken back."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.post("/v1/time/repair", self._repair)]

    async def _repair(self, request: web.Request) -> web.Response:
        said = await read_json(request, RepairRequest)
        now_ms = self._centre.clock()
        if abs(said.now.timestamp() - now_ms / 1000) > WITHIN_S:
            words = (
                f"by the centre's clock it is {_utc(now_ms)}: set that clock first, then repair the boxes'"
            )
            raise ApiError(409, "clock_differs", words, "now")
        repair = await self._centre.store.run(lambda connection: repair_time(connection, now_ms))
        self._centre.time_repaired()
        self._centre.rights_changed()
        return json_response({"number": repair.number, "at_ms": repair.at_ms})


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat()
