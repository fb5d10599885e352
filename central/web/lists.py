"""Routes from which the boxes fetch lists and what has changed since."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from sqlalchemy import select

from central.changes import TooFarBehindError, changes_since, mark
from central.publishing import list_path, packed_path
from central.schema import lists
from central.web.centre import Centre
from central.web.errors import ApiError
from central.web.ranges import send_file
from sync.protocol import PACKED, encode_changes, list_etag


class ListRoutes:
    """Full lists, and changes after a revision."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get(r"/v1/lists/{site}/{version:\d{1,18}}", self._list),
            web.get(rf"/v1/lists/{{site}}/{{version:\d{{1,18}}}}{PACKED}", self._packed),
            web.get("/v1/lists/{site}/changes", self._changes),
        ]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        path, etag = await self._found(request)
        return await send_file(request, path, etag, "application/vnd.sqlite3")

    async def _packed(self, request: web.Request) -> web.StreamResponse:
        path, etag = await self._found(request)
        packed = packed_path(path)
        if not packed.exists():
            raise ApiError(404, "not_found", "this list is not there in packed form")
        return await send_file(request, packed, etag, "application/zlib")

    async def _found(self, request: web.Request) -> tuple[Path, str]:
        """Return the file of the list that the path names, and the entity tag of its content."""
        site_id, version = request.match_info["site"], int(request.match_info["version"])
        query = select(lists.c.sha256).where(lists.c.site_id == site_id, lists.c.version == version)
        digest = await self._centre.store.read(lambda connection: connection.scalar(query))
        path = list_path(self._centre.lists, site_id, version)
        if digest is None or not path.exists():
            raise ApiError(404, "not_found", "no such list; the newest manifest names the one to fetch")
        return path, list_etag(digest)

    async def _changes(self, request: web.Request) -> web.Response:
        centre, site_id, since = self._centre, request.match_info["site"], _since(request)
        if site_id not in centre.policy.sites:
            raise ApiError(404, "not_found", "no such site")
        marked = await centre.store.run(lambda connection: mark(connection, centre.clock))
        try:
            changes = await centre.store.read(
                lambda connection: changes_since(connection, site_id, since, marked)
            )
        except TooFarBehindError as error:
            raise ApiError(410, "too_far_behind", f"{error}; fetch the newest list") from error
        return web.Response(
            body=encode_changes(changes, centre.keys.lists),
            content_type="application/octet-stream",
            headers={"Cache-Control": "no-store"},
        )


def _since(request: web.Request) -> int:
    text = request.query.get("since", "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ApiError(422, "invalid_request", "the revision after which changes are wanted", "since")
    return int(text)
