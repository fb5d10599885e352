"""What may be forgotten, and what never."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import pytest

from admission.events import Incident
from admission.reasons import Reason
from admission.tickets import Outcome
from offline_cache import retention
from offline_cache.journal import append, head, note_refusal, set_state
from offline_cache.retention import LEDGER_KEPT_MS, USES_KEPT_S, prune
from tests.admission.makers import EXTERNAL_CODE, HOUR_S, KEY, NOW_MS, NOW_S, TICKET_CODE, ticket
from tests.offline_cache.box import Box
from tests.support.sqlite_steps import steps_of

LATER_MS = NOW_MS + LEDGER_KEPT_MS + 1
DAY_MS = 24 * HOUR_S * 1000


async def admit(box: Box, times: int = 1) -> None:
    """Let the holder of a ticket in and see them pass, so many times: two ledger entries each."""
    await box.install(tickets={KEY: ticket(quantity=times)})
    for _ in range(times):
        answer = await box.show(TICKET_CODE)
        assert answer.admission_id is not None
        await box.store.close_admission(answer.admission_id, Outcome.PASSED, NOW_MS)


async def confirm(box: Box, seq_no: int) -> None:
    """The centre's word for the ledger up to `seq_no`."""
    tail = await box.outbox.ledger_after(seq_no, 0)
    assert await box.outbox.confirm_ledger("store", seq_no, tail.previous_hash)


async def test_what_the_centre_has_not_confirmed_is_kept_for_ever(box: Box) -> None:
    """However old."""
    await admit(box, times=3)
    await prune(box.database, LATER_MS)
    assert await box.rows("SELECT seq_no FROM ledger") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("now_ms", "kept"), [(LATER_MS - 1, [1, 2, 3, 4, 5, 6]), (LATER_MS, [4, 5, 6])])
async def test_confirmed_entries_stay_for_a_week(box: Box, now_ms: int, kept: list[int]) -> None:
    """The last confirmed one stays after that: the next batch names its hash."""
    await admit(box, times=3)
    await confirm(box, 4)
    await prune(box.database, now_ms)
    assert await box.rows("SELECT seq_no FROM ledger") == kept


async def record(box: Box, times_ms: Iterable[int]) -> None:
    """Entries of these times, all confirmed."""

    def work(sql: sqlite3.Connection) -> None:
        for at_ms in times_ms:
            append(sql, at_ms, Incident("1", Outcome.FORCED))
        set_state(sql, "confirmed_seq_no", head(sql)[0])

    await box.database.write(work)


async def test_entries_of_a_clock_that_ran_ahead_are_forgotten_with_the_others(box: Box) -> None:
    """The box's memory is bounded all the same."""
    await record(box, [NOW_MS + 10 * 365 * DAY_MS] * 3 + [NOW_MS] * 5 + [LATER_MS] * 3)
    while await prune(box.database, LATER_MS):
        pass
    assert await box.rows("SELECT seq_no FROM ledger") == [9, 10, 11]


@pytest.mark.parametrize("days", [6, 8])
async def test_a_long_ledger_is_not_gone_through(box: Box, days: int) -> None:
    """Neither when nothing of it is old, nor to find out what is."""
    await record(box, range(NOW_MS, NOW_MS + 20_000 * 1000, 1000))
    assert await steps_of(box.database, prune(box.database, NOW_MS + days * DAY_MS)) < 20_000


@pytest.mark.parametrize(("after_s", "kept"), [(USES_KEPT_S, 1), (USES_KEPT_S + 1, 0)])
async def test_a_use_is_kept_until_its_right_has_been_over_for_two_days(
    box: Box, after_s: int, kept: int
) -> None:
    """With its closings, whatever has been confirmed."""
    await admit(box)
    await confirm(box, 2)
    await prune(box.database, (NOW_S + HOUR_S + after_s) * 1000)
    assert len(await box.rows("SELECT admission_id FROM uses")) == kept
    assert len(await box.rows("SELECT admission_id FROM closings")) == kept


async def test_the_diary_keeps_its_newest_rows(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals may be lost, the latest last."""
    monkeypatch.setattr(retention, "DIARY_ROWS_KEPT", 3)
    for _ in range(5):
        await box.database.write(lambda sql: note_refusal(sql, 1, "lane", Reason.EXPIRED, b"", ""))
    assert await prune(box.database, NOW_MS) == 2
    assert await box.rows("SELECT number FROM diary") == [3, 4, 5]


async def test_forgetting_goes_a_little_at_a_time(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor waits behind no more than one step; 0 says that nothing is left."""
    await admit(box, times=4)
    await confirm(box, 8)
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(retention, "USES_AT_ONCE", 3)
    assert [await prune(box.database, LATER_MS) for _ in range(4)] == [3 + 3, 3 + 1, 1, 0]
    assert await box.rows("SELECT seq_no FROM ledger") == [8]


async def test_an_empty_box_has_nothing_to_forget(box: Box) -> None:
    """Nor one that only refused."""
    assert await prune(box.database, LATER_MS) == 0
    await box.show(EXTERNAL_CODE)
    assert await prune(box.database, LATER_MS) == 0
