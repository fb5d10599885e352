"""Routes by which boxes come and go: an invitation, the enrolment that it is for, and the bar against a lost box."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from aiohttp import web

from admission.keys import public_key_text
from central.authority import NotARequestError, read_request
from central.enrolment import (
    Enrolment,
    InvitationError,
    RecordStandsError,
    UnknownBoxError,
    bar,
    enrol,
    invite,
)
from central.imports.fields import FieldError, public_key_field
from central.imports.kinds import TOPIC_LEVEL
from central.web.centre import Centre
from central.web.errors import ApiError, json_response, read_json
from sync.enrolment import AUTHORITY_PATH, ENROL_PATH, EnrolAnswer, EnrolRequest, Token

LONGEST_MIN = 7 * 24 * 60
MAX_ENROL_BYTES = 16 << 10
"""More than the longest of each field."""


class InviteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the box will stand, and for how long the invitation is good."""

    site_id: str
    valid_min: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_MIN)] = 60


class BarRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing but the wish: the path names the box."""


class BoxRoutes:
    """Only whoever runs the centre may invite and bar; whoever has an invitation may enrol, once."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._read_key = public_key_field(centre.allow_demo_keys)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.post("/v1/boxes/{box_id}/invitation", self._invite),
            web.post("/v1/boxes/{box_id}/bar", self._bar),
            web.get(AUTHORITY_PATH, self._authority),
            web.post(ENROL_PATH, self._enrol),
        ]

    async def _invite(self, request: web.Request) -> web.Response:
        box_id, wanted = request.match_info["box_id"], await read_json(request, InviteRequest)
        if not re.fullmatch(TOPIC_LEVEL, box_id) or len(box_id) > 64:
            raise ApiError(
                422, "invalid_request", "a box's name is 1 to 64 letters, digits, _ and -", "box_id"
            )
        if wanted.site_id not in self._centre.policy.sites:
            sites = ", ".join(sorted(self._centre.policy.sites))
            raise ApiError(422, "invalid_request", f"no such site; the policy has {sites}", "site_id")
        until_s = self._now_s() + 60 * wanted.valid_min
        secret = await self._centre.store.run(
            lambda connection: invite(connection, box_id, wanted.site_id, until_s)
        )
        token = Token(secret, self._centre.keys.authority.fingerprint)
        return json_response({"box_id": box_id, "token": token.text, "until_s": until_s}, 201)

    async def _bar(self, request: web.Request) -> web.Response:
        box_id = request.match_info["box_id"]
        await read_json(request, BarRequest)
        now_s = self._now_s()
        try:
            since_s = await self._centre.store.run(lambda connection: bar(connection, box_id, now_s))
        except UnknownBoxError as error:
            raise ApiError(404, "not_found", str(error)) from error
        await self._centre.boxes_changed()
        return json_response({"box_id": box_id, "barred_s": since_s})

    async def _authority(self, _: web.Request) -> web.Response:
        text = self._centre.keys.authority.certificate_text()
        return web.Response(text=text, content_type="application/x-pem-file")

    async def _enrol(self, request: web.Request) -> web.Response:
        # Who asks is not known yet.
        said = await read_json(request.clone(client_max_size=MAX_ENROL_BYTES), EnrolRequest)
        keys, now_s = self._centre.keys, self._now_s()
        wanted = self._enrolment(said)
        try:
            certificate = await self._centre.store.run(
                lambda connection: enrol(connection, keys.authority, said.secret, wanted, now_s)
            )
        except InvitationError as error:
            raise ApiError(403, "not_invited", str(error)) from error
        except RecordStandsError as error:
            raise ApiError(409, "record_stands", str(error), "box_id") from error
        await self._centre.boxes_changed()
        return json_response(
            EnrolAnswer(
                certificate=certificate,
                authority=keys.authority.certificate_text(),
                hash_key=keys.hash_key.hex(),
                list_token=self._centre.list_token,
                issuer_key=public_key_text(keys.issuer.public),
                list_key=public_key_text(keys.lists.public),
                policy=self._centre.policy.document,
            )
        )

    def _enrolment(self, said: EnrolRequest) -> Enrolment:
        try:
            public_key = self._read_key(said.public_key)
        except FieldError as error:
            raise ApiError(422, "invalid_request", str(error), "public_key") from error
        try:
            tls_key = read_request(said.certificate_request.encode())
        except NotARequestError as error:
            raise ApiError(422, "invalid_request", str(error), "certificate_request") from error
        return Enrolment(said.box_id, said.site_id, public_key, tls_key)

    def _now_s(self) -> int:
        return self._centre.clock() // 1000
