"""HTTP on the box: probes, the picture of the box, and scans from foreign readers."""

from __future__ import annotations

import asyncio
import base64
import hmac
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from admission.codes import MAX_CODE_BYTES
from admission.scan import Scan
from gate_agent import metrics
from gate_agent.health import BoxView, Post
from gate_agent.lane import LaneBusyError
from gate_agent.metrics import MetricSources

MAX_PICTURE_WIDTH = 1280
MAX_BODY_BYTES = 4 * MAX_CODE_BYTES
"""Room for the longest code in base64, and some more to say that a code is too long."""


class ScanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A credential that a foreign reader submits: exactly one of `payload` (text) and `payload_base64`."""

    lane: str
    payload: str | None = None
    payload_base64: str | None = None


class WebServer:
    """The box's HTTP service; everything under /v1 and the metrics ask for the token when one is set."""

    def __init__(self, view: BoxView, sources: MetricSources, host: str, port: int, token: str) -> None:
        self._view = view
        self._sources = sources
        self._host = host
        self._port = port
        self._runner = web.AppRunner(self._application(token), access_log=None)

    async def start(self) -> int:
        """Begin to listen and return the port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening and finish the requests under way."""
        await self._runner.cleanup()

    def _application(self, token: str) -> web.Application:
        application = web.Application(
            middlewares=[_uniform_errors, _token_check(token)], client_max_size=MAX_BODY_BYTES
        )
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
            return _error(HTTPStatus.NOT_FOUND, "no_such_camera", "no lane of this name has a camera")
        try:
            width = int(request.query.get("width", "640"))
        except ValueError:
            return _error(HTTPStatus.BAD_REQUEST, "bad_width", "width is a number of pixels", "width")
        picture = await asyncio.to_thread(post.eye.jpeg, max(16, min(width, MAX_PICTURE_WIDTH)))
        if picture is None:
            return _error(HTTPStatus.NOT_FOUND, "no_picture_yet", "the camera has not sent a picture yet")
        return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def _scan(self, request: web.Request) -> web.Response:
        captured_ns = self._view.clock.monotonic_ns()
        if request.content_type != "application/json":  # which no page of another origin can send unasked
            return _error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json", "the body must be application/json")
        try:
            wanted = msgspec.json.decode(await request.read(), type=ScanRequest)
            payload = _payload(wanted)
        except web.HTTPRequestEntityTooLarge:
            return _error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"more than {MAX_BODY_BYTES} bytes"
            )
        except ValueError as error:  # msgspec's errors are of this kind too, and name the place
            return _error(HTTPStatus.BAD_REQUEST, "bad_request", str(error))
        post = self._view.posts.get(wanted.lane)
        if post is None:
            known = ", ".join(self._view.posts)
            return _error(
                HTTPStatus.NOT_FOUND, "no_such_lane", f"no lane {wanted.lane!r}; known: {known}", "lane"
            )
        return await self._present(post, Scan(payload, "http", captured_ns))

    async def _present(self, post: Post, scan: Scan) -> web.Response:
        try:
            answer = await post.lane.present(scan)
        except LaneBusyError:
            return _error(
                HTTPStatus.CONFLICT, "lane_busy", "another visitor is in the lane; nothing was spent"
            )
        reason = answer.decision.reason
        return web.json_response(
            {
                "verdict": reason.verdict,
                "reason": reason,
                "text": {"zh": reason.wording.zh, "en": reason.wording.en},
                "staff_text": {"zh": reason.wording.staff_zh, "en": reason.wording.staff_en},
                "detail": answer.decision.detail,
                "record": answer.record,
                "admission_id": answer.admission_id.hex() if answer.admission_id else None,
            }
        )


@web.middleware
async def _uniform_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer aiohttp's own errors in the form of ours."""
    if request.can_read_body and request.headers.get("Content-Encoding", "identity") != "identity":
        # aiohttp never wakes the reader of a compressed body that ends early
        response = _error(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "encoded_body", "send the body without Content-Encoding"
        )
        response.force_close()
        return response
    try:
        return await handler(request)
    except web.RequestPayloadError:
        response = _error(
            HTTPStatus.BAD_REQUEST, "bad_request", "the body is not what Transfer-Encoding says"
        )
        response.force_close()  # where the next request would begin is not known
        return response
    except web.HTTPException as error:
        return _error(HTTPStatus(error.status), error.reason.lower().replace(" ", "_"), error.reason)


def _token_check(token: str) -> Middleware:
    """Return the middleware that asks for the bearer token under /v1 and for the metrics, if there is one."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        is_open = not token or not (request.path.startswith("/v1/") or request.path == "/metrics")
        if is_open or hmac.compare_digest(given, f"Bearer {token}".encode()):
            return await handler(request)
        return _error(HTTPStatus.UNAUTHORIZED, "unauthorized", "send the box's token as a bearer token")

    return check


def _payload(wanted: ScanRequest) -> bytes:
    match wanted.payload, wanted.payload_base64:
        case str(text), None:
            return text.encode()
        case None, str(encoded):
            try:
                return base64.b64decode(encoded, validate=True)
            except ValueError as error:
                raise ValueError(f"payload_base64: {error}") from error
    raise ValueError("give exactly one of payload and payload_base64")


def _error(status: HTTPStatus, code: str, message: str, field: str | None = None) -> web.Response:
    error = {"code": code, "message": message} | ({"field": field} if field else {})
    return web.json_response({"error": error}, status=status)
