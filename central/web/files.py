"""Routes that serve the console and the health probe."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from sqlalchemy import select

from central.schema import store_facts
from central.web.centre import Centre
from central.web.errors import json_response

_CONSOLE = Path(__file__).parent.parent / "console"
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""With which the centre's pages are served: they load what the centre serves, and nothing else."""


class FileRoutes:
    """The console's page, and whether the centre is well."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/", self._console),
            web.get("/console/{name:(console.css|console.js|icon.svg)}", self._console),
            web.get("/healthz", self._health),
        ]

    async def _console(self, request: web.Request) -> web.FileResponse:
        name = request.match_info.get("name", "index.html")
        return web.FileResponse(_CONSOLE / name, headers=PAGE_HEADERS)

    async def _health(self, request: web.Request) -> web.Response:
        await self._centre.store.run(lambda connection: connection.execute(select(store_facts.c.name)).all())
        return json_response({"ok": True})
