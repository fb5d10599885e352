"""From facts to record: one transaction, whatever comes at the same moment or is cut short."""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import combinations, count
from pathlib import Path

import pytest

from admission.answers import Decision, Spend
from admission.codes import Rejected, TicketCode
from admission.events import (
    Admitted,
    Closed,
    EpochOpened,
    Incident,
    LedgerEvent,
    Resumed,
    decode_entry,
    decode_refusal,
)
from admission.facts import Exposure, Facts
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk, is_held
from tests.admission.makers import (
    BOX,
    CREDIT_CODE,
    DAY_TICKET,
    EXTERNAL_CODE,
    HOUR_S,
    KEY,
    LANE,
    LIST,
    MEMBER,
    NOW_MS,
    NOW_S,
    SITE,
    TICKET_CODE,
    VALIDITY,
    line,
    subject,
    ticket,
)
from tests.offline_cache.box import Box, opened_box


async def ledger(box: Box) -> list[LedgerEvent]:
    """Every event of the ledger, in order."""
    tail = await box.outbox.ledger_after(0, 1000)
    return [decode_entry(entry).event for entry in tail.entries]


async def admit(box: Box, *, at_ms: int = NOW_MS) -> bytes:
    """Let the ticket's holder in and return the admission's id."""
    answer = await box.show(TICKET_CODE, at_ms=at_ms)
    assert answer.admission_id is not None, answer
    return answer.admission_id


# --- facts


async def test_a_fresh_box_knows_nothing(box: Box) -> None:
    """No list, no history, nothing risked."""
    for credential in (TICKET_CODE, EXTERNAL_CODE, CREDIT_CODE, Rejected(Reason.MALFORMED, "")):
        assert await box.facts(credential) == Facts(SITE, LANE, None, box_id=BOX)


async def test_the_list_says_what_is_known_of_a_ticket(box: Box) -> None:
    """The row, its product, and the list's age; for an unlisted code the product that it names."""
    await box.install(tickets={KEY: ticket()}, watermarks={BOX: 3})
    for credential in (TICKET_CODE, EXTERNAL_CODE):
        known = await box.facts(credential)
        assert (known.ticket, known.product, known.current_list) == (ticket(), DAY_TICKET, LIST)
        assert known.history.watermarks == {BOX: 3}
    unlisted = await box.facts(TicketCode(bytes(16), "DAY1", VALIDITY))
    assert (unlisted.ticket, unlisted.product) == (None, DAY_TICKET)
    assert (await box.facts(TicketCode(bytes(16), "NONE", VALIDITY))).product is None


async def test_the_list_says_what_is_known_of_a_subject(box: Box) -> None:
    """All rights, or none for one it does not know."""
    rights = subject(memberships=MEMBER, free_visits_used={"first@fairy": 1}, credit_line=line())
    await box.install(subjects={KEY: rights})
    assert (await box.facts(CREDIT_CODE)).subject == rights
    await box.install(version=8)
    assert (await box.facts(CREDIT_CODE)).subject == subject()


# --- answers and their record


async def test_an_admission_is_a_use_and_a_ledger_entry(box: Box) -> None:
    """Both say the same, and the visitor's record number leads to them."""
    await box.install(tickets={KEY: ticket()})
    answer = await box.show(TICKET_CODE)
    assert (answer.decision.reason, answer.record) == (Reason.TICKET, f"{BOX}-1")
    assert answer.admission_id is not None
    assert await ledger(box) == [
        Admitted(
            admission_id=answer.admission_id,
            key=KEY,
            basis=Basis.TICKET,
            scope="",
            lane_id=LANE,
            quantity=1,
            fare_fen=0,
            risk=Risk.NONE,
            keep_until_s=NOW_S + HOUR_S,
            list_version=LIST.version,
            policy_version="test",
        )
    ]
    (known,) = (await box.facts(TICKET_CODE)).history.uses
    assert (known.admission_id, known.box_id, known.seq_no, known.at_ms) == (
        answer.admission_id,
        BOX,
        1,
        NOW_MS,
    )


async def test_an_admission_names_the_policy_entry_that_gave_it(box: Box) -> None:
    """For whoever has to show later on what somebody was let in."""
    spend = Spend(KEY, Basis.FREE_VISIT, NOW_S + HOUR_S, "first@fairy")
    await box.answer(lambda _: Decision(Reason.FREE_VISIT, spend, granted_by="first"), CREDIT_CODE)
    (event,) = await ledger(box)
    assert isinstance(event, Admitted)
    assert event.granted_by == "first"


@pytest.mark.parametrize(
    ("credential", "reason", "key"),
    [
        (EXTERNAL_CODE, Reason.NO_LIST, KEY),
        (Rejected(Reason.BAD_SIGNATURE, "forged"), Reason.BAD_SIGNATURE, b""),
    ],
)
async def test_a_refusal_is_a_diary_entry(
    box: Box, credential: TicketCode | Rejected, reason: Reason, key: bytes
) -> None:
    """It has a record number too, and leaves no trace in the ledger."""
    answer = await box.show(credential)
    assert (answer.record, answer.admission_id) == (f"{BOX}-D1", None)
    ((_, entry),) = await box.outbox.diary_after(0, 9)
    refusal = decode_refusal(entry)
    assert (refusal.reason, refusal.key, refusal.lane_id) == (reason, key, LANE)
    assert refusal.detail == answer.decision.detail
    assert await ledger(box) == []


async def test_facts_decision_and_record_are_one_transaction(box: Box) -> None:
    """One commit for all of it; none is left half done."""
    statements: list[str] = []
    await box.database.read(lambda sql: sql.set_trace_callback(statements.append))
    await box.show(TICKET_CODE)
    words = [statement.split()[0] for statement in statements]
    assert (words[0], words[-1], words.count("COMMIT")) == ("BEGIN", "COMMIT", 1)
    assert {"SELECT", "INSERT"} <= set(words)


async def test_a_record_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither the ledger entry that was written before the use, nor its number."""
    async with opened_box(tmp_path, new_id=lambda: bytes(16)) as box:
        await admit(box)
        other = TicketCode(bytes(16), "DAY1", VALIDITY)
        with pytest.raises(sqlite3.IntegrityError):
            await box.show(other)
        assert len(await ledger(box)) == 1
        assert (await box.facts(other)).history.uses == ()


@pytest.mark.parametrize("visitors", [2, 40])
async def test_the_last_entry_is_given_once(box: Box, visitors: int) -> None:
    """However many show the same code at the same moment."""
    await box.install(tickets={KEY: ticket(quantity=5, used=4)})
    lanes = [f"lane-{number}" for number in range(visitors)]
    answers = await asyncio.gather(*(box.show(TICKET_CODE, lane_id=lane) for lane in lanes))
    reasons = [answer.decision.reason for answer in answers]
    assert reasons.count(Reason.TICKET) == 1
    assert reasons.count(Reason.ALREADY_USED) == visitors - 1
    assert len({answer.record for answer in answers}) == visitors


async def test_the_floor_limit_holds_for_those_who_come_together(box: Box) -> None:
    """Two may be risked without a list, and ten ask."""
    codes = [TicketCode(bytes([n]) * 16, "DAY1", VALIDITY) for n in range(10)]
    answers = await asyncio.gather(*(box.show(code) for code in codes))
    reasons = [answer.decision.reason for answer in answers]
    assert (reasons.count(Reason.UNLISTED_TICKET), reasons.count(Reason.UNLISTED_LIMIT)) == (2, 8)


async def test_a_use_counts_until_a_list_has_counted_it(box: Box) -> None:
    """Then the list's counter stands for it."""
    await box.install(tickets={KEY: ticket(quantity=2)})
    await admit(box)
    await box.install(version=8, tickets={KEY: ticket(quantity=2, used=1)}, watermarks={BOX: 1})
    await admit(box)
    assert (await box.show(TICKET_CODE)).decision.reason is Reason.ALREADY_USED


# --- how admissions end


async def test_a_closing_is_recorded_once(box: Box) -> None:
    """Saying the same again changes nothing; saying something else adds to it."""
    admission_id = await admit(box)
    for outcome in (Outcome.ABANDONED, Outcome.ABANDONED, Outcome.PASSED, Outcome.PASSED):
        await box.store.close_admission(admission_id, outcome, NOW_MS)
    expected = [Closed(admission_id, Outcome.ABANDONED), Closed(admission_id, Outcome.PASSED)]
    assert (await ledger(box))[1:] == expected
    known = (await box.facts(TICKET_CODE)).history
    assert {(closing.outcome, closing.seq_no) for closing in known.closings} == {
        (Outcome.ABANDONED, 2),
        (Outcome.PASSED, 3),
    }


async def test_an_abandoned_admission_gives_the_right_back(box: Box) -> None:
    """The same ticket admits again, as a new admission."""
    await box.install(tickets={KEY: ticket()})
    first = await admit(box)
    await box.store.close_admission(first, Outcome.ABANDONED, NOW_MS)
    assert await admit(box) != first
    assert (await box.show(TICKET_CODE)).decision.reason is Reason.ALREADY_USED


async def test_an_incident_is_in_the_ledger(box: Box) -> None:
    """Nobody goes through unrecorded."""
    await box.store.record_incident(LANE, Outcome.FORCED, NOW_MS)
    assert await ledger(box) == [Incident(LANE, Outcome.FORCED)]


# --- what a restart finds


async def test_an_epoch_names_its_predecessor(tmp_path: Path) -> None:
    """The first has none."""
    for epoch in (b"one", b"two", b"three"):
        async with opened_box(tmp_path) as box:
            assert await box.store.open_epoch(epoch, NOW_MS) == 0
    async with opened_box(tmp_path) as box:
        events = await ledger(box)
    assert events == [
        EpochOpened(BOX, SITE, b"one", b""),
        EpochOpened(BOX, SITE, b"two", b"one"),
        EpochOpened(BOX, SITE, b"three", b"two"),
    ]


async def test_an_admission_without_an_end_becomes_unknown_at_the_next_start(tmp_path: Path) -> None:
    """Only that one, only once, and it stays used."""
    async with opened_box(tmp_path) as box:
        await box.install(tickets={KEY: ticket(quantity=2)})
        closed, orphan = await admit(box), await admit(box)
        await box.store.close_admission(closed, Outcome.PASSED, NOW_MS)
    async with opened_box(tmp_path) as box:
        assert await box.store.open_epoch(b"two", NOW_MS) == 1
        assert (await ledger(box))[-1] == Closed(orphan, Outcome.UNKNOWN)
        assert await box.store.open_epoch(b"three", NOW_MS) == 0
        later = await box.show(TICKET_CODE, at_ms=NOW_MS + 60_000)
        assert later.decision.reason is Reason.ALREADY_USED


async def test_an_interrupted_visitor_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The same admission, one use; its passage then closes it for good."""
    async with opened_box(tmp_path) as box:
        await box.install(tickets={KEY: ticket()})
        admission_id = await admit(box)
    async with opened_box(tmp_path) as box:
        await box.store.open_epoch(b"two", NOW_MS + 5000)
        answer = await box.show(TICKET_CODE, at_ms=NOW_MS + 6000)
        assert (answer.decision.reason, answer.admission_id) == (Reason.RESUMED, admission_id)
        assert (await ledger(box))[-1] == Resumed(admission_id, LANE)
        await box.store.close_admission(admission_id, Outcome.PASSED, NOW_MS + 7000)
        again = await box.show(TICKET_CODE, at_ms=NOW_MS + 8000)
        assert again.decision.reason is Reason.ALREADY_USED
        assert await box.rows("SELECT COUNT(*) FROM uses") == [1]


async def test_an_admission_that_is_interrupted_twice_is_an_orphan_again(tmp_path: Path) -> None:
    """What a resumed admission came to is not known before its closing."""
    async with opened_box(tmp_path) as box:
        await admit(box)
    for epoch in (b"two", b"three"):
        async with opened_box(tmp_path) as box:
            assert await box.store.open_epoch(epoch, NOW_MS + 1000) == 1
            assert (await box.show(TICKET_CODE, at_ms=NOW_MS + 2000)).decision.reason is Reason.RESUMED


# --- what is risked

SUBSETS = [frozenset(s) for size in range(len(Outcome) + 1) for s in combinations(Outcome, size)]


def risking(risk: Risk, quantity: int, fare_fen: int) -> Decision:
    """An admission at some risk."""
    basis = Basis.CREDIT_LINE if risk is Risk.CREDIT else Basis.TICKET
    spend = Spend(KEY, basis, NOW_S + HOUR_S, quantity=quantity, fare_fen=fare_fen, risk=risk)
    return Decision(Reason.UNLISTED_TICKET, spend)


@pytest.mark.parametrize("risk", [Risk.UNLISTED, Risk.BOOTSTRAP, Risk.CREDIT], ids=lambda risk: risk.name)
async def test_exposure_sums_what_is_held(box: Box, risk: Risk) -> None:
    """For all 64 sets of closings as `is_held` has it, in quantities or in fen."""
    numbers = count(1)
    for ended in SUBSETS:
        at_ms = next(numbers) * 1000
        answer = await box.answer(lambda _: risking(risk, 2, 300), TICKET_CODE, at_ms=at_ms)
        assert answer.admission_id is not None
        for outcome in ended:
            await box.store.close_admission(answer.admission_id, outcome, at_ms)
    for number in range(1, len(SUBSETS) + 2):
        held = sum(is_held(ended) for ended in SUBSETS[number - 1 :])
        expected = {
            Risk.UNLISTED: Exposure(unlisted=2 * held),
            Risk.BOOTSTRAP: Exposure(bootstrap=2 * held),
            Risk.CREDIT: Exposure(credit_fen=300 * held),
        }
        assert (await box.facts(CREDIT_CODE, day_start_ms=number * 1000)).exposure == expected[risk]


async def test_exposure_begins_anew_with_the_local_day(box: Box) -> None:
    """To the millisecond; what was not risked never counts."""
    await box.answer(lambda _: risking(Risk.UNLISTED, 1, 0), TICKET_CODE, at_ms=5000)
    await box.answer(lambda _: risking(Risk.NONE, 1, 100), TICKET_CODE, at_ms=5000)
    assert (await box.facts(CREDIT_CODE, day_start_ms=5000)).exposure == Exposure(unlisted=1)
    assert (await box.facts(CREDIT_CODE, day_start_ms=5001)).exposure == Exposure()


async def test_a_listed_ticket_is_not_weighed_against_the_floor_limits(box: Box) -> None:
    """It risks nothing, so nothing is summed while its holder waits."""
    await box.answer(lambda _: risking(Risk.UNLISTED, 1, 0), TICKET_CODE)
    await box.install(tickets={KEY: ticket()})
    assert (await box.facts(TICKET_CODE)).exposure == Exposure()
