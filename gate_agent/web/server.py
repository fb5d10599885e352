"""HTTP on the box: probes, the picture of the box, and scans from foreign readers."""

from __future__ import annotations

import asyncio
import hmac
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from admission.scan import Scan
from gate_agent import metrics
from gate_agent.health import BoxView, Post
from gate_agent.lane import LaneBusyError
from gate_agent.metrics import MetricSources
from gate_agent.roster import Roster
from gate_agent.web.replies import MAX_BODY_BYTES, answer_json, error, not_json, payload_of, too_large
from gate_agent.web.staff import StaffRoutes

MAX_PICTURE_WIDTH = 1280


class ScanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A credential that a foreign reader submits: exactly one of `payload` (text) and `payload_base64`."""

    lane: str
    payload: str | None = None
    payload_base64: str | None = None


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the service listens, and to whom: the box's token (empty: to all), members of staff, TLS if any."""

    host: str
    port: int
    token: str = ""
    roster: Roster = field(default_factory=lambda: Roster(()))
    tls: ssl.SSLContext | None = None


class WebServer:
    """The box's HTTP service; everything under /v1 and the metrics ask for the token when one is set."""

    def __init__(self, view: BoxView, sources: MetricSources, doors: Doors) -> None:
        self._view = view
        self._sources = sources
        self._doors = doors
        self._runner = web.AppRunner(self._application(), access_log=None)

    async def start(self) -> int:
        """Begin to listen and return the port."""
        await self._runner.setup()
        doors = self._doors
        site = web.TCPSite(self._runner, doors.host, doors.port, ssl_context=doors.tls)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening and finish the requests under way."""
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        middlewares = [_uniform_errors, _token_check(self._doors.token)]
        application = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
        application.add_routes(StaffRoutes(self._view, self._doors.roster).routes())
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/v1/state", self._state)
        application.router.add_get("/v1/lanes/{lane}/picture", self._picture)
        application.router.add_post("/v1/scans", self._scan)
        return application

    async def _healthz(self, request: web.Request) -> web.Response:
        """Say that the process is alive and its store answers."""
        backlog = await self._view.backlog()
        return web.json_response({"status": "ok", "backlog": backlog, "problems": self._view.problems()})

    async def _readyz(self, request: web.Request) -> web.Response:
        """Say whether visitors can be served as they should be: 503 names what is missing."""
        problems = self._view.problems()
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        return web.json_response({"ready": not problems, "problems": problems}, status=status)

    async def _metrics(self, request: web.Request) -> web.Response:
        text = await metrics.scrape(self._view, self._sources)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(await self._view.state())

    async def _picture(self, request: web.Request) -> web.Response:
        post = self._view.posts.get(request.match_info["lane"])
        if post is None or post.eye is None:
            return error(HTTPStatus.NOT_FOUND, "no_such_camera", "no lane of this name has a camera")
        try:
            width = int(request.query.get("width", "640"))
        except ValueError:
            return error(HTTPStatus.BAD_REQUEST, "bad_width", "width is a number of pixels", "width")
        picture = await asyncio.to_thread(post.eye.jpeg, max(16, min(width, MAX_PICTURE_WIDTH)))
        if picture is None:
            return error(HTTPStatus.NOT_FOUND, "no_picture_yet", "the camera has not sent a picture yet")
        return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def _scan(self, request: web.Request) -> web.Response:
        captured_ns = self._view.clock.monotonic_ns()
        if (refused := not_json(request)) is not None:
            return refused
        try:
            wanted = msgspec.json.decode(await request.read(), type=ScanRequest)
            payload = payload_of(wanted.payload, wanted.payload_base64)
        except web.HTTPRequestEntityTooLarge:
            return too_large()
        except ValueError as problem:  # msgspec's errors are of this kind too, and name the place
            return error(HTTPStatus.BAD_REQUEST, "bad_request", str(problem))
        post = self._view.posts.get(wanted.lane)
        if post is None:
            known = ", ".join(self._view.posts)
            return error(
                HTTPStatus.NOT_FOUND, "no_such_lane", f"no lane {wanted.lane!r}; known: {known}", "lane"
            )
        return await self._present(post, Scan(payload, "http", captured_ns))

    async def _present(self, post: Post, scan: Scan) -> web.Response:
        try:
            answer = await post.lane.present(scan)
        except LaneBusyError:
            return error(
                HTTPStatus.CONFLICT, "lane_busy", "another visitor is in the lane; nothing was spent"
            )
        return web.json_response(answer_json(answer))


@web.middleware
async def _uniform_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer aiohttp's own errors in the form of ours."""
    if request.can_read_body and request.headers.get("Content-Encoding", "identity") != "identity":
        # aiohttp never wakes the reader of a compressed body that ends early
        response = error(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "encoded_body", "send the body without Content-Encoding"
        )
        response.force_close()
        return response
    try:
        return await handler(request)
    except web.RequestPayloadError:
        response = error(HTTPStatus.BAD_REQUEST, "bad_request", "the body is not what Transfer-Encoding says")
        response.force_close()  # where the next request would begin is not known
        return response
    except web.HTTPException as raised:
        return error(HTTPStatus(raised.status), raised.reason.lower().replace(" ", "_"), raised.reason)


def _token_check(token: str) -> Middleware:
    """Return the middleware that asks for the bearer token under /v1 and for the metrics, if there is one."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        is_guarded = request.path.startswith("/v1/") and not request.path.startswith("/v1/staff/")
        is_open = not token or not (is_guarded or request.path == "/metrics")
        if is_open or hmac.compare_digest(given, f"Bearer {token}".encode()):
            return await handler(request)
        return error(HTTPStatus.UNAUTHORIZED, "unauthorized", "send the box's token as a bearer token")

    return check
