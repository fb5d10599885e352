"""The box's HTTP service: probes, the picture of the box, and codes from foreign readers."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from admission.facts import ListInfo
from admission.passage import Signal, State
from gate_agent import lane as lane_module
from gate_agent.health import BoxView, CameraStatus, Neighbourhood, Post
from gate_agent.metrics import MetricSources
from gate_agent.web.replies import MAX_BODY_BYTES
from gate_agent.web.server import MAX_PICTURE_WIDTH, Doors, WebServer
from tests.gate_agent.gate import Gate, opened_gate, ticket_code
from tests.gate_agent.gate import Post as LanePost

TOKEN = "a-token-of-the-box"


@dataclass(slots=True)
class FakeEye:
    """A camera whose picture is text that tells how wide it was asked for."""

    picture: bytes | None = b"picture"
    problem: str = ""

    def status(self) -> CameraStatus:
        """How it does."""
        return CameraStatus("live", 25.0, 40, 3.21, self.problem)

    def jpeg(self, width: int) -> bytes | None:
        """Its newest picture."""
        return self.picture and self.picture + b" %d" % width


@dataclass(slots=True)
class Site:
    """A running service with the parts of the box behind it."""

    gate: Gate
    lane: LanePost
    eye: FakeEye
    port: int
    info: list[ListInfo | None]
    problems: list[str]
    posts: dict[str, Post]
    session: aiohttp.ClientSession = field(default_factory=aiohttp.ClientSession)

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status, and the JSON or the bytes of an answer."""
        async with self.session.request(method, f"http://127.0.0.1:{self.port}{path}", **options) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(body) if is_json else body

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and content of a GET."""
        return await self.ask("GET", path, **options)

    async def scan(self, body: Any) -> tuple[int, Any]:
        """Status and content of a submitted code."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", "/v1/scans", data=data, headers={"Content-Type": "application/json"})


@asynccontextmanager
async def opened_site(
    folder: Path, token: str = "", neighbourhood: Callable[[], Neighbourhood | None] = lambda: None
) -> AsyncIterator[Site]:
    """The service of a box with lane-1, which has a camera, and lane-2, which has none."""
    async with opened_gate(folder) as gate:
        lane, other = [await gate.add_ready_lane(lane_id) for lane_id in ("lane-1", "lane-2")]
        eye = FakeEye()
        info: list[ListInfo | None] = [gate.box.lists.info]
        problems: list[str] = []
        posts = {"lane-1": Post(lane.lane, eye), "lane-2": Post(other.lane, None)}
        view = BoxView(
            box_id="box-1",
            site_id="fairy",
            session="5e55",
            posts=posts,
            list_info=lambda: info[0],
            own_problems=list,
            link_is_up=lambda: True,
            link_problems=lambda: problems,
            backlog=gate.box.outbox.backlog,
            diary_backlog=gate.box.outbox.diary_backlog,
            clock=gate.clock,
            policy_version=lambda: "test",
            neighbourhood=neighbourhood,
        )
        sources = MetricSources(gate.box.database.commits, folder)
        server = WebServer(view, sources, Doors("127.0.0.1", 0, token))
        site = Site(gate, lane, eye, await server.start(), info, problems, posts)
        try:
            yield site
        finally:
            await site.session.close()
            await server.stop()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A service that asks for no token."""
    async with opened_site(tmp_path) as site:
        yield site


async def test_admitted_code(site: Site) -> None:
    """The answer to a good code has the verdict, the words in both languages, and the number of the record."""
    status, answer = await site.scan({"lane": "lane-1", "payload": ticket_code().decode()})
    assert (status, answer["verdict"], answer["reason"]) == (200, "ADMIT", "TICKET")
    assert answer["text"].keys() == answer["staff_text"].keys() == {"zh", "en"}
    assert answer["record"] == "box-1-1"
    assert site.lane.turnstile.openings == [bytes.fromhex(answer["admission_id"])]


async def test_refused_code(site: Site) -> None:
    """A refusal is an answer like any other: 200, with the reason and no admission."""
    status, answer = await site.scan({"lane": "lane-1", "payload": "WIFI:S:Plaza;;"})
    assert (status, answer["verdict"], answer["reason"]) == (200, "DENY", "NOT_A_TICKET")
    assert (answer["record"], answer["admission_id"]) == ("box-1-D1", None)


async def test_code_in_base64(site: Site) -> None:
    """Bytes that are no text can be submitted in base64, to the last byte."""
    encoded = base64.b64encode(ticket_code()).decode()
    assert (await site.scan({"lane": "lane-1", "payload_base64": encoded}))[1]["reason"] == "TICKET"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["truncated"]),
        (b"\xff", ["malformed"]),
        (b"[" * 4000, ["object"]),
        ([1, 2], ["object"]),
        ({"payload": "x"}, ["lane"]),
        ({"lane": 1, "payload": "x"}, ["$.lane", "str"]),
        ({"lane": "lane-1", "payload": 7}, ["$.payload", "int"]),
        ({"lane": "lane-1", "payload": "x", "colour": "red"}, ["colour"]),
        ({"lane": "lane-1"}, ["payload", "payload_base64"]),
        ({"lane": "lane-1", "payload": "x", "payload_base64": "eA=="}, ["exactly one"]),
        ({"lane": "lane-1", "payload_base64": "not base64!"}, ["payload_base64"]),
        ({"lane": "lane-1", "payload_base64": "eA"}, ["payload_base64"]),
        ({"lane": "lane-1", "payload_base64": "门票"}, ["payload_base64"]),
        (b'{"lane": "lane-1", "payload": "\\ud800"}', [""]),
    ],
)
async def test_bad_body_is_answered_with_what_and_where(site: Site, body: Any, words: list[str]) -> None:
    """Whatever is wrong with a submission, the answer is 400 and says it; nothing is shown and nothing written."""
    status, answer = await site.scan(body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")
    assert all(word in answer["error"]["message"] for word in words), answer
    assert site.lane.shown == []
    assert await site.gate.diary() == []


async def test_body_that_a_page_of_another_origin_could_send(site: Site) -> None:
    """A form or a script elsewhere cannot open a gate: it cannot send JSON as such without asking first."""
    body = json.dumps({"lane": "lane-1", "payload": ticket_code().decode()}).encode()
    status, answer = await site.ask("POST", "/v1/scans", data=body, headers={"Content-Type": "text/plain"})
    assert (status, answer["error"]["code"]) == (415, "not_json")
    assert site.lane.turnstile.openings == []


async def test_body_that_is_too_large(site: Site) -> None:
    """More than any code has is not even read."""
    status, answer = await site.scan({"lane": "lane-1", "payload": "x" * MAX_BODY_BYTES})
    assert (status, answer["error"]["code"]) == (413, "too_large")


async def test_unknown_lane_is_named_with_the_known_ones(site: Site) -> None:
    """A lane that is not there is a 404 that tells which are."""
    status, answer = await site.scan({"lane": "lane-9", "payload": "x"})
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (404, "no_such_lane", "lane")
    assert "lane-1, lane-2" in answer["error"]["message"]


async def test_lane_with_somebody_in_it(site: Site) -> None:
    """While a visitor is in the lane a second code gets 409, and nothing of it is spent."""
    await site.scan({"lane": "lane-1", "payload": ticket_code(0).decode()})
    status, answer = await site.scan({"lane": "lane-1", "payload": ticket_code(1).decode()})
    assert (status, answer["error"]["code"]) == (409, "lane_busy")
    assert await site.gate.uses() == 1
    site.lane.turnstile.walk_through()
    await site.lane.becomes(State.CLOSED)
    status, answer = await site.scan({"lane": "lane-1", "payload": ticket_code(1).decode()})
    assert (status, answer["reason"]) == (200, "TICKET")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/state"),
        ("GET", "/v1/lanes/lane-1/picture"),
        ("POST", "/v1/scans"),
        ("GET", "/v1/nothing"),
    ],
)
@pytest.mark.parametrize("given", [None, "", TOKEN, f"Bearer {TOKEN}x", f"bearer {TOKEN}", "Bearer "])
async def test_token_is_asked_for(tmp_path: Path, method: str, path: str, given: str | None) -> None:
    """Everything under /v1 is closed to whoever does not send exactly the token."""
    headers = {} if given is None else {"Authorization": given}
    async with opened_site(tmp_path, TOKEN) as site:
        status, answer = await site.ask(method, path, headers=headers, data=b"{}")
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
        assert await site.gate.diary() == []


async def test_token_opens(tmp_path: Path) -> None:
    """With the token everything answers, and the probes answer without it."""
    async with opened_site(tmp_path, TOKEN) as site:
        assert (await site.get("/v1/state", headers={"Authorization": f"Bearer {TOKEN}"}))[0] == 200
        assert (await site.get("/healthz"))[0] == (await site.get("/readyz"))[0] == 200


async def test_token_of_strange_bytes_is_just_wrong(tmp_path: Path) -> None:
    """A header that is no text is refused like any wrong token."""
    async with opened_site(tmp_path, TOKEN) as site:
        answer = await asyncio.to_thread(_raw_request, site.port, b"Authorization: Bearer \xff\xfe")
        assert answer.startswith(b"HTTP/1.1 401")


async def test_health_counts_what_waits(site: Site) -> None:
    """/healthz answers from the store: how much the centre has not confirmed."""
    assert await site.get("/healthz") == (200, {"status": "ok", "backlog": 0, "problems": []})
    await site.scan({"lane": "lane-1", "payload": ticket_code().decode()})
    assert (await site.get("/healthz"))[1]["backlog"] == 1


async def test_ready_when_nothing_is_missing(site: Site) -> None:
    """/readyz is 200 when visitors can be served as they should be."""
    assert await site.get("/readyz") == (200, {"ready": True, "problems": []})


async def test_readiness_names_everything_that_is_missing(site: Site) -> None:
    """/readyz is 503 with a sentence for each thing: list, link, camera, turnstile."""
    site.info[0] = None
    site.problems.append("a list was refused: it is for site bridges")
    site.eye.problem = "no picture yet"
    site.lane.turnstile.lose()
    await site.lane.becomes(State.LOST)
    status, ready = await site.get("/readyz")
    assert (status, ready["ready"]) == (503, False)
    texts = [
        "no list",
        "for site bridges",
        "lane lane-1: no picture yet",
        "lane lane-1: the turnstile is not connected",
    ]
    assert all(text in problem for text, problem in zip(texts, ready["problems"], strict=True))


async def test_readiness_names_a_barrier_that_does_not_close(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that waits in vain for its barrier's word is named, for staff must look at it."""
    monkeypatch.setattr(lane_module, "CONTROLLER_GRACE_S", 0.02)
    stuck = await site.gate.add_ready_lane(release_ms=20)
    stuck.turnstile.is_mute = True
    site.posts["lane-2"] = Post(stuck.lane, None)
    await stuck.present(ticket_code())
    await stuck.becomes(State.OVERDUE)
    assert "lane lane-2: the barrier does not say" in (await site.get("/readyz"))[1]["problems"][0]


async def test_state_shows_what_each_barrier_does(site: Site) -> None:
    """A barrier that was forced open is shown as that until it is closed."""
    site.lane.turnstile.report(Signal.FORCED)
    await site.lane.becomes(State.FORCED)
    lanes = (await site.get("/v1/state"))[1]["lanes"]
    assert [lane["barrier"] for lane in lanes] == ["FORCED", "CLOSED"]


async def test_state_is_the_whole_picture(site: Site) -> None:
    """/v1/state has the box, and each lane with its camera, counters and last answer."""
    await site.scan({"lane": "lane-1", "payload": ticket_code().decode()})
    site.lane.turnstile.walk_through()
    await site.lane.becomes(State.CLOSED)
    state = (await site.get("/v1/state"))[1]
    assert state["box"] == {
        "box_id": "box-1",
        "site_id": "fairy",
        "session": "5e55",
        "link_up": True,
        "site_link_up": None,
        "neighbours": [],
        "list_version": 7,
        "list_age_s": 3600,
        "policy_version": "test",
        "backlog": 2,
        "diary_backlog": 0,
        "problems": [],
    }
    with_camera, without = state["lanes"]
    assert with_camera["camera"] == {
        "state": "live",
        "fps": 25.0,
        "age_ms": 40,
        "decode_ms": 3.2,
        "problem": "",
        "trouble": "",
        "do_en": "",
        "do_zh": "",
        "stage": "",
        "reads": {},
        "decode_age_ms": {"p50": None, "p99": None},
        "refused": [],
    }
    assert with_camera["last"].keys() == {
        "verdict", "reason", "zh", "en", "staff_zh", "staff_en", "detail", "record", "at_ms"
    }  # fmt: skip
    assert (with_camera["last"]["record"], with_camera["reasons"]) == ("box-1-1", {"TICKET": 1})
    assert (with_camera["passed"], with_camera["abandoned"]) == (1, 0)
    assert (without["id"], without["camera"], without["last"]) == ("lane-2", None, None)
    assert without["frame_to_release_ms"] == {"p50": None, "p99": None}


async def test_state_without_a_list(site: Site) -> None:
    """A box without a list says version 0."""
    site.info[0] = None
    box = (await site.get("/v1/state"))[1]["box"]
    assert (box["list_version"], box["list_age_s"]) == (0, 0)


@pytest.mark.parametrize(
    ("asked", "given"), [("", 640), ("?width=200", 200), ("?width=0", 16), ("?width=99999", 1280)]
)
async def test_picture_is_as_wide_as_asked_within_bounds(site: Site, asked: str, given: int) -> None:
    """A lane's picture is a JPEG of the width that was asked for, at least 16 and at most 1280 pixels."""
    assert given <= MAX_PICTURE_WIDTH
    assert await site.get(f"/v1/lanes/lane-1/picture{asked}") == (200, b"picture %d" % given)


@pytest.mark.parametrize("lane", ["lane-2", "lane-9"])
async def test_lane_without_a_camera_has_no_picture(site: Site, lane: str) -> None:
    """No such lane, and a lane without a camera, are both 404."""
    status, answer = await site.get(f"/v1/lanes/{lane}/picture")
    assert (status, answer["error"]["code"]) == (404, "no_such_camera")


async def test_camera_that_has_sent_nothing_yet(site: Site) -> None:
    """Before the first frame there is a 404 that says so."""
    site.eye.picture = None
    status, answer = await site.get("/v1/lanes/lane-1/picture")
    assert (status, answer["error"]["code"]) == (404, "no_picture_yet")


async def test_width_that_is_no_number(site: Site) -> None:
    """A width that is no number is a 400 that names the field."""
    status, answer = await site.get("/v1/lanes/lane-1/picture?width=wide")
    assert (status, answer["error"]["field"]) == (400, "width")


def _raw_request(port: int, header: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(b"GET /v1/state HTTP/1.1\r\nHost: box\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        return b"".join(iter(lambda: peer.recv(65536), b""))
