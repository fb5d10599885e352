"""What a handheld asks of the box: scan, confirm or override, and say who went in. The page itself is static."""

from __future__ import annotations

import logging
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from admission.answers import Answer
from admission.overrides import may_override
from admission.reasons import Verdict
from admission.scan import Scan
from admission.staff import OverrideCode, Role, StaffAct
from gate_agent.clock import Setting
from gate_agent.health import BoxView, Post
from gate_agent.lane import LaneBusyError, UnknownRefusalError
from gate_agent.roster import Member, Roster, Tries
from gate_agent.web.replies import answer_json, error, not_json, payload_of, too_large

log = logging.getLogger(__name__)

MOST_PERSONS = 99
"""So many go in on one word of a member of staff; more come in several parts."""
PAGE = Path(__file__).parent / "handheld"
SECURITY_HEADERS = {
    # 'wasm-unsafe-eval': the reader of codes is WebAssembly. Nothing is fetched from anywhere else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';"
    " img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; manifest-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self)",
    "Cache-Control": "no-cache",
}


class StaffScan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code that a handheld read or a member of staff typed: exactly one of `payload` and `payload_base64`.

    `persons` is how many come in on it at once, where staff see them go in.
    """

    lane: str
    payload: str | None = None
    payload_base64: str | None = None
    persons: Annotated[int, msgspec.Meta(ge=1, le=MOST_PERSONS)] = 1


class StaffOverride(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let in whom the lane refused under the number `record`."""

    lane: str
    record: str
    code: OverrideCode


class StaffPassage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the visitor of an admission went in."""

    lane: str
    admission_id: str
    passed: bool


class StaffClock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What time it is, UTC milliseconds, as a supervisor sees it."""

    at_ms: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


_Asked = TypeVar("_Asked", StaffScan, StaffOverride, StaffPassage)


_Body = TypeVar("_Body")


class StaffRoutes:
    """Everything under /v1/staff, for whoever has a token of the roster."""

    def __init__(self, view: BoxView, roster: Roster) -> None:
        self._view = view
        self._roster = roster
        self._tries = Tries()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/handheld", _to_page),
            web.get("/handheld/", _page),
            web.get(r"/handheld/{name:(?:vendor/)?(?:reader/)?[a-z_]+\.(?:js|css|svg|wasm)}", _page),
            web.get("/v1/staff/me", self._me),
            web.post("/v1/staff/scans", self._scan),
            web.post("/v1/staff/overrides", self._override),
            web.post("/v1/staff/passages", self._passage),
            web.post("/v1/staff/clock", self._clock),
        ]

    async def _me(self, request: web.Request) -> web.Response:
        member = self._member(request)
        if isinstance(member, web.Response):
            return member
        return web.json_response(
            {
                "staff_id": member.staff_id,
                "role": member.role.word,
                "box_id": self._view.box_id,
                "site_id": self._view.site_id,
                "lanes": [_lane(lane_id, post) for lane_id, post in self._view.posts.items()],
                "problems": self._view.problems(),
                "time_sure": self._view.clock.is_sure,
            }
        )

    async def _scan(self, request: web.Request) -> web.Response:
        captured_ns = self._view.clock.monotonic_ns()
        found = await self._asked(request, StaffScan)
        if isinstance(found, web.Response):
            return found
        member, wanted, post = found
        try:
            payload = payload_of(wanted.payload, wanted.payload_base64)
        except ValueError as problem:
            return error(HTTPStatus.BAD_REQUEST, "bad_request", str(problem))
        if wanted.persons > 1 and post.attendant is None:
            return error(
                HTTPStatus.CONFLICT,
                "has_a_barrier",
                "this lane's barrier lets in one person a scan",
                "persons",
            )
        if post.attendant is not None and (open_for := post.attendant.waiting_for) is not None:
            # Whoever holds out the next code says with it that the visitor before has gone in.
            post.attendant.tell(open_for, passed=True)
            await post.lane.until_free()
        try:
            answer = await post.lane.present(
                Scan(payload, f"handheld {member.staff_id}", captured_ns, wanted.persons)
            )
        except LaneBusyError:
            return _busy()
        return web.json_response(_told(answer, member))

    async def _override(self, request: web.Request) -> web.Response:
        found = await self._asked(request, StaffOverride)
        if isinstance(found, web.Response):
            return found
        member, wanted, post = found
        act = StaffAct(member.staff_id, member.role, wanted.code, wanted.record)
        try:
            answer = await post.lane.override(act)
        except LaneBusyError:
            return _busy()
        except UnknownRefusalError:
            return error(
                HTTPStatus.CONFLICT,
                "no_such_refusal",
                "answered already, or too long ago: scan again",
                "record",
            )
        return web.json_response(_told(answer, member))

    async def _passage(self, request: web.Request) -> web.Response:
        found = await self._asked(request, StaffPassage)
        if isinstance(found, web.Response):
            return found
        _, wanted, post = found
        try:
            admission_id = bytes.fromhex(wanted.admission_id)
        except ValueError:
            return error(HTTPStatus.BAD_REQUEST, "bad_request", "not an id in hex", "admission_id")
        if post.attendant is None:
            return error(
                HTTPStatus.CONFLICT, "has_a_barrier", "this lane's own sensor tells who goes in", "lane"
            )
        if not post.attendant.tell(admission_id, passed=wanted.passed):
            return error(HTTPStatus.CONFLICT, "not_waiting", "nobody waits for this any more", "admission_id")
        await post.lane.until_free()
        return web.json_response({"passed": wanted.passed})

    async def _clock(self, request: web.Request) -> web.Response:
        """Take a supervisor's word for the time, while the box is not sure of it."""
        member = self._member(request)
        if isinstance(member, web.Response):
            return member
        wanted = await _body(request, StaffClock)
        if isinstance(wanted, web.Response):
            return wanted
        if member.role < Role.SUPERVISOR:
            return error(HTTPStatus.FORBIDDEN, "needs_supervisor", "only a supervisor sets the clock")
        if self._view.clock.is_sure:
            return error(HTTPStatus.CONFLICT, "clock_is_sure", "the box knows what time it is")
        setting = self._view.set_clock(wanted.at_ms)
        if setting is not Setting.TAKEN:
            return error(HTTPStatus.CONFLICT, setting.name.lower(), setting.value, "at_ms")
        log.warning("clock set", extra={"staff": member.staff_id, "at_ms": wanted.at_ms})
        return web.json_response({"at_ms": self._view.clock.wall_ms()})

    async def _asked(
        self, request: web.Request, kind: type[_Asked]
    ) -> tuple[Member, _Asked, Post] | web.Response:
        """Return who asks what of which lane, or the answer to whoever may not, or says it wrong."""
        member = self._member(request)
        if isinstance(member, web.Response):
            return member
        wanted = await _body(request, kind)
        if isinstance(wanted, web.Response):
            return wanted
        post = self._view.posts.get(wanted.lane)
        if post is None:
            known = ", ".join(self._view.posts)
            return error(
                HTTPStatus.NOT_FOUND, "no_such_lane", f"no lane {wanted.lane!r}; known: {known}", "lane"
            )
        return member, wanted, post

    def _member(self, request: web.Request) -> Member | web.Response:
        """Return who asks, or the refusal of whoever cannot show a token."""
        sender, now_ns = request.remote or "", self._view.clock.monotonic_ns()
        if pause_s := self._tries.pause_s(sender, now_ns):
            refused = error(
                HTTPStatus.TOO_MANY_REQUESTS, "too_many_tries", f"wait {pause_s} s, then try again"
            )
            refused.headers["Retry-After"] = str(pause_s)
            return refused
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        member = self._roster.find(token) if scheme.lower() == "bearer" else None
        if member is None:
            self._tries.note_wrong(sender, now_ns)
            return error(HTTPStatus.UNAUTHORIZED, "unauthorized", "send your own token as a bearer token")
        self._tries.note_right(sender)
        return member


async def _body(request: web.Request, kind: type[_Body]) -> _Body | web.Response:
    """Return the request's body as a `kind`, or the answer to whoever says it wrong."""
    if (refused := not_json(request)) is not None:
        return refused
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except web.HTTPRequestEntityTooLarge:
        return too_large()
    except ValueError as problem:  # msgspec's errors are of this kind too, and name the place
        return error(HTTPStatus.BAD_REQUEST, "bad_request", str(problem))


async def _to_page(_: web.Request) -> web.Response:
    return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": "/handheld/"})


async def _page(request: web.Request) -> web.StreamResponse:
    """Serve a file of the page; what the set-up could not bring is missing, and the page says so."""
    path = PAGE / request.match_info.get("name", "index.html")
    if not path.is_file():
        return error(HTTPStatus.NOT_FOUND, "not_found", "Not Found")
    return web.FileResponse(path, headers=SECURITY_HEADERS)


def _lane(lane_id: str, post: Post) -> dict[str, Any]:
    return {"id": lane_id, "attended": post.attendant is not None, "barrier": post.lane.state.name}


def _busy() -> web.Response:
    return error(HTTPStatus.CONFLICT, "lane_busy", "another visitor is in the lane; nothing was spent")


def _told(answer: Answer, member: Member) -> dict[str, Any]:
    """Return the answer with what this member of staff may do about it."""
    reason = answer.decision.reason
    is_allowed = reason.verdict is not Verdict.ADMIT and may_override(reason, member.role)
    acts = [{"code": code, "zh": code.words[0], "en": code.words[1]} for code in OverrideCode if is_allowed]
    needed = reason.wording.override
    return {**answer_json(answer), "acts": acts, "needs_role": needed.word if needed else None}
