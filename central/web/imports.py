"""The route that takes files in."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from aiohttp import web

from central.imports.applying import ImportRefusedError, apply_reading
from central.imports.kinds import Kind, import_kinds
from central.imports.reading import FileError, Reading, csv_rows, json_rows, read_rows
from central.web.centre import Centre
from central.web.errors import ApiError, json_response

_PROBLEMS_SHOWN = 1000
_READERS = {"text/csv": csv_rows, "application/json": json_rows}


class ImportRoutes:
    """Imports of rights and boxes: a file with any mistake changes nothing, the same file twice changes nothing."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._kinds = import_kinds(
            centre.policy, centre.keys.hash_key, allow_demo_keys=centre.allow_demo_keys
        )

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.post("/v1/imports/{kind}", self._import)]

    async def _import(self, request: web.Request) -> web.Response:
        kind = self._kind(request)
        reading = await asyncio.to_thread(_read, await request.read(), request.content_type, kind)
        policy = self._centre.policy
        try:
            counts = await self._centre.store.run(
                lambda connection: apply_reading(connection, kind, reading, policy)
            )
        except ImportRefusedError as error:
            shown = [asdict(problem) for problem in error.problems[:_PROBLEMS_SHOWN]]
            message = f"{len(error.problems)} mistakes; nothing was changed"
            raise ApiError(422, "invalid_rows", message, errors=shown) from error
        if counts.changed:
            self._centre.rights_changed()
            await self._centre.boxes_changed()
        return json_response(counts)

    def _kind(self, request: web.Request) -> Kind:
        kind = self._kinds.get(request.match_info["kind"])
        if kind is None:
            raise ApiError(404, "not_found", f"imports: {', '.join(self._kinds)}")
        return kind


def _read(data: bytes, content_type: str, kind: Kind) -> Reading:
    """Return what a file says, without a look at the store: a large one takes a while."""
    reader = _READERS.get(content_type)
    if reader is None:
        raise ApiError(415, "unknown_format", f"the body must be one of {', '.join(_READERS)}")
    try:
        return read_rows(reader(data), kind.layout)
    except FileError as error:
        raise ApiError(422, "invalid_file", str(error)) from error
