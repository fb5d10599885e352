"""A member of staff lets in whom the lane refused: once, soon, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from admission.clearance import ClearanceRule, Colour
from admission.events import Admitted, Overridden
from admission.passage import State
from admission.reasons import Reason, Verdict
from admission.staff import OverrideCode, Role, StaffAct
from admission.tickets import Basis, Outcome
from gate_agent.lane import LaneBusyError, Rules, UnknownRefusalError
from gate_agent.refusals import MOST
from tests.admission.makers import BOOK, HOUR_S, POLICY
from tests.gate_agent.gate import Gate, opened_gate, ticket_code

UNKNOWN = b"OTA0123456789"


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    """A box with lanes to be put up."""
    async with opened_gate(tmp_path) as gate:
        yield gate


def act(record: str, role: Role = Role.STEWARD) -> StaffAct:
    """The word of a member of staff."""
    return StaffAct("w12", role, OverrideCode.ORDER_CHECKED, record)


async def test_confirming_a_referral_opens_and_is_recorded_with_who_and_why(gate: Gate) -> None:
    """The use and the word of the staff are in the ledger before the barrier opens."""
    post = await gate.add_ready_lane()
    refused = await post.present(UNKNOWN)
    assert refused.decision.reason is Reason.UNLISTED_CODE
    answer = await post.lane.override(act(refused.record))
    assert answer.decision.reason is Reason.OVERRIDDEN
    assert post.turnstile.openings == [answer.admission_id]
    admitted, said = (await gate.events())[-2:]
    assert isinstance(admitted, Admitted)
    assert admitted.basis is Basis.TICKET
    assert said == Overridden(
        admitted.admission_id, refused.record, "w12", Role.STEWARD, OverrideCode.ORDER_CHECKED
    )


async def test_the_passage_closes_it_like_any_admission(gate: Gate) -> None:
    """How an override ended is recorded too."""
    post = await gate.add_ready_lane()
    answer = await post.lane.override(act((await post.present(UNKNOWN)).record))
    post.turnstile.walk_through()
    await gate.outcome_comes(answer.admission_id, Outcome.PASSED)


async def test_each_refusal_lets_in_one_visitor(gate: Gate) -> None:
    """Asked twice, also at the same moment, the second finds nothing to override."""
    post = await gate.add_ready_lane()
    record = (await post.present(UNKNOWN)).record
    first, second = await asyncio.gather(
        post.lane.override(act(record)), post.lane.override(act(record)), return_exceptions=True
    )
    assert not isinstance(first, BaseException)
    assert isinstance(second, LaneBusyError)
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    with pytest.raises(UnknownRefusalError):
        await post.lane.override(act(record))
    assert await gate.uses() == 1


async def test_a_confirmed_ticket_is_spent_for_every_lane(gate: Gate) -> None:
    """What staff confirmed at one lane is not confirmed again at another."""
    post, other = await gate.add_ready_lane(), await gate.add_ready_lane("lane-2")
    records = [(await lane.present(UNKNOWN)).record for lane in (post, other)]
    await post.lane.override(act(records[0]))
    assert (await other.lane.override(act(records[1]))).decision.reason is Reason.ALREADY_USED


async def test_what_still_stands_against_a_visitor_is_answered_on_its_own(gate: Gate) -> None:
    """An order that was looked up leaves the clearance to be decided, and that one does not ask for the order again."""
    unknown_refers = dict.fromkeys(Colour, Verdict.REFER)
    asked = ClearanceRule("health", "渝康码", "health code", HOUR_S, unknown_refers, unknown_refers)
    gate.rules = Rules(BOOK, replace(POLICY, clearances=(asked,)))
    post = await gate.add_ready_lane()
    refused = await post.present(UNKNOWN)
    second = await post.lane.override(act(refused.record))
    assert (refused.decision.reason, second.decision.reason) == (Reason.UNLISTED_CODE, Reason.CLEARANCE)
    assert (await post.lane.override(act(second.record))).decision.reason is Reason.OVERRIDDEN
    assert await gate.uses() == 1


async def test_a_steward_may_not_what_takes_a_supervisor(gate: Gate) -> None:
    """The refusal stands, nothing opens, and a supervisor can still answer it."""
    post = await gate.add_ready_lane()
    await post.present(ticket_code())
    post.turnstile.walk_through()
    await post.becomes(State.CLOSED)
    record = (await post.present(ticket_code())).record
    answer = await post.lane.override(act(record))
    assert (answer.decision.reason, answer.admission_id) == (Reason.ALREADY_USED, None)
    answer = await post.lane.override(act(record, Role.SUPERVISOR))
    assert answer.decision.reason is Reason.OVERRIDDEN
    assert len(post.turnstile.openings) == 2


@pytest.mark.parametrize("record", ["box-1-D1", "box-1-D99", ""])
async def test_a_refusal_from_elsewhere_cannot_be_answered(gate: Gate, record: str) -> None:
    """A lane knows its own refusals alone."""
    post, other = await gate.add_ready_lane(), await gate.add_ready_lane("lane-2")
    await post.present(UNKNOWN)
    with pytest.raises(UnknownRefusalError):
        await other.lane.override(act(record))


async def test_a_refusal_can_be_answered_for_a_while(gate: Gate) -> None:
    """Up to the policy's time, and not a moment longer: who it was about has gone."""
    post = await gate.add_ready_lane()
    record = (await post.present(UNKNOWN)).record
    gate.clock.advance(POLICY.override_within_s * 1000 + 1)
    with pytest.raises(UnknownRefusalError):
        await post.lane.override(act(record))


async def test_only_the_last_refusals_are_kept(gate: Gate) -> None:
    """The memory of refusals has a bound."""
    post = await gate.add_ready_lane()
    records = [(await post.present(b"no ticket %d" % number)).record for number in range(MOST + 1)]
    with pytest.raises(UnknownRefusalError):
        await post.lane.override(act(records[0], Role.SUPERVISOR))
    assert (await post.lane.override(act(records[1], Role.SUPERVISOR))).admission_id is not None


async def test_nothing_opens_where_the_turnstile_is_gone(gate: Gate) -> None:
    """Staff cannot let anybody through a lane that cannot open; nothing is spent."""
    post = await gate.add_ready_lane()
    record = (await post.present(UNKNOWN)).record
    post.turnstile.lose()
    await post.becomes(State.LOST)
    answer = await post.lane.override(act(record))
    assert answer.decision.reason is Reason.LANE_NOT_READY
    assert await gate.uses() == 0


async def test_the_act_is_the_one_that_was_asked(gate: Gate) -> None:
    """Role, code and name stand in the record as they were given."""
    post = await gate.add_ready_lane()
    record = (await post.present(b"no ticket")).record
    wanted = replace(act(record, Role.SUPERVISOR), staff_id="s3", code=OverrideCode.GOODWILL)
    await post.lane.override(wanted)
    said = (await gate.events())[-1]
    assert isinstance(said, Overridden)
    assert (said.staff_id, said.role, said.code) == ("s3", Role.SUPERVISOR, OverrideCode.GOODWILL)
