"""The path of one scan on real memory: what is recorded, shown and opened, and in which order."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from admission.answers import Answer, Decision, NoRoomError
from admission.events import Resumed
from admission.facts import Attempt, Facts
from admission.passage import Signal, State
from admission.reasons import Reason, Verdict
from admission.tickets import Outcome
from gate_agent import lane as lane_module
from gate_agent.lane import LaneBusyError
from offline_cache.opening import FILE_NAME
from simulator.fakes import FakeTurnstile
from tests.gate_agent.gate import Gate, Post, credit_code, opened_gate, scan, ticket_code
from tests.support.waiting import until


async def admitted(post: Post, payload: bytes | None = None) -> bytes:
    """Show a ticket that must be admitted and return the admission's id."""
    answer = await post.present(payload or ticket_code())
    assert answer.decision.verdict is Verdict.ADMIT
    assert answer.admission_id is not None
    return answer.admission_id


class InquisitiveTurnstile(FakeTurnstile):
    """Looks, when it is told to open, at what a second reader of the database file sees committed."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.committed: list[bytes] = []
        self._database = database

    async def release(self, admission_id: bytes, timeout_ms: int) -> None:
        other = sqlite3.connect(self._database)
        self.committed = [row[0] for row in other.execute("SELECT admission_id FROM uses")]
        other.close()
        await super().release(admission_id, timeout_ms)


async def test_use_is_committed_before_the_turnstile_is_told(gate: Gate, tmp_path: Path) -> None:
    """When the barrier is told to open, the use is in the file for everyone to read."""
    turnstile = InquisitiveTurnstile(tmp_path / FILE_NAME)
    post = gate.add_lane(turnstile=turnstile)
    await post.becomes(State.CLOSED)
    admission_id = await admitted(post)
    assert turnstile.committed == [admission_id]
    assert turnstile.openings == [admission_id]


async def test_visitor_passes(gate: Gate) -> None:
    """A passage ends the admission as passed, and the lane is free again."""
    post = await gate.add_ready_lane()
    admission_id = await admitted(post)
    assert post.lane.state is State.RELEASED
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    assert await gate.outcomes(admission_id) == [Outcome.PASSED]
    assert post.lane.tally.outcomes[Outcome.PASSED] == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"WIFI:S:Plaza;;", Reason.NOT_A_TICKET),
        (bytes(10_000), Reason.NOT_A_TICKET),
        (ticket_code()[:-4], Reason.MALFORMED),
        (b"OTA0000000001", Reason.UNLISTED_CODE),
        (credit_code("nobody"), Reason.NO_ENTITLEMENT),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "",
)
async def test_refusal_is_shown_and_written_down(gate: Gate, payload: bytes, reason: Reason) -> None:
    """A refusal opens nothing, says why on the display, and stands in the diary under the number shown."""
    post = await gate.add_ready_lane()
    answer = await post.present(payload)
    assert answer.decision.reason is reason
    assert post.shown == [reason]
    assert post.turnstile.openings == []
    [refusal] = await gate.diary()
    assert (refusal.reason, f"box-1-D{refusal.number}") == (reason, answer.record)
    assert post.lane.state is State.CLOSED


async def test_second_showing_is_refused(gate: Gate) -> None:
    """A ticket that was used up admits nobody else."""
    post = await gate.add_ready_lane()
    await admitted(post)
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    assert (await post.present(ticket_code())).decision.reason is Reason.ALREADY_USED
    assert await gate.uses() == 1


async def test_nobody_passes_and_the_right_comes_back(gate: Gate) -> None:
    """A barrier that closes after its time with nobody through gives the visit back."""
    post = await gate.add_ready_lane(release_ms=30)
    first = await admitted(post)
    await gate.outcome_comes(first, Outcome.ABANDONED)
    assert await admitted(post) != first


async def test_silent_turnstile_leaves_the_end_unknown(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the turnstile never says how it ended, the right stays held and the lane waits for the barrier."""
    monkeypatch.setattr(lane_module, "CONTROLLER_GRACE_S", 0.02)
    post = await gate.add_ready_lane(release_ms=20)
    post.turnstile.is_mute = True
    admission_id = await admitted(post)
    await gate.outcome_comes(admission_id, Outcome.UNKNOWN)
    assert post.lane.state is State.OVERDUE
    with pytest.raises(LaneBusyError):
        await post.present(ticket_code(1))
    post.turnstile.close()
    await post.becomes(State.CLOSED)
    assert await gate.outcomes(admission_id) == [Outcome.UNKNOWN]


async def test_passage_after_the_time_still_counts(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor who goes through a barrier that is overdue has passed."""
    monkeypatch.setattr(lane_module, "CONTROLLER_GRACE_S", 0.02)
    post = await gate.add_ready_lane(release_ms=20)
    post.turnstile.is_mute = True
    admission_id = await admitted(post)
    await post.becomes(State.OVERDUE)
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    assert await gate.outcomes(admission_id) == [Outcome.UNKNOWN, Outcome.PASSED]


async def test_turnstile_lost_mid_release_resumes(gate: Gate) -> None:
    """The visitor whose barrier vanished is let in by the same code, at no second cost."""
    post = await gate.add_ready_lane()
    admission_id = await admitted(post)
    post.turnstile.lose()
    await gate.outcome_comes(admission_id, Outcome.UNKNOWN)
    post.turnstile.recover()
    await post.becomes(State.CLOSED)
    gate.clock.advance(5_000)
    again = await post.present(ticket_code())
    assert (again.decision.reason, again.admission_id) == (Reason.RESUMED, admission_id)
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    assert await gate.uses() == 1
    assert await gate.outcomes(admission_id) == [Outcome.UNKNOWN, Outcome.PASSED]
    assert sum(isinstance(event, Resumed) for event in await gate.events()) == 1


async def test_turnstile_that_does_not_hear_the_release(gate: Gate) -> None:
    """A connection that breaks at the very release leaves the admission unknown and the visitor able to go on."""
    post = await gate.add_ready_lane()
    post.turnstile.is_deaf = True
    admission_id = await admitted(post)
    await gate.outcome_comes(admission_id, Outcome.UNKNOWN)
    assert post.turnstile.openings == []
    post.turnstile.recover()
    await post.becomes(State.CLOSED)
    assert (await post.present(ticket_code())).decision.reason is Reason.RESUMED
    assert post.turnstile.openings == [admission_id]


class FaultyStore:
    """A box's memory to which something happens as an answer is committed."""

    def __init__(self, gate: Gate, mishap: Callable[[], None]) -> None:
        self._store = gate.box.store
        self._mishap = mishap
        self.post: Post | None = None

    async def answer(self, attempt: Attempt, judge: Callable[[Facts], Decision]) -> Answer:
        answer = await self._store.answer(attempt, judge)
        self._mishap()
        if self.post is not None:
            await self.post.becomes(State.LOST)
        return answer

    async def close_admission(self, admission_id: bytes, outcome: Outcome, at_ms: int) -> None:
        await self._store.close_admission(admission_id, outcome, at_ms)

    async def record_incident(self, lane_id: str, what: Outcome, at_ms: int) -> None:
        await self._store.record_incident(lane_id, what, at_ms)


async def test_turnstile_lost_while_the_use_is_committed(gate: Gate) -> None:
    """A turnstile that goes between the decision and the release opens nothing, and the same code goes on soon."""
    turnstile = FakeTurnstile()
    store = FaultyStore(gate, turnstile.lose)
    post = gate.add_lane(store=store, turnstile=turnstile)
    await post.becomes(State.CLOSED)
    store.post = post
    admission_id = await admitted(post)
    assert await gate.outcomes(admission_id) == [Outcome.UNKNOWN]
    assert turnstile.openings == []
    turnstile.recover()
    await post.becomes(State.CLOSED)
    whole = await gate.add_ready_lane()
    assert (await whole.present(ticket_code())).decision.reason is Reason.RESUMED


async def test_lost_turnstile_sends_visitors_elsewhere(gate: Gate) -> None:
    """Without its turnstile a lane spends nothing, opens nothing, and points to another lane."""
    post = await gate.add_ready_lane()
    post.turnstile.lose()
    await post.becomes(State.LOST)
    answer = await post.present(ticket_code())
    assert answer.decision.reason is Reason.LANE_NOT_READY
    assert post.turnstile.openings == []
    assert await gate.uses() == 0
    assert [refusal.reason for refusal in await gate.diary()] == [Reason.LANE_NOT_READY]


async def test_lane_with_its_barrier_open_at_connecting_waits(gate: Gate) -> None:
    """A turnstile that is connected but does not say that it is closed takes nobody."""
    turnstile = FakeTurnstile()
    await turnstile.next_signal()  # its word that the barrier is closed never comes
    post = gate.add_lane(turnstile=turnstile)
    with pytest.raises(LaneBusyError):
        await post.present(ticket_code())
    turnstile.close()
    await post.becomes(State.CLOSED)


async def test_passage_of_an_earlier_process_is_recorded(tmp_path: Path) -> None:
    """A passage that is reported after a restart closes the admission of the process before."""
    async with opened_gate(tmp_path) as gate:
        post = await gate.add_ready_lane()
        admission_id = await admitted(post)
    async with opened_gate(tmp_path) as gate:
        assert await gate.box.store.open_epoch(b"epoch-02", gate.clock.wall_ms()) == 1
        post = await gate.add_ready_lane()
        post.turnstile.report(Signal.PASSED, admission_id)
        await gate.outcome_comes(admission_id, Outcome.PASSED)
        assert await gate.outcomes(admission_id) == [Outcome.UNKNOWN, Outcome.PASSED]
        assert await gate.incidents() == []


async def test_late_passage_of_another_admission_leaves_the_present_one_alone(gate: Gate) -> None:
    """Word of the visitor before, late, closes that visit and not the one in the lane."""
    post = await gate.add_ready_lane()
    first = await admitted(post)
    post.turnstile.close()
    await post.becomes(State.CLOSED)
    second = await admitted(post, ticket_code(1))
    post.turnstile.report(Signal.PASSED, first)
    post.turnstile.report(Signal.CLOSED, first)
    await gate.outcome_comes(first, Outcome.PASSED)
    assert post.lane.state is State.RELEASED
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    assert await gate.outcomes(second) == [Outcome.PASSED]


@pytest.mark.parametrize("names_the_last", [False, True])
async def test_forced_barrier_is_an_incident(gate: Gate, *, names_the_last: bool) -> None:
    """A barrier pushed open with nobody admitted is recorded, also when the hardware still names its last visitor."""
    post = await gate.add_ready_lane()
    last = await admitted(post)
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    post.turnstile.report(Signal.FORCED, last if names_the_last else None)
    await gate.incidents_come([Outcome.FORCED])
    assert post.lane.state is State.FORCED
    post.turnstile.report(Signal.CLOSED, last if names_the_last else None)
    await post.becomes(State.CLOSED)
    assert await gate.outcomes(last) == [Outcome.PASSED]


async def test_second_person_behind_a_visitor_is_an_incident(gate: Gate) -> None:
    """Who slips through behind an admitted visitor is recorded as that, and the visitor as passed."""
    post = await gate.add_ready_lane()
    admission_id = await admitted(post)
    post.turnstile.report(Signal.PASSED)
    post.turnstile.report(Signal.TAILGATED)
    post.turnstile.close()
    await gate.incidents_come([Outcome.TAILGATED])
    await post.becomes(State.CLOSED)
    assert await gate.outcomes(admission_id) == [Outcome.PASSED]


async def test_one_visitor_at_a_time(gate: Gate) -> None:
    """While somebody is in the lane, another code is not even looked at, and nothing of it is spent."""
    post = await gate.add_ready_lane()
    await admitted(post)
    with pytest.raises(LaneBusyError):
        await post.present(ticket_code(1))
    assert await gate.uses() == 1
    assert len(post.shown) == 1
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    await admitted(post, ticket_code(1))


async def test_two_readers_at_one_lane_at_once(gate: Gate) -> None:
    """Of two codes presented in the same moment, one is answered and the other is told to wait."""
    post = await gate.add_ready_lane()
    answers = await asyncio.gather(
        post.present(ticket_code(0)), post.present(ticket_code(1)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Answer, LaneBusyError]
    assert await gate.uses() == 1


async def test_one_ticket_at_two_lanes_admits_one(gate: Gate) -> None:
    """A ticket and its copy, shown at two lanes at once, open exactly one barrier."""
    posts = [await gate.add_ready_lane(lane_id) for lane_id in ("lane-1", "lane-2")]
    answers = await asyncio.gather(*(post.present(ticket_code()) for post in posts))
    reasons = sorted(answer.decision.reason for answer in answers)
    assert reasons == [Reason.ALREADY_USED, Reason.TICKET]
    assert sum(len(post.turnstile.openings) for post in posts) == 1


async def test_reader_waits_for_the_visitor_in_the_lane(gate: Gate) -> None:
    """The next code is taken from the reader only when the barrier has closed behind the last visitor."""
    post = await gate.add_ready_lane()
    gate.serve(post)
    post.reader.hold_out(ticket_code(0))
    post.reader.hold_out(ticket_code(1))
    await post.becomes(State.RELEASED)
    assert post.reader.waiting == 1
    post.turnstile.walk_through()
    await until(lambda: len(post.turnstile.openings) == 2, "the second opening")
    assert post.reader.waiting == 0


class BrokenStoreError(Exception):
    """The disk is gone."""


async def test_broken_store_never_opens(gate: Gate) -> None:
    """When the answer cannot be recorded, the display says so, the barrier stays shut, and the process ends."""

    def fail() -> None:
        raise BrokenStoreError

    post = gate.add_lane(store=FaultyStore(gate, fail))
    await post.becomes(State.CLOSED)
    with pytest.raises(BrokenStoreError):
        await post.lane.present(scan(ticket_code()))
    assert post.shown == [Reason.STORE_BROKEN]
    assert post.turnstile.openings == []
    await gate.ends_with(post, BrokenStoreError)


async def test_a_lane_tells_how_long_an_answer_takes(gate: Gate) -> None:
    """The watchdog sees a store that hangs, and nothing when nobody waits."""
    times: list[int] = []

    def hang() -> None:
        gate.clock.advance(12_000)
        times.append(post.lane.answering_ms())

    post = gate.add_lane(store=FaultyStore(gate, hang))
    await post.becomes(State.CLOSED)
    await post.lane.present(scan(ticket_code()))
    assert times == [12_000]
    assert post.lane.answering_ms() == 0


async def test_read_only_memory_never_opens(gate: Gate) -> None:
    """When SQLite itself cannot write the record, the barrier stays shut and the process ends."""
    post = await gate.add_ready_lane()
    await gate.box.database.read(lambda sql: sql.execute("PRAGMA query_only = ON"))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await post.present(ticket_code())
    assert post.shown == [Reason.STORE_BROKEN]
    assert post.turnstile.openings == []
    await gate.ends_with(post, sqlite3.OperationalError)


async def test_drain_lets_the_last_visitor_out(gate: Gate) -> None:
    """A lane that shall stop takes nobody else, and is done when the visitor in it has left."""
    post = await gate.add_ready_lane()
    gate.serve(post)
    admission_id = await admitted(post)
    draining = asyncio.create_task(post.lane.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    post.turnstile.walk_through()
    await asyncio.wait_for(draining, 10)
    assert await gate.outcomes(admission_id) == [Outcome.PASSED]
    with pytest.raises(LaneBusyError):
        await post.present(ticket_code(1))
    post.reader.hold_out(ticket_code(1))
    await until(lambda: post.reader.waiting == 0, "the reader's turn")
    assert post.turnstile.openings == [admission_id]


async def test_every_record_wakes_the_uplink(gate: Gate) -> None:
    """An answer and a closing each say that there is something to send."""
    post = await gate.add_ready_lane()
    await admitted(post)
    assert gate.recorded == 1
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    assert gate.recorded == 2


async def test_wait_is_measured_from_the_frame(gate: Gate) -> None:
    """The time a visitor waited runs from the picture that showed the code to the release."""
    post = await gate.add_ready_lane()
    gate.clock.advance(40)
    await admitted(post)
    assert post.lane.tally.wait_ms(0.5) == 40.0
    assert post.lane.tally.wait_ms(0.99) == 40.0


class FullStore:
    """A memory that finds no room for as long as it is told so."""

    def __init__(self, gate: Gate) -> None:
        self._store = gate.box.store
        self.is_full = True

    async def answer(self, attempt: Attempt, judge: Callable[[Facts], Decision]) -> Answer:
        self._look()
        return await self._store.answer(attempt, judge)

    async def close_admission(self, admission_id: bytes, outcome: Outcome, at_ms: int) -> None:
        self._look()
        await self._store.close_admission(admission_id, outcome, at_ms)

    async def record_incident(self, lane_id: str, what: Outcome, at_ms: int) -> None:
        self._look()
        await self._store.record_incident(lane_id, what, at_ms)

    def _look(self) -> None:
        if self.is_full:
            raise NoRoomError


async def test_with_no_room_to_record_visitors_are_referred_and_the_lane_lives_on(gate: Gate) -> None:
    """Nothing opens, what happened is in the log, and with room again the next visitor is let in."""
    store = FullStore(gate)
    post = gate.add_lane(store=store)
    await post.becomes(State.CLOSED)
    answer = await post.present(ticket_code())
    assert (answer.decision.reason, answer.record, post.turnstile.openings) == (Reason.STORE_FULL, "", [])
    assert post.shown == [Reason.STORE_FULL]
    store.is_full = False
    admission_id = await admitted(post)
    store.is_full = True
    post.turnstile.walk_through()
    post.turnstile.report(Signal.FORCED)
    await post.becomes(State.FORCED)
    post.turnstile.close()
    await post.becomes(State.CLOSED)
    assert not post.watching.done()
    store.is_full = False
    await admitted(post, ticket_code(1))
    assert await gate.outcomes(admission_id) == []
