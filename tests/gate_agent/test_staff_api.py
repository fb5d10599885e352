"""What a handheld asks of the box over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from admission.facts import ListInfo
from admission.passage import State
from admission.staff import OverrideCode, Role
from admission.tickets import Outcome
from gate_agent.clock import AHEAD_MS, Setting
from gate_agent.health import BoxView, Post
from gate_agent.lane import Lane, Rules
from gate_agent.metrics import MetricSources
from gate_agent.roster import MOST_TRIES, Member, Roster
from gate_agent.turnstiles.attendant import AttendantTurnstile
from gate_agent.web.server import Doors, WebServer
from tests.admission.makers import BOOK, POLICY
from tests.gate_agent.gate import Gate, opened_gate, ticket_code
from tests.gate_agent.gate import Post as LanePost
from tests.support.waiting import until

LI, WANG = Member("w1", Role.STEWARD, "token of li"), Member("s1", Role.SUPERVISOR, "token of wang")
UNKNOWN = "OTA0123456789"


@dataclass(slots=True)
class Handheld:
    """A member of staff who asks a box with a barrier lane and a lane that they attend."""

    gate: Gate
    barrier: LanePost
    attended: Lane
    attendant: AttendantTurnstile
    port: int
    token: str = LI.token
    session: aiohttp.ClientSession = field(default_factory=aiohttp.ClientSession)

    async def ask(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"http://127.0.0.1:{self.port}/v1/staff/{path}"
        method = "GET" if body is None and not options else "POST"
        async with self.session.request(
            method, url, json=body, headers=headers | options.pop("headers", {}), **options
        ) as response:
            return response.status, await response.json()

    async def scan(self, payload: str, lane: str = "H1") -> Any:
        """The answer to a code."""
        status, answer = await self.ask("scans", {"lane": lane, "payload": payload})
        assert status == 200, answer
        return answer


@asynccontextmanager
async def opened_handheld(folder: Path) -> AsyncIterator[Handheld]:
    """The service of a box, over real memory."""
    async with opened_gate(folder) as gate:
        barrier = await gate.add_ready_lane("lane-1")
        attendant = AttendantTurnstile()
        lane = Lane(
            "H1",
            Rules(BOOK, POLICY),
            gate.box.store,
            attendant,
            attendant,
            gate.clock,
            release_timeout_ms=60_000,
            on_recorded=lambda: None,
        )
        gate.follow(lane)
        await until(lambda: lane.state is State.CLOSED, "the attended lane")
        info: ListInfo | None = gate.box.lists.info
        view = BoxView(
            box_id="box-1",
            site_id="fairy",
            session="5e55",
            posts={"lane-1": Post(barrier.lane, None), "H1": Post(lane, None, attendant)},
            list_info=lambda: info,
            own_problems=list,
            link_is_up=lambda: True,
            link_problems=list,
            backlog=gate.box.outbox.backlog,
            diary_backlog=gate.box.outbox.diary_backlog,
            clock=gate.clock,
            policy_version=lambda: "test",
            set_clock=lambda at_ms: set_clock(gate, at_ms),
        )
        doors = Doors("127.0.0.1", 0, "the box's own token", Roster((LI, WANG)))
        server = WebServer(view, MetricSources(gate.box.database.commits, folder), doors)
        handheld = Handheld(gate, barrier, lane, attendant, await server.start())
        try:
            yield handheld
        finally:
            await handheld.session.close()
            await server.stop()


def set_clock(gate: Gate, at_ms: int) -> Setting:
    """A clock that takes any time from now on but the far future, and is sure then."""
    now_ms = gate.clock.wall_ms()
    gate.clock.is_sure = now_ms <= at_ms <= now_ms + AHEAD_MS
    if gate.clock.is_sure:
        return Setting.TAKEN
    return Setting.TOO_EARLY if at_ms < now_ms else Setting.TOO_LATE


@pytest.fixture
async def handheld(tmp_path: Path) -> AsyncIterator[Handheld]:
    """A handheld with a steward."""
    async with opened_handheld(tmp_path) as handheld:
        yield handheld


async def test_staff_are_told_who_they_are_and_which_lanes_there_are(handheld: Handheld) -> None:
    """The page begins with this."""
    status, me = await handheld.ask("me")
    assert (status, me["staff_id"], me["role"]) == (200, "w1", "steward")
    assert {lane["id"]: lane["attended"] for lane in me["lanes"]} == {"lane-1": False, "H1": True}


async def test_a_visitor_is_admitted_and_said_to_have_gone_in(handheld: Handheld) -> None:
    """A scan spends, the word of the attendant closes."""
    answer = await handheld.scan(ticket_code().decode())
    assert (answer["verdict"], answer["acts"]) == ("ADMIT", [])
    passage = {"lane": "H1", "admission_id": answer["admission_id"], "passed": True}
    assert await handheld.ask("passages", passage) == (200, {"passed": True})
    await handheld.gate.outcome_comes(bytes.fromhex(answer["admission_id"]), Outcome.PASSED)
    status, problem = await handheld.ask("passages", passage)
    assert (status, problem["error"]["code"]) == (409, "not_waiting")


async def test_who_did_not_go_in_has_the_ticket_back(handheld: Handheld) -> None:
    """The same ticket admits again."""
    answer = await handheld.scan(ticket_code().decode())
    await handheld.ask("passages", {"lane": "H1", "admission_id": answer["admission_id"], "passed": False})
    assert (await handheld.scan(ticket_code().decode()))["verdict"] == "ADMIT"


async def test_the_next_scan_says_that_the_last_visitor_went_in(handheld: Handheld) -> None:
    """With a queue before them nobody has to press a button for each."""
    first = await handheld.scan(ticket_code(0).decode())
    assert (await handheld.scan(ticket_code(1).decode()))["verdict"] == "ADMIT"
    assert await handheld.gate.outcomes(bytes.fromhex(first["admission_id"])) == [Outcome.PASSED]


async def test_a_ticket_is_spent_once_on_the_box(handheld: Handheld) -> None:
    """What a barrier admitted the handheld refuses, and tells where and when it was."""
    await handheld.barrier.present(ticket_code())
    answer = await handheld.scan(ticket_code().decode())
    assert answer["reason"] == "ALREADY_USED"
    assert "lane-1" in answer["detail"]


async def test_a_referral_offers_what_a_steward_may_say(handheld: Handheld) -> None:
    """Each reason for letting in has its words; confirming opens on record."""
    refused = await handheld.scan(UNKNOWN)
    assert [act["code"] for act in refused["acts"]] == list(OverrideCode)
    wanted = {"lane": "H1", "record": refused["record"], "code": "order_checked"}
    status, answer = await handheld.ask("overrides", wanted)
    assert (status, answer["reason"]) == (200, "OVERRIDDEN")
    assert handheld.attendant.waiting_for == bytes.fromhex(answer["admission_id"])
    handheld.attendant.tell(bytes.fromhex(answer["admission_id"]), passed=True)
    await handheld.attended.until_free()
    status, problem = await handheld.ask("overrides", wanted)
    assert (status, problem["error"]["code"]) == (409, "no_such_refusal")


async def test_a_denial_names_the_role_that_it_takes(handheld: Handheld) -> None:
    """A steward is offered nothing and told who may; a supervisor is offered the reasons."""
    refused = await handheld.scan("no ticket")
    assert (refused["acts"], refused["needs_role"]) == ([], "supervisor")
    handheld.token = WANG.token
    assert (await handheld.scan("no ticket"))["acts"]


async def test_staff_open_a_lane_with_a_barrier(handheld: Handheld) -> None:
    """A refusal at the barrier is answered from the handheld, and the barrier opens; its sensor tells who passed."""
    refused = await handheld.scan(UNKNOWN, "lane-1")
    wanted = {"lane": "lane-1", "record": refused["record"], "code": "proof_seen"}
    _, answer = await handheld.ask("overrides", wanted)
    assert handheld.barrier.turnstile.openings == [bytes.fromhex(answer["admission_id"])]
    status, busy = await handheld.ask("overrides", wanted)
    assert (status, busy["error"]["code"]) == (409, "lane_busy")
    status, busy = await handheld.ask("scans", {"lane": "lane-1", "payload": "x"})
    assert (status, busy["error"]["code"]) == (409, "lane_busy")
    passage = {"lane": "lane-1", "admission_id": answer["admission_id"], "passed": True}
    status, problem = await handheld.ask("passages", passage)
    assert (status, problem["error"]["code"]) == (409, "has_a_barrier")


async def test_wrong_tokens_are_refused_and_then_not_heard(handheld: Handheld) -> None:
    """Guessing ends in a pause, for the right token too; the lanes go on."""
    handheld.token = "the box's own token"
    for _ in range(MOST_TRIES):
        assert (await handheld.ask("me"))[0] == 401
    handheld.token = LI.token
    status, problem = await handheld.ask("scans", {"lane": "H1", "payload": "x"})
    assert (status, problem["error"]["code"]) == (429, "too_many_tries")
    assert (await handheld.barrier.present(ticket_code())).admission_id is not None
    handheld.gate.clock.advance(31_000)
    assert (await handheld.ask("me"))[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("scans", {"lane": "H1"}, 400, "bad_request"),
        ("scans", {"lane": "H1", "payload": "x", "payload_base64": "eA=="}, 400, "bad_request"),
        ("scans", {"lane": "H1", "payload_base64": "%"}, 400, "bad_request"),
        ("scans", {"lane": "H9", "payload": "x"}, 404, "no_such_lane"),
        ("scans", {"lane": "H1", "payload": "x" * 5000}, 413, "too_large"),
        ("overrides", {"lane": "H1", "record": "r", "code": "because"}, 400, "bad_request"),
        ("overrides", {"lane": "H1", "record": "r", "code": "goodwill"}, 409, "no_such_refusal"),
        ("passages", {"lane": "H1", "admission_id": "xyz", "passed": True}, 400, "bad_request"),
        ("passages", {"lane": "H1", "admission_id": "00", "passed": "yes"}, 400, "bad_request"),
    ],
)
async def test_what_is_asked_wrongly_is_answered_with_what_and_where(
    handheld: Handheld, path: str, body: Any, status: int, code: str
) -> None:
    """A mistake costs nothing and is named."""
    found, problem = await handheld.ask(path, body)
    assert (found, problem["error"]["code"]) == (status, code)
    assert problem["error"]["message"]


async def test_a_body_that_another_pages_form_could_send_is_refused(handheld: Handheld) -> None:
    """Only JSON that says so is read."""
    status, problem = await handheld.ask("scans", data=b"{}", headers={"Content-Type": "text/plain"})
    assert (status, problem["error"]["code"]) == (415, "not_json")


@pytest.mark.parametrize("path", ["", "handheld.js", "reader.js", "handheld.css", "icon.svg"])
async def test_the_page_is_served_and_may_fetch_from_the_box_alone(handheld: Handheld, path: str) -> None:
    """Its files need no token, and come with a policy that lets nothing else in."""
    async with handheld.session.get(f"http://127.0.0.1:{handheld.port}/handheld/{path}") as response:
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["nothing.js", "..%2fserver.py", "vendor/reader/none.js"])
async def test_nothing_else_is_served(handheld: Handheld, path: str) -> None:
    """What is no file of the page is not there."""
    async with handheld.session.get(f"http://127.0.0.1:{handheld.port}/handheld/{path}") as response:
        assert response.status == 404


async def test_a_group_needs_a_lane_that_staff_attend(handheld: Handheld) -> None:
    """A barrier lets in one person a scan: nothing is spent, and the field is named."""
    body = {"lane": "lane-1", "payload": ticket_code().decode(), "persons": 2}
    status, answer = await handheld.ask("scans", body)
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (409, "has_a_barrier", "persons")
    status, answer = await handheld.ask("scans", body | {"persons": 1})
    assert (status, answer["reason"], answer["persons"]) == (200, "TICKET", 1)


async def test_more_than_a_ticket_has_are_told_how_many_it_has(handheld: Handheld) -> None:
    """Nothing is spent by asking for too many."""
    body = {"lane": "H1", "payload": ticket_code().decode(), "persons": 2}
    status, answer = await handheld.ask("scans", body)
    assert (status, answer["reason"], answer["detail"]) == (200, "FEWER_LEFT", "1 left for 2 persons")
    assert (await handheld.scan(ticket_code().decode()))["reason"] == "TICKET"


@pytest.mark.parametrize("persons", [0, 100, -1, "2", 1.5, None])
async def test_a_number_of_persons_that_cannot_be_is_refused(handheld: Handheld, persons: Any) -> None:
    """With its field."""
    body = {"lane": "H1", "payload": ticket_code().decode(), "persons": persons}
    status, answer = await handheld.ask("scans", body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")
    assert "persons" in answer["error"]["message"]


async def test_a_supervisor_says_what_time_it_is_while_the_box_is_not_sure(handheld: Handheld) -> None:
    """Nobody else does, no time that has been, and not while the box knows."""
    now_ms = handheld.gate.clock.wall_ms()
    assert (await handheld.ask("me"))[1]["time_sure"] is True
    handheld.gate.clock.is_sure = False
    assert (await handheld.ask("me"))[1]["time_sure"] is False
    status, problem = await handheld.ask("clock", {"at_ms": now_ms})
    assert (status, problem["error"]["code"]) == (403, "needs_supervisor")
    handheld.token = WANG.token
    status, problem = await handheld.ask("clock", {"at_ms": now_ms - 1})
    assert (status, problem["error"]["code"], problem["error"]["field"]) == (409, "too_early", "at_ms")
    status, problem = await handheld.ask("clock", {"at_ms": now_ms + AHEAD_MS + 1})
    assert (status, problem["error"]["code"]) == (409, "too_late")
    status, problem = await handheld.ask("clock", {"at_ms": -1})
    assert (status, problem["error"]["code"]) == (400, "bad_request")
    assert await handheld.ask("clock", {"at_ms": now_ms}) == (200, {"at_ms": now_ms})
    status, problem = await handheld.ask("clock", {"at_ms": now_ms})
    assert (status, problem["error"]["code"]) == (409, "clock_is_sure")
    handheld.token = "nobody's"
    assert (await handheld.ask("clock", {"at_ms": now_ms}))[0] == 401
