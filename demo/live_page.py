"""The server of the live page: it outlives the boxes, shows them, and does to them what the buttons say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from demo.observer import Observer
from demo.samples import samples_html
from demo.world import World

PAGE = Path(__file__).parent / "page"
SILENT_MS = 3000
"""A cut line is silent for so long before it resets connections, as a dead switch is."""
PICTURE_WIDTH = 640
GUARD = "X-Scenic-Gate"
"""A header that no other site's page can send here: it would have to ask first, and is not answered."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class LivePage:
    """Serves the page on loopback only."""

    def __init__(self, world: World, observer: Observer) -> None:
        self._world = world
        self._observer = observer
        self._session: aiohttp.ClientSession | None = None
        application = web.Application(middlewares=[_protect])
        application.add_routes(
            [
                web.get("/", self._file),
                web.get(r"/page/{name:[a-z]+\.(?:css|js|svg)}", self._file),
                web.get("/samples", self._samples),
                web.get("/api/state", self._state),
                web.get("/api/lanes/{lane}/picture", self._picture),
                web.post("/api/cut/{link}", self._cut),
                web.post("/api/restore/{link}", self._restore),
                web.post("/api/kill/{box}", self._kill),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self, port: int) -> str:
        """Listen on the port (0: a free one) and return the page's address; OSError when it is taken."""
        self._session = aiohttp.ClientSession()
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = PAGE / request.match_info.get("name", "index.html")
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    async def _samples(self, request: web.Request) -> web.Response:
        return web.Response(text=await samples_html(self._world), content_type="text/html")

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._observer.snapshot())

    async def _picture(self, request: web.Request) -> web.Response:
        """Pass a camera's picture on; 204 while there is none."""
        if self._session is None or request.match_info["lane"] not in self._world.lanes:
            raise web.HTTPNotFound
        picture = await self._observer.picture(self._session, request.match_info["lane"], PICTURE_WIDTH)
        if picture is None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return web.Response(body=picture, content_type="image/jpeg")

    async def _cut(self, request: web.Request) -> web.Response:
        cut = {"centre": self._world.cut, "site": self._world.cut_site}.get(request.match_info["link"])
        return self._do(cut and partial(cut, silent_ms=SILENT_MS))

    async def _restore(self, request: web.Request) -> web.Response:
        links = {"centre": self._world.restore, "site": self._world.restore_site}
        return self._do(links.get(request.match_info["link"]))

    async def _kill(self, request: web.Request) -> web.Response:
        box = self._world.boxes.get(request.match_info["box"])
        return self._do(box.agent.kill if box else None)

    def _do(self, act: Callable[[], None] | None) -> web.Response:
        if act is None:
            raise web.HTTPNotFound
        act()
        return web.Response(status=HTTPStatus.NO_CONTENT)


@web.middleware
async def _protect(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer only a page of this server: a name that merely resolves to this machine, or a foreign form, is refused."""
    is_ours = request.url.host in ("127.0.0.1", "localhost")
    may_act = request.method in ("GET", "HEAD") or GUARD in request.headers
    if not (is_ours and may_act):
        raise web.HTTPForbidden
    response = await handler(request)
    response.headers.update(HEADERS)
    return response
