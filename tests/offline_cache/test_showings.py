"""What a box remembers of a holder's phone: the last time shown, for every lane, and over a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from admission.answers import Answer
from admission.codes import CreditCode, TicketCode
from admission.facts import Attempt
from admission.holders import Showing, ShownBefore
from admission.reasons import Reason
from admission.tickets import Outcome
from offline_cache.retention import prune
from offline_cache.showings import KEPT_MS
from tests.admission.makers import CREDIT_CODE, KEY, NOW_MS, NOW_S, POLICY, TICKET_CODE, ticket
from tests.offline_cache.box import Box, opened_box

HOLDER = b"\x02" + bytes(32)


def shown(at_s: int | None, code: TicketCode | CreditCode = TICKET_CODE) -> TicketCode | CreditCode:
    """A code as the holder's phone shows it."""
    return replace(code, showing=Showing(HOLDER, at_s))


async def before(box: Box, monotonic_ms: int = 0) -> ShownBefore | None:
    """What the box knows of the holder at a moment."""
    attempt = Attempt(shown(NOW_S), "1", NOW_MS, NOW_MS, "p", monotonic_ms=monotonic_ms)
    return (await box.store.facts(attempt)).shown_before


async def show(box: Box, at_s: int | None, monotonic_ms: int = 0) -> Answer:
    """A visitor shows the phone."""
    return await box.show(shown(at_s), monotonic_ms=monotonic_ms)


async def test_a_time_that_admitted_is_remembered_by_the_boxs_own_clock(box: Box) -> None:
    """For whichever lane comes next."""
    await box.install(tickets={KEY: ticket(quantity=9)})
    assert (await show(box, NOW_S, 1000)).decision.reason is Reason.TICKET
    assert await before(box, 4500) == ShownBefore(NOW_S, 3500)


async def test_the_same_time_is_not_accepted_twice(box: Box) -> None:
    """A copy of the code, at any lane of the box."""
    await box.install(tickets={KEY: ticket(quantity=9)})
    answers = [(await show(box, at_s)).decision.reason for at_s in (NOW_S, NOW_S, NOW_S - 1, NOW_S + 1)]
    assert answers == [Reason.TICKET, Reason.NOT_LIVE, Reason.NOT_LIVE, Reason.TICKET]


async def test_a_slow_phone_is_let_in_on_its_second_code(box: Box) -> None:
    """The first is remembered though it was refused."""
    await box.install(tickets={KEY: ticket()})
    slow_s = NOW_S - 300
    first = await show(box, slow_s, 1000)
    second = await show(box, slow_s + 4, 5000)
    assert (first.decision.reason, second.decision.reason) == (Reason.NOT_LIVE, Reason.TICKET)


async def test_a_refusal_for_another_reason_leaves_the_code_good(box: Box) -> None:
    """Nothing was opened on it: the visitor shows the same code again once that is mended."""
    await box.install(tickets={KEY: ticket(used=1)})
    assert (await show(box, NOW_S)).decision.reason is Reason.ALREADY_USED
    assert await before(box) is None


async def test_what_was_signed_by_no_phone_is_not_remembered(box: Box) -> None:
    """It has no time."""
    await box.install(tickets={KEY: ticket()})
    assert (await show(box, None)).decision.reason is Reason.NOT_LIVE
    assert await before(box) is None


async def test_after_a_restart_a_time_is_still_spent_and_the_clock_tells_nothing(tmp_path: Path) -> None:
    """The monotonic clock may have begun anew."""
    async with opened_box(tmp_path) as box:
        await box.store.open_epoch(bytes(16), NOW_MS)
        await box.install(tickets={KEY: ticket(quantity=9)})
        admission_id = (await show(box, NOW_S, 1000)).admission_id
        assert admission_id is not None
        await box.store.close_admission(admission_id, Outcome.PASSED, NOW_MS)
    async with opened_box(tmp_path) as box:
        await box.store.open_epoch(b"\1" * 16, NOW_MS)
        assert await before(box, 5000) == ShownBefore(NOW_S, None)
        assert (await show(box, NOW_S)).decision.reason is Reason.NOT_LIVE


async def test_credit_codes_of_one_phone_share_its_time(box: Box) -> None:
    """The key is the phone's, whatever it shows."""
    await box.install(tickets={KEY: ticket(quantity=9)})
    await show(box, NOW_S)
    answer = await box.show(shown(NOW_S, CREDIT_CODE))
    assert answer.decision.reason is Reason.NOT_LIVE


@pytest.mark.parametrize(("after_ms", "kept"), [(KEPT_MS, 1), (KEPT_MS + 1, 0)])
async def test_it_is_forgotten_once_time_alone_tells(box: Box, after_ms: int, kept: int) -> None:
    """No phone's clock may be off by that much."""
    await box.install(tickets={KEY: ticket()})
    await show(box, NOW_S)
    await prune(box.database, NOW_MS + after_ms)
    assert len(await box.rows("SELECT shown_s FROM showings")) == kept
    assert POLICY.live_codes.max_drift_s * 1000 < KEPT_MS
