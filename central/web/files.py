"""Routes that serve lists, the console and the health probe."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from sqlalchemy import select

from central.publishing import list_path
from central.schema import lists, store_facts
from central.web.centre import Centre
from central.web.errors import ApiError, json_response

_CONSOLE = Path(__file__).parent.parent / "console"
_CONSOLE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class FileRoutes:
    """Lists for the boxes, the console's page, and whether the centre is well."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/", self._console),
            web.get("/console/{name:(console.css|console.js|icon.svg)}", self._console),
            web.get("/healthz", self._health),
            web.get(r"/v1/lists/{site}/{version:\d{1,18}}", self._list),
        ]

    async def _console(self, request: web.Request) -> web.FileResponse:
        name = request.match_info.get("name", "index.html")
        return web.FileResponse(_CONSOLE / name, headers=_CONSOLE_HEADERS)

    async def _health(self, request: web.Request) -> web.Response:
        await self._centre.store.run(lambda connection: connection.execute(select(store_facts.c.name)).all())
        return json_response({"ok": True})

    async def _list(self, request: web.Request) -> web.FileResponse:
        site_id, version = request.match_info["site"], int(request.match_info["version"])
        query = select(lists.c.sha256).where(lists.c.site_id == site_id, lists.c.version == version)
        digest = await self._centre.store.read(lambda connection: connection.scalar(query))
        path = list_path(self._centre.lists, site_id, version)
        if digest is None or not path.exists():
            raise ApiError(404, "not_found", "no such list; the newest manifest names the one to fetch")
        headers = {"Content-Type": "application/vnd.sqlite3", "Cache-Control": "private, immutable"}
        return web.FileResponse(path, headers=headers)
